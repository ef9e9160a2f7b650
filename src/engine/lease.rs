//! The merge lease of a repository, as a proof: whatever merges takes a [`MergeLease`] and looks at its token last.

pub mod stop;

use std::time::Duration;

use crate::domain::task::Task;
use crate::domain::time::Timestamp;
use crate::store::leases::{self, Acquire, Lease, LeaseRequest};
use crate::store::merge_stops::{self, MergeStop};
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
    /// Another task holds it, or nobody may have it.
    Busy(Waiting),
}

/// Why a job waits for the lease, and until when at most.
#[derive(Clone, Debug)]
pub struct Waiting {
    /// For people; those whose reason holds these words are woken when a lease is given back, or the merges go on.
    pub why: String,
    seen: Seen,
}

#[derive(Clone, Debug)]
enum Seen {
    /// The lease as it was seen.
    Held(Lease),
    /// The repository whose merges are stopped.
    Stopped(String),
}

/// Who waits for a person is woken; this is the fallback.
const STOP_FALLBACK: Duration = Duration::from_secs(600);

impl Waiting {
    fn for_lease(seen: Lease) -> Self {
        let why = format!("{WAITS_FOR_LEASE}, held by task #{}", seen.task);
        let seen = Seen::Held(seen);
        Self { why, seen }
    }

    fn for_merges(stop: MergeStop) -> Self {
        let why = stop::waits(&stop);
        let seen = Seen::Stopped(stop.repo);
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
        let seen = match &self.seen {
            Seen::Held(seen) => seen,
            Seen::Stopped(repo) => {
                return Ok(match merge_stops::of(tx, repo)? {
                    Some(_) => now + STOP_FALLBACK,
                    None => now,
                });
            }
        };
        let held = leases::list(tx)?;
        let same = |l: &&Lease| l.repo == seen.repo && l.token == seen.token;
        Ok(match held.iter().find(same) {
            Some(lease) => lease.expires_at.clamp(now, now + pause),
            None => now,
        })
    }
}

/// Takes the lease of the project's repository for `task`; the same task again is a success. Nobody has it while merges
/// into the repository are stopped.
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
        if let Some(stop) = merge_stops::of(tx, &request.repo)? {
            return Ok(Asked::Busy(Waiting::for_merges(stop)));
        }
        Ok::<_, Abort>(match leases::acquire(tx, &request, now)? {
            Acquire::Held(lease) => Asked::Held(MergeLease { lease, hold }),
            Acquire::Busy(lease) => Asked::Busy(Waiting::for_lease(lease)),
        })
    });
    Ok(answer.await?)
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

/// The last look before a merge: the job is still ours, the token too, it has its whole time left, and nothing stopped the
/// merges into the repository meanwhile.
///
/// # Errors
/// `Lost` or `LeaseLost` when it is not so.
pub async fn last_look(engine: &Engine, lease: &MergeLease) -> Result<(), EngineError> {
    let (held, ttl, now) = (lease.clone(), engine.settings().merge.lock_timeout, engine.now());
    let renewed = engine.store().write(move |tx| {
        held.hold.check(tx)?;
        if merge_stops::of(tx, &held.lease.repo)?.is_some() {
            return Ok(Guarded::Lost);
        }
        Ok::<_, Abort>(leases::renew(tx, &held.lease, ttl, now)?)
    });
    match renewed.await? {
        Guarded::Won(_) => Ok(()),
        Guarded::Lost => Err(EngineError::LeaseLost),
    }
}
