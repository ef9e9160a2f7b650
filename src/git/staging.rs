//! Takes everything uncommitted in a worktree into an index, whatever state the agent left it in.
//! Never commits, never moves HEAD.

use std::fs;
use std::path::{Path, PathBuf};

use crate::domain::id::Sha;

use super::command::{Git, Output, WORKING, failed};
use super::error::GitError;
use super::upkeep::{durably, unique};
use super::worktree::Checkout;

/// A repository inside a repository inside … : past this depth they are left out.
const DEPTH: usize = 5;

/// What was found and staged.
#[derive(Default)]
pub(super) struct Staged {
    /// What HEAD points to; none on an unborn branch.
    pub(super) head: Option<Sha>,
    /// True when something differs from HEAD.
    pub(super) dirty: bool,
    /// Files that git held as conflicted.
    pub(super) unmerged: Vec<String>,
    /// Nested repositories whose content is not taken.
    pub(super) left_out: Vec<String>,
    /// Submodules in which something was changed; of these only the link is taken.
    submodules: Vec<String>,
}

impl Staged {
    /// Folders of which an index holds at most a link.
    pub(super) fn nested(&self) -> Vec<String> {
        self.left_out.iter().chain(&self.submodules).cloned().collect()
    }
}

/// How thorough to be about single files that cannot be read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// Nothing is staged unless everything can be.
    Fail,
    /// What can be read is taken.
    Skip,
}

/// Stages everything that is not ignored, into the worktree's own index or into the one given.
///
/// Git takes a nested repository as a mere link to a commit that nobody else has, or fails over it. One
/// without a remote is a scaffold that the agent generated: its files are taken as files. One with a remote
/// was cloned to be looked at, and is left out.
pub(super) fn stage_everything(
    at: &Checkout,
    index: Option<&Path>,
    unreadable: Unreadable,
) -> Result<Staged, GitError> {
    match stage(at, index, unreadable) {
        // A killed agent may leave an index that cannot be read: it is made again from HEAD.
        Err(GitError::Failed { stderr, .. }) if is_broken_index(&stderr) => {
            let own = at.admin.join("index");
            drop(fs::remove_file(index.unwrap_or(&own)));
            on(at, index, "read-tree").arg("HEAD").ok()?;
            stage(at, index, unreadable)
        }
        other => other,
    }
}

/// Not one that could not be written ("unable to write new index file") or a file that was not taken ("unable to
/// index file"): those are about the disk.
fn is_broken_index(stderr: &str) -> bool {
    stderr.contains("index file") && !stderr.contains("nable to ")
}

fn on(at: &Checkout, index: Option<&Path>, what: &'static str) -> Git {
    let git = at.git(what).timeout(WORKING);
    match index {
        Some(index) => git.config(durably()).env("GIT_INDEX_FILE", index),
        None => git,
    }
}

fn stage(at: &Checkout, index: Option<&Path>, unreadable: Unreadable) -> Result<Staged, GitError> {
    let mut aside = Aside {
        admin: at.admin.clone(),
        moved: Vec::new(),
    };
    let mut staged = Staged::default();
    for depth in 0.. {
        let status = status(on(at, index, "status"), unreadable)?;
        staged.head = status.head;
        staged.unmerged = status.unmerged;
        staged.submodules = status.submodules;
        let news: Vec<&PathBuf> = status
            .nested
            .iter()
            .filter(|n| !staged.left_out.contains(&shown(n)))
            .collect();
        staged.dirty = status.dirty;
        if news.is_empty() {
            break;
        }
        for nested in news {
            let dot_git = at.path.join(nested).join(".git");
            if depth >= DEPTH || !is_scaffold(&dot_git) || !aside.take(&dot_git) {
                staged.left_out.push(shown(nested));
            }
        }
    }
    if staged.dirty {
        let added = add(on(at, index, "add"), &staged.left_out, unreadable)?;
        if let Some(complaint) = added {
            let left = status(on(at, index, "status"), unreadable)?.not_staged;
            if left
                .iter()
                .any(|path| is_readable(&at.path.join(path)) && !is_no_name(path, &complaint))
            {
                return Err(failed("add", &complaint));
            }
        }
    }
    Ok(staged)
}

/// Answers git's complaint when it did not take everything.
fn add(git: Git, left_out: &[String], unreadable: Unreadable) -> Result<Option<Output>, GitError> {
    let mut paths = b":(top)\0".to_vec();
    for path in left_out {
        paths.extend(format!(":(top,exclude,literal){}\0", path).into_bytes());
    }
    let git = git
        .args(["--all", "--pathspec-from-file=-", "--pathspec-file-nul"])
        .input(paths);
    match unreadable {
        Unreadable::Fail => git.ok().map(|_| None),
        Unreadable::Skip => match git.arg("--ignore-errors").run()? {
            output if output.code == Some(0) => Ok(None),
            output if output.code == Some(1) => Ok(Some(output)),
            output => Err(failed("add", &output)),
        },
    }
}

/// Git gives the same exit code for a file that it cannot read and for an object that it cannot write.
fn is_readable(path: &Path) -> bool {
    match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_file() => fs::File::open(path).is_ok(),
        Ok(meta) => meta.is_symlink(),
        Err(_) => false,
    }
}

/// Names that git keeps out of every index, because on another system they would be `.git`.
fn is_no_name(path: &Path, complaint: &Output) -> bool {
    complaint
        .stderr
        .contains(&format!("invalid path '{}'", path.display()))
}

struct Status {
    head: Option<Sha>,
    dirty: bool,
    unmerged: Vec<String>,
    nested: Vec<PathBuf>,
    submodules: Vec<String>,
    /// Files whose content is not in the index.
    not_staged: Vec<PathBuf>,
}

fn status(git: Git, unreadable: Unreadable) -> Result<Status, GitError> {
    let git = git.args([
        "--porcelain=v2",
        "--branch",
        "-z",
        "--untracked-files=all",
        "--no-renames",
    ]);
    let output = match unreadable {
        Unreadable::Fail => git.arg("--ignore-submodules=dirty"),
        Unreadable::Skip => git.arg("--ignore-submodules=none"),
    }
    .ok()?;
    let mut status = Status {
        head: None,
        dirty: false,
        unmerged: Vec::new(),
        nested: Vec::new(),
        submodules: Vec::new(),
        not_staged: Vec::new(),
    };
    for entry in output.stdout.split(|b| *b == 0).filter(|e| !e.is_empty()) {
        match entry {
            [b'#', ..] => {
                let line = String::from_utf8_lossy(entry);
                if let Some(oid) = line.strip_prefix("# branch.oid ") {
                    status.head = Sha::parse(oid).ok();
                }
            }
            [b'?', b' ', path @ .., b'/'] => status.nested.push(as_path(path)),
            [b'u', ..] => {
                let path = entry.splitn(11, |b| *b == b' ').last().unwrap_or_default();
                status.unmerged.push(String::from_utf8_lossy(path).into_owned());
                status.dirty = true;
            }
            [b'?', b' ', path @ ..] => {
                status.not_staged.push(as_path(path));
                status.dirty = true;
            }
            // "1 <XY> <sub> <mH> <mI> <mW> <hH> <hI> <path>"
            [b'1', b' ', _, in_worktree, b' ', sub, ..] => {
                let path = entry.splitn(9, |b| *b == b' ').last().unwrap_or_default();
                if *sub == b'S' {
                    status.submodules.push(String::from_utf8_lossy(path).into_owned());
                } else if *in_worktree != b'.' {
                    status.not_staged.push(as_path(path));
                }
                status.dirty = true;
            }
            _ => status.dirty = true,
        }
    }
    Ok(status)
}

pub(super) fn as_path(bytes: &[u8]) -> PathBuf {
    use std::os::unix::ffi::OsStrExt as _;
    PathBuf::from(std::ffi::OsStr::from_bytes(bytes))
}

fn shown(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

pub(super) fn is_scaffold(dot_git: &Path) -> bool {
    // A `.git` that is a file belongs to a repository elsewhere.
    dot_git.is_dir()
        && fs::read(dot_git.join("config")).is_ok_and(|c| !String::from_utf8_lossy(&c).contains("[remote "))
}

/// Keeps the `.git` of nested repositories out of the way, and puts each back where it was.
struct Aside {
    admin: PathBuf,
    moved: Vec<(PathBuf, PathBuf)>,
}

impl Aside {
    fn take(&mut self, dot_git: &Path) -> bool {
        let shelter = self.admin.join(format!("nested-{}", unique()));
        let taken = deed!("shelter a nested repository", fs::rename(dot_git, &shelter)).is_ok();
        if taken {
            self.moved.push((shelter, dot_git.to_owned()));
        }
        taken
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        for (shelter, home) in self.moved.drain(..).rev() {
            drop(deed!("put a nested repository back", fs::rename(shelter, home)));
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn a_file_that_cannot_be_written_as_an_object_is_no_file_to_skip() {
        let room = tempfile::tempdir().unwrap();
        Git::new("init").at(room.path()).arg("--quiet").ok().unwrap();
        let at = Checkout {
            path: room.path().to_owned(),
            admin: room.path().join(".git"),
        };
        for name in ["fits", "does-not-fit", "git~1"] {
            fs::write(at.path.join(name), name).unwrap();
        }
        let blob = at.git("hash-object").arg("does-not-fit").ok().unwrap().text();
        let folder = at.admin.join("objects").join(&blob[..2]);
        // As without an inode left: git ends with the code that it has for a file it cannot read.
        fs::write(&folder, "").unwrap();
        let refused = stage_everything(&at, None, Unreadable::Skip).err().unwrap();
        assert!(refused.to_string().contains("insert into database"), "{refused}");
        fs::remove_file(&folder).unwrap();
        assert!(stage_everything(&at, None, Unreadable::Skip).unwrap().dirty);
        let taken = at.git("ls-files").ok().unwrap().text();
        assert_eq!(taken, "does-not-fit\nfits");
    }
}
