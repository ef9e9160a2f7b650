//! A run: one attempt at a job. Its steps, its exit, what it used.

use serde::{Deserialize, Serialize};

use super::id::{ClaimEpoch, CodeTree, JobId, MonitorEpoch, RunId, Sha, TaskId, Visit};
use super::pipeline::Role;
use super::time::Timestamp;

/// How far a run has come. Each step is recorded before the next begins, so a successor goes on from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunStep {
    /// The job was claimed; nothing was done yet.
    Claimed,
    /// Worktree, prompt and run directory exist.
    Prepared,
    /// The shim was started and its identity recorded.
    Running,
    /// The agent's exit is recorded.
    Exited,
    /// What the agent left is committed.
    Committed,
    /// The branch is at the forge.
    Pushed,
    /// A pull request is open.
    PrOpened,
    /// Gates were evaluated and the task moved; in the same transaction the job ended.
    Evaluated,
    /// The worktree is gone: nothing is left to do.
    Finalised,
    /// Ended without finalising: cancelled, failed, or taken away.
    Abandoned,
}

impl RunStep {
    /// All steps, in order.
    pub const ALL: [RunStep; 10] = [
        Self::Claimed,
        Self::Prepared,
        Self::Running,
        Self::Exited,
        Self::Committed,
        Self::Pushed,
        Self::PrOpened,
        Self::Evaluated,
        Self::Finalised,
        Self::Abandoned,
    ];

    /// The word stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Claimed => "claimed",
            Self::Prepared => "prepared",
            Self::Running => "running",
            Self::Exited => "exited",
            Self::Committed => "committed",
            Self::Pushed => "pushed",
            Self::PrOpened => "pr_opened",
            Self::Evaluated => "evaluated",
            Self::Finalised => "finalised",
            Self::Abandoned => "abandoned",
        }
    }

    /// The inverse of [`RunStep::as_str`].
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.as_str() == text)
    }
}

/// Who a process is. A bare pid is never enough: pids are reused, and start again in every namespace and boot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessIdentity {
    /// `/proc/sys/kernel/random/boot_id`.
    pub boot_id: String,
    /// Inode of `/proc/self/ns/pid` in the upper half, start of the namespace's first process in the lower one.
    pub pid_namespace: u64,
    /// Process id in that namespace.
    pub pid: i32,
    /// `/proc/<pid>/stat` field 22, clock ticks since boot.
    pub start_time: u64,
}

/// Why a run ended before its program chose to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum StopCause {
    /// Ran longer than its role may.
    Timeout {
        /// The limit, seconds.
        after_s: u64,
    },
    /// Printed nothing for too long.
    Stall {
        /// The limit, seconds.
        after_s: u64,
    },
    /// Printed nothing at all after its start.
    Startup {
        /// The limit, seconds.
        after_s: u64,
    },
    /// The service asked the shim to stop (cancel, shutdown).
    Stopped,
    /// The service could not say in time that the run is still its own.
    LeaseExpired {
        /// How long it had not said so, seconds.
        after_s: u64,
    },
    /// The program could not be started.
    NotStarted {
        /// The system's reason.
        why: String,
    },
}

/// What the shim recorded of an exit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitRecord {
    /// Exit code, when the program exited by itself. 127 when it could not be found, 126 when not started.
    pub code: Option<i32>,
    /// Signal number, when a signal ended it.
    pub signal: Option<i32>,
    /// Why the shim ended it, when the shim did.
    pub cause: Option<StopCause>,
    /// When it ended.
    pub finished_at: Timestamp,
    /// Peak resident memory of the largest process of the tree, bytes.
    pub peak_memory_bytes: u64,
    /// CPU time of the tree (user and system), microseconds.
    pub cpu_us: u64,
    /// Bytes that the agent printed.
    pub output_bytes: u64,
    /// Bytes that were not kept, because of the cap or because the log could not be written.
    pub dropped_bytes: u64,
    /// Why the log could not be written, if so ("No space left on device").
    pub log_error: Option<String>,
    /// Processes of the tree that had to be killed after the program itself had ended.
    pub leftover_processes: u32,
}

impl ExitRecord {
    /// True when Orch itself ended the program, for no fault of its own.
    pub fn ended_by_orch(&self) -> bool {
        match &self.cause {
            Some(StopCause::Stopped | StopCause::LeaseExpired { .. }) => true,
            Some(
                StopCause::Timeout { .. }
                | StopCause::Stall { .. }
                | StopCause::Startup { .. }
                | StopCause::NotStarted { .. },
            )
            | None => false,
        }
    }

    /// True only for a program that ended by itself with 0.
    pub fn succeeded(&self) -> bool {
        self.code == Some(0) && self.signal.is_none() && self.cause.is_none()
    }
}

/// Where a cost comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Provenance {
    /// The agent said what it cost.
    Reported,
    /// Orch computed it from tokens and a price table.
    Priced,
    /// Nobody knows.
    Unpriced,
}

impl Provenance {
    /// All of them.
    pub const ALL: [Provenance; 3] = [Self::Reported, Self::Priced, Self::Unpriced];

    /// The word stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reported => "reported",
            Self::Priced => "priced",
            Self::Unpriced => "unpriced",
        }
    }
    /// The inverse of [`Provenance::as_str`].
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|p| p.as_str() == text)
    }
}

/// What a run used. Input tokens include the cached ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Tokens given to the model, the cached ones included.
    pub tokens_in: i64,
    /// Tokens that the model wrote.
    pub tokens_out: i64,
    /// Of `tokens_in`, those read from a cache.
    pub tokens_cached: i64,
    /// Cost, micro-USD; absent when nobody knows.
    pub cost_micro_usd: Option<i64>,
    /// Where the cost comes from.
    pub provenance: Provenance,
}

/// A run as stored.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Run {
    /// Identity.
    pub id: RunId,
    /// The job it is an attempt at.
    pub job_id: JobId,
    /// The task it works for.
    pub task_id: TaskId,
    /// The claim it belongs to; also names its run directory and worktree.
    pub claim_epoch: ClaimEpoch,
    /// The monitor that may write about it.
    pub monitor_epoch: MonitorEpoch,
    /// Role at work; none for reserved jobs.
    pub role: Option<Role>,
    /// The agent preset's name; "orch" for reserved jobs.
    pub agent: String,
    /// Stage it was made for.
    pub stage: super::id::StageName,
    /// Visit of that stage.
    pub visit: Visit,
    /// Machine.
    pub node: super::id::NodeName,
    /// Boot of the service that claimed it.
    pub instance: super::id::InstanceId,
    /// How far it has come.
    pub step: RunStep,
    /// Branch head it was given.
    pub start_sha: Option<Sha>,
    /// Code tree it was given.
    pub start_tree: Option<CodeTree>,
    /// Branch head it left.
    pub end_sha: Option<Sha>,
    /// Code tree it left.
    pub end_tree: Option<CodeTree>,
    /// Where its unfinished work was kept.
    pub wip_ref: Option<String>,
    /// Identity of its shim.
    pub shim: Option<ProcessIdentity>,
    /// Its exit.
    pub exit: Option<ExitRecord>,
    /// One line: what went wrong.
    pub error: Option<String>,
    /// What it used.
    pub usage: Option<Usage>,
    /// When it was claimed.
    pub started_at: Timestamp,
    /// When it was over.
    pub finished_at: Option<Timestamp>,
}
