//! Tasks that are submitted together. Decides nothing by itself: what a batch's failures do stands in
//! [`retry`](super::retry).

use serde::{Deserialize, Serialize};

/// How the tasks of a batch are worked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BatchMode {
    /// One after the other: each waits for the one before it.
    Sequential,
    /// As slots allow.
    Parallel,
}

impl BatchMode {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Sequential, Self::Parallel];

    /// The word stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sequential => "sequential",
            Self::Parallel => "parallel",
        }
    }

    /// The inverse of [`BatchMode::as_str`].
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mode| mode.as_str() == text)
    }
}
