//! Moves branches at origin, each time against the head that the caller believes in.
//! Never touches main: that is the merge's right.

use crate::domain::id::{BranchName, Sha};

use super::command::WORKING;
use super::diff::Relation;
use super::error::GitError;
use super::origin::Origin;
use super::repository::{Refs, Repository};

const ATTEMPTS: usize = 3;

/// What a push may do to the commits that are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PushMode {
    /// Only add to them.
    FastForward,
    /// Replace exactly those that were expected.
    Rewrite,
}

/// What became of a push.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PushOutcome {
    /// The branch is at the commit now.
    Pushed,
    /// It was already.
    AlreadyThere,
    /// It is not where it was expected.
    Moved {
        /// Where it is.
        found: Option<Sha>,
    },
    /// The commit does not descend from the expected one. Nothing was sent.
    NotFastForward,
    /// Origin said no.
    Refused {
        /// In its words.
        why: String,
    },
}

/// What became of a deletion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeleteOutcome {
    /// The branch is gone now.
    Deleted,
    /// It was already.
    AlreadyGone,
    /// It is not where it was expected.
    Moved {
        /// Where it is.
        found: Sha,
    },
    /// Origin said no.
    Refused {
        /// In its words.
        why: String,
    },
}

/// What may happen to a working copy that has the branch checked out. Only for an origin on this machine.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum CheckedOut {
    /// It stops the push.
    Refuse,
    /// It is held still and taken along by the caller.
    Held,
}

/// One answer of `git push --porcelain`.
pub(super) enum Sent {
    Done,
    UpToDate,
    Rejected { why: String },
}

impl Repository {
    /// Puts `branch` at `commit`, if it is at `expected` (none: does not exist).
    pub fn push(
        &self,
        commit: &Sha,
        branch: &BranchName,
        expected: Option<&Sha>,
        mode: PushMode,
    ) -> Result<PushOutcome, GitError> {
        self.guard_main(branch)?;
        if let (PushMode::FastForward, Some(expected)) = (mode, expected) {
            match self.ancestry(expected, commit)? {
                Relation::Same | Relation::Ahead => {}
                Relation::Behind | Relation::Diverged => return Ok(PushOutcome::NotFastForward),
            }
        }
        let why = match self.send(Some(commit), branch, expected, CheckedOut::Refuse)? {
            Sent::Done => return Ok(PushOutcome::Pushed),
            Sent::UpToDate => return Ok(PushOutcome::AlreadyThere),
            Sent::Rejected { why } => why,
        };
        let found = self.remote_head(branch)?;
        Ok(if found.as_ref() == Some(commit) {
            PushOutcome::AlreadyThere
        } else if found.as_ref() != expected {
            PushOutcome::Moved { found }
        } else {
            PushOutcome::Refused { why }
        })
    }

    /// Where work on `branch` begins: its head at origin, or the tip of main while origin does not have it. It is
    /// here then.
    pub fn start_of(&self, branch: &BranchName) -> Result<Sha, GitError> {
        self.guard_main(branch)?;
        let heads = self.bring(&[branch, self.main()])?;
        match heads.get(branch) {
            Some(head) => Ok(head.clone()),
            None => self.tip_in(&heads),
        }
    }

    /// Makes `branch` at the tip of main when origin does not have it. Gives its head, which is here then.
    pub fn ensure_branch(&self, branch: &BranchName) -> Result<Sha, GitError> {
        self.guard_main(branch)?;
        let heads = self.bring(&[branch, self.main()])?;
        if let Some(head) = heads.get(branch) {
            return Ok(head.clone());
        }
        let tip = self.tip_in(&heads)?;
        match self.push(&tip, branch, None, PushMode::FastForward)? {
            PushOutcome::Pushed | PushOutcome::AlreadyThere => Ok(tip),
            PushOutcome::Moved { found: Some(head) } => {
                self.ensure_commits(&[&head])?;
                Ok(head)
            }
            PushOutcome::Moved { found: None } | PushOutcome::NotFastForward => Err(GitError::Forbidden {
                why: format!("{branch} could not be made"),
            }),
            PushOutcome::Refused { why } => Err(GitError::Forbidden {
                why: format!("{branch}: {why}"),
            }),
        }
    }

    /// Deletes a branch at origin, if it is at `expected`.
    pub fn delete_branch(&self, branch: &BranchName, expected: &Sha) -> Result<DeleteOutcome, GitError> {
        self.guard_main(branch)?;
        match self.remote_head(branch)? {
            None => return Ok(DeleteOutcome::AlreadyGone),
            Some(found) if &found != expected => return Ok(DeleteOutcome::Moved { found }),
            Some(_) => {}
        }
        let why = match self.send(None, branch, Some(expected), CheckedOut::Refuse)? {
            Sent::Done | Sent::UpToDate => return Ok(DeleteOutcome::Deleted),
            Sent::Rejected { why } => why,
        };
        Ok(match self.remote_head(branch)? {
            None => DeleteOutcome::AlreadyGone,
            Some(found) if &found != expected => DeleteOutcome::Moved { found },
            Some(_) => DeleteOutcome::Refused { why },
        })
    }

    /// One push, compared with `expected` by origin itself. Tried again while another one holds the ref.
    pub(super) fn send(
        &self,
        commit: Option<&Sha>,
        branch: &BranchName,
        expected: Option<&Sha>,
        checked_out: CheckedOut,
    ) -> Result<Sent, GitError> {
        self.send_to(commit, &format!("refs/heads/{branch}"), expected, checked_out)
    }

    /// The same to any ref, by its full name.
    pub(super) fn send_to(
        &self,
        commit: Option<&Sha>,
        full: &str,
        expected: Option<&Sha>,
        checked_out: CheckedOut,
    ) -> Result<Sent, GitError> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            let sent = self.send_once(commit, full, expected, checked_out)?;
            let contended = |why: &str| why.contains("cannot lock ref") || why.contains("Unable to create");
            match &sent {
                Sent::Rejected { why } if attempt < ATTEMPTS && contended(why) => {}
                Sent::Done | Sent::UpToDate | Sent::Rejected { .. } => return Ok(sent),
            }
        }
    }

    fn send_once(
        &self,
        commit: Option<&Sha>,
        full: &str,
        expected: Option<&Sha>,
        checked_out: CheckedOut,
    ) -> Result<Sent, GitError> {
        let lease = expected.map_or("", Sha::as_str);
        let source = commit.map_or("", Sha::as_str);
        let git = self.git("push").config(self.address()).timeout(WORKING);
        let mut git = git.args(["--porcelain", "--no-verify", "--no-signed", "--no-follow-tags"]);
        git = git.arg(format!("--force-with-lease={full}:{lease}"));
        if let Origin::Path(_) = self.origin() {
            git = git.arg(format!("--receive-pack={}", receive_pack(checked_out)));
        }
        let output = git.args(["--", "origin"]).arg(format!("{source}:{full}")).run()?;
        if commit.is_some() && output.stderr.contains(&format!("bad object {source}")) {
            return Err(GitError::UnknownCommit {
                sha: source.to_owned(),
            });
        }
        let stdout = String::from_utf8_lossy(&output.stdout);
        let target = format!(":{full}\t");
        match stdout.lines().find(|line| line.contains(&target)) {
            Some(line) if line.starts_with('=') => Ok(Sent::UpToDate),
            Some(line) if line.starts_with('!') => {
                let summary = line.rsplit('\t').next().unwrap_or_default();
                Ok(Sent::Rejected {
                    why: reason(summary, &output.stderr),
                })
            }
            Some(_) if output.code == Some(0) => Ok(Sent::Done),
            // Beaten by another push in the very moment: where the branch is now, the caller looks up.
            _ if output.code == Some(1) && output.stderr.is_empty() => Ok(Sent::Rejected {
                why: "git push ended without a reason".to_owned(),
            }),
            _ => match self.blame("push", source, &output) {
                unknown @ GitError::UnknownCommit { .. } => Err(unknown),
                _ => Err(self.origin().explain("push", &output)),
            },
        }
    }

    /// The tip of main among heads that were brought.
    pub(super) fn tip_in(&self, heads: &Refs) -> Result<Sha, GitError> {
        heads
            .get(self.main())
            .cloned()
            .ok_or_else(|| GitError::MainMissing {
                origin: self.origin().shown(),
                main: self.main().clone(),
                known: "others".into(),
            })
    }

    fn guard_main(&self, branch: &BranchName) -> Result<(), GitError> {
        if branch == self.main() {
            let why = format!("{branch} is changed by a merge only");
            return Err(GitError::Forbidden { why });
        }
        Ok(())
    }
}

/// How origin takes a push, whatever its owner configured for pushes of their own.
fn receive_pack(checked_out: CheckedOut) -> String {
    let current = match checked_out {
        CheckedOut::Refuse => "refuse",
        CheckedOut::Held => "ignore",
    };
    format!("git -c receive.denyCurrentBranch={current} -c receive.denyDeleteCurrent=refuse receive-pack")
}

/// `[remote rejected] (pre-receive hook declined)` and what the hook printed.
fn reason(summary: &str, stderr: &str) -> String {
    let inner = summary
        .split_once('(')
        .map_or(summary, |(_, rest)| rest.trim_end_matches(')'));
    let remote = stderr
        .lines()
        .filter_map(|l| l.strip_prefix("remote:"))
        .map(str::trim);
    let mut why = inner.to_owned();
    for line in remote.filter(|l| !l.is_empty()).take(5) {
        why.push_str("; ");
        why.push_str(line);
    }
    why
}
