//! What can go wrong with Gitea, and what it means for a notice.

use std::time::Duration;

use crate::domain::delivery::Sending;

/// Why Gitea did not do what it was asked. Addresses are shown without secrets: the token travels in a header.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GiteaError {
    /// Nobody is there.
    #[error("{url} cannot be reached: {why}: check gitea.url and the network")]
    Unreachable {
        /// What was asked.
        url: String,
        /// Why.
        why: String,
    },
    /// It was sent, and no whole answer came.
    #[error("{url}: {why}")]
    Unanswered {
        /// What was asked.
        url: String,
        /// Why.
        why: String,
    },
    /// 401, 403.
    #[error(
        "{url} answered HTTP {status}: the access token in gitea.token is wrong or has no right to this; set another one ({words})"
    )]
    Denied {
        /// What was asked.
        url: String,
        /// What came.
        status: u16,
        /// Gitea's own words.
        words: String,
    },
    /// 404: Gitea also says so of what the token may not see.
    #[error(
        "{url} is not there: check the project's repo, and that the account of gitea.token may see the repository"
    )]
    NotFound {
        /// What was asked.
        url: String,
    },
    /// Any other 4xx: it is about this very request.
    #[error("{url} answered HTTP {status}: {words}")]
    Refused {
        /// What was asked.
        url: String,
        /// What came.
        status: u16,
        /// Gitea's own words.
        words: String,
    },
    /// 5xx, 429 and what else is no answer.
    #[error("{url} answered HTTP {status}: {words}")]
    Failed {
        /// What was asked.
        url: String,
        /// What came.
        status: u16,
        /// Gitea's own words.
        words: String,
        /// Asked to be left alone for so long.
        after: Option<Duration>,
    },
    /// An answer that is not Gitea's.
    #[error("{url} answered something else than Gitea does: {why}: check gitea.url")]
    Unreadable {
        /// What was asked.
        url: String,
        /// Where it differs.
        why: String,
    },
}

impl GiteaError {
    /// What it means for the notice that was to be delivered.
    pub fn sending(&self) -> Sending {
        let why = self.to_string();
        match self {
            Self::Failed { after, .. } => Sending::Down { why, after: *after },
            Self::Unreachable { .. }
            | Self::Denied { .. }
            | Self::NotFound { .. }
            | Self::Unreadable { .. } => Sending::Down { why, after: None },
            Self::Unanswered { .. } => Sending::Unanswered { why },
            // An archived repository may be opened again.
            Self::Refused { status: 423, .. } => Sending::Down { why, after: None },
            Self::Refused { .. } => Sending::Refused { why },
        }
    }

    /// Gitea as a whole takes nothing now; else it is about this one request, and others may well succeed.
    pub fn is_everywhere(&self) -> bool {
        match self {
            Self::Unreachable { .. }
            | Self::Unanswered { .. }
            | Self::Failed { .. }
            | Self::Unreadable { .. } => true,
            Self::Denied { .. } | Self::NotFound { .. } | Self::Refused { .. } => false,
        }
    }
}
