//! Where branches live, pull requests are kept and candidates are merged.

pub mod gitea;
mod local;

use crate::domain::id::{BranchName, ProjectId, Sha};
use crate::domain::time::Timestamp;
use crate::git::{FastForward, GitError, Repository};
use crate::settings::project::ForgeKind;
use crate::store::pull_requests::NewPullRequest;
use crate::store::{Conn, StoreError};

/// A kind of forge or tracker that a project names and that this version does not speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key} = \"{kind}\" is not supported by this version: use \"local\"")]
pub struct NotSupported {
    /// The project's key.
    pub key: &'static str,
    /// What it says.
    pub kind: &'static str,
}

/// A forge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forge {
    /// A plain git repository; pull requests are rows, merges are fast-forwards by git itself.
    Local,
}

impl Forge {
    /// The forge that a project names.
    ///
    /// # Errors
    /// [`NotSupported`].
    pub fn of(kind: ForgeKind) -> Result<Self, NotSupported> {
        match kind {
            ForgeKind::Local => Ok(Self::Local),
            ForgeKind::Gitea => Err(NotSupported {
                key: "forge",
                kind: "gitea",
            }),
        }
    }

    /// One open pull request per branch, its head at `new.head_sha`. Safe to repeat.
    ///
    /// # Errors
    /// The database's.
    pub fn open_pull_request(
        self,
        tx: &mut Conn,
        new: &NewPullRequest,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        match self {
            Self::Local => local::open_pull_request(tx, new, now),
        }
    }

    /// Puts `main` at the candidate if it is at `expected` and the candidate contains it. Never forces.
    ///
    /// # Errors
    /// git's; what the repository refuses is an outcome.
    pub fn merge(self, repo: &Repository, candidate: &Sha, expected: &Sha) -> Result<FastForward, GitError> {
        match self {
            Self::Local => repo.fast_forward_main(candidate, expected),
        }
    }

    /// Notes that the branch's pull request went in with this head. Safe to repeat.
    ///
    /// # Errors
    /// The database's.
    pub fn record_merged(
        self,
        tx: &mut Conn,
        (project, branch): (ProjectId, &BranchName),
        head: &Sha,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        match self {
            Self::Local => local::record_merged(tx, project, branch, head, now),
        }
    }
}
