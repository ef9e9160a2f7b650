//! Takes a person's clean working copy along when main moves under it.
//! Never begins before nothing can go wrong any more, never touches a copy whose main did not move.
//!
//! `receive.denyCurrentBranch=updateInstead` changes the files before the ref: whoever loses the race for the
//! ref has changed them for nothing. Here the index lock of the copy, which every git command that changes a
//! copy takes, is held from the look at the copy until its files are as main is.

use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::path::PathBuf;

use crate::domain::id::Sha;

use super::command::{Git, WORKING};
use super::error::GitError;
use super::repository::Repository;
use super::working_copy::Copy;

/// What our lock file begins with; old and new head follow.
const MARK: &str = "orch";

/// Whether a copy could be held still.
pub(super) enum Hold {
    /// It is, and can be taken along.
    Held(HeldCopy),
    /// Something is in the way there.
    Occupied { reason: String },
}

/// A copy in which no git command of anybody else changes anything while this lives.
pub(super) struct HeldCopy {
    copy: Copy,
    old: Sha,
    new: Sha,
    /// Its advisory lock ends with this process: so a dead holder is told from a live one.
    lock: File,
}

impl Repository {
    /// Holds a copy still and makes sure that it can go from `old` to `new`. Changes no file in it.
    pub(super) fn hold(&self, copy: Copy, old: &Sha, new: &Sha) -> Result<Hold, GitError> {
        let at = format!("{} is checked out in {}", self.main(), copy.path.display());
        let Some(lock) = take_lock(&copy, old, new)? else {
            return Ok(Hold::Occupied {
                reason: format!("{at}: git is at work there (index.lock)"),
            });
        };
        let held = HeldCopy {
            copy,
            old: old.clone(),
            new: new.clone(),
            lock,
        };
        if let Some(what) = self.obstacle(&held.copy, old, new)? {
            return Ok(Hold::Occupied {
                reason: format!("{at}: {what}"),
            });
        }
        // The candidate's objects are asked for here; at origin they may arrive only with the push.
        match held.copy.rehearse(&held.lock, self, old, new) {
            Ok(()) => Ok(Hold::Held(held)),
            Err(GitError::Failed { stderr, .. }) => Ok(Hold::Occupied {
                reason: format!("{at}: {stderr}"),
            }),
            Err(error) => Err(error),
        }
    }

    /// Brings along a copy whose holder died after main had moved, or lets it go when main had not. Answers why the
    /// files could not follow.
    pub(super) fn finish_interrupted(&self, copy: &Copy) -> Result<Option<String>, GitError> {
        let path = copy.lock_path();
        let Ok(lock) = File::open(&path) else {
            return Ok(None);
        };
        let text = fs::read_to_string(&path).unwrap_or_default();
        let mut words = text.split_whitespace();
        let (Some(MARK), Some(old), Some(new)) = (words.next(), words.next(), words.next()) else {
            return Ok(None);
        };
        let (Ok(old), Ok(new), Ok(())) = (Sha::parse(old), Sha::parse(new), lock.try_lock()) else {
            return Ok(None);
        };
        let moved = self.head_in(&copy.admin)?.as_ref() == Some(&new);
        // Files that the dead holder had written already stop it: then the person has to look.
        let result = match moved {
            true if copy.place_finished(&new)? => Ok(()),
            true => copy.apply(&lock, &old, &new),
            false => Ok(()),
        };
        drop(fs::remove_file(&path));
        match result {
            Ok(()) => Ok(None),
            Err(GitError::Failed { stderr, .. }) => Ok(Some(stderr)),
            Err(error) => Err(error),
        }
    }
}

impl HeldCopy {
    /// Makes the files what main is now.
    pub(super) fn take_along(self) -> Result<(), GitError> {
        self.copy.apply(&self.lock, &self.old, &self.new)
    }
}

impl Drop for HeldCopy {
    fn drop(&mut self) {
        drop(fs::remove_file(self.copy.aside()));
        drop(fs::remove_file(self.copy.lock_path()));
    }
}

impl Copy {
    fn lock_path(&self) -> PathBuf {
        self.admin.join("index.lock")
    }

    fn aside(&self) -> PathBuf {
        self.admin.join("orch-index")
    }

    /// A call that works on a copy of the index, since the index itself is locked.
    fn git(&self, what: &'static str) -> Git {
        let git = Git::new(what).worktree(&self.path, &self.admin).timeout(WORKING);
        git.env("GIT_INDEX_FILE", self.aside())
    }

    fn prepare(&self) -> Result<(), GitError> {
        let copied = fs::copy(self.admin.join("index"), self.aside());
        copied.map_err(GitError::io(format!(
            "copying the index of {}",
            self.path.display()
        )))?;
        self.git("update-index").args(["-q", "--refresh"]).run().map(drop)
    }

    fn rehearse(&self, lock: &File, repository: &Repository, old: &Sha, new: &Sha) -> Result<(), GitError> {
        self.prepare()?;
        let objects = repository.bare().join("objects");
        let git = self
            .git("read-tree")
            .env("GIT_ALTERNATE_OBJECT_DIRECTORIES", objects);
        git.holding(lock)?
            .args(["-n", "-m", "-u", old.as_str(), new.as_str()])
            .ok()
            .map(drop)
    }

    /// Whether its index is that of `old`, and not that of its own head.
    pub(super) fn shows(&self, old: &Sha) -> Result<bool, GitError> {
        let is = |commit: &str| {
            let git = Git::new("diff-index").worktree(&self.path, &self.admin);
            let git = git.timeout(WORKING).args(["--cached", "--quiet", commit, "--"]);
            Ok::<_, GitError>(git.run()?.code == Some(0))
        };
        Ok(is(old.as_str())? && !is("HEAD")?)
    }

    /// What the dead holder's git had finished writing, after it or while we waited for its lock.
    fn place_finished(&self, new: &Sha) -> Result<bool, GitError> {
        if !self.aside().exists() {
            return Ok(false);
        }
        let same = self
            .git("diff-index")
            .args(["--cached", "--quiet", new.as_str(), "--"]);
        let clean = self.git("diff-files").arg("--quiet");
        let finished = same.run()?.code == Some(0) && clean.run()?.code == Some(0);
        if finished {
            self.place()?;
        }
        Ok(finished)
    }

    fn apply(&self, lock: &File, old: &Sha, new: &Sha) -> Result<(), GitError> {
        self.prepare()?;
        self.git("read-tree")
            .holding(lock)?
            .args(["-m", "-u", old.as_str(), new.as_str()])
            .ok()?;
        self.place()
    }

    fn place(&self) -> Result<(), GitError> {
        let index = self.admin.join("index");
        let placed = deed!("take a working copy along", fs::rename(self.aside(), index));
        placed.map_err(GitError::io(format!(
            "placing the index of {}",
            self.path.display()
        )))
    }
}

/// Takes the lock that git itself would take; none when somebody else has it.
fn take_lock(copy: &Copy, old: &Sha, new: &Sha) -> Result<Option<File>, GitError> {
    let path = copy.lock_path();
    let failed = |source| GitError::io(format!("locking {}", path.display()))(source);
    let mut lock = match File::create_new(&path) {
        Ok(lock) => lock,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    // In this order: a lock file without a mark is nobody's to break.
    let marked = lock.lock().and_then(|()| writeln!(lock, "{MARK} {old} {new}"));
    match marked {
        Ok(()) => Ok(Some(lock)),
        Err(error) => {
            drop(fs::remove_file(&path));
            Err(failed(error))
        }
    }
}
