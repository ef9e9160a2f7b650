//! What kept work looks like to people, and a copy of it outside of the clone.
//! Never decides what is kept.

use std::fs;
use std::path::Path;

use crate::domain::id::Sha;

use super::command::{Git, WORKING};
use super::error::GitError;
use super::repository::Repository;
use super::upkeep::unique;
use super::wip::{WipName, WipRef};

/// Kept work in words and patches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WipText {
    /// Message, changed files, patch; then the same of each commit that was left beside HEAD.
    pub text: String,
    /// True when there is more than was asked for.
    pub cut: bool,
}

impl Repository {
    /// How many files stand otherwise in kept work than in what it builds on.
    pub fn wip_files(&self, base: &Sha, wip: &Sha) -> Result<usize, GitError> {
        let git = self.git("diff-tree").timeout(WORKING);
        let git = git.args(["-r", "-z", "--name-only", "--no-renames"]);
        let listed = git.args([base.as_str(), wip.as_str(), "--"]).ok()?.stdout;
        Ok(listed.split(|b| *b == 0).filter(|name| !name.is_empty()).count())
    }

    /// The commit on top of which kept work stands; none for work without a history.
    pub fn wip_parent(&self, wip: &Sha) -> Result<Option<Sha>, GitError> {
        let git = self.git("rev-parse").args(["--quiet", "--verify"]);
        Ok(Sha::parse(&git.arg(format!("{wip}^1")).run()?.text()).ok())
    }

    /// Shows kept work as a change of what it builds on, in at most `max_bytes`.
    pub fn wip_text(&self, base: &Sha, wip: &Sha, max_bytes: usize) -> Result<WipText, GitError> {
        let git = self.git("log").args(["-1", "--format=%B%x00%P"]);
        let about = git.arg(wip.as_str()).arg("--").ok()?.text();
        let (message, parents) = about.split_once('\0').unwrap_or((&about, ""));
        let mut text = format!("{}\n", message.trim_end());
        text.push_str(&self.change(self.patch().args([base.as_str(), wip.as_str()]))?);
        for beside in parents.split_whitespace().skip(1) {
            if text.len() > max_bytes {
                break;
            }
            let git = self.git("log").args(["-1", "--format=%h %s%x00%P", beside, "--"]);
            let about = git.ok()?.text();
            let (subject, parents) = about.split_once('\0').unwrap_or((&about, ""));
            text.push_str(&format!("\n{subject}\n"));
            let since = self.patch().arg("--merge-base").args([base.as_str(), beside]);
            text.push_str(&match self.change(since) {
                // It has no history in common with the base.
                Err(_) => self.change(self.patch().args([base.as_str(), beside]))?,
                change => change?,
            });
            // A stash has its untracked files in a commit of their own.
            if let Some(untracked) = parents.split_whitespace().nth(2) {
                text.push_str(&self.change(self.patch().args(["--root", "--no-commit-id", untracked]))?);
            }
        }
        let cut = text.len() > max_bytes;
        let mut end = text.len().min(max_bytes);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        Ok(WipText { text, cut })
    }

    fn patch(&self) -> Git {
        self.git("diff-tree").timeout(WORKING).args([
            "-r",
            "-M",
            "--stat",
            "-p",
            "--no-ext-diff",
            "--no-textconv",
        ])
    }

    fn change(&self, patch: Git) -> Result<String, GitError> {
        match patch.arg("--").ok() {
            Ok(output) => Ok(format!("\n{}\n", output.text())),
            Err(GitError::TooLarge { .. }) => Ok("\nThe patch is too large to be shown.\n".to_owned()),
            Err(e) => Err(e),
        }
    }

    /// Writes kept work into a file outside of the clone, whole or not at all: an agent may destroy the clone.
    /// What main has is left out.
    pub fn copy_wip(&self, wip: &WipRef, to: &Path) -> Result<(), GitError> {
        let aside = to.with_extension(unique());
        let git = self.git("bundle").timeout(WORKING).args(["create", "--quiet"]);
        let git = git.arg(&aside).arg(wip.name.as_str()).arg("--not");
        let made = git.arg(format!("refs/remotes/origin/{}", self.main())).ok();
        let placed = made.and_then(|_| {
            let synced = fs::File::open(&aside).and_then(|file| file.sync_all());
            synced
                .and_then(|()| deed!("place a copy of kept work", fs::rename(&aside, to)))
                .map_err(GitError::io(format!("writing {}", to.display())))
        });
        drop(fs::remove_file(&aside));
        placed
    }

    /// What is kept under a name; brought back from its copy when the clone does not have it any more. None when
    /// neither has it.
    pub fn wip_or_copy(&self, name: &WipName, copy: &Path) -> Result<Option<WipRef>, GitError> {
        let git = self.git("rev-parse").args(["--quiet", "--verify"]);
        let found = git.arg(format!("{name}^{{commit}}")).run()?;
        if let Ok(sha) = Sha::parse(&found.text()) {
            return Ok(Some(WipRef {
                name: name.clone(),
                sha,
            }));
        }
        if !copy.exists() {
            return Ok(None);
        }
        // The copy builds on what main had then.
        self.fetch()?;
        let git = self.git("fetch").timeout(WORKING);
        let git = git.args(["--quiet", "--no-tags", "--no-write-fetch-head", "--"]);
        git.arg(copy).arg(format!("+{name}:{name}")).ok()?;
        self.wip(name)
    }
}
