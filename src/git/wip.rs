//! Keeps unfinished work under a ref of the clone, so that none is lost with its worktree.
//! Never touches the agent's index, HEAD or branch, and never gives up work that a name held before.

use std::fmt;
use std::path::Path;

use crate::domain::id::{RunId, Sha, WorkItemId};

use super::Identity;
use super::command::WORKING;
use super::error::GitError;
use super::loose::LooseEnd;
use super::repository::Repository;
use super::scratch_index::ScratchIndex;
use super::staging::{Unreadable, stage_everything};
use super::upkeep::durably;
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

/// What became of the commits that HEAD names.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Delivered {
    /// They are nowhere else, unless origin has them.
    No,
    /// They were taken, perhaps rebased.
    Yes,
}

impl Repository {
    /// Keeps what a run leaves behind: everything uncommitted that is not ignored, as a commit on top of HEAD,
    /// and with it the commits that origin has not seen. What the agent committed elsewhere or stashed becomes
    /// further parents; the files of repositories that it cloned and changed are taken as files. None when there is
    /// nothing to keep.
    ///
    /// What an agent took back itself (`reset`, `commit --amend`, a stash it dropped) is not unfinished work.
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
        self.save(worktree, name, (message, author), Delivered::No)
    }

    /// The same for a run whose commits were delivered: what lies beside them.
    ///
    /// # Errors
    /// See [`Repository::save_wip`].
    pub fn save_rest(
        &self,
        worktree: &Path,
        name: &WipName,
        message: &str,
        author: &Identity,
    ) -> Result<Option<WipRef>, GitError> {
        self.save(worktree, name, (message, author), Delivered::Yes)
    }

    fn save(
        &self,
        worktree: &Path,
        name: &WipName,
        told: (&str, &Identity),
        delivered: Delivered,
    ) -> Result<Option<WipRef>, GitError> {
        let at = match self.checkout(worktree) {
            Err(GitError::WorktreeLost { path }) => return self.save_commits(&path, name, delivered),
            found => found?,
        };
        let snapshot = || match self.snapshot(&at, name, told, delivered)? {
            Some(sha) if !self.is_whole(&sha)? => Err(GitError::DamagedClone {
                path: self.bare().to_owned(),
                why: format!("objects of {sha} cannot be read"),
            }),
            taken => Ok(taken),
        };
        let taken = match snapshot() {
            // A power cut may leave empty files for objects, which git takes for the content they are named after.
            Err(_) if self.remove_empty_objects() > 0 => snapshot()?,
            taken => taken?,
        };
        taken.map(|sha| self.keep(name, sha)).transpose()
    }

    fn snapshot(
        &self,
        at: &Checkout,
        name: &WipName,
        (message, author): (&str, &Identity),
        delivered: Delivered,
    ) -> Result<Option<Sha>, GitError> {
        let index = ScratchIndex::copy_of(at);
        let mut staged = stage_everything(at, Some(index.path()), Unreadable::Skip)?;
        staged.dirty |= self.graft_nested(at, &index, &staged.nested())?;
        let mut tree = None;
        if staged.dirty {
            let written = index.write_tree(at)?;
            if !self.has_tree(staged.head.as_ref(), &written)? {
                tree = Some(written);
            }
        }
        let ends = self.loose_ends(at, name, staged.head.as_ref())?;
        let Some(head) = &staged.head else {
            return match tree {
                Some(tree) => self.commit_tree(&tree, &[], message, author).map(Some),
                None => Ok(None),
            };
        };
        if tree.is_none() && ends.is_empty() {
            let kept = delivered == Delivered::No && !self.is_at_origin(head)?;
            return Ok(kept.then(|| head.clone()));
        }
        let tree = match tree {
            Some(tree) => tree,
            None => self.tree_of(head)?,
        };
        let mut parents = vec![head];
        parents.extend(ends.iter().map(|end| &end.sha));
        self.commit_tree(&tree, &parents, &with_ends(message, &ends), author)
            .map(Some)
    }

    /// Of a folder that is gone, what was committed in it.
    fn save_commits(
        &self,
        path: &Path,
        name: &WipName,
        delivered: Delivered,
    ) -> Result<Option<WipRef>, GitError> {
        let admin = self.admin_dir(path).filter(|_| !path.exists());
        let Some(admin) = admin else {
            return Err(GitError::WorktreeLost {
                path: path.to_owned(),
            });
        };
        match self.head_in(&admin)? {
            Some(sha) if delivered == Delivered::No && !self.is_at_origin(&sha)? => {
                self.keep(name, sha).map(Some)
            }
            Some(_) | None => Ok(None),
        }
    }

    /// Work that the name held before is never given up: it stays where it is when it is the same, and is put aside
    /// under `refs/orch/stray/` when it is not.
    fn keep(&self, name: &WipName, sha: Sha) -> Result<WipRef, GitError> {
        let mut moves = String::new();
        if let Some(WipRef { sha: old, .. }) = self.wip(name)? {
            if old == sha || self.is_same_work(&old, &sha) {
                return Ok(WipRef {
                    name: name.clone(),
                    sha: old,
                });
            }
            if !self.descends(&sha, &old) {
                let flat = name.as_str().trim_start_matches("refs/orch/").replace('/', "%");
                moves.push_str(&format!("update refs/orch/stray/{flat}@{} {old}\n", old.short()));
            }
            moves.push_str(&format!("update {name} {sha} {old}\n"));
        } else {
            moves.push_str(&format!("create {name} {sha}\n"));
        }
        let git = self.git("update-ref").config(durably()).arg("--stdin");
        git.input(moves.into_bytes()).ok()?;
        Ok(WipRef {
            name: name.clone(),
            sha,
        })
    }

    /// What is kept under a name, if anything is.
    pub fn wip(&self, name: &WipName) -> Result<Option<WipRef>, GitError> {
        let git = self.git("rev-parse").args(["--quiet", "--verify"]);
        let output = git.arg(name.as_str()).run()?;
        let sha = Sha::parse(&output.text()).ok();
        Ok(sha.map(|sha| WipRef {
            name: name.clone(),
            sha,
        }))
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

    /// Gives kept work up, as it was seen.
    ///
    /// # Errors
    /// git's, also when something else is kept under the name by now, or nothing any more.
    pub fn delete_wip(&self, kept: &WipRef) -> Result<(), GitError> {
        self.git("update-ref")
            .args(["-d", "--", kept.name.as_str(), kept.sha.as_str()])
            .ok()
            .map(drop)
    }

    pub(super) fn commit_tree(
        &self,
        tree: &str,
        parents: &[&Sha],
        message: &str,
        author: &Identity,
    ) -> Result<Sha, GitError> {
        let mut git =
            self.git("commit-tree")
                .config(durably())
                .identity(author)
                .args(["--no-gpg-sign", "-F", "-"]);
        for parent in parents {
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

    fn tree_of(&self, commit: &Sha) -> Result<String, GitError> {
        let git = self.git("rev-parse").arg("--verify");
        Ok(git.arg(format!("{commit}^{{tree}}")).ok()?.text())
    }

    fn has_tree(&self, commit: Option<&Sha>, tree: &str) -> Result<bool, GitError> {
        commit.map_or(Ok(false), |commit| Ok(self.tree_of(commit)? == tree))
    }

    /// A settle that was cut off is repeated: only the time of its commit differs.
    fn is_same_work(&self, a: &Sha, b: &Sha) -> bool {
        let content = |commit: &Sha| {
            let git = self.git("log").args(["-1", "--format=%T %P", commit.as_str()]);
            git.ok().map(|output| output.text())
        };
        matches!((content(a), content(b)), (Ok(a), Ok(b)) if a == b)
    }

    fn descends(&self, new: &Sha, old: &Sha) -> bool {
        let git = self
            .git("merge-base")
            .args(["--is-ancestor", old.as_str(), new.as_str()]);
        git.run().is_ok_and(|output| output.code == Some(0))
    }

    /// True when all of it that origin does not have can be read.
    fn is_whole(&self, commit: &Sha) -> Result<bool, GitError> {
        let git = self
            .git("rev-list")
            .timeout(WORKING)
            .args(["--objects", "--no-object-names"]);
        let listed = git.args([commit.as_str(), "--not", "--remotes=origin"]).run()?;
        if listed.code != Some(0) {
            return Ok(false);
        }
        let git = self.git("cat-file").timeout(WORKING).arg("--batch-check");
        let found = git.input(listed.stdout).run()?;
        Ok(found.code == Some(0) && !found.text().lines().any(|line| line.ends_with(" missing")))
    }

    fn is_at_origin(&self, commit: &Sha) -> Result<bool, GitError> {
        let git = self
            .git("rev-list")
            .args(["--max-count=1", commit.as_str(), "--not", "--remotes=origin"]);
        Ok(git.ok()?.stdout.is_empty())
    }
}

/// The message, and what a reader of the commit would otherwise wonder about.
fn with_ends(message: &str, ends: &[LooseEnd]) -> String {
    if ends.is_empty() {
        return message.to_owned();
    }
    let lines = ends
        .iter()
        .map(|end| format!("- {} {}\n", end.sha.short(), end.subject));
    format!(
        "{message}\n\nThe agent left these commits and stashes beside its HEAD. They are further parents of this\ncommit; \
         their changes are not in its files.\n\n{}",
        lines.collect::<String>()
    )
}
