//! The merge lease of a repository, as a proof: whatever merges takes a [`MergeLease`] and looks at its token last.

use std::time::Duration;

use crate::domain::task::Task;
use crate::domain::time::Timestamp;
use crate::store::leases::{self, Acquire, Lease, LeaseRequest};
use crate::store::{Conn, Guarded, StoreError};

use super::transition::{Abort, Hold, WAITS_FOR_LEASE};
use super::{Engine, EngineError, ProjectHandle};

/// Proof that this task may merge into the repository, for whoever drives its job. Made by [`acquire`] alone. It is
/// given back in the transaction that ends the job.
#[derive(Clone, Debug)]
pub struct MergeLease {
    lease: Lease,
    hold: Hold,
}

/// What asking for the lease gave.
#[derive(Clone, Debug)]
pub enum Asked {
    /// It is ours.
    Held(MergeLease),
    /// Another task holds it.
    Busy(Waiting),
}

/// Why a job waits for the lease, and until when at most.
#[derive(Clone, Debug)]
pub struct Waiting {
    /// For people; those whose reason holds these words are woken when a lease is given back.
    pub why: String,
    /// The lease as it was seen.
    seen: Lease,
}

impl Waiting {
    fn new(seen: Lease) -> Self {
        let why = format!("{WAITS_FOR_LEASE}, held by task #{}", seen.task);
        Self { why, seen }
    }

    /// When to ask again: at once if it was given back since it was seen (nobody wakes a job that does not sleep yet),
    /// else when it would expire, and not later than after `pause`.
    pub(super) fn until(
        &self,
        tx: &mut Conn,
        now: Timestamp,
        pause: Duration,
    ) -> Result<Timestamp, StoreError> {
        let held = leases::list(tx)?;
        let same = |l: &&Lease| l.repo == self.seen.repo && l.token == self.seen.token;
        Ok(match held.iter().find(same) {
            Some(lease) => lease.expires_at.clamp(now, now + pause),
            None => now,
        })
    }
}

/// Takes the lease of the project's repository for `task`; the same task again is a success.
///
/// # Errors
/// `Lost` for a job that was superseded; the database's.
pub(super) async fn acquire(
    engine: &Engine,
    project: &ProjectHandle,
    task: &Task,
    hold: Hold,
) -> Result<Asked, EngineError> {
    let request = LeaseRequest {
        repo: project.config.repo.clone(),
        task: task.id,
        branch: task.branch.clone(),
        instance: engine.instance().clone(),
        ttl: engine.settings().merge.lock_timeout,
    };
    let now = engine.now();
    let answer = engine.store().write(move |tx| {
        hold.check(tx)?;
        Ok::<_, Abort>(leases::acquire(tx, &request, now)?)
    });
    Ok(match answer.await? {
        Acquire::Held(lease) => Asked::Held(MergeLease { lease, hold }),
        Acquire::Busy(lease) => Asked::Busy(Waiting::new(lease)),
    })
}

/// Does `work` while the lease is renewed every third of its TTL.
///
/// # Errors
/// `LeaseLost` when it was taken over, `Lost` when the job was superseded; `work` is dropped then.
pub async fn holding<T>(
    engine: &Engine,
    lease: &MergeLease,
    work: impl Future<Output = Result<T, EngineError>>,
) -> Result<T, EngineError> {
    let ttl = engine.settings().merge.lock_timeout;
    let renewal = async {
        loop {
            tokio::time::sleep((ttl / 3).max(Duration::from_millis(100))).await;
            last_look(engine, lease).await?;
        }
    };
    tokio::select! {
        done = work => done,
        lost = renewal => lost,
    }
}

/// The last look before a merge: the job is still ours, the token too, and it has its whole time left.
///
/// # Errors
/// `Lost` or `LeaseLost` when it is not so.
pub async fn last_look(engine: &Engine, lease: &MergeLease) -> Result<(), EngineError> {
    let (held, ttl, now) = (lease.clone(), engine.settings().merge.lock_timeout, engine.now());
    let renewed = engine.store().write(move |tx| {
        held.hold.check(tx)?;
        Ok::<_, Abort>(leases::renew(tx, &held.lease, ttl, now)?)
    });
    match renewed.await? {
        Guarded::Won(_) => Ok(()),
        Guarded::Lost => Err(EngineError::LeaseLost),
    }
}
