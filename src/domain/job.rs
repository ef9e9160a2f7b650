//! Jobs: durable queue entries.

use serde::{Deserialize, Serialize};

use super::id::{ClaimEpoch, InstanceId, JobId, NodeName, ProjectId, StageName, TaskId, TaskVersion, Visit};
use super::pipeline::Role;
use super::time::Timestamp;

/// What a job is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum JobKind {
    /// Run an agent.
    Agent,
    /// Look at the gates of a stage and run what they need: checks, rebase and re-test (reserved).
    GateCheck,
    /// Merge the candidate, deploy it where the project has a way to, and record the outcome (reserved).
    DeployFinalizer,
    /// Watch production after a deploy (reserved).
    PostDeployMonitor,
}

impl JobKind {
    /// All kinds.
    pub const ALL: [JobKind; 4] = [
        Self::Agent,
        Self::GateCheck,
        Self::DeployFinalizer,
        Self::PostDeployMonitor,
    ];

    /// The word stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::GateCheck => "gate-check",
            Self::DeployFinalizer => "deploy-finalizer",
            Self::PostDeployMonitor => "post-deploy-monitor",
        }
    }
    /// The inverse of [`JobKind::as_str`].
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|k| k.as_str() == text)
    }
    /// Whether it writes to this machine's disk: worktrees, commits, logs. Looking at production does not.
    pub fn needs_room(self) -> bool {
        match self {
            Self::Agent | Self::GateCheck | Self::DeployFinalizer => true,
            Self::PostDeployMonitor => false,
        }
    }
    /// Reserved jobs take no agent slot and ignore pause, breaker, budget and blacklist.
    pub fn is_reserved(self) -> bool {
        self != Self::Agent
    }
}

/// Where a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JobStatus {
    /// Waits to be claimed.
    Queued,
    /// Claimed.
    Running,
    /// Over, well.
    Done,
    /// Over, badly.
    Failed,
    /// Ended by a person or by a gesture.
    Cancelled,
}

impl JobStatus {
    /// All statuses.
    pub const ALL: [JobStatus; 5] = [
        Self::Queued,
        Self::Running,
        Self::Done,
        Self::Failed,
        Self::Cancelled,
    ];

    /// The word stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
    /// The inverse of [`JobStatus::as_str`].
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.as_str() == text)
    }
}

/// A job as stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Job {
    /// Identity.
    pub id: JobId,
    /// The task it works for.
    pub task_id: TaskId,
    /// That task's project.
    pub project_id: ProjectId,
    /// What it is for.
    pub kind: JobKind,
    /// Role, for agent jobs.
    pub role: Option<Role>,
    /// Stage it was made for.
    pub stage: StageName,
    /// Visit of that stage.
    pub visit: Visit,
    /// The task's version it was made for.
    pub task_version: TaskVersion,
    /// Where it stands.
    pub status: JobStatus,
    /// Higher goes first.
    pub priority: i32,
    /// Not claimed before.
    pub available_at: Timestamp,
    /// Claims so far that counted.
    pub attempts: i32,
    /// How many may count.
    pub max_attempts: i32,
    /// Transient failures so far.
    pub transient_attempts: i32,
    /// How many of those are borne.
    pub max_transient_attempts: i32,
    /// The current claim.
    pub claim_epoch: ClaimEpoch,
    /// Machine of the current claim.
    pub node: Option<NodeName>,
    /// Boot of the service that claimed it.
    pub instance: Option<InstanceId>,
    /// When it was claimed.
    pub claimed_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// Last error, or why it waits.
    pub error: Option<String>,
    /// Text added to the next prompt.
    pub notes: Option<String>,
    /// When it was enqueued.
    pub created_at: Timestamp,
    /// Time limits of its attempts, in percent of the settings.
    pub timeout_percent: i32,
    /// Node on which the agent of the current claim runs; none: the machine of its service.
    pub agent_node: Option<NodeName>,
}

/// Proof that a job was claimed: what every later write about that claim is guarded by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Claim {
    /// The job.
    pub job: JobId,
    /// The claim.
    pub epoch: ClaimEpoch,
}

/// How a claimed job ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobEnd {
    /// Over, well.
    Done,
    /// Over, badly, with the reason.
    Failed(String),
    /// Ended by a person.
    Cancelled(String),
    /// Tried again: counts as an attempt.
    Retry {
        /// Why.
        error: String,
        /// Not before.
        available_at: Timestamp,
        /// Added to the next prompt.
        notes: Option<String>,
        /// Time limits of the next attempt, in percent of the settings; none leaves them as they are.
        timeout_percent: Option<i32>,
    },
    /// Tried again: moves the cost to the transient budget.
    RetryTransient {
        /// Why.
        error: String,
        /// Not before.
        available_at: Timestamp,
    },
    /// Failed while its scope is closed: put back at no cost, for the attempt that was planned.
    Held {
        /// Why.
        error: String,
        /// Not before.
        available_at: Timestamp,
        /// Added to the next prompt.
        notes: Option<String>,
        /// Time limits of the next attempt, in percent of the settings; none leaves them as they are.
        timeout_percent: Option<i32>,
    },
    /// Put back without any cost: what Orch itself ended, or what has to wait.
    Snooze {
        /// Why.
        reason: String,
        /// Not before.
        available_at: Timestamp,
    },
}
