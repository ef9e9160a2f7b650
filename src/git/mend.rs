//! Mends a clone in which an agent destroyed something: what origin has is fetched again, a worktree that lost its
//! administration is registered again.
//! Never gives up kept work, and never changes a file that an agent wrote.

use std::fs;
use std::path::Path;

use crate::domain::id::{BranchName, Sha};

use super::command::{CLONING, Git};
use super::error::GitError;
use super::repository::{Refs, Repository};
use super::upkeep::unique;
use super::worktree::absolute;

/// What git says when objects are gone that it relies on.
pub(super) fn is_damage(stderr: &str) -> bool {
    [
        "bad object",
        "did not send all necessary objects",
        "unable to read",
        "is corrupt",
    ]
    .iter()
    .any(|sign| stderr.contains(sign))
}

impl Repository {
    /// Fetches all of origin again as if nothing of it were here: an agent may have pruned what another one had
    /// just committed. Remembered heads whose commit is gone are forgotten first, or git stumbles over them.
    /// The caller sees to it that nobody else fetches.
    pub(super) fn refetch(&self) -> Result<(), GitError> {
        self.forget_broken_heads()?;
        let git = self.fetch_call().timeout(CLONING).arg("--refetch");
        let output = git.args(FETCHED).run()?;
        if output.code == Some(0) {
            return Ok(());
        }
        match self.origin().explain("fetch", &output) {
            GitError::Failed { stderr, .. } if is_damage(&stderr) => Err(GitError::DamagedClone {
                path: self.bare().to_owned(),
                why: stderr.lines().next().unwrap_or_default().to_owned(),
            }),
            other => Err(other),
        }
    }

    fn forget_broken_heads(&self) -> Result<(), GitError> {
        let heads = self.fetched()?;
        let mut forget = String::new();
        for (name, sha) in heads.iter() {
            if self.missing(&[sha])?.is_some() {
                forget.push_str(&format!("delete refs/remotes/origin/{name}\n"));
            }
        }
        if !forget.is_empty() {
            let git = self.git("update-ref").args(["--no-deref", "--stdin"]);
            git.input(forget.into_bytes()).ok()?;
        }
        self.remove_unreadable(&heads);
        Ok(())
    }

    /// A remembered head that is no ref any more is not even listed, and still in the way.
    fn remove_unreadable(&self, readable: &Refs) {
        let root = self.bare().join("refs/remotes/origin");
        let mut folders = vec![root.clone()];
        while let Some(folder) = folders.pop() {
            for path in fs::read_dir(&folder)
                .into_iter()
                .flatten()
                .flatten()
                .map(|e| e.path())
            {
                let name = path.strip_prefix(&root).ok().and_then(Path::to_str);
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|e| e == "lock") {
                    // Somebody is at work there.
                } else if name.is_none_or(|name| readable.get(&BranchName::trusted(name)).is_none()) {
                    drop(fs::remove_file(path));
                }
            }
        }
    }

    /// Registers a folder again that is no worktree any more, or whose HEAD cannot be read, but still holds what an
    /// agent wrote: as checked out from `at`. Its index is made anew by whoever stages next.
    pub fn readopt_worktree(&self, path: &Path, at: &Sha) -> Result<(), GitError> {
        let path = absolute(path)?;
        if !path.is_dir() {
            return Err(GitError::WorktreeLost { path });
        }
        self.ensure_commits(&[at])?;
        let head = format!("{at}\n");
        let written = match self.admin_dir(&path) {
            Some(admin) => fs::write(admin.join("HEAD"), head),
            None => {
                let admin = self.bare().join("worktrees").join(format!("again-{}", unique()));
                fs::create_dir_all(&admin)
                    .and_then(|()| fs::write(admin.join("HEAD"), head))
                    .and_then(|()| fs::write(admin.join("commondir"), "../..\n"))
                    // Last: by this one it is found.
                    .and_then(|()| {
                        fs::write(admin.join("gitdir"), format!("{}\n", path.join(".git").display()))
                    })
            }
        };
        written.map_err(GitError::io(format!("registering {}", path.display())))
    }

    /// True when a folder's HEAD names nothing that is here, as a power cut may leave it.
    pub fn is_beheaded(&self, path: &Path) -> bool {
        match self.head_of(path) {
            Ok(Some(head)) => self.missing(&[&head]).is_ok_and(|missing| missing.is_some()),
            // An agent's unborn branch is a HEAD that can be read.
            Ok(None) => self.admin_dir(path).is_some_and(|admin| {
                !fs::read_to_string(admin.join("HEAD")).is_ok_and(|text| text.starts_with("ref: refs/"))
            }),
            Err(_) => false,
        }
    }

    /// A fetch that is not told yet what to bring.
    pub(super) fn fetch_call(&self) -> Git {
        self.git("fetch").config(self.address()).args([
            "--quiet",
            "--prune",
            "--no-write-fetch-head",
            "--no-recurse-submodules",
        ])
    }
}

/// What a fetch brings, and where it is put.
pub(super) const FETCHED: [&str; 2] = ["origin", "+refs/heads/*:refs/remotes/origin/*"];
