//! Lists and counts of jobs. None of them scans history.

use std::collections::BTreeMap;

use diesel::dsl::{count_star, min};
use diesel::prelude::*;
use serde::Serialize;

use super::{JobRow, Live, Queued, Running};
use crate::domain::id::{ClaimEpoch, InstanceId, JobId, NodeName, ProjectId, TaskId};
use crate::domain::job::{Claim, Job, JobKind, JobStatus};
use crate::domain::pipeline::Role;
use crate::domain::time::Timestamp;
use crate::schema::{instances, jobs, tasks};
use crate::store::decode::{maybe, rows};
use crate::store::{Conn, Listing, StoreError};

const DAY: std::time::Duration = std::time::Duration::from_secs(24 * 3600);

/// The job, if it exists.
///
/// # Errors
/// [`StoreError::Broken`] when it cannot be read.
pub fn by_id(conn: &mut Conn, id: JobId) -> Result<Option<Job>, StoreError> {
    maybe(on!(conn, c => jobs::table
        .find(id.0)
        .select(JobRow::as_select())
        .first(c)
        .optional())?)
}

/// The project of a job, if the job exists; can always be read.
///
/// # Errors
/// See [`StoreError`].
pub fn project_of(conn: &mut Conn, id: JobId) -> Result<Option<ProjectId>, StoreError> {
    let found: Option<i64> = on!(conn, c => jobs::table
        .find(id.0)
        .select(jobs::project_id)
        .first(c)
        .optional())?;
    Ok(found.map(ProjectId))
}

/// The task's queued or running job, if it has one.
///
/// # Errors
/// [`StoreError::Broken`] when it cannot be read.
pub fn live_of_task(conn: &mut Conn, task: TaskId) -> Result<Option<Job>, StoreError> {
    maybe(on!(conn, c => jobs::table
        .filter(jobs::task_id.eq(task.0))
        .filter(Live)
        .select(JobRow::as_select())
        .first(c)
        .optional())?)
}

/// The tasks for which production is watched, oldest first, and since when.
///
/// # Errors
/// See [`StoreError`].
pub fn watching(conn: &mut Conn) -> Result<Vec<(TaskId, Timestamp)>, StoreError> {
    let found: Vec<(i64, i64)> = on!(conn, c => jobs::table
        .filter(Live)
        .filter(jobs::kind.eq(JobKind::PostDeployMonitor.as_str()))
        .order(jobs::id)
        .select((jobs::task_id, jobs::created_at))
        .load(c))?;
    let watched = |(task, since)| (TaskId(task), Timestamp(since));
    Ok(found.into_iter().map(watched).collect())
}

/// All jobs that a task ever had, oldest first.
///
/// # Errors
/// See [`StoreError`].
pub fn of_task(conn: &mut Conn, task: TaskId) -> Result<Listing<Job>, StoreError> {
    Ok(Listing::of(on!(conn, c => jobs::table
        .filter(jobs::task_id.eq(task.0))
        .order(jobs::id)
        .select(JobRow::as_select())
        .load(c))?))
}

/// When the last job of each of these tasks ended, where one did.
///
/// # Errors
/// See [`StoreError`].
pub fn last_ends(conn: &mut Conn, of: &[TaskId]) -> Result<BTreeMap<TaskId, Timestamp>, StoreError> {
    let ids: Vec<i64> = of.iter().map(|id| id.0).collect();
    // One step into the index for each: the last that was made is the last that ended, or the one before it is.
    let found: Vec<(i64, Option<i64>)> = on!(conn, c => tasks::table
        .filter(tasks::id.eq_any(&ids))
        .select((
            tasks::id,
            jobs::table
                .filter(jobs::task_id.eq(tasks::id))
                .filter(jobs::finished_at.is_not_null())
                .order(jobs::id.desc())
                .select(jobs::finished_at)
                .limit(1)
                .single_value(),
        ))
        .load(c))?;
    let end = |(task, at): (i64, Option<i64>)| at.map(|at| (TaskId(task), Timestamp(at)));
    Ok(found.into_iter().filter_map(end).collect())
}

/// The claims under which those of the jobs run that do.
///
/// # Errors
/// See [`StoreError`].
pub fn claims(conn: &mut Conn, of: &[JobId]) -> Result<Vec<Claim>, StoreError> {
    let ids: Vec<i64> = of.iter().map(|id| id.0).collect();
    let found: Vec<(i64, i64)> = on!(conn, c => jobs::table
        .filter(jobs::id.eq_any(&ids))
        .filter(Running)
        .select((jobs::id, jobs::claim_epoch))
        .load(c))?;
    let claim = |(id, epoch)| Claim {
        job: JobId(id),
        epoch: ClaimEpoch(epoch),
    };
    Ok(found.into_iter().map(claim).collect())
}

/// A page of running jobs by id, after the last one seen.
///
/// # Errors
/// See [`StoreError`].
pub fn running(conn: &mut Conn, after: Option<JobId>, limit: usize) -> Result<Listing<Job>, StoreError> {
    Ok(Listing::of(on!(conn, c => jobs::table
        .filter(Running)
        .filter(jobs::id.gt(after.map_or(0, |id| id.0)))
        .order(jobs::id)
        .limit(rows(limit))
        .select(JobRow::as_select())
        .load(c))?))
}

/// What can be read of a queued or running job, whatever the words of its row say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bare {
    /// Its claim; the last one, while it is queued.
    pub claim: Claim,
    /// How it stood when it was read.
    pub status: JobStatus,
    /// The task it works for.
    pub task_id: TaskId,
    /// That task's project.
    pub project_id: ProjectId,
    /// Who works at it, as it is written.
    pub agent: String,
    /// Machine that has it.
    pub node: Option<NodeName>,
    /// Boot of the service that has it.
    pub instance: Option<InstanceId>,
    /// Since when it runs, or may be claimed.
    pub since: Timestamp,
}

impl Bare {
    /// The same of a job that could be read.
    pub fn of(job: &Job) -> Self {
        Self {
            claim: Claim {
                job: job.id,
                epoch: job.claim_epoch,
            },
            status: job.status,
            task_id: job.task_id,
            project_id: job.project_id,
            agent: job.role.map_or(job.kind.as_str(), Role::as_str).to_owned(),
            node: job.node.clone(),
            instance: job.instance.clone(),
            since: job.claimed_at.unwrap_or(job.available_at),
        }
    }
}

/// A job that stands so (queued, running), by what can always be read of it. None: it does not stand so any more.
///
/// # Errors
/// See [`StoreError`].
pub fn bare(conn: &mut Conn, id: JobId, status: JobStatus) -> Result<Option<Bare>, StoreError> {
    type Columns = (
        (i64, i64, i64),
        (Option<String>, String),
        (Option<String>, Option<String>),
        (Option<i64>, i64),
    );
    let found: Option<Columns> = on!(conn, c => jobs::table
        .find(id.0)
        .filter(jobs::status.eq(status.as_str()))
        .select((
            (jobs::claim_epoch, jobs::task_id, jobs::project_id),
            (jobs::role, jobs::kind),
            (jobs::node, jobs::instance),
            (jobs::claimed_at, jobs::available_at),
        ))
        .first(c)
        .optional())?;
    Ok(found.map(
        |((epoch, task, project), (role, kind), (node, instance), (claimed, available))| Bare {
            claim: Claim {
                job: id,
                epoch: ClaimEpoch(epoch),
            },
            status,
            task_id: TaskId(task),
            project_id: ProjectId(project),
            agent: role.unwrap_or(kind),
            node: node.map(NodeName::trusted),
            instance: instance.map(InstanceId::trusted),
            since: Timestamp(claimed.unwrap_or(available)),
        },
    ))
}

/// A page of the running jobs of instances that were not heard since `before`, by id, after the last one seen. An instance
/// that nobody knows was heard last when it claimed.
///
/// # Errors
/// See [`StoreError`].
pub fn of_silent(
    conn: &mut Conn,
    before: Timestamp,
    after: JobId,
    limit: usize,
) -> Result<Listing<Job>, StoreError> {
    Ok(Listing::of(on!(conn, c => jobs::table
        .left_join(instances::table.on(jobs::instance.eq(instances::id.nullable())))
        .filter(Running)
        .filter(jobs::id.gt(after.0))
        .filter(
            instances::heartbeat_at
                .nullable()
                .lt(before.0)
                .or(instances::id.nullable().is_null().and(
                    jobs::claimed_at.is_null().or(jobs::claimed_at.lt(before.0)),
                )),
        )
        .order(jobs::id)
        .limit(rows(limit))
        .select(JobRow::as_select())
        .load(c))?))
}

/// The queued jobs in the order in which they are looked at.
///
/// # Errors
/// See [`StoreError`].
pub fn queued(conn: &mut Conn, limit: usize) -> Result<Listing<Job>, StoreError> {
    Ok(Listing::of(on!(conn, c => jobs::table
        .filter(Queued)
        .order((jobs::priority.desc(), jobs::id))
        .limit(rows(limit))
        .select(JobRow::as_select())
        .load(c))?))
}

/// The jobs enqueued last, newest first.
///
/// # Errors
/// See [`StoreError`].
pub fn recent(conn: &mut Conn, limit: usize) -> Result<Listing<Job>, StoreError> {
    Ok(Listing::of(on!(conn, c => jobs::table
        .order(jobs::id.desc())
        .limit(rows(limit))
        .select(JobRow::as_select())
        .load(c))?))
}

/// The earliest time at which a job that waits for its time may be claimed: when to wake up.
///
/// # Errors
/// See [`StoreError`].
pub fn next_available_at(conn: &mut Conn, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
    let at: Option<i64> = on!(conn, c => jobs::table
        .filter(Queued)
        .filter(jobs::available_at.gt(now.0))
        .select(min(jobs::available_at))
        .first(c))?;
    Ok(at.map(Timestamp))
}

/// How many jobs there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct JobCounts {
    /// Waiting.
    pub queued: i64,
    /// Claimed.
    pub running: i64,
    /// Done within 24 hours.
    pub done_24h: i64,
    /// Failed within 24 hours.
    pub failed_24h: i64,
    /// Cancelled within 24 hours.
    pub cancelled_24h: i64,
}

/// Counts jobs: all live ones, and those that ended in the last 24 hours.
///
/// # Errors
/// See [`StoreError`].
pub fn counts(conn: &mut Conn, now: Timestamp) -> Result<JobCounts, StoreError> {
    let mut counts = JobCounts {
        queued: on!(conn, c => jobs::table.filter(Queued).select(count_star()).first(c))?,
        running: on!(conn, c => jobs::table.filter(Running).select(count_star()).first(c))?,
        ..JobCounts::default()
    };
    let ended: Vec<(String, i64)> = on!(conn, c => jobs::table
        .filter(jobs::finished_at.gt((now - DAY).0))
        .group_by(jobs::status)
        .select((jobs::status, count_star()))
        .load(c))?;
    for (status, n) in ended {
        match JobStatus::parse(&status) {
            Some(JobStatus::Done) => counts.done_24h = n,
            Some(JobStatus::Failed) => counts.failed_24h = n,
            Some(JobStatus::Cancelled) => counts.cancelled_24h = n,
            Some(JobStatus::Queued | JobStatus::Running) | None => {}
        }
    }
    Ok(counts)
}
