//! Jobs: the durable queue. The only place that ends a claimed job is the statement of [`end`] and [`close`].

mod about;
mod admission;
mod claim;
mod closed;
mod end;
mod list;
mod operate;
mod places;
mod request;
mod take;

pub use claim::{claim_next, held};
pub use closed::opens_at;
pub use end::{clear_dead_looks, close, dead_looks, end, look_dead};
pub use list::{
    Bare, JobCounts, bare, by_id, claims, counts, last_ends, live_of_task, next_available_at, of_silent,
    of_task, project_of, queued, recent, running, watching,
};
pub use operate::{
    Retried, adopt, adopt_all, cancel, cancel_live, fail_queued, holds, is_of, reprioritise, retry, wake,
    wake_reserved,
};
pub use places::agents_by_node;
pub use request::{Budgets, ClaimRequest, Nodes, Offer};

use diesel::prelude::*;

use super::decode::{Cell, Row};
use super::{Conn, StoreError, news};
use crate::domain::id::{
    ClaimEpoch, InstanceId, JobId, NodeName, ProjectId, StageName, TaskId, TaskVersion, Visit,
};
use crate::domain::job::{Job, JobKind, JobStatus};
use crate::domain::pipeline::Role;
use crate::domain::time::Timestamp;
use crate::schema::jobs;

predicate!(
    /// The predicate of the index `jobs_claimable`.
    Queued = "jobs.status = 'queued'"
);
predicate!(
    /// The predicate of the index `jobs_reserved`. Written so that `jobs_claimable` does not match it.
    QueuedReserved = "jobs.kind <> 'agent' AND jobs.status IN ('queued')"
);
predicate!(
    /// The predicate of the index `jobs_running`.
    Running = "jobs.status = 'running'"
);
predicate!(
    /// The predicate of the index `jobs_one_live_per_task`.
    Live = "jobs.status IN ('queued', 'running')"
);

#[derive(Queryable, Selectable)]
#[diesel(table_name = jobs)]
pub(super) struct JobRow {
    id: i64,
    task_id: i64,
    project_id: i64,
    kind: String,
    role: Option<String>,
    stage: String,
    visit: i64,
    task_version: i64,
    status: String,
    priority: i32,
    available_at: i64,
    attempts: i32,
    max_attempts: i32,
    transient_attempts: i32,
    max_transient_attempts: i32,
    claim_epoch: i64,
    node: Option<String>,
    instance: Option<String>,
    claimed_at: Option<i64>,
    finished_at: Option<i64>,
    error: Option<String>,
    notes: Option<String>,
    created_at: i64,
    timeout_percent: i32,
    agent_node: Option<String>,
}

impl Row for JobRow {
    type Domain = Job;

    fn id(&self) -> i64 {
        self.id
    }

    fn decode(self) -> Result<Job, StoreError> {
        let cell = |column| Cell {
            table: "job",
            id: &self.id,
            column,
        };
        Ok(Job {
            kind: cell("kind").word(&self.kind, JobKind::parse)?,
            role: cell("role").maybe_word(self.role.as_deref(), Role::parse)?,
            status: cell("status").word(&self.status, JobStatus::parse)?,
            id: JobId(self.id),
            task_id: TaskId(self.task_id),
            project_id: ProjectId(self.project_id),
            stage: StageName::trusted(self.stage),
            visit: Visit(self.visit),
            task_version: TaskVersion(self.task_version),
            priority: self.priority,
            available_at: Timestamp(self.available_at),
            attempts: self.attempts,
            max_attempts: self.max_attempts,
            transient_attempts: self.transient_attempts,
            max_transient_attempts: self.max_transient_attempts,
            claim_epoch: ClaimEpoch(self.claim_epoch),
            node: self.node.map(NodeName::trusted),
            instance: self.instance.map(InstanceId::trusted),
            claimed_at: self.claimed_at.map(Timestamp),
            finished_at: self.finished_at.map(Timestamp),
            error: self.error,
            notes: self.notes,
            created_at: Timestamp(self.created_at),
            timeout_percent: self.timeout_percent,
            agent_node: self.agent_node.map(NodeName::trusted),
        })
    }
}

/// A job to be queued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewJob {
    /// The task it works for.
    pub task_id: TaskId,
    /// That task's project.
    pub project_id: ProjectId,
    /// What it is for.
    pub kind: JobKind,
    /// Role, for agent jobs.
    pub role: Option<Role>,
    /// Stage it is made for.
    pub stage: StageName,
    /// Visit of that stage.
    pub visit: Visit,
    /// The task's version it is made for.
    pub task_version: TaskVersion,
    /// Higher goes first.
    pub priority: i32,
    /// Not claimed before.
    pub available_at: Timestamp,
    /// Attempts already spent, where it continues an earlier job.
    pub attempts: i32,
    /// Claims that may count.
    pub max_attempts: i32,
    /// Transient failures already borne.
    pub transient_attempts: i32,
    /// How many of those are borne.
    pub max_transient_attempts: i32,
    /// Text added to the next prompt.
    pub notes: Option<String>,
    /// Why it waits until `available_at`, for those who look at it.
    pub waits: Option<String>,
}

/// What enqueueing found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Enqueued {
    /// Queued now.
    New(Job),
    /// The task has a queued or running job already: unchanged.
    AlreadyLive(Job),
}

/// Queues a job, unless its task has a live one.
///
/// # Errors
/// See [`StoreError`].
pub fn enqueue(conn: &mut Conn, new: &NewJob, now: Timestamp) -> Result<Enqueued, StoreError> {
    // The live job that was in the way can end before it is read (PostgreSQL): then there is room.
    for _ in 0..3 {
        if let Some(row) = try_insert(conn, new, now)? {
            news::tell(conn)?;
            return row.decode().map(Enqueued::New);
        }
        if let Some(job) = live_of_task(conn, new.task_id)? {
            return Ok(Enqueued::AlreadyLive(job));
        }
    }
    Err(StoreError::Locked {
        place: format!("the queue of task {}", new.task_id),
    })
}

fn try_insert(conn: &mut Conn, new: &NewJob, now: Timestamp) -> Result<Option<JobRow>, StoreError> {
    Ok(on!(conn, c => diesel::insert_into(jobs::table)
        .values((
            jobs::task_id.eq(new.task_id.0),
            jobs::project_id.eq(new.project_id.0),
            jobs::kind.eq(new.kind.as_str()),
            jobs::role.eq(new.role.map(Role::as_str)),
            jobs::stage.eq(new.stage.as_str()),
            jobs::visit.eq(new.visit.0),
            jobs::task_version.eq(new.task_version.0),
            jobs::status.eq(JobStatus::Queued.as_str()),
            jobs::priority.eq(new.priority),
            jobs::available_at.eq(new.available_at.0),
            jobs::attempts.eq(new.attempts),
            jobs::max_attempts.eq(new.max_attempts),
            jobs::transient_attempts.eq(new.transient_attempts),
            jobs::max_transient_attempts.eq(new.max_transient_attempts),
            jobs::notes.eq(new.notes.as_deref()),
            jobs::error.eq(new.waits.as_deref()),
            jobs::created_at.eq(now.0),
        ))
        .on_conflict_do_nothing()
        .returning(JobRow::as_returning())
        .get_result(c)
        .optional())?)
}
