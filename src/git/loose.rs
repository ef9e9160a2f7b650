//! What an agent left beside its HEAD: commits that it walked away from, stashes, repositories and worktrees inside
//! of its own. Never runs what an agent configured, and never changes any of it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::domain::id::Sha;

use super::command::{Git, WORKING};
use super::error::GitError;
use super::repository::Repository;
use super::scratch_index::ScratchIndex;
use super::staging::{Unreadable, stage_everything};
use super::wip::WipName;
use super::worktree::Checkout;

/// A repository inside a repository inside … : past this depth they are left out.
const DEPTH: usize = 5;

/// A commit that nothing else would keep.
pub(super) struct LooseEnd {
    pub(super) sha: Sha,
    pub(super) subject: String,
}

impl Repository {
    /// The last ones of all commits that were made in a worktree, or in one inside of it, and are neither in its HEAD
    /// nor at origin nor kept already under another name.
    pub(super) fn loose_ends(
        &self,
        at: &Checkout,
        name: &WipName,
        head: Option<&Sha>,
    ) -> Result<Vec<LooseEnd>, GitError> {
        let mut been = Walked::of(&at.admin);
        been.everywhere.extend(head.cloned());
        for inner in self.nested_in(&at.path) {
            let walked = Walked::of(&inner.admin);
            been.left.extend(walked.left);
            been.left.extend(self.head_in(&inner.admin)?);
        }
        let stashed = commits_in_log(&self.bare().join("logs/refs/stash"));
        let stashed: Vec<Sha> = stashed.into_iter().map(|step| step.new).collect();
        let mut asked: Vec<&Sha> = been.left.iter().chain(&stashed).collect();
        if asked.is_empty() {
            return Ok(Vec::new());
        }
        self.retain_readable(&mut asked)?;
        let unseen = self.unseen(&asked, name, head)?;
        let is_parent = |sha: &Sha| unseen.iter().any(|c| c.parents.contains(sha));
        let wanted = |c: &&Unseen| {
            let ours = match c.parents.first() {
                Some(base) if stashed.contains(&c.sha) => been.everywhere.contains(base),
                Some(_) | None => true,
            };
            asked.contains(&&c.sha) && ours && !is_parent(&c.sha)
        };
        let ends = unseen.iter().filter(wanted);
        Ok(ends
            .map(|c| LooseEnd {
                sha: c.sha.clone(),
                subject: c.subject.clone(),
            })
            .collect())
    }

    /// Leaves out what an agent's `git gc` may have removed.
    fn retain_readable(&self, commits: &mut Vec<&Sha>) -> Result<(), GitError> {
        let asked: String = commits.iter().map(|sha| format!("{sha}^{{commit}}\n")).collect();
        let git = self.git("cat-file").arg("--batch-check=%(objecttype)");
        let answer = git.input(asked.into_bytes()).ok()?.text();
        let mut lines = answer.lines();
        commits.retain(|_| lines.next() == Some("commit"));
        Ok(())
    }

    /// What leads to these commits and is nowhere else.
    fn unseen(&self, tips: &[&Sha], name: &WipName, head: Option<&Sha>) -> Result<Vec<Unseen>, GitError> {
        if tips.is_empty() {
            return Ok(Vec::new());
        }
        let git = self
            .git("log")
            .timeout(WORKING)
            .args(["--format=%H%x09%P%x09%s", "--no-show-signature"]);
        let mut git = git.args(tips.iter().map(|sha| sha.as_str())).arg("--not");
        if let Some(head) = head {
            git = git.arg(head.as_str());
        }
        let git = git
            .arg("--remotes=origin")
            // What an earlier try at this very name kept is not elsewhere.
            .arg(format!("--exclude={name}"))
            .args(["--glob=refs/orch/wip/*", "--"]);
        let text = git.ok()?.text();
        Ok(text.lines().filter_map(Unseen::parse).collect())
    }

    /// Puts the files of repositories that lie inside of a worktree where they are, as files, into its index: those in
    /// which the agent did something that is nowhere else. True when there were any.
    pub(super) fn graft_nested(
        &self,
        at: &Checkout,
        index: &ScratchIndex,
        nested: &[String],
    ) -> Result<bool, GitError> {
        self.graft(at, index, nested, 0)
    }

    fn graft(
        &self,
        at: &Checkout,
        index: &ScratchIndex,
        nested: &[String],
        depth: usize,
    ) -> Result<bool, GitError> {
        let mut nested: BTreeSet<PathBuf> = nested.iter().map(PathBuf::from).collect();
        nested.extend(self.nested_in(&at.path).iter().filter_map(|inner| {
            let real = fs::canonicalize(&at.path).ok()?;
            let within = inner
                .path
                .strip_prefix(&at.path)
                .or_else(|_| inner.path.strip_prefix(real));
            within.ok().map(Path::to_owned)
        }));
        let mut grafted = false;
        for path in nested {
            let inner = Checkout {
                path: at.path.join(&path),
                admin: at.admin.clone(),
            };
            if depth >= DEPTH || !inner.path.is_dir() || !has_own_work(&inner.path) {
                continue;
            }
            let own = ScratchIndex::empty(at);
            let staged = stage_everything(&inner, Some(own.path()), Unreadable::Skip)?;
            self.graft(&inner, &own, &staged.nested(), depth + 1)?;
            let tree = own.write_tree(&inner)?;
            // A submodule stands there as a link to a commit that nobody else may have.
            let git = index.git(at, "update-index").args(["--force-remove", "--"]);
            git.arg(&path).ok()?;
            let prefix = format!("--prefix={}/", path.display());
            index.git(at, "read-tree").arg(prefix).arg(tree).ok()?;
            grafted = true;
        }
        Ok(grafted)
    }
}

/// True when a repository holds something that is not where it was cloned from. Where git cannot tell, it does.
fn has_own_work(path: &Path) -> bool {
    let git = || Git::new("status").at(path).timeout(WORKING);
    let changed = git().args(["--porcelain", "--untracked-files=normal"]).run();
    if !changed.is_ok_and(|output| output.code == Some(0) && output.stdout.is_empty()) {
        return true;
    }
    let git = Git::new("rev-list").at(path).timeout(WORKING);
    let git = git.args(["--max-count=1", "--branches", "--glob=refs/stash", "HEAD"]);
    match git.args(["--not", "--remotes", "--tags", "--"]).run() {
        Ok(output) if output.code == Some(0) => !output.stdout.is_empty(),
        // Of an empty one there is no HEAD.
        Ok(output) => !output.stderr.contains("HEAD"),
        Err(_) => true,
    }
}

struct Unseen {
    sha: Sha,
    parents: Vec<Sha>,
    subject: String,
}

impl Unseen {
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.splitn(3, '\t');
        Some(Self {
            sha: Sha::parse(words.next()?).ok()?,
            parents: words
                .next()?
                .split(' ')
                .filter_map(|p| Sha::parse(p).ok())
                .collect(),
            subject: words.next().unwrap_or_default().to_owned(),
        })
    }
}

/// Where a worktree's HEAD has been.
struct Walked {
    /// All commits it was at.
    everywhere: BTreeSet<Sha>,
    /// Those from which the agent went to another branch or commit: what was made there is still wanted.
    left: BTreeSet<Sha>,
}

impl Walked {
    fn of(admin: &Path) -> Self {
        let steps = commits_in_log(&admin.join("logs/HEAD"));
        let left = steps
            .iter()
            .filter(|step| step.message.starts_with("checkout: moving from"));
        Self {
            left: left.filter_map(|step| step.old.clone()).collect(),
            everywhere: steps
                .iter()
                .flat_map(|step| step.old.iter().chain([&step.new]))
                .cloned()
                .collect(),
        }
    }
}

struct LogStep {
    old: Option<Sha>,
    new: Sha,
    message: String,
}

/// Reads a ref's log: `<old> <new> <who> <when> <zone>\t<message>`, the old one of zeros at its beginning.
fn commits_in_log(path: &Path) -> Vec<LogStep> {
    let text = fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let step = |line: &str| {
        let (head, message) = line.split_once('\t').unwrap_or((line, ""));
        let mut words = head.split(' ');
        let old = Sha::parse(words.next()?).ok()?;
        Some(LogStep {
            old: Some(old).filter(|old| old.as_str().bytes().any(|b| b != b'0')),
            new: Sha::parse(words.next()?).ok()?,
            message: message.to_owned(),
        })
    };
    text.lines().filter_map(step).collect()
}
