//! Reads branch heads out of a repository's own files, in the order in which git reads them: a loose ref counts
//! before a packed one. Starts no process. Never writes, and gives up where git alone can tell.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use crate::domain::id::Sha;

/// Git searches a larger file faster than it is read here.
const PACKED_LIMIT: u64 = 2 << 20;

/// What the files say of a ref.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// It points here.
    At(Sha),
    /// There is none of that name.
    Absent,
    /// Only git can tell: a symbolic ref, another storage, a file that cannot be read.
    Unclear,
}

/// Looks up a full ref (`refs/heads/main`) in the repository with this common directory.
pub(super) fn find(common: &Path, full: &str) -> Found {
    // Refs of linked worktrees and of other storages are kept elsewhere.
    if !full.starts_with("refs/") || common.join("reftable").exists() {
        return Found::Unclear;
    }
    match fs::read(common.join(full)) {
        Ok(text) => sha(&text).map_or(Found::Unclear, Found::At),
        // Git packs a ref before it removes the loose one, so what is in neither place does not exist.
        Err(e) if is_absent(&e) => packed(common, full),
        Err(_) => Found::Unclear,
    }
}

fn packed(common: &Path, full: &str) -> Found {
    let path = common.join("packed-refs");
    if fs::metadata(&path).is_ok_and(|m| m.len() > PACKED_LIMIT) {
        return Found::Unclear;
    }
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(e) if is_absent(&e) => Vec::new(),
        Err(_) => return Found::Unclear,
    };
    let named = |line: &&[u8]| {
        line.strip_suffix(full.as_bytes())
            .is_some_and(|rest| rest.ends_with(b" "))
    };
    match text.split(|b| *b == b'\n').find(named) {
        Some(line) => {
            let end = line.iter().position(|b| *b == b' ').unwrap_or(0);
            sha(&line[..end]).map_or(Found::Unclear, Found::At)
        }
        // It may have been made after we looked for the loose one, as any answer may be old when it arrives;
        // a repository without both has another layout than the one read here.
        None if common.join("refs").is_dir() => Found::Absent,
        None => Found::Unclear,
    }
}

fn sha(text: &[u8]) -> Option<Sha> {
    let text = std::str::from_utf8(text).ok()?;
    Sha::parse(text.strip_suffix('\n').unwrap_or(text)).ok()
}

/// `ENOTDIR`: a part of the name is a ref itself. `EISDIR`: other refs are below the name.
fn is_absent(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::IsADirectory
    )
}
