//! What can go wrong with git, and what to do about it.

use std::path::PathBuf;
use std::time::Duration;

use crate::domain::id::{BranchName, Sha};

/// A failure of git or of what it was pointed at. Outcomes that a caller decides about are not errors.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// The folder given as origin is not there.
    #[error("{path} does not exist: give the folder or the URL of the project's repository")]
    PathMissing {
        /// The folder.
        path: PathBuf,
    },
    /// The folder exists without a repository at its top.
    #[error("{path} is not a git repository: run `git init` there, or give the repository's top folder")]
    NotARepository {
        /// The folder.
        path: PathBuf,
    },
    /// Git refuses repositories of other users.
    #[error(
        "{path} belongs to another user: run `git config --global --add safe.directory {path}` as the user of the service"
    )]
    NotOwned {
        /// The folder.
        path: PathBuf,
    },
    /// An empty repository.
    #[error("{origin} has no commits: make a first commit on {main}")]
    NoCommits {
        /// The repository, without secrets.
        origin: String,
        /// The branch that was looked for.
        main: BranchName,
    },
    /// There are branches, but not the one configured as main.
    #[error("{origin} has no branch {main}; it has {known}: set the project's main branch, `main`")]
    MainMissing {
        /// The repository, without secrets.
        origin: String,
        /// The branch that was looked for.
        main: BranchName,
        /// Some of the branches there.
        known: String,
    },
    /// The clone's folder holds something else.
    #[error(
        "{path} is damaged or not a clone of Orch's: move it away, and it is cloned anew; keep it until `orch run rescue` misses nothing ({why})"
    )]
    DamagedClone {
        /// The folder.
        path: PathBuf,
        /// What git says.
        why: String,
    },
    /// The origin does not answer.
    #[error("{origin} cannot be reached: check the network and the credentials ({why})")]
    Unreachable {
        /// The repository, without secrets.
        origin: String,
        /// What git says.
        why: String,
    },
    /// The forge does not let the token in.
    #[error(
        "{origin} is not there, or the access token in {setting} is wrong or may not use it: set another one, or give its account the right ({why})"
    )]
    Denied {
        /// The repository.
        origin: String,
        /// Where the token stands.
        setting: &'static str,
        /// What git says.
        why: String,
    },
    /// A commit is neither in the clone nor at origin.
    #[error("commit {sha} is not known: fetch, or check that it was pushed")]
    UnknownCommit {
        /// What was asked for.
        sha: String,
    },
    /// Two commits have no common ancestor.
    #[error("{a} and {b} share no history: the branch was recreated; start it again from main")]
    UnrelatedHistories {
        /// One of them.
        a: Sha,
        /// The other.
        b: Sha,
    },
    /// More than a caller may take in.
    #[error("{what} is larger than {limit} bytes: make it smaller")]
    TooLarge {
        /// What was read.
        what: String,
        /// The limit, bytes.
        limit: u64,
    },
    /// The worktree is not registered any more.
    #[error("{path} is no worktree of this clone any more: prepare it anew")]
    WorktreeLost {
        /// The folder.
        path: PathBuf,
    },
    /// A request that this module never carries out.
    #[error("refused: {why}")]
    Forbidden {
        /// Which rule.
        why: String,
    },
    /// Took too long and was killed.
    #[error(
        "`git {what}` was killed after {after:?}: try again, or look at the repository's disk or network"
    )]
    TimedOut {
        /// The subcommand.
        what: String,
        /// The limit.
        after: Duration,
    },
    /// Git said no.
    #[error("`git {what}` failed ({code}): {stderr}")]
    Failed {
        /// The subcommand.
        what: String,
        /// Exit code or signal.
        code: String,
        /// The tail of what it said, without secrets.
        stderr: String,
    },
    /// Git said something that is not understood.
    #[error("`git {what}` answered something unexpected: {answer:?}; is it git 2.39 or newer?")]
    Unexpected {
        /// The subcommand.
        what: String,
        /// The beginning of the answer.
        answer: String,
    },
    /// There is no `git` here.
    #[error("git is not installed or not in PATH: install git 2.39 or newer")]
    NotInstalled,
    /// The file system said no.
    #[error("{what}: {source}")]
    Io {
        /// What was being done, with the path.
        what: String,
        /// The cause.
        source: std::io::Error,
    },
}

impl GitError {
    /// True when the same call may succeed later without anybody changing anything.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::TimedOut { .. } | Self::Io { .. } => true,
            Self::Failed { stderr, .. } => is_lock_conflict(stderr),
            Self::PathMissing { .. }
            | Self::NotARepository { .. }
            | Self::NotOwned { .. }
            | Self::NoCommits { .. }
            | Self::MainMissing { .. }
            | Self::DamagedClone { .. }
            | Self::Denied { .. }
            | Self::UnknownCommit { .. }
            | Self::UnrelatedHistories { .. }
            | Self::TooLarge { .. }
            | Self::WorktreeLost { .. }
            | Self::Forbidden { .. }
            | Self::Unexpected { .. }
            | Self::NotInstalled => false,
        }
    }

    /// True when the same call fails until a person has changed the repository, the settings or the machine.
    pub fn needs_a_person(&self) -> bool {
        match self {
            Self::PathMissing { .. }
            | Self::NotARepository { .. }
            | Self::NotOwned { .. }
            | Self::NoCommits { .. }
            | Self::MainMissing { .. }
            | Self::DamagedClone { .. }
            | Self::Denied { .. }
            | Self::NotInstalled => true,
            Self::Unreachable { .. }
            | Self::UnknownCommit { .. }
            | Self::UnrelatedHistories { .. }
            | Self::TooLarge { .. }
            | Self::WorktreeLost { .. }
            | Self::Forbidden { .. }
            | Self::TimedOut { .. }
            | Self::Failed { .. }
            | Self::Unexpected { .. }
            | Self::Io { .. } => false,
        }
    }

    pub(super) fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}

/// Someone else was writing the same ref or file.
pub(super) fn is_lock_conflict(stderr: &str) -> bool {
    ["cannot lock ref", ".lock': File exists", "Unable to create"]
        .iter()
        .any(|sign| stderr.contains(sign))
}
