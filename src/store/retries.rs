//! Retries and circuit breakers by scope, and the audit of all that was tried again or not.

use diesel::prelude::*;

use super::conn::Serial;
use super::decode::rows;
use super::{Conn, StoreError, news};
use crate::domain::id::{BatchId, ClaimEpoch, JobId, ProjectId, TaskId, Visit};
use crate::domain::job::Claim;
use crate::domain::retry::{Breaker, Reason, Scope};
use crate::domain::time::Timestamp;
use crate::schema::{jobs, retry_audit, retry_scopes, tasks};

/// What is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuditEvent {
    /// A failure that is tried again.
    Retry,
    /// A failure that is not.
    Refused,
    /// A failure that costs no attempt.
    Transient,
    /// A breaker opened.
    Opened,
    /// Its trial failed.
    Reopened,
    /// A success closed it.
    Closed,
    /// A person did.
    Reset,
}

impl AuditEvent {
    /// The word stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::Refused => "refused",
            Self::Transient => "transient",
            Self::Opened => "opened",
            Self::Reopened => "reopened",
            Self::Closed => "closed",
            Self::Reset => "reset",
        }
    }
}

/// An entry to be written.
#[derive(Clone, Debug)]
pub struct NewAudit<'a> {
    /// What happened.
    pub event: AuditEvent,
    /// Where.
    pub scope: &'a Scope,
    /// To which task, in which visit of its stage.
    pub task: Option<(TaskId, Visit)>,
    /// Why it was decided so.
    pub reason: Option<Reason>,
    /// Retries of the task in this visit.
    pub retry_count: u32,
    /// Retries of the scope.
    pub total: u32,
    /// One line, without secrets.
    pub error: Option<&'a str>,
}

/// An entry as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audited {
    /// Row; grows.
    pub id: i64,
    /// When.
    pub at: Timestamp,
    /// What happened.
    pub event: String,
    /// Where.
    pub scope: String,
    /// To which task.
    pub task: Option<TaskId>,
    /// Why.
    pub reason: Option<String>,
    /// Retries of the task in this visit.
    pub retry_count: i32,
    /// Retries of the scope.
    pub total: i32,
    /// One line.
    pub error: Option<String>,
}

/// A scope that failed, as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScopeState {
    /// The scope.
    pub scope: Scope,
    /// Its breaker.
    pub breaker: Breaker,
    /// The claim that was let through while it was half open.
    pub trial: Option<Claim>,
}

/// The scope of a task's failures: its batch, or its project.
///
/// # Errors
/// See [`StoreError`].
pub fn scope_of(conn: &mut Conn, task: TaskId, project: ProjectId) -> Result<Scope, StoreError> {
    let batch: Option<Option<String>> = on!(conn, c => tasks::table
        .find(task.0)
        .select(tasks::batch)
        .first(c)
        .optional())?;
    Ok(match batch.flatten() {
        Some(id) => Scope::Batch(BatchId::trusted(id)),
        None => Scope::Project(project),
    })
}

/// Retries of a scope since then, and of a task in a visit of its stage.
///
/// # Errors
/// See [`StoreError`].
pub fn counts(
    conn: &mut Conn,
    scope: &Scope,
    since: Timestamp,
    (task, visit): (TaskId, Visit),
) -> Result<(u32, u32), StoreError> {
    let scope = scope.to_string();
    let of_scope: i64 = on!(&mut *conn, c => retry_audit::table
        .filter(Retried)
        .filter(retry_audit::scope.eq(&scope))
        .filter(retry_audit::at.gt(since.0))
        .count()
        .get_result(c))?;
    let of_task: i64 = on!(conn, c => retry_audit::table
        .filter(Retried)
        .filter(retry_audit::task_id.eq(task.0))
        .filter(retry_audit::visit.eq(visit.0))
        .count()
        .get_result(c))?;
    let count = |n| u32::try_from(n).unwrap_or(u32::MAX);
    Ok((count(of_scope), count(of_task)))
}

/// A person lets a task go on: its retries in this visit do not count against it any more. Those of its scope do.
///
/// # Errors
/// See [`StoreError`].
pub fn forgive(conn: &mut Conn, task: TaskId, visit: Visit) -> Result<(), StoreError> {
    on!(conn, c => diesel::update(retry_audit::table)
        .filter(Retried)
        .filter(retry_audit::task_id.eq(task.0))
        .filter(retry_audit::visit.eq(visit.0))
        .set(retry_audit::visit.eq(None::<i64>))
        .execute(c))?;
    Ok(())
}

predicate!(
    /// The predicate of the indexes of retries that count.
    Retried = "retry_audit.event = 'retry'"
);
predicate!(
    /// The predicate of the index `retry_scopes_open`.
    Open = "retry_scopes.opened_at IS NOT NULL"
);

/// Writes an entry. One transaction at a time does until it ends (most have taken a breaker, which is the same lock): so
/// rows are committed in the order of their ids, and whoever copies them by id misses none.
///
/// # Errors
/// See [`StoreError`].
pub fn audit(conn: &mut Conn, new: &NewAudit<'_>, now: Timestamp) -> Result<(), StoreError> {
    conn.serialize_on(Serial::Breaker)?;
    let count = |n: u32| i32::try_from(n).unwrap_or(i32::MAX);
    on!(conn, c => diesel::insert_into(retry_audit::table)
        .values((
            retry_audit::at.eq(now.0),
            retry_audit::event.eq(new.event.as_str()),
            retry_audit::scope.eq(new.scope.to_string()),
            retry_audit::task_id.eq(new.task.map(|(task, _)| task.0)),
            retry_audit::visit.eq(new.task.map(|(_, visit)| visit.0)),
            retry_audit::reason.eq(new.reason.map(Reason::as_str)),
            retry_audit::retry_count.eq(count(new.retry_count)),
            retry_audit::total.eq(count(new.total)),
            retry_audit::error.eq(new.error),
        ))
        .execute(c))?;
    Ok(())
}

type AuditColumns = (
    i64,
    i64,
    String,
    String,
    Option<i64>,
    Option<i64>,
    Option<String>,
    i32,
    i32,
    Option<String>,
);

/// Entries after a row, oldest first. Once an entry is seen, none before it can appear any more.
///
/// # Errors
/// See [`StoreError`].
pub fn audited(conn: &mut Conn, after: i64, limit: usize) -> Result<Vec<Audited>, StoreError> {
    let found: Vec<AuditColumns> = on!(conn, c => retry_audit::table
        .filter(retry_audit::id.gt(after))
        .order(retry_audit::id)
        .limit(rows(limit))
        .load(c))?;
    let decode = |(id, at, event, scope, task, _, reason, retry_count, total, error): AuditColumns| Audited {
        id,
        at: Timestamp(at),
        event,
        scope,
        task: task.map(TaskId),
        reason,
        retry_count,
        total,
        error,
    };
    Ok(found.into_iter().map(decode).collect())
}

/// Takes the breaker of a scope, to change it: whoever takes it too waits until this transaction ends.
///
/// # Errors
/// See [`StoreError`].
pub fn take(conn: &mut Conn, scope: &Scope) -> Result<Breaker, StoreError> {
    conn.serialize_on(Serial::Breaker)?;
    Ok(state(conn, scope)?.map_or_else(Breaker::default, |state| state.breaker))
}

/// A scope as it stands; none: nothing failed there since its last success.
///
/// # Errors
/// See [`StoreError`].
pub fn state(conn: &mut Conn, scope: &Scope) -> Result<Option<ScopeState>, StoreError> {
    let found: Option<ScopeColumns> = on!(conn, c => retry_scopes::table
        .find(scope.to_string())
        .first(c)
        .optional())?;
    Ok(found.and_then(decode))
}

type ScopeColumns = (String, i32, Option<i64>, Option<i64>, Option<i64>);

/// None for a scope that this version does not know.
fn decode((scope, failures, opened_at, job, epoch): ScopeColumns) -> Option<ScopeState> {
    Some(ScopeState {
        scope: Scope::parse(&scope)?,
        breaker: Breaker {
            failures: u32::try_from(failures).unwrap_or(0),
            opened_at: opened_at.map(Timestamp),
        },
        trial: job.zip(epoch).map(|(job, epoch)| Claim {
            job: JobId(job),
            epoch: ClaimEpoch(epoch),
        }),
    })
}

/// Writes a breaker that was taken.
///
/// # Errors
/// See [`StoreError`].
pub fn put(conn: &mut Conn, scope: &Scope, breaker: &Breaker) -> Result<(), StoreError> {
    let failures = i32::try_from(breaker.failures).unwrap_or(i32::MAX);
    let opened_at = breaker.opened_at.map(|at| at.0);
    let no_trial = (
        retry_scopes::trial_job.eq(None::<i64>),
        retry_scopes::trial_epoch.eq(None::<i64>),
    );
    on!(conn, c => diesel::insert_into(retry_scopes::table)
        .values((
            retry_scopes::scope.eq(scope.to_string()),
            retry_scopes::failures.eq(failures),
            retry_scopes::opened_at.eq(opened_at),
        ))
        .on_conflict(retry_scopes::scope)
        .do_update()
        .set((
            retry_scopes::failures.eq(failures),
            retry_scopes::opened_at.eq(opened_at),
            no_trial,
        ))
        .execute(c))?;
    Ok(())
}

/// Closes the breaker of a scope and forgets its failures. Answers whether it was open; wakes the queues if so.
///
/// # Errors
/// See [`StoreError`].
pub fn close(conn: &mut Conn, scope: &Scope) -> Result<bool, StoreError> {
    // Most scopes have nothing to forget: then nothing is locked and nothing is written.
    let fails = state(conn, scope)?.is_some_and(|s| s.breaker != Breaker::default());
    if !fails {
        return Ok(false);
    }
    let was_open = take(conn, scope)?.opened_at.is_some();
    put(conn, scope, &Breaker::default())?;
    if was_open {
        news::tell(conn)?;
    }
    Ok(was_open)
}

/// Scopes that failed since their last success.
///
/// # Errors
/// See [`StoreError`].
pub fn scopes(conn: &mut Conn) -> Result<Vec<ScopeState>, StoreError> {
    let found: Vec<ScopeColumns> = on!(conn, c => retry_scopes::table
        .filter(retry_scopes::failures.gt(0).or(retry_scopes::opened_at.is_not_null()))
        .order(retry_scopes::scope)
        .load(c))?;
    Ok(found.into_iter().filter_map(decode).collect())
}

/// Scopes whose breaker is open.
///
/// # Errors
/// See [`StoreError`].
pub fn open(conn: &mut Conn) -> Result<Vec<ScopeState>, StoreError> {
    let found: Vec<ScopeColumns> = on!(conn, c => retry_scopes::table
        .filter(Open)
        .load(c))?;
    Ok(found.into_iter().filter_map(decode).collect())
}

/// Whether the claim that was let through still runs.
pub(super) fn on_trial(conn: &mut Conn, trial: Claim) -> Result<bool, StoreError> {
    let running: i64 = on!(conn, c => jobs::table
        .filter(jobs::id.eq(trial.job.0))
        .filter(jobs::claim_epoch.eq(trial.epoch.0))
        .filter(jobs::status.eq("running"))
        .count()
        .get_result(c))?;
    Ok(running > 0)
}

/// Writes down which claim was let through while the breaker is half open.
pub(super) fn let_through(conn: &mut Conn, scope: &Scope, trial: Claim) -> Result<(), StoreError> {
    on!(conn, c => diesel::update(retry_scopes::table)
        .filter(retry_scopes::scope.eq(scope.to_string()))
        .set((
            retry_scopes::trial_job.eq(trial.job.0),
            retry_scopes::trial_epoch.eq(trial.epoch.0),
        ))
        .execute(c))?;
    Ok(())
}
