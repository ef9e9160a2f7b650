//! Ends a job by what can always be read of it, where looking at it fails. Never asks its gates.

use std::time::Duration;

use super::Reaped;
use crate::domain::reap::Settlement;
use crate::engine::run::reaped::action;
use crate::engine::run::without_stage;
use crate::engine::{Engine, EngineError};
use crate::store::healing::NewHealing;
use crate::store::jobs::Bare;

/// A job that cannot be looked at fails once it runs for longer than any may: it would keep its slot for ever.
///
/// # Errors
/// `Broken` with what is wrong with it while it is not that old; a process that does not die; the database's.
pub(super) async fn end(engine: &Engine, job: &Bare, why: &str) -> Result<Option<Reaped>, EngineError> {
    let (running, most) = (
        engine.now().since(job.since),
        engine.settings().reaper.max_running,
    );
    if running <= most {
        return Err(EngineError::Broken(why.to_owned()));
    }
    let why = format!(
        "it ran for {} s, longer than reaper.max_running_s ({}), and cannot be looked at: {why}",
        running.as_secs(),
        most.as_secs()
    );
    fail(engine, job, &why, Some(running.saturating_sub(most))).await
}

/// Fails a job, and writes down that it was healed. None: somebody else ended it.
///
/// # Errors
/// As [`end`].
pub(super) async fn fail(
    engine: &Engine,
    job: &Bare,
    why: &str,
    stuck: Option<Duration>,
) -> Result<Option<Reaped>, EngineError> {
    let did = action(Settlement::Fail);
    let healed = NewHealing {
        kind: "reaper".to_owned(),
        subject: format!("job {} ({})", job.claim.job, job.agent),
        why: why.to_owned(),
        action: did.to_owned(),
        stuck,
        instance: engine.instance().clone(),
    };
    let ended = without_stage(engine, job, why, Some(healed)).await?;
    Ok(ended.is_won().then(|| engine.reaped.note(job, did)))
}
