//! Commits one file onto a branch or another ref at origin, without a worktree and against the head that was seen.
//! Never touches main, never rewrites what is there.

use std::fs;
use std::path::{Path, PathBuf};

use crate::domain::id::Sha;
use crate::domain::records::RefName;

use super::Identity;
use super::command::{Git, WORKING};
use super::error::GitError;
use super::push::{CheckedOut, Sent};
use super::reader::unexpected;
use super::repository::Repository;
use super::upkeep::{durably, unique};

/// How often a ref is looked at anew that others move.
const TRIES: usize = 5;

/// A file to be recorded.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// Where.
    pub onto: &'a RefName,
    /// From the root of the repository.
    pub path: &'a str,
    /// Its content.
    pub content: &'a [u8],
    /// The commit's message.
    pub message: &'a str,
    /// In whose name.
    pub author: &'a Identity,
    /// Only on top of this head; none: of whichever there is.
    pub expected: Option<&'a Sha>,
    /// A ref that is not there is begun with a commit of no parent.
    pub begin: bool,
}

/// What became of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recorded {
    /// It is there now, with this commit.
    Committed(Sha),
    /// It was there already, with this content, at this head.
    Same(Sha),
    /// The ref is not where it was expected. Nothing was sent.
    Moved {
        /// Where it is.
        found: Option<Sha>,
    },
    /// There is no such ref, and none was to be begun.
    Absent,
    /// Origin said no.
    Refused {
        /// In its words.
        why: String,
    },
}

impl Repository {
    /// Puts a file onto a ref, as a commit on top of its head.
    pub fn record(&self, record: &Record<'_>) -> Result<Recorded, GitError> {
        if record.onto.is_branch(self.main()) {
            let why = format!("{} is changed by a merge only", self.main());
            return Err(GitError::Forbidden { why });
        }
        let full = record.onto.as_str();
        let mut why = String::new();
        for _ in 0..TRIES {
            let head = self.origin().reference(full)?;
            if record.expected.is_some() && record.expected != head.as_ref() {
                return Ok(Recorded::Moved { found: head });
            }
            if let Some(head) = &head {
                self.bring_ref(full, head)?;
                if self.holds(head, record)? {
                    return Ok(Recorded::Same(head.clone()));
                }
            } else if !record.begin {
                return Ok(Recorded::Absent);
            }
            let commit = self.commit_of(record, head.as_ref())?;
            why = match self.send_to(Some(&commit), full, head.as_ref(), CheckedOut::Refuse)? {
                Sent::Done | Sent::UpToDate => return Ok(Recorded::Committed(commit)),
                Sent::Rejected { why } => why,
            };
            let found = self.origin().reference(full)?;
            if found.as_ref() == Some(&commit) {
                return Ok(Recorded::Committed(commit));
            }
            if found == head {
                return Ok(Recorded::Refused { why });
            }
        }
        Ok(Recorded::Refused { why })
    }

    /// The commit of that name here, in full or by its beginning; none where there is none, or several.
    pub fn commit_named(&self, name: &str) -> Result<Option<Sha>, GitError> {
        let git = self.git("rev-parse").args(["--quiet", "--verify"]);
        let output = git.arg(format!("{name}^{{commit}}")).run()?;
        match output.code {
            Some(0) => Ok(Sha::parse(&output.text()).ok()),
            _ => Ok(None),
        }
    }

    /// True when the file is at that commit, with that content.
    fn holds(&self, head: &Sha, record: &Record<'_>) -> Result<bool, GitError> {
        match self.read_blob(head, record.path) {
            Ok(found) => Ok(found.as_deref() == Some(record.content)),
            Err(GitError::TooLarge { .. }) => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// Has the head of a ref here, which need be no branch.
    fn bring_ref(&self, full: &str, head: &Sha) -> Result<(), GitError> {
        if self.missing(&[head])?.is_none() {
            return Ok(());
        }
        let git = self.git("fetch").config(self.address()).timeout(WORKING);
        let git = git.args(["--quiet", "--no-write-fetch-head", "--no-recurse-submodules"]);
        let output = git.args(["--", "origin", full]).run()?;
        if output.code != Some(0) {
            return Err(self.origin().explain("fetch", &output));
        }
        match self.missing(&[head])? {
            None => Ok(()),
            Some(sha) => Err(GitError::UnknownCommit { sha }),
        }
    }

    fn commit_of(&self, record: &Record<'_>, parent: Option<&Sha>) -> Result<Sha, GitError> {
        let git = self.git("hash-object").config(durably());
        let git = git.args(["-w", "--stdin"]).input(record.content.to_vec());
        let blob = git.ok()?.text();
        let index = Index::beside(self.bare());
        if let Some(parent) = parent {
            index
                .git(self, "read-tree")
                .arg(format!("{parent}^{{tree}}"))
                .ok()?;
        }
        let entry = format!("100644,{blob},{}", record.path);
        let git = index.git(self, "update-index");
        git.args(["--add", "--cacheinfo", entry.as_str()]).ok()?;
        let tree = index.git(self, "write-tree").ok()?.text();
        let mut git = self
            .git("commit-tree")
            .config(durably())
            .identity(record.author)
            .arg(tree);
        if let Some(parent) = parent {
            git = git.args(["-p", parent.as_str()]);
        }
        let git = git
            .args(["-F", "-"])
            .input(record.message.replace('\0', "").into_bytes());
        let commit = git.ok()?.text();
        Sha::parse(&commit).map_err(|_| unexpected("a commit without a name"))
    }
}

/// An index of its own, which goes away by itself.
struct Index(PathBuf);

impl Index {
    fn beside(bare: &Path) -> Self {
        let index = Self(bare.join(format!("record-index-{}", unique())));
        // Of a process that had the same number and died.
        index.remove();
        index
    }

    fn git(&self, repository: &Repository, what: &'static str) -> Git {
        let git = repository.git(what).timeout(WORKING).config(durably());
        git.env("GIT_INDEX_FILE", &self.0)
    }

    fn remove(&self) {
        drop(fs::remove_file(&self.0));
        drop(fs::remove_file(format!("{}.lock", self.0.display())));
    }
}

impl Drop for Index {
    fn drop(&mut self) {
        self.remove();
    }
}
