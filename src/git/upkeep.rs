//! Makes the clone, and keeps it in order whatever agents and crashes leave in it.
//! Never removes a ref, or an object that holds anything.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::command::{CLONING, Git, WORKING};
use super::error::GitError;
use super::origin::secret_config;
use super::repository::{Refs, Repository};

/// Where an agent's own `git push` ends: Orch alone pushes, and only for a run that still holds its claim.
pub(super) const AGENTS_DO_NOT_PUSH: &str = "only-orch-pushes://origin";
/// No call of ours holds a lock for longer than an instant; one this old was left by a killed process.
const LOCK_IS_STALE: Duration = Duration::from_secs(60);

impl Repository {
    /// Clones beside the final place and moves the result there.
    pub(super) fn clone_aside(&self) -> Result<(), GitError> {
        let (Some(parent), Some(name)) = (self.bare().parent(), self.bare().file_name()) else {
            return Err(GitError::Forbidden {
                why: "the root folder cannot hold a clone".into(),
            });
        };
        fs::create_dir_all(parent).map_err(GitError::io(format!("making {}", parent.display())))?;
        let prefix = format!(".{}.cloning.", name.to_string_lossy());
        sweep_interrupted(parent, &prefix);
        let aside = parent.join(prefix + &unique());
        let done = self.clone_into(&aside).and_then(|()| {
            match deed!("place a clone", fs::rename(&aside, self.bare())) {
                // Somebody else was faster; theirs is as good.
                Err(_) if self.bare().join("HEAD").exists() => Ok(()),
                result => result.map_err(GitError::io(format!("placing {}", self.bare().display()))),
            }
        });
        drop(fs::remove_dir_all(&aside));
        done
    }

    fn clone_into(&self, aside: &Path) -> Result<(), GitError> {
        let git = Git::new("clone")
            .config(secret_config(self.origin()))
            .timeout(CLONING);
        let git = git.args(["--quiet", "--bare", "--template=", "--"]);
        let output = git.arg(self.origin().shown()).arg(aside).run()?;
        if output.code != Some(0) {
            return Err(self.origin().explain("clone", &output));
        }
        let git = Git::new("for-each-ref")
            .git_dir(aside)
            .arg("--format=%(objectname) %(refname)");
        let heads = Refs::parse(&git.arg("refs/heads").ok()?.text(), "refs/heads/");
        let moves = heads.iter().map(|(name, sha)| {
            format!("create refs/remotes/origin/{name} {sha}\ndelete refs/heads/{name} {sha}\n")
        });
        let moves: String = moves.collect();
        let git = Git::new("update-ref")
            .git_dir(aside)
            .args(["--no-deref", "--stdin"]);
        git.input(moves.into_bytes()).timeout(WORKING).ok().map(drop)
    }

    /// Puts the clone's configuration back to what Orch wants: agents can write it from their worktrees.
    pub(super) fn pin_config(&self) -> Result<(), GitError> {
        let path = self.bare().join("config");
        let found = fs::read_to_string(&path).unwrap_or_default();
        let sha256 = found.to_ascii_lowercase().contains("objectformat = sha256");
        let url = quoted(&self.origin().shown());
        let (version, format) = if sha256 {
            (1, "[extensions]\n\tobjectFormat = sha256\n")
        } else {
            (0, "")
        };
        let wanted = format!(
            "# Written by Orch, and put back when changed.\n[core]\n\trepositoryformatversion = {version}\n\
             \tfilemode = true\n\tbare = true\n{format}[remote \"origin\"]\n\turl = {url}\n\
             \tpushurl = {AGENTS_DO_NOT_PUSH}\n\tfetch = +refs/heads/*:refs/remotes/origin/*\n\
             [gc]\n\tauto = 0\n[maintenance]\n\tauto = false\n"
        );
        if found == wanted {
            return Ok(());
        }
        if !self.bare().join("objects").is_dir() {
            let why = "it has no objects".to_owned();
            return Err(GitError::DamagedClone {
                path: self.bare().to_owned(),
                why,
            });
        }
        let aside = self.bare().join(format!("config.{}", unique()));
        let written = fs::write(&aside, wanted).and_then(|()| fs::rename(&aside, &path));
        written.map_err(GitError::io(format!("writing {}", path.display())))
    }

    /// Removes files for objects that a power cut left empty: git believes that it has what they are named after, and
    /// does not write it again. Answers how many there were.
    pub(super) fn remove_empty_objects(&self) -> usize {
        let folders = fs::read_dir(self.bare().join("objects"))
            .into_iter()
            .flatten()
            .flatten();
        let files = folders
            .filter(|folder| folder.file_name().len() == 2)
            .flat_map(|folder| fs::read_dir(folder.path()).into_iter().flatten().flatten());
        let is_empty = |file: &fs::DirEntry| file.metadata().is_ok_and(|m| m.is_file() && m.len() == 0);
        files
            .filter(|file| is_empty(file) && fs::remove_file(file.path()).is_ok())
            .count()
    }

    /// Removes lock files that a killed process left, or nothing could be fetched any more.
    pub(super) fn clear_stale_locks(&self) {
        // A file made now tells the time by the file system's own clock.
        let probe = self.bare().join(format!("now.{}", unique()));
        let now = fs::write(&probe, "").and_then(|()| fs::metadata(&probe)?.modified());
        drop(fs::remove_file(&probe));
        let Ok(now) = now else { return };
        let is_stale = |path: &Path| {
            let modified = fs::symlink_metadata(path).and_then(|m| m.modified());
            modified.is_ok_and(|at| now.duration_since(at).is_ok_and(|age| age > LOCK_IS_STALE))
        };
        let mut folders = vec![self.bare().to_owned(), self.bare().join("refs")];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
                let path = entry.path();
                if path.extension() == Some(OsStr::new("lock")) && path.is_file() {
                    if is_stale(&path) {
                        drop(fs::remove_file(&path));
                    }
                } else if folder != self.bare() && path.is_dir() {
                    folders.push(path);
                }
            }
        }
    }
}

/// For calls whose result the only other copy is removed after: git by itself leaves the disk its time.
pub(super) fn durably() -> Vec<(String, String)> {
    let entry = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    vec![
        entry("core.fsync", "objects,reference"),
        entry("core.fsyncMethod", "batch"),
    ]
}

/// A name part that no other call uses at the same time.
pub(super) fn unique() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("{}.{count}", std::process::id())
}

/// A value as git's configuration files want it.
fn quoted(value: &str) -> String {
    format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))
}

/// Removes what clones left that died with their process.
fn sweep_interrupted(parent: &Path, prefix: &str) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(rest) = name.strip_prefix(prefix) else {
            continue;
        };
        let owner = rest.split('.').next().unwrap_or_default();
        if !Path::new("/proc").join(owner).exists() {
            drop(fs::remove_dir_all(entry.path()));
        }
    }
}
