//! What the reaper and the lease keeper did since the start, for people. Nothing is decided by it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::domain::job::Job;
use crate::domain::time::Timestamp;

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
    sweeping: tokio::sync::Mutex<()>,
}

impl Counters {
    /// Held by whoever sweeps: two sweeps side by side would count one dead look twice.
    pub(super) async fn alone(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.sweeping.lock().await
    }

    pub(super) fn note_sweep(&self, at: Timestamp, trouble: usize) {
        let mut stats = self.stats();
        stats.last_run = Some(at);
        stats.trouble_total += trouble as u64;
    }

    pub(super) fn note(&self, job: &Job, outcome: &str) -> Reaped {
        let reaped = Reaped {
            job_id: job.id.0,
            agent: job
                .role
                .map_or(job.kind.as_str(), |role| role.as_str())
                .to_owned(),
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

    fn stats(&self) -> MutexGuard<'_, Stats> {
        self.stats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
