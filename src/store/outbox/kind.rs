//! The kinds of notices, and the words by which they are stored.

use serde::Serialize;

/// What kind of notice it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OutboxKind {
    /// A comment on the task's issue.
    Comment,
    /// The state of the task's issue.
    State,
    /// A message to people.
    Notification,
    /// A pull request that there is to be.
    PullRequest,
    /// A file that Orch writes into a task's artifact folder.
    Artifact,
}

impl OutboxKind {
    /// The word stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Comment => "comment",
            Self::State => "state",
            Self::Notification => "notification",
            Self::PullRequest => "pull_request",
            Self::Artifact => "artifact",
        }
    }

    /// The inverse of [`OutboxKind::as_str`].
    pub fn parse(text: &str) -> Option<Self> {
        let all = [
            Self::Comment,
            Self::State,
            Self::Notification,
            Self::PullRequest,
            Self::Artifact,
        ];
        all.into_iter().find(|k| k.as_str() == text)
    }
}
