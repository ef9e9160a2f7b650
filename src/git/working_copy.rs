//! Looks at the working copies of people: may a merge take one along?
//! Never writes there, not even a refreshed index.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use crate::domain::id::Sha;

use super::command::{Git, WORKING};
use super::error::GitError;
use super::origin::Origin;
use super::repository::Repository;

/// Where main is checked out at an origin on this machine.
#[derive(Debug)]
pub(super) enum Place {
    /// Nowhere.
    Nowhere,
    /// In one copy.
    Copy(Copy),
    /// Where it cannot be taken along.
    Occupied { reason: String },
}

/// A person's working copy.
#[derive(Debug)]
pub(super) struct Copy {
    pub(super) path: PathBuf,
    /// Where its index is.
    pub(super) admin: PathBuf,
}

/// A path that the merge would change.
struct Change {
    added: bool,
    deleted: bool,
    path: Vec<u8>,
}

impl Repository {
    pub(super) fn place_of_main(&self) -> Result<Place, GitError> {
        let Origin::Path(common) = self.origin() else {
            return Ok(Place::Nowhere);
        };
        let (main, full) = (self.main(), format!("refs/heads/{}", self.main()));
        if let Some(reason) = in_progress(common, &full) {
            return Ok(Place::Occupied { reason });
        }
        let listed = Git::new("worktree")
            .git_dir(common)
            .args(["list", "--porcelain", "-z"])
            .ok()?;
        let mut holders = holders(&listed.stdout, &full);
        let Some(path) = holders.pop() else {
            return Ok(Place::Nowhere);
        };
        if !holders.is_empty() {
            return Ok(Place::Occupied {
                reason: format!("{main} is checked out in several places"),
            });
        }
        if !path.is_dir() {
            let what = "which is gone; run `git worktree prune` in the repository";
            let reason = format!("{main} is checked out in {}, {what}", path.display());
            return Ok(Place::Occupied { reason });
        }
        let found = Git::new("rev-parse").at(&path).arg("--absolute-git-dir").ok()?;
        Ok(Place::Copy(Copy {
            path,
            admin: PathBuf::from(found.text()),
        }))
    }

    /// What would be lost or confused if this copy went from `old` to `new`.
    pub(super) fn obstacle(&self, copy: &Copy, old: &Sha, new: &Sha) -> Result<Option<String>, GitError> {
        let states = ["MERGE_HEAD", "CHERRY_PICK_HEAD", "REVERT_HEAD", "sequencer"];
        if let Some(state) = states.iter().find(|s| copy.admin.join(s).exists()) {
            return Ok(Some(format!("git is in the middle of something ({state})")));
        }
        let read_only = |what| {
            let git = Git::new(what).worktree(&copy.path, &copy.admin);
            git.env("GIT_OPTIONAL_LOCKS", "0").timeout(WORKING)
        };
        let status = read_only("status").args(["--porcelain=v2", "--branch", "-z", "--no-renames"]);
        let status = status
            .args(["--untracked-files=no", "--ignore-submodules=all"])
            .ok()?
            .stdout;
        let (heads, dirty): (Vec<&[u8]>, Vec<&[u8]>) = status
            .split(|b| *b == 0)
            .filter(|e| !e.is_empty())
            .partition(|e| e[0] == b'#');
        let is_there = |line: String| heads.contains(&line.as_bytes());
        if !is_there(format!("# branch.oid {old}")) || !is_there(format!("# branch.head {}", self.main())) {
            return Ok(Some("it has just moved".into()));
        }
        if let Some(first) = dirty.first() {
            let fields = if first[0] == b'u' { 11 } else { 9 };
            let path = first.splitn(fields, |b| *b == b' ').last().unwrap_or_default();
            let more = dirty.len() - 1;
            let others = if more > 0 {
                format!(" and {more} more")
            } else {
                String::new()
            };
            return Ok(Some(format!("uncommitted changes in {}{others}", shown(path))));
        }
        let changes = self.changes(old, new)?;
        // Files that git was told not to look at are not seen as changed, and would be overwritten.
        let index = read_only("ls-files").args(["-v", "-z"]).ok()?.stdout;
        let unwatched = unwatched(&copy.path, &index);
        if let Some(change) = changes.iter().find(|c| unwatched.contains(c.path.as_slice())) {
            return Ok(Some(format!("{} is hidden from git", shown(&change.path))));
        }
        let in_the_way = untracked_in_the_way(&copy.path, &changes);
        Ok(in_the_way.map(|path| format!("the untracked {} would be overwritten", path.display())))
    }

    fn changes(&self, old: &Sha, new: &Sha) -> Result<Vec<Change>, GitError> {
        let git = self
            .git("diff-tree")
            .args(["-r", "-z", "--no-renames", "--name-status"]);
        let stdout = git
            .args([old.as_str(), new.as_str(), "--"])
            .timeout(WORKING)
            .ok()?
            .stdout;
        let mut parts = stdout.split(|b| *b == 0);
        let mut changes = Vec::new();
        while let (Some(status), Some(path)) = (parts.next(), parts.next()) {
            let (added, deleted) = (status == b"A", status == b"D");
            changes.push(Change {
                added,
                deleted,
                path: path.to_vec(),
            });
        }
        Ok(changes)
    }
}

/// The folders in which a branch is checked out.
fn holders(listed: &[u8], full: &str) -> Vec<PathBuf> {
    let mut holders = Vec::new();
    let mut folder = None;
    for field in listed.split(|b| *b == 0) {
        if let Some(path) = field.strip_prefix(b"worktree ") {
            folder = Some(as_path(path));
        } else if field.strip_prefix(b"branch ") == Some(full.as_bytes()) {
            holders.extend(folder.take());
        }
    }
    holders
}

/// A rebase or bisect that will come back to this branch. Git calls such a worktree detached.
fn in_progress(common: &Path, full: &str) -> Option<String> {
    let linked = fs::read_dir(common.join("worktrees"))
        .into_iter()
        .flatten()
        .flatten()
        .map(|e| e.path());
    let short = full.trim_start_matches("refs/heads/");
    let names = |file: PathBuf| {
        let text = fs::read_to_string(file).unwrap_or_default();
        [full, short].contains(&text.trim())
    };
    std::iter::once(common.to_owned())
        .chain(linked)
        .find_map(|admin| {
            let rebase = ["rebase-merge/head-name", "rebase-apply/head-name"];
            if rebase.iter().any(|f| names(admin.join(f))) {
                Some(format!("a rebase of {short} is under way ({})", admin.display()))
            } else if names(admin.join("BISECT_START")) {
                Some(format!("a bisect of {short} is under way ({})", admin.display()))
            } else {
                None
            }
        })
}

/// Tracked files marked as assumed unchanged, or as outside the sparse checkout although they are there.
fn unwatched<'a>(copy: &Path, index: &'a [u8]) -> HashSet<&'a [u8]> {
    let entries = index.split(|b| *b == 0);
    let flagged = entries.filter_map(|entry| match entry {
        [b'S', b' ', path @ ..] if fs::symlink_metadata(copy.join(as_path(path))).is_ok() => Some(path),
        [tag, b' ', path @ ..] if tag.is_ascii_lowercase() => Some(path),
        _ => None,
    });
    flagged.collect()
}

/// Git protects untracked files but counts ignored ones (`.env`) as expendable: here they are not.
fn untracked_in_the_way(copy: &Path, changes: &[Change]) -> Option<PathBuf> {
    let removed: HashSet<&[u8]> = changes
        .iter()
        .filter(|c| c.deleted)
        .map(|c| c.path.as_slice())
        .collect();
    for change in changes.iter().filter(|c| c.added) {
        let slashes = change
            .path
            .iter()
            .enumerate()
            .filter(|(_, b)| **b == b'/')
            .map(|(at, _)| at);
        for end in slashes.chain([change.path.len()]) {
            let part = &change.path[..end];
            let Ok(meta) = fs::symlink_metadata(copy.join(as_path(part))) else {
                break;
            };
            let is_last = end == change.path.len();
            let blocked = match (meta.is_dir(), is_last) {
                (true, false) => None,
                (true, true) => foreign_file(copy, part, &removed),
                (false, _) if removed.contains(part) => break,
                (false, _) => Some(as_path(part)),
            };
            if blocked.is_some() {
                return blocked;
            }
        }
    }
    None
}

/// A file below a folder that goes away, which is not one of those that go with it.
fn foreign_file(copy: &Path, folder: &[u8], removed: &HashSet<&[u8]>) -> Option<PathBuf> {
    for entry in fs::read_dir(copy.join(as_path(folder))).ok()?.flatten() {
        let mut path = folder.to_vec();
        path.push(b'/');
        path.extend(entry.file_name().as_bytes());
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        let foreign = if is_folder {
            foreign_file(copy, &path, removed)
        } else {
            None
        };
        if foreign.is_some() || (!is_folder && !removed.contains(path.as_slice())) {
            return foreign.or_else(|| Some(as_path(&path)));
        }
    }
    None
}

fn as_path(bytes: &[u8]) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(bytes))
}

fn shown(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}
