//! An index of Orch's own beside the agent's. Never touches the agent's.

use std::fs;
use std::path::{Path, PathBuf};

use super::command::{Git, WORKING};
use super::error::GitError;
use super::upkeep::{durably, unique};
use super::worktree::Checkout;

/// An index that goes away by itself.
pub(super) struct ScratchIndex(PathBuf);

impl ScratchIndex {
    /// With nothing in it.
    pub(super) fn empty(at: &Checkout) -> Self {
        let scratch = Self(at.admin.join(format!("wip-index-{}", unique())));
        drop(fs::remove_file(scratch.lock()));
        drop(fs::remove_file(&scratch.0));
        scratch
    }

    /// A copy of a worktree's index: what that knows of unchanged files saves reading them all.
    pub(super) fn copy_of(at: &Checkout) -> Self {
        let scratch = Self::empty(at);
        if fs::copy(at.admin.join("index"), &scratch.0).is_err() {
            drop(fs::remove_file(&scratch.0));
        }
        scratch
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// A call that sees this index instead of the worktree's.
    pub(super) fn git(&self, at: &Checkout, what: &'static str) -> Git {
        at.git(what)
            .timeout(WORKING)
            .config(durably())
            .env("GIT_INDEX_FILE", &self.0)
    }

    /// The tree of what is in it.
    pub(super) fn write_tree(&self, at: &Checkout) -> Result<String, GitError> {
        Ok(self.git(at, "write-tree").ok()?.text())
    }

    fn lock(&self) -> PathBuf {
        PathBuf::from(format!("{}.lock", self.0.display()))
    }
}

impl Drop for ScratchIndex {
    fn drop(&mut self) {
        drop(fs::remove_file(&self.0));
        drop(fs::remove_file(self.lock()));
    }
}
