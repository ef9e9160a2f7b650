//! What is done after a step that failed: tried again in a moment, and where the repository cannot be reached, waited for. A
//! forge that is down spends no attempt, and no agent's work is done twice for it. Never decides about any other failure.

use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};

use crate::domain::run::RunStep;
use crate::git::GitError;

use super::super::{Engine, EngineError};
use super::merge::{Until, snooze};
use super::{Attempt, failed, finish};

/// Between two tries to bring an agent's finished work to a repository that cannot be reached.
const LONG: Duration = Duration::from_secs(15);
/// How many: ten minutes, in which the agent's slot is not free.
const MOST: u32 = 40;

/// The pauses after one step's failures.
pub(super) struct Pauses {
    short: ExponentialBackoff,
    long: u32,
}

impl Pauses {
    pub(super) fn new() -> Self {
        let short = ExponentialBuilder::new()
            .with_min_delay(Duration::from_millis(200))
            .with_factor(4.0)
            .with_max_times(3);
        Self {
            short: short.build(),
            long: MOST,
        }
    }

    /// How long to wait before the step is tried again. None: the attempt is over, and settled.
    pub(super) async fn after(
        &mut self,
        engine: &Engine,
        a: &mut Attempt,
        e: &EngineError,
    ) -> Result<Option<Duration>, EngineError> {
        // What failed may work in a moment (a forge that restarts, a busy disk).
        if let Some(pause) = self.short.next() {
            return Ok(Some(pause));
        }
        let away = matches!(e, EngineError::Git(GitError::Unreachable { .. }));
        let worked = match a.run.step {
            RunStep::Claimed | RunStep::Prepared => false,
            RunStep::Running
            | RunStep::Exited
            | RunStep::Committed
            | RunStep::Pushed
            | RunStep::PrOpened
            | RunStep::Evaluated
            | RunStep::Finalised
            | RunStep::Abandoned => true,
        };
        if away && (a.job.kind.is_reserved() || !worked) {
            let pause = Until::Pause(a.pause(engine));
            snooze(engine, a, e.to_string(), pause).await?;
            finish::clean_up(engine, a).await?;
            return Ok(None);
        }
        if away && self.long > 0 {
            self.long -= 1;
            return Ok(Some(LONG));
        }
        failed::settle(engine, a, &e.to_string(), failed::Again::Transient).await?;
        Ok(None)
    }
}
