//! What people and gestures do to jobs: cancel, retry, reprioritise, wake.

use diesel::prelude::*;

use super::{Enqueued, JobRow, NewJob, Queued, Running, by_id, enqueue, live_of_task};
use crate::domain::id::{InstanceId, JobId, NodeName, ProjectId, TaskId};
use crate::domain::job::{Claim, Job, JobKind, JobStatus};
use crate::domain::time::Timestamp;
use crate::schema::jobs;
use crate::store::decode::guarded;
use crate::store::{Conn, Guarded, StoreError, news, tasks};

/// Cancels the task's queued or running job; answers it as it was before, so that its agent can be stopped.
///
/// # Errors
/// See [`StoreError`].
pub fn cancel_live(
    conn: &mut Conn,
    task: TaskId,
    reason: &str,
    now: Timestamp,
) -> Result<Option<Job>, StoreError> {
    match live_of_task(conn, task)? {
        Some(job) => Ok(cancel(conn, job.id, reason, now)?.won()),
        None => Ok(None),
    }
}

/// Cancels a queued or running job; answers it as it was before. Lost: it is over already.
///
/// # Errors
/// See [`StoreError`].
pub fn cancel(conn: &mut Conn, id: JobId, reason: &str, now: Timestamp) -> Result<Guarded<Job>, StoreError> {
    // Between the look and the write it can be claimed or requeued (PostgreSQL): then look again.
    for _ in 0..5 {
        let Some(before) = by_id(conn, id)? else {
            return Ok(Guarded::Lost);
        };
        if !matches!(before.status, JobStatus::Queued | JobStatus::Running) {
            return Ok(Guarded::Lost);
        }
        let changed = on!(conn, c => diesel::update(jobs::table)
            .filter(jobs::id.eq(id.0))
            .filter(jobs::status.eq(before.status.as_str()))
            .filter(jobs::claim_epoch.eq(before.claim_epoch.0))
            .set((
                jobs::status.eq(JobStatus::Cancelled.as_str()),
                jobs::finished_at.eq(now.0),
                jobs::error.eq(reason),
            ))
            .execute(c))?;
        if changed == 1 {
            return Ok(Guarded::Won(before));
        }
    }
    Err(StoreError::Locked {
        place: format!("job {id}"),
    })
}

/// Fails a queued job whose row may not be readable, while it stands as it was seen.
///
/// # Errors
/// See [`StoreError`].
pub fn fail_queued(
    conn: &mut Conn,
    seen: Claim,
    why: &str,
    now: Timestamp,
) -> Result<Guarded<()>, StoreError> {
    Ok(Guarded::from_count(on!(conn, c => diesel::update(jobs::table)
        .filter(jobs::id.eq(seen.job.0))
        .filter(jobs::claim_epoch.eq(seen.epoch.0))
        .filter(Queued)
        .set((
            jobs::status.eq(JobStatus::Failed.as_str()),
            jobs::finished_at.eq(now.0),
            jobs::error.eq(why),
        ))
        .execute(c))?))
}

/// What became of an operator's retry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Retried {
    /// A fresh job is queued.
    New(Job),
    /// The task has a live job already.
    AlreadyLive(Job),
    /// There is no such job, or it neither failed nor was cancelled.
    NotFailed,
    /// The task has moved on, or is over: the job would work on the wrong thing.
    Stale,
}

/// Queues a fresh job like one that failed or was cancelled, with its attempts given back, while the task is still
/// where it was.
///
/// # Errors
/// See [`StoreError`].
pub fn retry(conn: &mut Conn, id: JobId, now: Timestamp) -> Result<Retried, StoreError> {
    let unsuccessful = |j: &Job| matches!(j.status, JobStatus::Failed | JobStatus::Cancelled);
    let Some(failed) = by_id(conn, id)?.filter(unsuccessful) else {
        return Ok(Retried::NotFailed);
    };
    let task = match tasks::by_id(conn, failed.task_id)? {
        Some(t) if t.stage == failed.stage && t.visit == failed.visit && !t.status.is_terminal() => t,
        Some(_) | None => return Ok(Retried::Stale),
    };
    let fresh = NewJob {
        task_id: failed.task_id,
        project_id: failed.project_id,
        kind: failed.kind,
        role: failed.role,
        stage: failed.stage,
        visit: failed.visit,
        task_version: task.version,
        priority: failed.priority,
        available_at: now,
        attempts: 0,
        max_attempts: failed.max_attempts,
        transient_attempts: 0,
        max_transient_attempts: failed.max_transient_attempts,
        notes: failed.notes,
        waits: None,
    };
    Ok(match enqueue(conn, &fresh, now)? {
        Enqueued::New(job) => {
            // What repair gave it for its next attempt is for this one.
            on!(conn, c => diesel::update(jobs::table)
                .filter(jobs::id.eq(job.id.0))
                .set(jobs::timeout_percent.eq(failed.timeout_percent))
                .execute(c))?;
            Retried::New(Job {
                timeout_percent: failed.timeout_percent,
                ..job
            })
        }
        Enqueued::AlreadyLive(job) => Retried::AlreadyLive(job),
    })
}

/// Changes the priority of a queued job.
///
/// # Errors
/// See [`StoreError`].
pub fn reprioritise(conn: &mut Conn, id: JobId, priority: i32) -> Result<Guarded<Job>, StoreError> {
    let row: Option<JobRow> = on!(conn, c => diesel::update(jobs::table)
        .filter(jobs::id.eq(id.0))
        .filter(Queued)
        .set(jobs::priority.eq(priority))
        .returning(JobRow::as_returning())
        .get_result(c)
        .optional())?;
    guarded(row)
}

/// Lets the task's queued job be claimed at once, if it waits for its time.
///
/// # Errors
/// See [`StoreError`].
pub fn wake(conn: &mut Conn, task: TaskId, now: Timestamp) -> Result<Guarded<Job>, StoreError> {
    let row: Option<JobRow> = on!(conn, c => diesel::update(jobs::table)
        .filter(jobs::task_id.eq(task.0))
        .filter(Queued)
        .filter(jobs::available_at.gt(now.0))
        .set(jobs::available_at.eq(now.0))
        .returning(JobRow::as_returning())
        .get_result(c)
        .optional())?;
    if row.is_some() {
        news::tell(conn)?;
    }
    guarded(row)
}

/// Lets the queued reserved jobs of a project be claimed at once whose reason for waiting says this: what they
/// wait for (a lease) is there. Whoever waits for something else would only look in vain.
///
/// # Errors
/// See [`StoreError`].
pub fn wake_reserved(
    conn: &mut Conn,
    project: ProjectId,
    waits_for: &str,
    now: Timestamp,
) -> Result<usize, StoreError> {
    let woken = on!(conn, c => diesel::update(jobs::table)
        .filter(jobs::project_id.eq(project.0))
        .filter(jobs::kind.ne(JobKind::Agent.as_str()))
        .filter(Queued)
        .filter(jobs::available_at.gt(now.0))
        .filter(jobs::error.like(format!("%{waits_for}%")))
        .set(jobs::available_at.eq(now.0))
        .execute(c))?;
    if woken > 0 {
        news::tell(conn)?;
    }
    Ok(woken)
}

/// Makes running jobs of a machine those of its present instance; answers how many were of another.
///
/// # Errors
/// See [`StoreError`].
pub fn adopt(conn: &mut Conn, node: &NodeName, instance: &InstanceId) -> Result<usize, StoreError> {
    Ok(on!(conn, c => diesel::update(jobs::table)
        .filter(Running)
        .filter(jobs::node.eq(node.as_str()))
        .filter(jobs::instance.is_null().or(jobs::instance.ne(instance.as_str())))
        .set(jobs::instance.eq(instance.as_str()))
        .execute(c))?)
}

/// Makes every running job one of this machine and instance; answers how many were not.
///
/// # Errors
/// See [`StoreError`].
pub fn adopt_all(conn: &mut Conn, node: &NodeName, instance: &InstanceId) -> Result<usize, StoreError> {
    Ok(on!(conn, c => diesel::update(jobs::table)
        .filter(Running)
        .filter(
            jobs::node
                .is_null()
                .or(jobs::node.ne(node.as_str()))
                .or(jobs::instance.is_null())
                .or(jobs::instance.ne(instance.as_str())),
        )
        .set((jobs::node.eq(node.as_str()), jobs::instance.eq(instance.as_str())))
        .execute(c))?)
}

/// Whether a claim is the current one and still that instance's. If so nobody else changes that until this transaction
/// ends.
///
/// # Errors
/// See [`StoreError`].
pub fn is_of(conn: &mut Conn, claim: Claim, instance: Option<&InstanceId>) -> Result<bool, StoreError> {
    macro_rules! query {
        () => {
            jobs::table
                .find(claim.job.0)
                .filter(jobs::claim_epoch.eq(claim.epoch.0))
                .filter(Running)
                .select(jobs::instance)
        };
    }
    let found: Option<Option<String>> = match conn {
        Conn::Sqlite(c) => query!().first(c).optional()?,
        Conn::Pg(c) => query!().for_update().first(c).optional()?,
    };
    Ok(found.is_some_and(|held| held.as_deref() == instance.map(InstanceId::as_str)))
}

/// True while the job runs under this claim: asked right before a deed.
///
/// # Errors
/// See [`StoreError`].
pub fn holds(conn: &mut Conn, claim: Claim) -> Result<bool, StoreError> {
    let held: i64 = on!(conn, c => jobs::table
        .filter(jobs::id.eq(claim.job.0))
        .filter(jobs::claim_epoch.eq(claim.epoch.0))
        .filter(Running)
        .count()
        .get_result(c))?;
    Ok(held > 0)
}
