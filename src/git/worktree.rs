//! Worktrees of the clone: prepared with a detached HEAD, listed, taken down.
//! Never trusts the `.git` inside one: an agent may have removed or replaced it.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::domain::id::Sha;

use super::command::{Git, WORKING};
use super::error::GitError;
use super::origin::Origin;
use super::repository::Repository;

/// A registered worktree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Worktree {
    /// Its folder; it may be gone.
    pub path: PathBuf,
    /// What is checked out; none on an unborn branch or when its administration is damaged.
    pub head: Option<Sha>,
}

/// A worktree found by its administration instead of by its `.git`.
pub(super) struct Checkout {
    pub(super) path: PathBuf,
    pub(super) admin: PathBuf,
}

impl Checkout {
    pub(super) fn git(&self, what: &'static str) -> Git {
        Git::new(what).worktree(&self.path, &self.admin)
    }
}

impl Repository {
    /// Checks a commit out at `path` with a detached HEAD. What was there is removed first.
    pub fn prepare_worktree(&self, path: &Path, at: &Sha) -> Result<(), GitError> {
        self.clear_for(path)?;
        self.add_worktree(path, at)
    }

    pub(super) fn clear_for(&self, path: &Path) -> Result<(), GitError> {
        self.remove_worktree(path)?;
        self.pin_config()?;
        self.stow_stray_branches()?;
        match path.parent() {
            Some(parent) => {
                fs::create_dir_all(parent).map_err(GitError::io(format!("making {}", parent.display())))
            }
            None => Ok(()),
        }
    }

    fn add_worktree(&self, path: &Path, at: &Sha) -> Result<(), GitError> {
        let _alone = self.adding();
        let git = self.git("worktree").timeout(WORKING);
        let git = git.args(["add", "--quiet", "--force", "--detach", "--"]);
        let outcome = git.arg(absolute(path)?).arg(at.as_str()).run();
        match outcome {
            Ok(output) if output.code == Some(0) => Ok(()),
            Ok(output) => {
                self.remove_worktree(path)?;
                Err(self.blame("worktree add", at.as_str(), &output))
            }
            Err(error) => {
                self.remove_worktree(path)?;
                Err(error)
            }
        }
    }

    /// Removes a worktree with everything in it. One that is missing, half removed or locked is no error.
    pub fn remove_worktree(&self, path: &Path) -> Result<(), GitError> {
        let path = absolute(path)?;
        let holds = |inner: &Path| inner.starts_with(&path);
        let holds_origin = match &self.origin() {
            Origin::Path(origin) => holds(origin),
            Origin::Url(_) | Origin::Forge { .. } => false,
        };
        if holds(self.bare()) || holds_origin {
            let why = format!("{} is no worktree: it holds a repository", path.display());
            return Err(GitError::Forbidden { why });
        }
        remove_tree(&path).map_err(GitError::io(format!("removing {}", path.display())))?;
        // The administration goes last: until then the folder can be found and removed again. Worktrees that an agent
        // made inside of its own went with it.
        while let Some(admin) = self
            .admin_dir(&path)
            .or_else(|| self.nested_in(&path).pop().map(|at| at.admin))
        {
            remove_tree(&admin).map_err(GitError::io(format!("removing {}", admin.display())))?;
        }
        Ok(())
    }

    /// All registered worktrees. No process is started.
    pub fn list_worktrees(&self) -> Result<Vec<Worktree>, GitError> {
        let mut found: Vec<Worktree> = self
            .admin_dirs()
            .map(|(admin, path)| Worktree {
                head: self.head_in(&admin).ok().flatten(),
                path,
            })
            .collect();
        found.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(found)
    }

    /// The commit that a worktree has checked out; none on an unborn branch.
    pub fn head_of(&self, worktree: &Path) -> Result<Option<Sha>, GitError> {
        self.head_in(&self.checkout(worktree)?.admin)
    }

    pub(super) fn checkout(&self, worktree: &Path) -> Result<Checkout, GitError> {
        let path = absolute(worktree)?;
        let admin = self.admin_dir(&path).filter(|_| path.is_dir());
        match admin {
            Some(admin) => Ok(Checkout { path, admin }),
            None => Err(GitError::WorktreeLost { path }),
        }
    }

    pub(super) fn head_in(&self, admin: &Path) -> Result<Option<Sha>, GitError> {
        let detached = fs::read_to_string(admin.join("HEAD")).ok();
        if let Some(sha) = detached.and_then(|text| Sha::parse(text.trim()).ok()) {
            return Ok(Some(sha));
        }
        let git = Git::new("rev-parse").git_dir(admin);
        let output = git.args(["--quiet", "--verify", "HEAD^{commit}"]).run()?;
        Ok(Sha::parse(&output.text()).ok())
    }

    /// Folder and administration of each worktree.
    fn admin_dirs(&self) -> impl Iterator<Item = (PathBuf, PathBuf)> {
        let entries = fs::read_dir(self.bare().join("worktrees"))
            .into_iter()
            .flatten()
            .flatten();
        entries.filter_map(|entry| {
            let admin = entry.path();
            let gitdir = fs::read(admin.join("gitdir")).ok()?;
            let gitdir = String::from_utf8_lossy(&gitdir).trim_end().to_owned();
            // Newer versions of git may write it relative to the administration.
            let path = admin.join(gitdir).parent()?.to_owned();
            Some((admin, path))
        })
    }

    /// Worktrees of this clone that lie inside of another.
    pub(super) fn nested_in(&self, path: &Path) -> Vec<Checkout> {
        let real = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let is_in = |inner: &Path| {
            [path, &real]
                .iter()
                .any(|outer| inner != *outer && inner.starts_with(outer))
        };
        let found = self.admin_dirs().filter(|(_, inner)| is_in(inner));
        found.map(|(admin, path)| Checkout { path, admin }).collect()
    }

    pub(super) fn admin_dir(&self, path: &Path) -> Option<PathBuf> {
        let real = path.parent().and_then(|p| fs::canonicalize(p).ok());
        let real = real.and_then(|parent| Some(parent.join(path.file_name()?)));
        let is_it = |candidate: &Path| candidate == path || Some(candidate) == real.as_deref();
        self.admin_dirs()
            .find(|(_, found)| is_it(found))
            .map(|(admin, _)| admin)
    }

    /// Puts branches that agents of earlier runs made in the shared clone under `refs/orch/stray/`, where
    /// their commits are kept but the next agent's `git checkout -b` does not trip over them.
    fn stow_stray_branches(&self) -> Result<(), GitError> {
        let loose = fs::read_dir(self.bare().join("refs/heads")).is_ok_and(|mut e| e.next().is_some());
        let packed = || fs::read(self.bare().join("packed-refs")).unwrap_or_default();
        let is_head = |line: &[u8]| line.windows(12).any(|w| w == b" refs/heads/");
        if !loose && !packed().split(|b| *b == b'\n').any(is_head) {
            return Ok(());
        }
        let format = "--format=%(objectname) %(refname:lstrip=2) %(worktreepath)";
        let listed = self.git("for-each-ref").args([format, "refs/heads"]).ok()?.text();
        let git = self
            .git("for-each-ref")
            .arg("--format=%(refname:lstrip=3) %(objectname)");
        let there = git.arg("refs/orch/stray").ok()?.text();
        let mut taken: BTreeMap<String, String> = there
            .lines()
            .filter_map(|line| line.split_once(' '))
            .map(|(name, sha)| (name.to_owned(), sha.to_owned()))
            .collect();
        let mut moves = String::new();
        for line in listed.lines() {
            let mut words = line.splitn(3, ' ');
            let (Some(sha), Some(name)) = (words.next(), words.next()) else {
                continue;
            };
            if words.next().is_none_or(str::is_empty) {
                // Flat, so that no name can stand in another's way; and not in the place of an earlier agent's.
                let mut flat = name.replace('/', "%");
                if taken.get(&flat).is_some_and(|there| there != sha) {
                    flat = format!("{flat}@{}", sha.get(..10).unwrap_or(sha));
                }
                moves.push_str(&format!("update refs/orch/stray/{flat} {sha}\n"));
                moves.push_str(&format!("delete refs/heads/{name} {sha}\n"));
                taken.insert(flat, sha.to_owned());
            }
        }
        if moves.is_empty() {
            return Ok(());
        }
        // An agent at work may hold a lock just now; the branches can wait for the next run.
        let git = self.git("update-ref").args(["--no-deref", "--stdin"]);
        git.input(moves.into_bytes()).run().map(drop)
    }
}

pub(super) fn absolute(path: &Path) -> Result<PathBuf, GitError> {
    std::path::absolute(path).map_err(GitError::io(format!("finding {}", path.display())))
}

/// Removes a folder even when it holds folders without write permission, as module caches do.
fn remove_tree(path: &Path) -> io::Result<()> {
    let attempt = |path: &Path| match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() => deed!("remove a worktree", fs::remove_dir_all(path)),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    let mut result = attempt(path);
    if matches!(&result, Err(e) if e.kind() == io::ErrorKind::PermissionDenied) {
        make_removable(path);
        result = attempt(path);
    }
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn make_removable(path: &Path) {
    let is_folder = fs::symlink_metadata(path).is_ok_and(|m| m.is_dir());
    if is_folder {
        drop(fs::set_permissions(path, fs::Permissions::from_mode(0o700)));
        for entry in fs::read_dir(path).into_iter().flatten().flatten() {
            make_removable(&entry.path());
        }
    }
}
