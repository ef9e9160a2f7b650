//! Carries a prepared worktree to a node and what an agent left there back, as commits over ssh.
//! Never changes a branch, and never leaves a worktree here that is neither the old nor the new one.

use std::path::Path;

use crate::domain::id::Sha;
use crate::process::ProcessError;
use crate::process::far::{FarRun, Greeting};

use super::Identity;
use super::command::{Git, WORKING};
use super::error::GitError;
use super::origin::Origin;
use super::repository::Repository;
use super::scratch_index::ScratchIndex;
use super::staging::{Unreadable, stage_everything};
use super::upkeep::{durably, unique};

/// What carrying to a node came to.
#[derive(Debug)]
pub enum Carry {
    /// The worktree is there.
    There(Greeting),
    /// The node does not answer, or cannot take it.
    Refused(GitError),
}

/// What was carried back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Back {
    /// The worktree is what it was on the node.
    Brought,
    /// There is no worktree on the node.
    Gone,
}

impl Repository {
    /// Makes the worktree of a run on its node what it is here, uncommitted files included, with the prompt beside it.
    /// What was there of the same run is replaced: nothing may work there yet.
    ///
    /// # Errors
    /// Those of this machine.
    pub fn carry(&self, worktree: &Path, far: &mut FarRun, prompt: &[u8]) -> Result<Carry, GitError> {
        let at = self.checkout(worktree)?;
        let index = ScratchIndex::copy_of(&at);
        let staged = stage_everything(&at, Some(index.path()), Unreadable::Skip)?;
        let Some(head) = staged.head else {
            return Err(GitError::WorktreeLost { path: at.path });
        };
        let files = index.write_tree(&at)?;
        let orch = Identity::new("orch", "orch@localhost");
        let prepared = self.commit_tree(&files, &[&head], "prepared", &orch)?;
        let placed = self.place_there(far, [&head, &prepared], prompt);
        Ok(match placed {
            Ok(greeting) => Carry::There(greeting),
            Err(e) => Carry::Refused(e),
        })
    }

    fn place_there(
        &self,
        far: &mut FarRun,
        [head, prepared]: [&Sha; 2],
        prompt: &[u8],
    ) -> Result<Greeting, GitError> {
        let sha256 = head.as_str().len() == 64;
        let carrier = unique();
        let greeting = far.greet(sha256, &carrier).map_err(|e| blame(far, e))?;
        far.root.clone_from(&greeting.root);
        // Whoever carried it before may have died, and its checkout go on there.
        far.end().map_err(|e| blame(far, e))?;
        let git = self
            .over_ssh("push", far)
            .args(["--quiet", "--force", "--no-verify"]);
        let output = git
            .arg("--")
            .arg(far.repository())
            .arg(format!("{head}:{}", far.reference("start")))
            .arg(format!("{prepared}:{}", far.reference("prepared")))
            .run()?;
        if output.code != Some(0) {
            return Err(Origin::Url(far.repository()).explain("push", &output));
        }
        far.check_out([head.as_str(), prepared.as_str()], prompt, &carrier)
            .map_err(|e| blame(far, e))?;
        Ok(greeting)
    }

    /// Ends what still works on the node, and makes the worktree here what it is there: HEAD at the agent's, everything
    /// else uncommitted. Can be repeated until the node was told to forget the run.
    ///
    /// # Errors
    /// `Unreachable` when the node does not answer: it keeps the work.
    pub fn bring_back(&self, worktree: &Path, far: &FarRun) -> Result<Back, GitError> {
        let Some(left) = far.collect().map_err(|e| blame(far, e))? else {
            return Ok(Back::Gone);
        };
        let unexpected = |answer: &str| GitError::Unexpected {
            what: format!("the look for work on node {}", far.node),
            answer: answer.to_owned(),
        };
        let sha = |text: &str| Sha::parse(text).map_err(|_| unexpected(text));
        let (head, work) = (sha(&left.head)?, sha(&left.work)?);
        let here = format!("refs/orch/far/{}", far.name);
        let git = self.over_ssh("fetch", far).args([
            "--quiet",
            "--no-tags",
            "--no-write-fetch-head",
            "--no-recurse-submodules",
        ]);
        let output = git
            .arg("--")
            .arg(far.repository())
            .arg(format!("+{}:{here}/head", far.reference("head")))
            .arg(format!("+{}:{here}/work", far.reference("work")))
            .run()?;
        if output.code != Some(0) {
            return Err(Origin::Url(far.repository()).explain("fetch", &output));
        }
        self.place_uncommitted(worktree, &head, &work)?;
        let forget = format!("delete {here}/head\ndelete {here}/work\n");
        let git = self.git("update-ref").arg("--stdin");
        git.input(forget.into_bytes()).ok()?;
        Ok(Back::Brought)
    }

    /// A worktree with HEAD at one commit and the files of another.
    fn place_uncommitted(&self, worktree: &Path, head: &Sha, work: &Sha) -> Result<(), GitError> {
        self.prepare_worktree(worktree, head)?;
        let at = self.checkout(worktree)?;
        let read = || at.git("read-tree").timeout(WORKING);
        read().args(["-u", "--reset", work.as_str()]).ok()?;
        read().arg(head.as_str()).ok()?;
        Ok(())
    }

    fn over_ssh(&self, what: &'static str, far: &FarRun) -> Git {
        self.git(what)
            .config(durably())
            .env("GIT_SSH_COMMAND", far.target.for_git())
            .env("GIT_SSH_VARIANT", "ssh")
            .timeout(WORKING)
    }
}

/// What failed on a node, in git's words.
fn blame(far: &FarRun, error: ProcessError) -> GitError {
    match error {
        ProcessError::Offline { why, .. } => GitError::Unreachable {
            origin: format!("node {}", far.node),
            why,
        },
        ProcessError::Far { what, code, why, .. } => GitError::Failed {
            what: format!("{what} on node {}", far.node),
            code: format!("exit {code}"),
            stderr: why,
        },
        other => GitError::Failed {
            what: format!("ssh to node {}", far.node),
            code: "no answer".to_owned(),
            stderr: other.to_string(),
        },
    }
}
