//! Who may write about a claim, and how the claim ends. A transaction of somebody who was superseded leaves no trace.

use crate::domain::id::{MonitorEpoch, RunId};
use crate::domain::job::{Claim, Job, JobEnd, JobKind};
use crate::domain::run::{Run, RunStep};
use crate::domain::time::Timestamp;
use crate::engine::{EngineError, repair};
use crate::store::events::NewEvent;
use crate::store::healing::NewHealing;
use crate::store::runs::RunPatch;
use crate::store::{Conn, Guarded, StoreError, events, healing, jobs, runs};

/// Who writes about a claim: its run, by the monitor that drives it. Whoever was superseded holds nothing.
#[derive(Clone, Copy, Debug)]
pub struct Hold {
    pub(in crate::engine) claim: Claim,
    pub(in crate::engine) run: RunId,
    pub(in crate::engine) monitor: MonitorEpoch,
}

impl Hold {
    /// Claim before act: stands in the transaction of every write about the claim, and right before every deed.
    pub(in crate::engine) fn check(self, tx: &mut Conn) -> Result<(), Abort> {
        match runs::holds(tx, self.run, (self.claim, self.monitor))? {
            true => Ok(()),
            false => Err(Abort::Lost),
        }
    }
}

/// The claim that ends with a move.
#[derive(Clone, Debug)]
pub(in crate::engine) struct Ending {
    pub hold: Hold,
    pub end: JobEnd,
    /// The job that follows merges: the lease goes on to it, so that nobody else moves main in between.
    pub keeps_lease: bool,
    /// An agent's work passed its gates: its scope works, and what was done about the failure before helped.
    pub delivered: bool,
    /// What was stuck, where the end heals it.
    pub healed: Option<NewHealing>,
    /// The same as a line of the task.
    pub line: Option<String>,
}

impl Ending {
    pub(in crate::engine) fn new(hold: Hold, end: JobEnd) -> Self {
        Self {
            hold,
            end,
            keeps_lease: false,
            delivered: false,
            healed: None,
            line: None,
        }
    }
}

/// A transaction that must leave no trace ends with this.
#[derive(Debug)]
pub(in crate::engine) enum Abort {
    /// Somebody else was first.
    Lost,
    /// The database failed.
    Store(StoreError),
}

impl From<StoreError> for Abort {
    fn from(e: StoreError) -> Self {
        Abort::Store(e)
    }
}

impl From<Abort> for EngineError {
    fn from(a: Abort) -> Self {
        match a {
            Abort::Lost => EngineError::Lost,
            Abort::Store(e) => e.into(),
        }
    }
}

pub(super) fn won<T>(guarded: Guarded<T>) -> Result<T, Abort> {
    match guarded {
        Guarded::Won(value) => Ok(value),
        Guarded::Lost => Err(Abort::Lost),
    }
}

/// Records what was learned of a run, while it is ours.
pub(in crate::engine) fn record(
    tx: &mut Conn,
    hold: Hold,
    patch: &RunPatch,
    now: Timestamp,
) -> Result<Run, Abort> {
    let by = (hold.claim, hold.monitor);
    won(runs::record(tx, hold.run, by, patch, now)?)
}

/// Ends the claim: the run's step first, because it is guarded by the running job. In the same transaction the lease
/// is given back: later it may be that of the task's next job already.
pub(in crate::engine) fn end_claim(tx: &mut Conn, ending: &Ending, now: Timestamp) -> Result<Job, Abort> {
    let error = match &ending.end {
        JobEnd::Failed(why)
        | JobEnd::Retry { error: why, .. }
        | JobEnd::Held { error: why, .. }
        | JobEnd::RetryTransient { error: why, .. } => Some(why.clone()),
        JobEnd::Done | JobEnd::Cancelled(_) | JobEnd::Snooze { .. } => None,
    };
    let patch = RunPatch {
        step: Some(RunStep::Evaluated),
        error,
        ..RunPatch::default()
    };
    record(tx, ending.hold, &patch, now)?;
    let job = won(jobs::end(tx, ending.hold.claim, &ending.end, now)?)?;
    if ending.delivered && job.kind == JobKind::Agent && ending.end == JobEnd::Done {
        repair::helped(tx, &job, now)?;
    }
    if let Some(healed) = &ending.healed {
        healing::push(tx, healed, now)?;
    }
    if let Some(text) = &ending.line {
        let line = NewEvent {
            task_id: job.task_id,
            stage: &job.stage,
            kind: "healed",
            text,
        };
        events::push(tx, line, now)?;
    }
    if job.kind.is_reserved() && matches!(ending.end, JobEnd::Snooze { .. }) {
        runs::forget(tx, ending.hold.run)?;
    }
    if !ending.keeps_lease {
        super::give_back(tx, job.task_id, job.project_id, now)?;
    }
    Ok(job)
}
