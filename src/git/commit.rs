//! Commits what an agent left. The agent must be gone: its locks are broken.
//! Never runs a hook, never signs, never commits what is ignored.

use std::fs;
use std::path::Path;

use crate::domain::id::Sha;

use super::Identity;
use super::command::{WORKING, failed};
use super::error::GitError;
use super::repository::Repository;
use super::staging::{Unreadable, as_path, is_scaffold, stage_everything};
use super::worktree::Checkout;

/// What [`Repository::commit_all`] did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommitOutcome {
    /// Something was uncommitted; this is its commit.
    Committed(Sha),
    /// Nothing was; this is HEAD.
    Clean(Sha),
}

impl CommitOutcome {
    /// Where HEAD is now.
    pub fn head(&self) -> &Sha {
        match self {
            Self::Committed(sha) | Self::Clean(sha) => sha,
        }
    }
}

/// What was done, and what a reader of the run should hear of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitReport {
    /// What was done.
    pub outcome: CommitOutcome,
    /// Repositories that the agent cloned into its worktree; they were not taken.
    pub left_out: Vec<String>,
    /// Files that were committed although git still held them as conflicted: they may hold markers.
    pub unmerged: Vec<String>,
}

impl Repository {
    /// Commits everything uncommitted on top of HEAD, wherever HEAD is: ignored files and repositories that
    /// were cloned into the worktree excepted. A merge that was under way becomes a merge commit.
    pub fn commit_all(
        &self,
        worktree: &Path,
        message: &str,
        author: &Identity,
    ) -> Result<CommitReport, GitError> {
        let at = self.checkout(worktree)?;
        break_locks(&at.admin);
        let staged = stage_everything(&at, None, Unreadable::Fail)?;
        let merging = at.admin.join("MERGE_HEAD").exists();
        let outcome = match staged.head {
            Some(head) if !staged.dirty && !merging => CommitOutcome::Clean(head),
            head => self.commit(&at, message, author, head)?,
        };
        Ok(CommitReport {
            outcome,
            left_out: staged.left_out,
            unmerged: staged.unmerged,
        })
    }

    /// Undoes links to repositories that an agent made in its worktree and committed since `since`: nobody else has
    /// what they point to. Afterwards [`Repository::commit_all`] takes their files.
    pub fn unlink_scaffolds(&self, worktree: &Path, since: &Sha) -> Result<(), GitError> {
        let at = self.checkout(worktree)?;
        let Some(head) = self.head_in(&at.admin)?.filter(|head| head != since) else {
            return Ok(());
        };
        let git = self.git("diff-tree").args(["-r", "-z", "--raw", "--no-renames"]);
        let listed = git.args([since.as_str(), head.as_str()]).ok()?.stdout;
        let mut words = listed.split(|b| *b == 0);
        let mut links = Vec::new();
        while let (Some(modes), Some(path)) = (words.next(), words.next()) {
            // ":<old mode> <new mode> …"
            if modes.split(|b| *b == b' ').nth(1) == Some(b"160000")
                && is_scaffold(&at.path.join(as_path(path)).join(".git"))
            {
                links.extend([path, b"\0"].concat());
            }
        }
        if links.is_empty() {
            return Ok(());
        }
        break_locks(&at.admin);
        let git = at.git("rm").args(["--cached", "--quiet", "--force"]);
        let git = git.args(["--pathspec-from-file=-", "--pathspec-file-nul"]);
        git.input(links).timeout(WORKING).ok().map(drop)
    }

    fn commit(
        &self,
        at: &Checkout,
        message: &str,
        author: &Identity,
        head: Option<Sha>,
    ) -> Result<CommitOutcome, GitError> {
        let git = at.git("commit").identity(author).timeout(WORKING);
        let git = git.args([
            "--quiet",
            "--no-verify",
            "--no-status",
            "--allow-empty-message",
            "--file=-",
        ]);
        let output = git.input(message.replace('\0', "").into_bytes()).run()?;
        match (output.code, head) {
            (Some(0), _) => {
                let lost = || GitError::WorktreeLost {
                    path: at.path.clone(),
                };
                Ok(CommitOutcome::Committed(
                    self.head_in(&at.admin)?.ok_or_else(lost)?,
                ))
            }
            // What looked different turned out the same once it was staged (line ends, for one).
            (Some(1), Some(head)) if output.stderr.is_empty() => Ok(CommitOutcome::Clean(head)),
            _ => Err(failed("commit", &output)),
        }
    }
}

/// Removes what would stop a commit or put somebody else's name on it.
fn break_locks(admin: &Path) {
    for name in ["index.lock", "HEAD.lock", "CHERRY_PICK_HEAD", "REVERT_HEAD"] {
        drop(fs::remove_file(admin.join(name)));
    }
}
