//! A fault on request: the monitor of one task's agent panics in one stage. `orch demo --faults` asks for it, to show how
//! it is healed. Refused in every data directory that the demo did not make.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use slog_scope::warn;

use crate::domain::job::Claim;
use crate::domain::run::RunStep;
use crate::engine::Engine;
use crate::store::{StoreError, runs, tasks};

/// The variable: "DEMO-001 architecture 1", a task, a stage, and how many monitors panic there.
pub const MONITOR_PANIC: &str = "ORCH_FAULT_MONITOR_PANIC";
/// The file by which a data directory says that the demo made it.
pub const DEMO_MARK: &str = "made-by-orch-demo";

/// Why a fault is not provoked.
#[derive(Debug, thiserror::Error)]
pub enum FaultError {
    /// Not where somebody works.
    #[error("{MONITOR_PANIC} is for `orch demo --faults` alone, and {} is not the demo's: unset it", .0.display())]
    NotTheDemo(PathBuf),
    /// Not what it takes.
    #[error(
        "{MONITOR_PANIC}={0:?}: expected a task, a stage and a number, such as \"DEMO-001 architecture 1\""
    )]
    Unreadable(String),
}

/// Where monitors panic.
#[derive(Debug)]
pub struct MonitorPanic {
    task: String,
    stage: String,
    left: AtomicU32,
}

impl MonitorPanic {
    /// What the environment asks for.
    ///
    /// # Errors
    /// It asks in vain.
    pub fn asked_for(data_dir: &Path) -> Result<Option<Self>, FaultError> {
        let Some(text) = std::env::var_os(MONITOR_PANIC) else {
            return Ok(None);
        };
        if !data_dir.join(DEMO_MARK).exists() {
            return Err(FaultError::NotTheDemo(data_dir.to_owned()));
        }
        let text = text.to_string_lossy();
        let words: Vec<&str> = text.split_whitespace().collect();
        match (&words[..], words.last().and_then(|n| n.parse().ok())) {
            ([task, stage, _], Some(times)) => Ok(Some(Self {
                task: (*task).to_owned(),
                stage: (*stage).to_owned(),
                left: AtomicU32::new(times),
            })),
            _ => Err(FaultError::Unreadable(text.into_owned())),
        }
    }

    /// Runs beside a monitor's work, and panics while its agent is at work.
    #[expect(clippy::panic, reason = "the fault that is asked for")]
    pub(super) async fn strike(self: Arc<Self>, engine: Engine, claim: Claim) {
        let mut changed = engine.changed();
        loop {
            changed.mark_unchanged();
            let found = engine.store().read(move |tx| {
                let run = runs::of_claim(tx, claim)?;
                let task = match &run {
                    Some(run) => tasks::by_id(tx, run.task_id)?,
                    None => None,
                };
                Ok::<_, StoreError>(run.zip(task))
            });
            match found.await {
                Ok(Some((run, task))) => {
                    let meant = task.work_item_id.as_str() == self.task && run.stage.as_str() == self.stage;
                    if !meant || run.step > RunStep::Running {
                        return;
                    }
                    if run.step == RunStep::Running && self.take() {
                        panic!("{MONITOR_PANIC} asked for it");
                    }
                }
                Ok(None) => {}
                Err(e) => return warn!("a fault is not provoked: {}", e),
            }
            if changed.changed().await.is_err() {
                return;
            }
        }
    }

    fn take(&self) -> bool {
        let took = self
            .left
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |left| left.checked_sub(1));
        took.is_ok()
    }
}
