//! Keeps unfinished work under a ref of the clone, so that none is lost with its worktree.
//! Never touches the agent's index, HEAD or branch.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use crate::domain::id::{RunId, Sha, WorkItemId};

use super::Identity;
use super::command::{Git, WORKING};
use super::error::GitError;
use super::repository::Repository;
use super::staging::{Unreadable, stage_everything};
use super::upkeep::unique;
use super::worktree::Checkout;

const PREFIX: &str = "refs/orch/wip/";

/// Under which name a run's unfinished work is kept: `refs/orch/wip/<task>/<run>`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct WipName(String);

impl WipName {
    /// The name for a run of a task.
    pub fn new(task: &WorkItemId, run: RunId) -> Self {
        Self(format!("{PREFIX}{task}/{run}"))
    }

    /// Takes a name that was stored; none when it is no such name.
    pub fn parse(text: &str) -> Option<Self> {
        let (task, run) = text.strip_prefix(PREFIX)?.split_once('/')?;
        WorkItemId::parse(task).ok()?;
        run.parse::<i64>().ok()?;
        Some(Self(text.to_owned()))
    }

    /// The full ref.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for WipName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Work that was kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WipRef {
    /// Where it is kept.
    pub name: WipName,
    /// The commit that holds it.
    pub sha: Sha,
}

impl Repository {
    /// Keeps what a run leaves behind: everything uncommitted that is not ignored, as a commit on top of HEAD,
    /// and with it the commits that origin has not seen. None when there is nothing to keep.
    ///
    /// # Errors
    /// `WorktreeLost` when the folder is there without its administration: [`Repository::readopt_worktree`].
    pub fn save_wip(
        &self,
        worktree: &Path,
        name: &WipName,
        message: &str,
        author: &Identity,
    ) -> Result<Option<WipRef>, GitError> {
        let at = match self.checkout(worktree) {
            Err(GitError::WorktreeLost { path }) => return self.save_commits(&path, name),
            found => found?,
        };
        let index = ScratchIndex::copy_of(&at);
        let staged = stage_everything(&at, Some(&index.0), Unreadable::Skip)?;
        let mut tip = staged.head.clone();
        if staged.dirty {
            let tree = index.git(&at, "write-tree").timeout(WORKING).ok()?.text();
            if !self.has_tree(staged.head.as_ref(), &tree)? {
                tip = Some(self.commit_tree(&tree, staged.head.as_ref(), message, author)?);
            }
        }
        let Some(sha) = tip else { return Ok(None) };
        if Some(&sha) == staged.head.as_ref() && self.is_at_origin(&sha)? {
            return Ok(None);
        }
        self.keep(name, sha).map(Some)
    }

    /// Of a folder that is gone, what was committed in it.
    fn save_commits(&self, path: &Path, name: &WipName) -> Result<Option<WipRef>, GitError> {
        let admin = self.admin_dir(path).filter(|_| !path.exists());
        let Some(admin) = admin else {
            return Err(GitError::WorktreeLost {
                path: path.to_owned(),
            });
        };
        match self.head_in(&admin)? {
            Some(sha) if !self.is_at_origin(&sha)? => self.keep(name, sha).map(Some),
            Some(_) | None => Ok(None),
        }
    }

    fn keep(&self, name: &WipName, sha: Sha) -> Result<WipRef, GitError> {
        self.git("update-ref")
            .args(["--", name.as_str(), sha.as_str()])
            .ok()?;
        Ok(WipRef {
            name: name.clone(),
            sha,
        })
    }

    /// All work that is kept, by name.
    pub fn list_wip(&self) -> Result<Vec<WipRef>, GitError> {
        let git = self.git("for-each-ref").arg("--format=%(objectname) %(refname)");
        let listed = git.arg(PREFIX.trim_end_matches('/')).ok()?.text();
        let line = |line: &str| {
            let (sha, name) = line.split_once(' ')?;
            Some(WipRef {
                name: WipName::parse(name)?,
                sha: Sha::parse(sha).ok()?,
            })
        };
        Ok(listed.lines().filter_map(line).collect())
    }

    /// Gives kept work up. One that is gone is no error.
    pub fn delete_wip(&self, name: &WipName) -> Result<(), GitError> {
        self.git("update-ref")
            .args(["-d", "--", name.as_str()])
            .ok()
            .map(drop)
    }

    pub(super) fn commit_tree(
        &self,
        tree: &str,
        parent: Option<&Sha>,
        message: &str,
        author: &Identity,
    ) -> Result<Sha, GitError> {
        let mut git = self
            .git("commit-tree")
            .identity(author)
            .args(["--no-gpg-sign", "-F", "-"]);
        if let Some(parent) = parent {
            git = git.args(["-p", parent.as_str()]);
        }
        let text = git
            .arg(tree)
            .input(message.replace('\0', "").into_bytes())
            .ok()?
            .text();
        Sha::parse(&text).map_err(|_| GitError::Unexpected {
            what: "commit-tree".into(),
            answer: text,
        })
    }

    fn has_tree(&self, commit: Option<&Sha>, tree: &str) -> Result<bool, GitError> {
        let Some(commit) = commit else { return Ok(false) };
        let output = self
            .git("rev-parse")
            .arg("--verify")
            .arg(format!("{commit}^{{tree}}"))
            .ok()?;
        Ok(output.text() == tree)
    }

    fn is_at_origin(&self, commit: &Sha) -> Result<bool, GitError> {
        let git = self
            .git("rev-list")
            .args(["--max-count=1", commit.as_str(), "--not", "--remotes=origin"]);
        Ok(git.ok()?.stdout.is_empty())
    }
}

/// A copy of a worktree's index that goes away by itself. Copied, because what it knows of unchanged files
/// saves reading them all.
struct ScratchIndex(PathBuf);

impl ScratchIndex {
    fn copy_of(at: &Checkout) -> Self {
        let scratch = Self(at.admin.join(format!("wip-index-{}", unique())));
        drop(fs::remove_file(scratch.lock()));
        if fs::copy(at.admin.join("index"), &scratch.0).is_err() {
            drop(fs::remove_file(&scratch.0));
        }
        scratch
    }

    fn git(&self, at: &Checkout, what: &'static str) -> Git {
        at.git(what).env("GIT_INDEX_FILE", &self.0)
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
