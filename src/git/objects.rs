//! Reads files, folders and code trees out of commits, many with one process.
//! Never reads a worktree, never follows a symlink, never takes in more than it was allowed.

use crate::domain::id::Sha;

use super::error::GitError;
use super::reader::{Borrowed, unexpected};
use super::repository::Repository;

/// The largest file that is read out of a commit, bytes.
pub const BLOB_LIMIT: u64 = 1 << 20;
const TREE_LIMIT: u64 = 64 << 20;

/// A regular file in a folder of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirEntry {
    /// Its name, without the folder.
    pub name: String,
    /// Its size, bytes.
    pub size: u64,
}

/// One entry of a tree object.
#[derive(Clone, Debug)]
pub(super) struct TreeEntry {
    pub(super) mode: Vec<u8>,
    pub(super) name: Vec<u8>,
    pub(super) oid: Vec<u8>,
}

impl TreeEntry {
    pub(super) fn is_tree(&self) -> bool {
        self.mode == b"40000"
    }

    fn is_regular_file(&self) -> bool {
        self.mode.starts_with(b"100")
    }

    pub(super) fn hex(&self) -> String {
        self.oid.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// A reader of the clone's objects: one process for as many questions as one likes.
#[derive(Debug)]
pub struct Objects(Borrowed);

impl Repository {
    /// A reader. Its process is one that an earlier reader left, or a new one.
    pub fn objects(&self) -> Result<Objects, GitError> {
        Borrowed::take(self).map(Objects)
    }

    /// Reads one file of a commit; none when it is absent, a folder or a symlink.
    pub fn read_blob(&self, commit: &Sha, path: &str) -> Result<Option<Vec<u8>>, GitError> {
        self.objects()?.read_blob(commit, path)
    }

    /// Reads several files of a commit with one process, in the order asked.
    pub fn read_blobs(&self, commit: &Sha, paths: &[&str]) -> Result<Vec<Option<Vec<u8>>>, GitError> {
        let mut objects = self.objects()?;
        paths.iter().map(|path| objects.read_blob(commit, path)).collect()
    }

    /// The regular files directly in a folder of a commit, by name; empty when there is no such folder.
    pub fn list_dir(&self, commit: &Sha, path: &str) -> Result<Vec<DirEntry>, GitError> {
        self.objects()?.list_dir(commit, path)
    }
}

impl Objects {
    /// Reads a file of a commit; none when it is absent, a folder or a symlink.
    pub fn read_blob(&mut self, commit: &Sha, path: &str) -> Result<Option<Vec<u8>>, GitError> {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        let entries = self.folder(commit, folder)?.unwrap_or_default();
        let wanted = |e: &&TreeEntry| e.name == name.as_bytes() && e.is_regular_file();
        let Some(entry) = entries.iter().find(wanted) else {
            return Ok(None);
        };
        let what = || format!("{path} in {}", commit.short());
        self.contents(&entry.hex(), BLOB_LIMIT, what)
            .map(|found| found.map(|(_, bytes)| bytes))
    }

    /// The regular files directly in a folder of a commit, by name; empty when there is no such folder.
    /// A name that is not UTF-8 is given with replacement characters.
    pub fn list_dir(&mut self, commit: &Sha, path: &str) -> Result<Vec<DirEntry>, GitError> {
        let entries = self
            .folder(commit, path.trim_end_matches('/'))?
            .unwrap_or_default();
        let mut files = Vec::new();
        for entry in entries.iter().filter(|e| e.is_regular_file()) {
            let size = self.0.info(&entry.hex())?.map_or(0, |header| header.size);
            files.push(DirEntry {
                name: String::from_utf8_lossy(&entry.name).into_owned(),
                size,
            });
        }
        Ok(files)
    }

    /// The entries of a folder of a commit; none when it is absent, a file or behind a symlink.
    pub(super) fn folder(&mut self, commit: &Sha, path: &str) -> Result<Option<Vec<TreeEntry>>, GitError> {
        let plain = |part: &str| !matches!(part, "" | "." | "..");
        if path.contains(['\n', '\0']) || !(path.is_empty() || path.split('/').all(plain)) {
            return Ok(None);
        }
        let name = format!("{commit}:{path}");
        match self.contents(&name, TREE_LIMIT, || name.clone())? {
            Some((kind, bytes)) if kind == "tree" => Ok(Some(
                parse_tree(&bytes, commit.as_str().len() / 2).ok_or_else(|| unexpected("a bad tree"))?,
            )),
            Some(_) => Ok(None),
            None if self.0.info(&format!("{commit}^{{commit}}"))?.is_none() => Err(GitError::UnknownCommit {
                sha: commit.to_string(),
            }),
            None => Ok(None),
        }
    }

    /// An object's kind and content. Its size is asked for first: nothing too large is begun.
    fn contents(
        &mut self,
        name: &str,
        limit: u64,
        what: impl Fn() -> String,
    ) -> Result<Option<(String, Vec<u8>)>, GitError> {
        let Some(header) = self.0.info(name)? else {
            return Ok(None);
        };
        if header.kind == "blob" && limit == TREE_LIMIT {
            return Ok(Some((header.kind, Vec::new())));
        }
        if header.size > limit {
            return Err(GitError::TooLarge { what: what(), limit });
        }
        let bytes = self.0.contents(name)?;
        Ok(bytes.map(|bytes| (header.kind, bytes)))
    }
}

/// Splits a tree object: `<mode> SP <name> NUL <raw object name>`, repeated.
pub(super) fn parse_tree(mut bytes: &[u8], oid_len: usize) -> Option<Vec<TreeEntry>> {
    let mut entries = Vec::new();
    while !bytes.is_empty() {
        let space = bytes.iter().position(|b| *b == b' ')?;
        let nul = bytes.iter().position(|b| *b == 0)?;
        entries.push(TreeEntry {
            mode: bytes[..space].to_vec(),
            name: bytes.get(space + 1..nul)?.to_vec(),
            oid: bytes.get(nul + 1..nul + 1 + oid_len)?.to_vec(),
        });
        bytes = bytes.get(nul + 1 + oid_len..)?;
    }
    Some(entries)
}
