//! The one update that ends or requeues a claimed job, and the looks of the reaper. All carry the claim.

use diesel::backend::Backend;
use diesel::expression::{Expression, Selectable};
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::serialize::ToSql;
use diesel::sql_types::{BigInt, HasSqlType, Integer, Nullable, Text};
use diesel::sqlite::Sqlite;

use super::{JobRow, Running};
use crate::domain::job::{Claim, Job, JobEnd, JobStatus};
use crate::domain::time::Timestamp;
use crate::schema::jobs;
use crate::store::decode::guarded;
use crate::store::{Conn, Guarded, StoreError, news};

/// The columns of a [`JobRow`], the same on both backends.
type JobColumns = <JobRow as Selectable<Sqlite>>::SelectExpression;

/// What an end writes. A statement of its own, because Diesel's updates are prepared anew each time and this
/// one is sent for every job.
struct EndJob<'a> {
    claim: Claim,
    status: JobStatus,
    /// Added to the attempts: a refund is -1.
    attempts: i32,
    /// Added to the transient attempts.
    transient: i32,
    error: Option<&'a str>,
    /// For a job that goes back to the queue.
    available_at: Option<i64>,
    /// For a job that is over.
    finished_at: Option<i64>,
    /// None leaves them as they are.
    notes: Option<&'a str>,
    /// None leaves it as it is.
    timeout_percent: Option<i32>,
    returning: JobColumns,
}

impl<'a> EndJob<'a> {
    fn over(claim: Claim, status: JobStatus, error: Option<&'a str>, now: Timestamp) -> Self {
        Self {
            claim,
            status,
            attempts: 0,
            transient: 0,
            error,
            available_at: None,
            finished_at: Some(now.0),
            notes: None,
            timeout_percent: None,
            returning: <JobRow as Selectable<Sqlite>>::construct_selection(),
        }
    }

    fn again(claim: Claim, error: &'a str, available_at: Timestamp) -> Self {
        Self {
            available_at: Some(available_at.0),
            finished_at: None,
            ..Self::over(claim, JobStatus::Queued, Some(error), available_at)
        }
    }

    fn new(claim: Claim, how: &'a JobEnd, now: Timestamp) -> Self {
        match how {
            JobEnd::Done => Self::over(claim, JobStatus::Done, None, now),
            JobEnd::Failed(why) => Self::over(claim, JobStatus::Failed, Some(why), now),
            JobEnd::Cancelled(why) => Self::over(claim, JobStatus::Cancelled, Some(why), now),
            JobEnd::Retry {
                error,
                available_at,
                notes,
                timeout_percent,
            } => Self {
                notes: notes.as_deref(),
                timeout_percent: *timeout_percent,
                ..Self::again(claim, error, *available_at)
            },
            JobEnd::RetryTransient { error, available_at } => Self {
                attempts: -1,
                transient: 1,
                ..Self::again(claim, error, *available_at)
            },
            JobEnd::Held {
                error,
                available_at,
                notes,
                timeout_percent,
            } => Self {
                attempts: -1,
                notes: notes.as_deref(),
                timeout_percent: *timeout_percent,
                ..Self::again(claim, error, *available_at)
            },
            JobEnd::Snooze { reason, available_at } => Self {
                attempts: -1,
                ..Self::again(claim, reason, *available_at)
            },
        }
    }
}

impl QueryId for EndJob<'_> {
    type QueryId = EndJob<'static>;
    // The text depends on whether the job goes back to the queue: found by its text, not by its type.
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl Query for EndJob<'_> {
    type SqlType = <JobColumns as Expression>::SqlType;
}

impl<C> RunQueryDsl<C> for EndJob<'_> {}

impl<DB> QueryFragment<DB> for EndJob<'_>
where
    DB: Backend + HasSqlType<Text> + HasSqlType<BigInt> + HasSqlType<Integer>,
    str: ToSql<Text, DB>,
    i64: ToSql<BigInt, DB>,
    i32: ToSql<Integer, DB>,
    for<'x> Option<&'x str>: ToSql<Nullable<Text>, DB>,
    Option<i64>: ToSql<Nullable<BigInt>, DB>,
    Option<i32>: ToSql<Nullable<Integer>, DB>,
    JobColumns: QueryFragment<DB>,
{
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        out.push_sql("UPDATE jobs SET status = ");
        out.push_bind_param::<Text, str>(self.status.as_str())?;
        out.push_sql(", error = ");
        out.push_bind_param::<Nullable<Text>, Option<&str>>(&self.error)?;
        out.push_sql(", finished_at = ");
        out.push_bind_param::<Nullable<BigInt>, Option<i64>>(&self.finished_at)?;
        if let Some(available_at) = &self.available_at {
            out.push_sql(
                ", node = NULL, agent_node = NULL, instance = NULL, claimed_at = NULL, dead_looks = 0, available_at = ",
            );
            out.push_bind_param::<BigInt, i64>(available_at)?;
            out.push_sql(", attempts = attempts + ");
            out.push_bind_param::<Integer, i32>(&self.attempts)?;
            out.push_sql(", transient_attempts = transient_attempts + ");
            out.push_bind_param::<Integer, i32>(&self.transient)?;
            out.push_sql(", notes = coalesce(");
            out.push_bind_param::<Nullable<Text>, Option<&str>>(&self.notes)?;
            out.push_sql(", notes), timeout_percent = coalesce(");
            out.push_bind_param::<Nullable<Integer>, Option<i32>>(&self.timeout_percent)?;
            out.push_sql(", timeout_percent)");
        }
        out.push_sql(" WHERE id = ");
        out.push_bind_param::<BigInt, i64>(&self.claim.job.0)?;
        out.push_sql(" AND status = 'running' AND claim_epoch = ");
        out.push_bind_param::<BigInt, i64>(&self.claim.epoch.0)?;
        out.push_sql(" RETURNING ");
        self.returning.walk_ast(out)
    }
}

/// Ends the claim, if it is still the current one and the job runs. Notes that are not given stay.
///
/// # Errors
/// See [`StoreError`].
pub fn end(conn: &mut Conn, claim: Claim, how: &JobEnd, now: Timestamp) -> Result<Guarded<Job>, StoreError> {
    let statement = EndJob::new(claim, how, now);
    let again = statement.available_at.is_some();
    let row: Option<JobRow> = on!(conn, c => statement.get_result(c).optional())?;
    if row.is_some() && again {
        news::tell(conn)?;
    }
    guarded(row)
}

/// As [`end`], for a job whose row may not be readable.
///
/// # Errors
/// See [`StoreError`].
pub fn close(conn: &mut Conn, claim: Claim, how: &JobEnd, now: Timestamp) -> Result<Guarded<()>, StoreError> {
    let statement = EndJob::new(claim, how, now);
    let again = statement.available_at.is_some();
    let ended = Guarded::from_count(on!(conn, c => statement.execute(c))?);
    if ended.is_won() && again {
        news::tell(conn)?;
    }
    Ok(ended)
}

/// How many looks in a row found the claim's process dead. None: it is not the current claim of a running job.
///
/// # Errors
/// See [`StoreError`].
pub fn dead_looks(conn: &mut Conn, claim: Claim) -> Result<Option<i32>, StoreError> {
    Ok(on!(conn, c => jobs::table
        .filter(jobs::id.eq(claim.job.0))
        .filter(jobs::claim_epoch.eq(claim.epoch.0))
        .filter(Running)
        .select(jobs::dead_looks)
        .first(c)
        .optional())?)
}

/// Counts a look that found the claim's process dead; answers how many in a row that makes.
///
/// # Errors
/// See [`StoreError`].
pub fn look_dead(conn: &mut Conn, claim: Claim) -> Result<Guarded<i32>, StoreError> {
    let looks: Option<i32> = on!(conn, c => diesel::update(jobs::table)
        .filter(jobs::id.eq(claim.job.0))
        .filter(jobs::claim_epoch.eq(claim.epoch.0))
        .filter(Running)
        .set(jobs::dead_looks.eq(jobs::dead_looks + 1))
        .returning(jobs::dead_looks)
        .get_result(c)
        .optional())?;
    Ok(Guarded::from_option(looks))
}

/// Forgets the dead looks of a claim whose process was seen alive. Writes nothing when there are none.
///
/// # Errors
/// See [`StoreError`].
pub fn clear_dead_looks(conn: &mut Conn, claim: Claim) -> Result<(), StoreError> {
    on!(conn, c => diesel::update(jobs::table)
        .filter(jobs::id.eq(claim.job.0))
        .filter(jobs::claim_epoch.eq(claim.epoch.0))
        .filter(jobs::dead_looks.gt(0))
        .set(jobs::dead_looks.eq(0))
        .execute(c))?;
    Ok(())
}
