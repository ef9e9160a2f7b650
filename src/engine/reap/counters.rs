//! What the reaper and the lease keeper did and saw since the start. Lost with the service: then only time is lost.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::domain::id::JobId;
use crate::domain::job::Claim;
use crate::domain::time::Timestamp;
use crate::store::jobs::Bare;

/// A job that was settled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reaped {
    /// The job.
    pub job_id: i64,
    /// Who worked at it.
    pub agent: String,
    /// What became of it.
    pub outcome: String,
}

/// The counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// The last sweep that came to its end.
    pub last_run: Option<Timestamp>,
    /// Jobs that were settled.
    pub reaped_total: u64,
    /// The last of them.
    pub last_reaped: Option<Reaped>,
    /// Jobs that could not be looked at or settled, once for each sweep.
    pub trouble_total: u64,
    /// Leases that were taken back.
    pub lease_reclaimed_total: u64,
}

/// Keeps the counts, and sweeps apart.
#[derive(Debug, Default)]
pub struct Counters {
    stats: Mutex<Stats>,
    /// When a look found each running claim's process alive last.
    alive: Mutex<BTreeMap<Claim, Timestamp>>,
    /// When a claim first came to each queued job that nobody can read.
    unread: Mutex<BTreeMap<JobId, Timestamp>>,
    sweeping: tokio::sync::Mutex<()>,
}

impl Counters {
    /// Held by whoever sweeps: two sweeps side by side would count one dead look twice.
    pub(super) async fn alone(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.sweeping.lock().await
    }

    /// Ends a sweep that came to these claims.
    pub(super) fn end_sweep(&self, at: Timestamp, trouble: usize, running: &BTreeSet<Claim>) {
        self.alive().retain(|claim, _| running.contains(claim));
        let mut stats = self.stats();
        stats.last_run = Some(at);
        stats.trouble_total += trouble as u64;
    }

    pub(super) fn note_alive(&self, claim: Claim, at: Timestamp) {
        self.alive().insert(claim, at);
    }

    pub(super) fn alive_at(&self, claim: Claim) -> Option<Timestamp> {
        self.alive().get(&claim).copied()
    }

    /// Claims could not read these queued jobs.
    pub(in crate::engine) fn note_unread(&self, jobs: impl Iterator<Item = JobId>, at: Timestamp) {
        let mut unread = self.unread();
        for job in jobs {
            unread.entry(job).or_insert(at);
        }
    }

    /// The queued jobs that claims could not read, and since when.
    pub(super) fn unread_since(&self) -> BTreeMap<JobId, Timestamp> {
        self.unread().clone()
    }

    /// It can be read again, or is not queued any more.
    pub(super) fn forget_unread(&self, job: JobId) {
        self.unread().remove(&job);
    }

    pub(super) fn note(&self, job: &Bare, outcome: &str) -> Reaped {
        let reaped = Reaped {
            job_id: job.claim.job.0,
            agent: job.agent.clone(),
            outcome: outcome.to_owned(),
        };
        let mut stats = self.stats();
        stats.reaped_total += 1;
        stats.last_reaped = Some(reaped.clone());
        reaped
    }

    pub(in crate::engine) fn note_lease(&self) {
        self.stats().lease_reclaimed_total += 1;
    }

    /// The counts as they are now.
    pub fn now(&self) -> Stats {
        self.stats().clone()
    }

    fn unread(&self) -> MutexGuard<'_, BTreeMap<JobId, Timestamp>> {
        self.unread.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn alive(&self) -> MutexGuard<'_, BTreeMap<Claim, Timestamp>> {
        self.alive.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stats(&self) -> MutexGuard<'_, Stats> {
        self.stats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
