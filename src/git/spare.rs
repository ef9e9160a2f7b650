//! A spare worktree, made ahead, so that a run need not wait until git has written all files.
//!
//! Only the process that made one knows it, and whoever takes it has it alone. What an earlier process left is
//! removed before the next is made. One that was touched is not used: a run begins in what git wrote, nothing else.

use std::fs::{self, Metadata};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::PoisonError;

use crate::domain::id::Sha;

use super::command::{Git, WORKING};
use super::error::GitError;
use super::repository::Repository;
use super::upkeep::unique;

/// A worktree that nobody uses.
#[derive(Debug)]
pub(super) struct Spare {
    path: PathBuf,
    admin: PathBuf,
    at: Sha,
    seal: u64,
}

impl Repository {
    /// Makes the clone's spare worktree at `path`, at the present tip of main; one that is there already is left.
    /// Whoever wants to take it meanwhile waits for it.
    pub fn make_spare(&self, path: &Path) -> Result<(), GitError> {
        let mut spare = self.spare().lock().unwrap_or_else(PoisonError::into_inner);
        let tip = self.tip_in(&self.bring(&[self.main()])?)?;
        if spare.as_ref().is_some_and(|s| s.at == tip) {
            return Ok(());
        }
        *spare = None;
        self.prepare_worktree(path, &tip)?;
        // So that whoever begins there need not ask.
        self.code_tree(&tip)?;
        let made = self.checkout(path)?;
        *spare = Some(Spare {
            seal: seal(&made.path, &made.admin).map_err(GitError::io("looking at a spare worktree"))?,
            path: made.path,
            admin: made.admin,
            at: tip,
        });
        Ok(())
    }

    /// Removes the spare worktree at `path`, whoever made it.
    pub fn remove_spare(&self, path: &Path) -> Result<(), GitError> {
        let mut spare = self.spare().lock().unwrap_or_else(PoisonError::into_inner);
        *spare = None;
        self.remove_worktree(path)
    }

    /// As [`Self::prepare_worktree`], with the spare one where there is one: it is at that commit, or is moved there, which
    /// writes only the files that differ.
    pub fn prepare_from_spare(&self, path: &Path, at: &Sha) -> Result<(), GitError> {
        match self.take_spare(path, at)? {
            true => Ok(()),
            false => self.prepare_worktree(path, at),
        }
    }

    fn take_spare(&self, path: &Path, at: &Sha) -> Result<bool, GitError> {
        // Locked until it is away: the next one is made in the same place.
        let mut slot = self.spare().lock().unwrap_or_else(PoisonError::into_inner);
        let Some(spare) = slot.take_if(|s| s.at == *at || self.may_follow(&s.at, at)) else {
            return Ok(false);
        };
        self.clear_for(path)?;
        match self.hand_over(&spare, path) {
            Ok(true) if spare.at == *at => Ok(true),
            // Where that fails, `path` is cleared for a new one.
            Ok(true) => Ok(self.follow(path, &spare.admin, at).is_ok()),
            Ok(false) | Err(_) => {
                // What was moved already stands at `path`, and is removed from there by whoever prepares it now.
                self.remove_worktree(&spare.path)?;
                Ok(false)
            }
        }
    }

    /// Whether moving from one commit to the other makes what a new worktree would be: git writes a file that did not
    /// change as it was, also where the attributes that decide how it is written did.
    fn may_follow(&self, from: &Sha, to: &Sha) -> bool {
        let git = self
            .git("diff-tree")
            .args(["-r", "-z", "--name-only", "--no-renames"]);
        let changed = git.args([from.as_str(), to.as_str(), "--"]).ok();
        changed.is_ok_and(|output| {
            let names = output.stdout;
            !names
                .split(|b| *b == 0)
                .any(|name| name.ends_with(b".gitattributes"))
        })
    }

    fn follow(&self, path: &Path, admin: &Path, to: &Sha) -> Result<(), GitError> {
        let git = Git::new("checkout").worktree(path, admin).timeout(WORKING);
        let git = git.args(["--quiet", "--detach", "--no-recurse-submodules"]);
        git.args([to.as_str(), "--"]).ok().map(drop)
    }

    /// Moves it, unless it was touched. Died in between: the clone still looks for it at its old place, from where
    /// making the next one removes what it knows of it.
    fn hand_over(&self, spare: &Spare, path: &Path) -> io::Result<bool> {
        if seal(&spare.path, &spare.admin)? != spare.seal {
            return Ok(false);
        }
        deed!("take a spare worktree", fs::rename(&spare.path, path))?;
        let aside = spare.admin.join(format!("gitdir.{}", unique()));
        fs::write(
            &aside,
            format!("{}\n", fs::canonicalize(path)?.join(".git").display()),
        )?;
        let gitdir = spare.admin.join("gitdir");
        deed!("tell git of a taken worktree", fs::rename(aside, gitdir))?;
        Ok(true)
    }
}

/// Stands for all that a worktree and its administration consist of: what was made, removed, written or renamed there
/// since changes it. Reads no content; the times of a change cannot be set by anybody.
fn seal(worktree: &Path, admin: &Path) -> io::Result<u64> {
    let mut sum = 0;
    for root in [worktree, admin] {
        let mut folders = vec![root.to_owned()];
        sum = add(sum, root, &fs::symlink_metadata(root)?);
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder)? {
                let entry = entry?;
                let (path, meta) = (entry.path(), entry.metadata()?);
                sum = add(sum, &path, &meta);
                if meta.is_dir() {
                    folders.push(path);
                }
            }
        }
    }
    Ok(sum)
}

/// In whatever order the entries come.
fn add(sum: u64, path: &Path, meta: &Metadata) -> u64 {
    let mut hasher = DefaultHasher::new();
    path.hash(&mut hasher);
    let of_the_file = [meta.dev(), meta.ino(), meta.size(), u64::from(meta.mode())];
    let times = [meta.mtime(), meta.mtime_nsec(), meta.ctime(), meta.ctime_nsec()];
    (of_the_file, times).hash(&mut hasher);
    sum.wrapping_add(hasher.finish())
}
