//! What the engine's callers are told when something could not be done. Never a cause that holds a secret.

use std::path::PathBuf;

use crate::git::GitError;
use crate::process::ProcessError;
use crate::store::{Retry, StoreError};

/// What went wrong, told to whoever asked.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// No such thing: check the name.
    #[error("{what}")]
    NotFound {
        /// What was looked for.
        what: String,
    },
    /// What was given cannot be used: correct it.
    #[error("{what}")]
    Invalid {
        /// What is wrong and what would be right.
        what: String,
    },
    /// It does not fit the present state: look and decide anew.
    #[error("{what}")]
    Conflict {
        /// Why not.
        what: String,
    },
    /// Too much at once: try again in a moment.
    #[error("the database is busy: try again in a moment")]
    Saturated,
    /// Somebody else was first: nothing was written.
    #[error("somebody else changed it first: look again")]
    Lost,
    /// The merge lease expired under a job that still runs, or merges were stopped: it is asked for again.
    #[error("the merge lease was taken away meanwhile")]
    LeaseLost,
    /// Others may take this instance's jobs soon: it does nothing until the database has heard it again.
    #[error("the database has not heard this service for too long: it goes on when it is heard again")]
    OutOfTime,
    /// The database failed.
    #[error(transparent)]
    Store(StoreError),
    /// git failed.
    #[error(transparent)]
    Git(#[from] GitError),
    /// A process could not be handled.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// What was begun about it before still hangs: it is passed over. People were told when it began to.
    #[error("what was begun about it before still hangs")]
    Hangs,
    /// A defect in Orch, contained.
    #[error("{0}")]
    Broken(String),
}

impl From<StoreError> for EngineError {
    fn from(e: StoreError) -> Self {
        match e {
            StoreError::Saturated => Self::Saturated,
            other => Self::Store(other),
        }
    }
}

impl EngineError {
    /// Whether it may pass by itself.
    pub fn retry(&self) -> Retry {
        match self {
            Self::Saturated | Self::OutOfTime => StoreError::Saturated.retry(),
            Self::Store(e) => e.retry(),
            Self::NotFound { .. }
            | Self::Invalid { .. }
            | Self::Conflict { .. }
            | Self::Lost
            | Self::LeaseLost
            | Self::Hangs
            | Self::Git(_)
            | Self::Process(_)
            | Self::File { .. }
            | Self::Broken(_) => Retry::Never,
        }
    }

    pub(crate) fn file(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { path, source }
    }
}
