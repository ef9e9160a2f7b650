//! Compares commits: how their histories relate, what a branch changes, what it is called after a rebase.
//! Never touches a worktree.

use crate::domain::id::{PatchId, Sha};
use crate::domain::time::Timestamp;

use super::command::{Git, Output, WORKING};
use super::error::GitError;
use super::repository::Repository;

/// The trailing slash: only a folder of that name is left out.
const WITHOUT_ARTIFACTS: [&str; 3] = ["--", ":(top)", ":(top,exclude)docs/work-items/"];

/// How a newer commit stands to an older one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// They are one commit.
    Same,
    /// The newer descends from the older: nothing was rewritten.
    Ahead,
    /// The newer is an ancestor of the older: commits were taken back.
    Behind,
    /// Each has commits that the other lacks.
    Diverged,
}

/// What counts as a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Every file.
    Everything,
    /// Every file outside `docs/work-items/`.
    CodeOnly,
}

/// One commit, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    /// Which.
    pub sha: Sha,
    /// Who wrote it.
    pub author: String,
    /// When it was committed.
    pub committed_at: Timestamp,
    /// Its first line.
    pub subject: String,
}

impl Repository {
    /// How `new` stands to `old`.
    pub fn ancestry(&self, old: &Sha, new: &Sha) -> Result<Relation, GitError> {
        if old == new {
            return Ok(Relation::Same);
        }
        let ask = |(old, new): &(Sha, Sha)| self.relation(old, new);
        self.memo().relations.get_or((old.clone(), new.clone()), ask)
    }

    fn relation(&self, old: &Sha, new: &Sha) -> Result<Relation, GitError> {
        let range = format!("{old}...{new}");
        let git = self
            .git("rev-list")
            .args(["--left-right", "--count", range.as_str(), "--"]);
        let output = git.timeout(WORKING).run()?;
        if output.code != Some(0) {
            return Err(self.blame("rev-list", &range, &output));
        }
        match output.text().split_once('\t') {
            Some(("0", "0")) => Ok(Relation::Same),
            Some(("0", _)) => Ok(Relation::Ahead),
            Some((_, "0")) => Ok(Relation::Behind),
            Some(_) => Ok(Relation::Diverged),
            None => Err(GitError::Unexpected {
                what: "rev-list".into(),
                answer: output.text(),
            }),
        }
    }

    /// True when `head` changes something since it left `base`.
    pub fn differs(&self, base: &Sha, head: &Sha, scope: Scope) -> Result<bool, GitError> {
        let git = self.diff_tree().arg("--quiet");
        let git = git.args([base.as_str(), head.as_str()]);
        let output = match scope {
            Scope::Everything => git.arg("--"),
            Scope::CodeOnly => git.args(WITHOUT_ARTIFACTS),
        }
        .run()?;
        match output.code {
            Some(0) => Ok(false),
            Some(1) => Ok(true),
            _ => Err(self.no_diff(base, head, &output)),
        }
    }

    /// The files that `head` changes since it left `base`, sorted. A rename counts as both names.
    pub fn changed_paths(&self, base: &Sha, head: &Sha) -> Result<Vec<String>, GitError> {
        let git = self.diff_tree().args(["--name-only", "-z", "--no-renames"]);
        let stdout = self
            .diffed(git.args([base.as_str(), head.as_str(), "--"]), base, head)?
            .stdout;
        let paths = stdout.split(|b| *b == 0).filter(|p| !p.is_empty());
        Ok(paths.map(|p| String::from_utf8_lossy(p).into_owned()).collect())
    }

    /// Files and line counts that `head` changes since it left `base`, for people, in at most `max_bytes`.
    pub fn diff_summary(&self, base: &Sha, head: &Sha, max_bytes: usize) -> Result<String, GitError> {
        let git = self.diff_tree().args(["--stat=100", "-M"]);
        let text = self
            .diffed(git.args([base.as_str(), head.as_str(), "--"]), base, head)?
            .text();
        if text.len() <= max_bytes {
            return Ok(text);
        }
        // The last line holds the totals: it says more than any single file.
        let total = text.lines().last().unwrap_or_default();
        let mut short = String::new();
        for line in text.lines() {
            if short.len() + line.len() + total.len() + 6 > max_bytes {
                break;
            }
            short.push_str(line);
            short.push('\n');
        }
        short.push_str(" …\n");
        short.push_str(total);
        let mut end = short.len().min(max_bytes);
        while !short.is_char_boundary(end) {
            end -= 1;
        }
        short.truncate(end);
        Ok(short)
    }

    /// What a branch changes outside `docs/work-items/`, whatever it is based on; none when it changes nothing.
    /// Like `git patch-id --stable`, except that white space counts: in some languages it is code.
    pub fn patch_id(&self, base: &Sha, head: &Sha) -> Result<Option<PatchId>, GitError> {
        let git = self
            .diff_tree()
            .args(["-p", "--full-index", "--no-renames", "-U3"]);
        let git = git.args(["--no-ext-diff", "--no-textconv", "--diff-algorithm=myers"]);
        let git = git.args(["--inter-hunk-context=0", "--src-prefix=a/", "--dst-prefix=b/"]);
        let git = git.args([base.as_str(), head.as_str()]).args(WITHOUT_ARTIFACTS);
        let patch = self.diffed(git, base, head)?.stdout;
        if patch.is_empty() {
            return Ok(None);
        }
        let output = self.git("patch-id").arg("--verbatim").input(patch).ok()?;
        let text = output.text();
        match text.split_once(' ') {
            Some((id, _)) => Ok(Some(PatchId::trusted(id))),
            None => Err(GitError::Unexpected {
                what: "patch-id".into(),
                answer: text,
            }),
        }
    }

    /// The newest commits of main, as of the last fetch.
    pub fn main_log(&self, count: usize) -> Result<Vec<LogEntry>, GitError> {
        let git = self.git("log").args(["-z", "--format=%H%x00%an%x00%ct%x00%s"]);
        let git = git.arg(format!("--max-count={count}"));
        let output = git
            .arg(format!("refs/remotes/origin/{}", self.main()))
            .arg("--")
            .ok()?;
        let text = output.text();
        let fields: Vec<&str> = text.trim_end_matches('\0').split('\0').collect();
        let entry = |fields: &[&str]| match fields {
            [sha, author, seconds, subject] => Some(LogEntry {
                sha: Sha::parse(sha).ok()?,
                author: (*author).to_owned(),
                committed_at: Timestamp(seconds.parse::<i64>().ok()?.saturating_mul(1_000_000)),
                subject: (*subject).to_owned(),
            }),
            _ => None,
        };
        Ok(fields.chunks(4).filter_map(entry).collect())
    }

    fn diff_tree(&self) -> Git {
        self.git("diff-tree")
            .timeout(WORKING)
            .args(["-r", "--merge-base"])
    }

    fn diffed(&self, git: Git, base: &Sha, head: &Sha) -> Result<Output, GitError> {
        let output = git.run()?;
        if output.code == Some(0) {
            Ok(output)
        } else {
            Err(self.no_diff(base, head, &output))
        }
    }

    fn no_diff(&self, base: &Sha, head: &Sha, output: &Output) -> GitError {
        if output.stderr.contains("no merge base") {
            return GitError::UnrelatedHistories {
                a: base.clone(),
                b: head.clone(),
            };
        }
        self.blame("diff-tree", &format!("{base} or {head}"), output)
    }
}
