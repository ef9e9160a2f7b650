//! The bare clone that Orch owns: made, opened, healed, brought up to date.
//! Never holds a branch of its own for long: branch truth is at origin.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::domain::id::{BranchName, Sha};

use super::command::{CLONING, Git, Output, WORKING, failed};
use super::error::{GitError, is_lock_conflict};
use super::memo::Memo;
use super::mend::{FETCHED, is_damage};
use super::origin::{Origin, main_head, secret_config};
use super::reader::Idle;
use super::refs::{self, Found};
use super::spare::Spare;
use super::upkeep::AGENTS_DO_NOT_PUSH;

const ATTEMPTS: usize = 3;

/// Branch heads by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refs(BTreeMap<BranchName, Sha>);

impl Refs {
    /// The head of a branch.
    pub fn get(&self, branch: &BranchName) -> Option<&Sha> {
        self.0.get(branch)
    }

    /// All branches, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&BranchName, &Sha)> {
        self.0.iter()
    }

    /// How many branches.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True without any branch.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn insert(&mut self, branch: BranchName, head: Sha) {
        self.0.insert(branch, head);
    }

    pub(super) fn retain(&mut self, keep: impl Fn(&BranchName) -> bool) {
        self.0.retain(|name, _| keep(name));
    }

    /// Reads lines of `<sha> <ref>`; refs outside the prefix are passed over.
    pub(super) fn parse(text: &str, prefix: &str) -> Self {
        let line = |line: &str| {
            let (sha, name) = line.split_once([' ', '\t'])?;
            let name = name.strip_prefix(prefix)?;
            Some((BranchName::trusted(name), Sha::parse(sha).ok()?))
        };
        Self(text.lines().filter_map(line).collect())
    }
}

/// One project's clone. Cheap to copy; copies share what makes them fast and what keeps fetches apart.
#[derive(Clone, Debug)]
pub struct Repository {
    bare: PathBuf,
    origin: Origin,
    main: BranchName,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    fetching: Mutex<()>,
    memo: Memo,
    idle_reader: Arc<Idle>,
    adding: Mutex<()>,
    spare: Mutex<Option<Spare>>,
}

impl Repository {
    /// Opens the clone at `bare`, making it first when it is missing. An origin that changed is taken over.
    /// A clone that is interrupted leaves nothing under that name.
    pub fn open_or_clone(bare: &Path, origin: Origin, main: &BranchName) -> Result<Self, GitError> {
        let repository = Self {
            bare: std::path::absolute(bare).map_err(GitError::io("finding the clone"))?,
            origin,
            main: main.clone(),
            shared: Arc::default(),
        };
        let is_new = fs::read_dir(bare).map_or(true, |mut entries| entries.next().is_none());
        if is_new {
            main_head(&repository.origin, main)?;
            repository.clone_aside()?;
        } else if let Origin::Path(_) = repository.origin {
            main_head(&repository.origin, main)?;
        }
        repository.pin_config()?;
        repository.clear_stale_locks();
        let check = Git::new("rev-parse")
            .git_dir(&repository.bare)
            .arg("--is-bare-repository")
            .run()?;
        if check.code != Some(0) || check.text() != "true" {
            return Err(GitError::DamagedClone {
                path: repository.bare,
                why: check.stderr,
            });
        }
        Ok(repository)
    }

    /// The clone's folder.
    pub fn bare(&self) -> &Path {
        &self.bare
    }

    /// The project's repository.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The branch that only a fast-forward merge may change.
    pub fn main(&self) -> &BranchName {
        &self.main
    }

    /// Brings the heads of origin here and gives them. Costs two reads when nothing changed at a local origin.
    pub fn fetch(&self) -> Result<Refs, GitError> {
        let _alone = self
            .shared
            .fetching
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let known = self.fetched()?;
        if let Origin::Path(_) = self.origin
            && known == self.origin.heads(&[])?
        {
            return Ok(known);
        }
        for attempt in 1.. {
            let output = self.fetch_call().timeout(WORKING).args(FETCHED).run()?;
            if output.code == Some(0) {
                break;
            }
            if is_damage(&output.stderr) {
                self.refetch()?;
                break;
            }
            if attempt == ATTEMPTS || !is_lock_conflict(&output.stderr) {
                return Err(self.origin.explain("fetch", &output));
            }
            self.clear_stale_locks();
        }
        self.fetched()
    }

    /// Heads of these branches at origin, now, with their commits here: fetched only when one of them is at a
    /// commit that did not come by yet. Branches that do not exist are left out.
    pub fn bring(&self, branches: &[&BranchName]) -> Result<Refs, GitError> {
        let heads = self.heads(branches)?;
        let is_here = |(branch, head): (&BranchName, &Sha)| {
            let tracked = refs::find(&self.bare, &format!("refs/remotes/origin/{branch}"));
            tracked == Found::At(head.clone())
        };
        if heads.iter().all(is_here) {
            return Ok(heads);
        }
        let mut fetched = self.fetch()?;
        fetched.retain(|branch| branches.contains(&branch));
        Ok(fetched)
    }

    /// The heads as of the last fetch or push; nothing is asked of origin.
    pub fn fetched(&self) -> Result<Refs, GitError> {
        let git = self.git("for-each-ref").arg("--format=%(objectname) %(refname)");
        let output = git.arg("refs/remotes/origin").ok()?;
        Ok(Refs::parse(&output.text(), "refs/remotes/origin/"))
    }

    /// A branch's head at origin, now.
    pub fn remote_head(&self, branch: &BranchName) -> Result<Option<Sha>, GitError> {
        Ok(self.origin.heads(&[branch])?.get(branch).cloned())
    }

    /// The head of a pull request as the forge keeps it for git: it follows the branch while that is open, and stands still
    /// once it was merged.
    pub fn pull_head(&self, number: i64) -> Result<Option<Sha>, GitError> {
        self.origin.reference(&format!("refs/pull/{number}/head"))
    }

    /// Heads of these branches at origin, now, in one process. Branches that do not exist are left out.
    pub fn heads(&self, branches: &[&BranchName]) -> Result<Refs, GitError> {
        if branches.is_empty() {
            return Ok(Refs::default());
        }
        self.origin.heads(branches)
    }

    /// Fetches when one of these commits is not here yet.
    pub fn ensure_commits(&self, commits: &[&Sha]) -> Result<(), GitError> {
        if self.missing(commits)?.is_none() {
            return Ok(());
        }
        self.fetch()?;
        let Some(sha) = self.missing(commits)? else {
            return Ok(());
        };
        // The remembered heads may be up to date while the commits behind them are gone.
        if self.fetched()?.iter().any(|(_, head)| head.as_str() == sha) {
            let _alone = self
                .shared
                .fetching
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            self.refetch()?;
        }
        match self.missing(commits)? {
            None => Ok(()),
            Some(sha) => Err(GitError::UnknownCommit { sha }),
        }
    }

    /// Packs what piled up. Objects that nothing refers to are kept for two weeks. May take minutes.
    pub fn maintain(&self) -> Result<(), GitError> {
        let git = self.git("gc").args(["--quiet", "--prune=2.weeks.ago"]);
        git.timeout(CLONING).ok().map(drop)
    }

    pub(super) fn memo(&self) -> &Memo {
        &self.shared.memo
    }

    pub(super) fn idle_reader(&self) -> &Arc<Idle> {
        &self.shared.idle_reader
    }

    /// Held while a worktree is added: git reads the half-written one of a neighbour as broken.
    pub(super) fn adding(&self) -> std::sync::MutexGuard<'_, ()> {
        self.shared.adding.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The spare worktree. Locked while it is made.
    pub(super) fn spare(&self) -> &Mutex<Option<Spare>> {
        &self.shared.spare
    }

    /// A call on the clone itself.
    pub(super) fn git(&self, what: &'static str) -> Git {
        Git::new(what).git_dir(&self.bare)
    }

    /// Configuration that lets `origin` be reached and pushed to, for one call.
    pub(super) fn address(&self) -> Vec<(String, String)> {
        let mut config = secret_config(&self.origin);
        let push = format!("url.{}.insteadOf", self.origin.address());
        config.push((push, AGENTS_DO_NOT_PUSH.to_owned()));
        config
    }

    pub(super) fn missing(&self, commits: &[&Sha]) -> Result<Option<String>, GitError> {
        let asked: String = commits.iter().map(|sha| format!("{sha}^{{commit}}\n")).collect();
        let git = self
            .git("cat-file")
            .arg("--batch-check")
            .input(asked.into_bytes());
        let answer = git.ok()?.text();
        let lines = answer.lines().zip(commits);
        let mut missing = lines.filter(|(line, _)| line.ends_with(" missing"));
        Ok(missing.next().map(|(_, sha)| sha.to_string()))
    }

    /// Which error a failed call on this clone is.
    pub(super) fn blame(&self, what: &str, commit: &str, output: &Output) -> GitError {
        let signs = [
            "bad object",
            "bad revision",
            "Invalid revision range",
            "Invalid symmetric difference",
            "invalid reference",
            "unknown revision",
            "does not match any",
            "not something we can merge",
        ];
        if signs.iter().any(|sign| output.stderr.contains(sign)) {
            return GitError::UnknownCommit {
                sha: commit.to_owned(),
            };
        }
        failed(what, output)
    }
}
