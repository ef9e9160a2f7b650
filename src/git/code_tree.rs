//! The identity of what a commit holds apart from `docs/work-items/`.
//! Never writes an object: it is a digest, so it can be computed in a reader.

use sha2::{Digest as _, Sha256};

use crate::domain::id::{CodeTree, Sha};

use super::error::GitError;
use super::objects::{Objects, TreeEntry};
use super::repository::Repository;

impl Repository {
    /// The code tree of a commit.
    pub fn code_tree(&self, commit: &Sha) -> Result<CodeTree, GitError> {
        let ask = |commit: &Sha| self.objects()?.code_tree(commit);
        self.memo().code_trees.get_or(commit.clone(), ask)
    }

    /// The code trees of several commits, in the order asked.
    pub fn code_trees(&self, commits: &[&Sha]) -> Result<Vec<CodeTree>, GitError> {
        commits.iter().map(|commit| self.code_tree(commit)).collect()
    }
}

impl Objects {
    /// SHA-256 over the entries of the root without `docs`, then those of `docs` without `work-items`. A
    /// `docs` that would be left empty counts as absent; a `work-items` that is no folder counts as code.
    pub fn code_tree(&mut self, commit: &Sha) -> Result<CodeTree, GitError> {
        let is_folder = |e: &TreeEntry, name: &[u8]| e.is_tree() && e.name == name;
        let mut root = self.folder(commit, "")?.unwrap_or_default();
        let mut docs = Vec::new();
        if root.iter().any(|e| is_folder(e, b"docs")) {
            root.retain(|e| !is_folder(e, b"docs"));
            docs = self.folder(commit, "docs")?.unwrap_or_default();
            docs.retain(|e| !is_folder(e, b"work-items"));
        }
        let mut digest = Sha256::new();
        for entries in [&root, &docs] {
            digest.update(entries.len().to_be_bytes());
            for field in entries.iter().flat_map(|e| [&e.mode, &e.name, &e.oid]) {
                digest.update(field.len().to_be_bytes());
                digest.update(field);
            }
        }
        let hex: String = digest
            .finalize()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        Ok(CodeTree::trusted(hex))
    }
}
