//! What can go wrong with Plane, and what it means for a notice.

use std::time::Duration;

use crate::domain::delivery::Sending;

/// Why Plane did not do what it was asked. Addresses are shown without secrets: keys travel in a header.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlaneError {
    /// The key's requests are used up: nothing was sent, or Plane refused to count further.
    #[error("{url}: not asked again for {} s: the limit of requests for this API token is used up", after.as_secs())]
    Limited {
        /// What was to be asked.
        url: String,
        /// How long to wait.
        after: Duration,
    },
    /// Nobody is there.
    #[error("{url} cannot be reached: {why}: check plane.url and the network")]
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
        "{url} answered HTTP {status}: the API token in {setting} is wrong or has no right to this; set another one"
    )]
    Denied {
        /// What was asked.
        url: String,
        /// What came.
        status: u16,
        /// The setting that holds the token.
        setting: String,
    },
    /// 404.
    #[error(
        "{url} is not there: check plane.workspace and the project's plane_project, or the issue was deleted"
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
        /// Plane's own words.
        words: String,
    },
    /// 5xx and what else is no answer.
    #[error("{url} answered HTTP {status}: {words}")]
    Failed {
        /// What was asked.
        url: String,
        /// What came.
        status: u16,
        /// Plane's own words.
        words: String,
        /// Asked to be left alone for so long.
        after: Option<Duration>,
    },
    /// An answer that is not Plane's.
    #[error("{url} answered something else than Plane does: {why}: check plane.url")]
    Unreadable {
        /// What was asked.
        url: String,
        /// Where it differs.
        why: String,
    },
    /// No id of Plane's: nothing was asked.
    #[error("{what} {id:?} is no id of Plane's")]
    NoId {
        /// Of what.
        what: &'static str,
        /// As it was given.
        id: String,
    },
}

impl PlaneError {
    /// What it means for the notice that was to be delivered.
    pub fn sending(&self) -> Sending {
        let why = self.to_string();
        match self {
            Self::Limited { after, .. } => Sending::Down {
                why,
                after: Some(*after),
            },
            Self::Failed { after, .. } => Sending::Down { why, after: *after },
            Self::Unreachable { .. }
            | Self::Denied { .. }
            | Self::NotFound { .. }
            | Self::Unreadable { .. } => Sending::Down { why, after: None },
            Self::Unanswered { .. } => Sending::Unanswered { why },
            Self::Refused { .. } | Self::NoId { .. } => Sending::Refused { why },
        }
    }

    /// Plane as a whole takes nothing now; else it is about this one request, and others may well succeed.
    pub fn is_everywhere(&self) -> bool {
        match self {
            Self::Limited { .. }
            | Self::Unreachable { .. }
            | Self::Unanswered { .. }
            | Self::Failed { .. }
            | Self::Unreadable { .. } => true,
            Self::Denied { .. } | Self::NotFound { .. } | Self::Refused { .. } | Self::NoId { .. } => false,
        }
    }
}
