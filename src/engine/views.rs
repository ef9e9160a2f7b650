//! What people and machines are shown: the shapes behind `/api/v1` and `--json`. Never decides anything.

mod batch;
mod budget;
mod deploy;
mod healing;
mod inbox;
mod instance;
mod lease;
mod notice;
mod post_deploy;
mod prune;
mod reap;
mod repair;
mod rescue;
pub mod shapes;

pub use batch::{BatchChange, BatchDetail, BatchMember, SubmitBatch, Unchanged};
pub use budget::{BudgetView, SpentView};
pub use deploy::DeployView;
pub use healing::HealingView;
pub use inbox::{DeliveryDetail, DeliveryView};
pub use instance::InstanceView;
pub use lease::{LeaseView, LeasesView, MergeStopView};
pub use notice::NoticeView;
pub use post_deploy::{PostDeployView, ProductionView, WatchingView};
pub use prune::{PruneCommand, PruneReport};
pub use reap::{PlannedReap, ReapPlan, ReapReport, ReapedView};
pub(super) use repair::USABLE;
pub use repair::{
    BreakerView, GivenUp, HangView, IncidentView, MatchView, MatchedView, NodeView, RepairView, RulesView,
    StrategyStats,
};
pub use rescue::{KeptDetail, KeptView, RescueView, RescueWork};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A task, in a list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TaskView {
    /// "ORCH-059".
    pub id: String,
    /// Project's name.
    pub project: String,
    /// One line.
    pub title: String,
    /// Where in the pipeline.
    pub stage: String,
    /// How it stands there.
    #[schema(value_type = shapes::TaskStatus)]
    pub status: String,
    /// Why it waits or is blocked.
    pub reason: Option<String>,
    /// Its branch.
    pub branch: String,
    /// Branch head offered for the next stage.
    pub candidate: Option<String>,
    /// Rollbacks that counted.
    pub developer_retries: i32,
    /// Higher goes first.
    pub priority: i32,
    /// Since when in this stage, RFC 3339.
    #[schema(format = DateTime)]
    pub stage_entered_at: String,
    /// When it was created, RFC 3339.
    #[schema(format = DateTime)]
    pub created_at: String,
    /// When it was done or cancelled, RFC 3339.
    #[schema(format = DateTime)]
    pub finished_at: Option<String>,
}

/// A task with all that is known of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TaskDetail {
    /// The task.
    pub task: TaskView,
    /// What is wanted.
    pub description: String,
    /// Work items it waits for.
    pub depends_on: Vec<String>,
    /// Paths it changes.
    pub modifies: Vec<String>,
    /// The latest answer of each gate.
    pub gates: Vec<GateView>,
    /// Its jobs, newest first.
    pub jobs: Vec<JobView>,
    /// Its runs, newest first.
    pub runs: Vec<RunView>,
    /// What happened, oldest first.
    pub events: Vec<EventView>,
    /// Comments, oldest first.
    pub comments: Vec<CommentView>,
    /// The pull request, as "#3 open".
    pub pull_request: Option<String>,
}

/// The latest answer of a gate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct GateView {
    /// Its name.
    pub gate: String,
    /// green, red, pending or unknown.
    #[schema(value_type = shapes::GateState)]
    pub state: String,
    /// Why.
    pub reason: String,
    /// The commit it was asked about.
    pub candidate: String,
    /// When, RFC 3339.
    #[schema(format = DateTime)]
    pub at: String,
}

/// A job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct JobView {
    /// Identity.
    pub id: i64,
    /// Task's name.
    pub task: String,
    /// agent, gate-check, deploy-finalizer, post-deploy-monitor.
    #[schema(value_type = shapes::JobKind)]
    pub kind: String,
    /// Role, for agent jobs.
    #[schema(value_type = Option<shapes::Role>)]
    pub role: Option<String>,
    /// Stage it was made for.
    pub stage: String,
    /// queued, running, done, failed, cancelled.
    #[schema(value_type = shapes::JobStatus)]
    pub status: String,
    /// Higher goes first.
    pub priority: i32,
    /// Attempts that counted, of `max_attempts`.
    pub attempts: i32,
    /// How many may count.
    pub max_attempts: i32,
    /// Last error, or why it waits.
    pub error: Option<String>,
    /// Not claimed before, RFC 3339.
    #[schema(format = DateTime)]
    pub available_at: String,
    /// When it was claimed, RFC 3339.
    #[schema(format = DateTime)]
    pub claimed_at: Option<String>,
    /// When it ended, RFC 3339.
    #[schema(format = DateTime)]
    pub finished_at: Option<String>,
    /// Why it is not claimed although its time has come.
    #[serde(default)]
    pub held: Option<String>,
}

/// A run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RunView {
    /// Identity.
    pub id: i64,
    /// Its job.
    pub job: i64,
    /// Task's name.
    pub task: String,
    /// Role at work.
    #[schema(value_type = Option<shapes::Role>)]
    pub role: Option<String>,
    /// Agent preset.
    pub agent: String,
    /// Stage.
    pub stage: String,
    /// How far it has come.
    #[schema(value_type = shapes::RunStep)]
    pub step: String,
    /// "exit code 0", "exit code 143 SIGTERM (timeout after 1800s)".
    pub exit: Option<String>,
    /// What went wrong.
    pub error: Option<String>,
    /// What else is worth knowing: output that is missing, processes that it left behind.
    #[serde(default)]
    pub remarks: Vec<String>,
    /// Where unfinished work was kept.
    pub wip_ref: Option<String>,
    /// Tokens in, cached included.
    pub tokens_in: Option<i64>,
    /// Tokens out.
    pub tokens_out: Option<i64>,
    /// Cost, micro-USD.
    pub cost_micro_usd: Option<i64>,
    /// reported, priced, unpriced.
    #[schema(value_type = Option<shapes::Provenance>)]
    pub provenance: Option<String>,
    /// When it was claimed, RFC 3339.
    #[schema(format = DateTime)]
    pub started_at: String,
    /// When it was over, RFC 3339.
    #[schema(format = DateTime)]
    pub finished_at: Option<String>,
    /// Milliseconds from claim to end (or to now).
    pub duration_ms: i64,
}

/// One line of what happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EventView {
    /// Grows; ask for what comes after it.
    pub id: i64,
    /// When, RFC 3339.
    #[schema(format = DateTime)]
    pub at: String,
    /// Task's name.
    pub task: String,
    /// Stage then.
    pub stage: String,
    /// created, job, run, gate, stage, rollback, gesture, merge, parked, done …
    pub kind: String,
    /// For people.
    pub text: String,
}

/// A comment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CommentView {
    /// Who.
    pub author: String,
    /// What.
    pub body: String,
    /// When, RFC 3339.
    #[schema(format = DateTime)]
    pub at: String,
}

/// A project.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ProjectView {
    /// Its name.
    pub name: String,
    /// Prefix of its work items.
    pub prefix: String,
    /// Its repository.
    pub repo: String,
    /// The branch it delivers to.
    pub main: String,
    /// Stages in order.
    pub stages: Vec<String>,
}

/// `GET /queue`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct QueueView {
    /// Jobs by status; the ended ones of the last 24 hours.
    pub counts: CountsView,
    /// Agents at once.
    pub max_concurrency: usize,
    /// Seconds of the fallback tick.
    pub poll_interval: u64,
    /// True while an operator paused the queue.
    pub paused: bool,
    /// The repositories into which nobody merges until a person says so.
    #[serde(default)]
    pub merges_stopped: Vec<MergeStopView>,
    /// Queued and running jobs, in claiming order.
    pub live: Vec<JobView>,
    /// The ten that were queued last, whatever became of them.
    pub recent: Vec<JobView>,
}

/// Jobs by status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CountsView {
    /// Waiting.
    pub queued: i64,
    /// Claimed.
    pub running: i64,
    /// Ended well in the last 24 hours.
    pub done: i64,
    /// Ended badly in the last 24 hours.
    pub failed: i64,
    /// Cancelled in the last 24 hours.
    pub cancelled: i64,
}

/// What adding a task takes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AddTask {
    /// Project's name; may be left out when there is only one.
    #[serde(default)]
    pub project: Option<String>,
    /// One line.
    #[schema(value_type = shapes::Title)]
    pub title: String,
    /// What is wanted.
    #[serde(default)]
    #[schema(value_type = shapes::Description)]
    pub description: String,
    /// A name of one's own instead of the next number.
    #[serde(default)]
    #[schema(value_type = Option<shapes::WorkItemName>)]
    pub id: Option<String>,
    /// Work items that must be done first.
    #[serde(default)]
    #[schema(value_type = Vec<shapes::WorkItemName>)]
    pub depends_on: Vec<String>,
    /// Paths it changes.
    #[serde(default)]
    #[schema(value_type = Vec<shapes::RepositoryPath>)]
    pub modifies: Vec<String>,
    /// Agent preset instead of the roles' own.
    #[serde(default)]
    pub executor: Option<String>,
    /// Higher goes first.
    #[serde(default)]
    #[schema(value_type = shapes::Priority)]
    pub priority: i32,
    /// Only create it; it starts with the gesture in-progress.
    #[serde(default)]
    pub hold: bool,
    /// A caller's own key: the same key twice adds one task.
    #[serde(default)]
    #[schema(value_type = Option<shapes::ExternalId>)]
    pub external_id: Option<String>,
}

/// What a gesture takes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MakeGesture {
    /// in-progress, approved, rejected, confirm-deploy, needs-input, blocked, cancelled.
    #[schema(value_type = shapes::Gesture)]
    pub gesture: String,
    /// Who.
    #[serde(default)]
    #[schema(value_type = Option<shapes::Person>)]
    pub person: Option<String>,
    /// Why; given to the next agent after a rejection.
    #[serde(default)]
    #[schema(value_type = Option<shapes::Comment>)]
    pub comment: Option<String>,
    /// The candidate that is meant, as a commit or the first seven or more digits of one: refused when the task's is
    /// another by now.
    #[serde(default)]
    #[schema(value_type = Option<shapes::CandidatePrefix>)]
    pub candidate: Option<String>,
}

/// What a gesture did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct GestureView {
    /// True when it changed something.
    pub applied: bool,
    /// What it did, or why nothing.
    pub effect: String,
    /// The task after it.
    pub task: TaskView,
}
