//! Leases: who may merge into a repository. The token grows at every takeover and outlives every holder.

use std::time::Duration;

use diesel::prelude::*;
use serde::Serialize;

use super::{Conn, Guarded, StoreError};
use crate::domain::id::{BranchName, FencingToken, InstanceId, TaskId};
use crate::domain::time::Timestamp;
use crate::schema::leases;

/// A lease that is held, as it was when it was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Lease {
    /// The repository.
    pub repo: String,
    /// The task that holds it.
    pub task: TaskId,
    /// That task's branch.
    pub branch: BranchName,
    /// The boot of the service that took it.
    pub instance: InstanceId,
    /// Since when.
    pub acquired_at: Timestamp,
    /// Until when, unless it is renewed.
    pub expires_at: Timestamp,
    /// Proves that it is still the same holder.
    pub token: FencingToken,
}

/// Who wants a lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseRequest {
    /// The repository.
    pub repo: String,
    /// The task.
    pub task: TaskId,
    /// Its branch.
    pub branch: BranchName,
    /// The boot of the service.
    pub instance: InstanceId,
    /// For how long.
    pub ttl: Duration,
}

/// The answer to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "who does not hold the lease must not merge"]
pub enum Acquire {
    /// The task holds it.
    Held(Lease),
    /// Another task holds it.
    Busy(Lease),
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = leases)]
struct Columns {
    repo: String,
    task_id: Option<i64>,
    branch: Option<String>,
    instance: Option<String>,
    acquired_at: Option<i64>,
    expires_at: Option<i64>,
    token: i64,
}

impl Columns {
    /// None when nobody holds it.
    fn decode(self) -> Option<Lease> {
        Some(Lease {
            repo: self.repo,
            task: TaskId(self.task_id?),
            branch: BranchName::trusted(self.branch.unwrap_or_default()),
            instance: InstanceId::trusted(self.instance.unwrap_or_default()),
            acquired_at: Timestamp(self.acquired_at.unwrap_or(0)),
            expires_at: Timestamp(self.expires_at.unwrap_or(0)),
            token: FencingToken(self.token),
        })
    }
}

/// Takes a lease that is free or has expired (the token grows), or extends one that the same task holds (the
/// token stays).
///
/// # Errors
/// See [`StoreError`].
pub fn acquire(conn: &mut Conn, request: &LeaseRequest, now: Timestamp) -> Result<Acquire, StoreError> {
    // The holder that was in the way can let go before it is read (PostgreSQL): then there is room.
    for _ in 0..3 {
        let taken = match extend(conn, request, now)? {
            Some(row) => Some(row),
            None => match take(conn, request, now)? {
                Some(row) => Some(row),
                None => create(conn, request, now)?,
            },
        };
        if let Some(lease) = taken.and_then(Columns::decode) {
            return Ok(Acquire::Held(lease));
        }
        if let Some(lease) = current(conn, &request.repo)? {
            return Ok(Acquire::Busy(lease));
        }
    }
    Err(StoreError::Locked {
        place: format!("the lease of {}", request.repo),
    })
}

fn extend(conn: &mut Conn, request: &LeaseRequest, now: Timestamp) -> Result<Option<Columns>, StoreError> {
    Ok(on!(conn, c => diesel::update(leases::table)
        .filter(leases::repo.eq(&request.repo))
        .filter(leases::task_id.eq(request.task.0))
        .filter(leases::expires_at.gt(now.0))
        .set((
            leases::branch.eq(request.branch.as_str()),
            leases::instance.eq(request.instance.as_str()),
            leases::expires_at.eq((now + request.ttl).0),
        ))
        .returning(Columns::as_returning())
        .get_result(c)
        .optional())?)
}

fn take(conn: &mut Conn, request: &LeaseRequest, now: Timestamp) -> Result<Option<Columns>, StoreError> {
    Ok(on!(conn, c => diesel::update(leases::table)
        .filter(leases::repo.eq(&request.repo))
        .filter(leases::task_id.is_null().or(leases::expires_at.le(now.0)))
        .set((
            leases::task_id.eq(request.task.0),
            leases::branch.eq(request.branch.as_str()),
            leases::instance.eq(request.instance.as_str()),
            leases::acquired_at.eq(now.0),
            leases::expires_at.eq((now + request.ttl).0),
            leases::token.eq(leases::token + 1),
        ))
        .returning(Columns::as_returning())
        .get_result(c)
        .optional())?)
}

fn create(conn: &mut Conn, request: &LeaseRequest, now: Timestamp) -> Result<Option<Columns>, StoreError> {
    Ok(on!(conn, c => diesel::insert_into(leases::table)
        .values((
            leases::repo.eq(&request.repo),
            leases::task_id.eq(request.task.0),
            leases::branch.eq(request.branch.as_str()),
            leases::instance.eq(request.instance.as_str()),
            leases::acquired_at.eq(now.0),
            leases::expires_at.eq((now + request.ttl).0),
            leases::token.eq(1),
        ))
        .on_conflict(leases::repo)
        .do_nothing()
        .returning(Columns::as_returning())
        .get_result(c)
        .optional())?)
}

fn current(conn: &mut Conn, repo: &str) -> Result<Option<Lease>, StoreError> {
    let row: Option<Columns> = on!(conn, c => leases::table
        .find(repo)
        .select(Columns::as_select())
        .first(c)
        .optional())?;
    Ok(row.and_then(Columns::decode))
}

/// Extends a lease that is still held and has not expired.
///
/// # Errors
/// See [`StoreError`].
pub fn renew(
    conn: &mut Conn,
    lease: &Lease,
    ttl: Duration,
    now: Timestamp,
) -> Result<Guarded<Lease>, StoreError> {
    let row: Option<Columns> = on!(conn, c => diesel::update(leases::table)
        .filter(leases::repo.eq(&lease.repo))
        .filter(leases::task_id.eq(lease.task.0))
        .filter(leases::token.eq(lease.token.0))
        .filter(leases::expires_at.gt(now.0))
        .set(leases::expires_at.eq((now + ttl).0))
        .returning(Columns::as_returning())
        .get_result(c)
        .optional())?;
    Ok(Guarded::from_option(row.and_then(Columns::decode)))
}

/// What a lease looks like that nobody holds. The token stays.
macro_rules! free {
    () => {
        (
            leases::task_id.eq(None::<i64>),
            leases::branch.eq(None::<&str>),
            leases::instance.eq(None::<&str>),
            leases::acquired_at.eq(None::<i64>),
            leases::expires_at.eq(None::<i64>),
        )
    };
}

/// Gives a lease back, if it is still held under that token.
///
/// # Errors
/// See [`StoreError`].
pub fn release(conn: &mut Conn, lease: &Lease) -> Result<Guarded<()>, StoreError> {
    Ok(Guarded::from_count(on!(conn, c => diesel::update(leases::table)
        .filter(leases::repo.eq(&lease.repo))
        .filter(leases::task_id.eq(lease.task.0))
        .filter(leases::token.eq(lease.token.0))
        .set(free!())
        .execute(c))?))
}

/// Takes a lease away from a holder that is gone, if it was not renewed since it was looked at.
///
/// # Errors
/// See [`StoreError`].
pub fn reclaim(conn: &mut Conn, seen: &Lease) -> Result<Guarded<()>, StoreError> {
    Ok(Guarded::from_count(on!(conn, c => diesel::update(leases::table)
        .filter(leases::repo.eq(&seen.repo))
        .filter(leases::task_id.eq(seen.task.0))
        .filter(leases::token.eq(seen.token.0))
        .filter(leases::instance.eq(seen.instance.as_str()))
        .filter(leases::expires_at.eq(seen.expires_at.0))
        .set(free!())
        .execute(c))?))
}

/// Gives back whatever a task holds; answers how many leases that were.
///
/// # Errors
/// See [`StoreError`].
pub fn release_of_task(conn: &mut Conn, task: TaskId) -> Result<usize, StoreError> {
    Ok(on!(conn, c => diesel::update(leases::table)
        .filter(leases::task_id.eq(task.0))
        .set(free!())
        .execute(c))?)
}

/// A last look before a deed: is the lease still held under that token, and not expired?
///
/// # Errors
/// See [`StoreError`].
pub fn check(conn: &mut Conn, lease: &Lease, now: Timestamp) -> Result<bool, StoreError> {
    Ok(current(conn, &lease.repo)?
        .is_some_and(|held| held.task == lease.task && held.token == lease.token && held.expires_at > now))
}

/// The leases that are held, expired or not, by repository.
///
/// # Errors
/// See [`StoreError`].
pub fn list(conn: &mut Conn) -> Result<Vec<Lease>, StoreError> {
    let rows: Vec<Columns> = on!(conn, c => leases::table
        .filter(leases::task_id.is_not_null())
        .order(leases::repo)
        .select(Columns::as_select())
        .load(c))?;
    Ok(rows.into_iter().filter_map(Columns::decode).collect())
}
