//! The only caller of `git`: clones, worktrees, commits, pushes, rebases, reads and the merge into `main`.
//! Synchronous, over the system's `git`; whoever must not block calls it from a blocking thread.
//! Never decides what a task does next, never force-pushes `main`, never follows a symlink out of a commit.
//!
//! Branch truth lives at *origin*, the project's repository. Orch keeps a bare clone of it; agents work in
//! worktrees of that clone with a detached HEAD. Needs git 2.39 or newer.

mod carry;
mod child;
mod code_tree;
mod command;
mod commit;
mod diff;
mod environment;
mod error;
mod join;
mod kept;
mod loose;
mod memo;
mod mend;
mod merge;
mod objects;
mod origin;
mod push;
mod reader;
mod rebase;
mod received;
mod records;
mod refs;
mod repository;
pub mod sample;
mod scratch_index;
mod spare;
mod spent;
mod staging;
mod take_along;
mod upkeep;
mod wip;
mod working_copy;
mod worktree;

pub use carry::{Back, Carry};
pub use commit::{CommitOutcome, CommitReport};
pub use diff::{LogEntry, Relation, Scope};
pub use error::GitError;
pub use join::Join;
pub use kept::WipText;
pub use merge::FastForward;
pub use objects::{BLOB_LIMIT, DirEntry, Objects};
pub use origin::{Key, Origin, check_origin, mask_url};
pub use push::{DeleteOutcome, PushMode, PushOutcome};
pub use rebase::Rebase;
pub use records::{Record, Recorded};
pub use repository::{Refs, Repository};
pub use spent::{Spent, spent};
pub use wip::{WipName, WipRef};
pub use worktree::Worktree;

/// In whose name a commit is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// "orch developer".
    pub name: String,
    /// An address; need not exist.
    pub email: String,
}

impl Identity {
    /// A name and an address.
    pub fn new(name: impl Into<String>, email: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            email: email.into(),
        }
    }
}
