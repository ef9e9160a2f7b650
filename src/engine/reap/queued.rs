//! Ends a queued job that no claim can read: it would wait for ever. Never looks for such jobs; the claims that come to
//! them name them, so that those which are sound cost a sweep nothing.

use crate::domain::id::JobId;
use crate::domain::job::JobStatus;
use crate::domain::reap::Settlement;
use crate::domain::time::Timestamp;
use crate::engine::run::{fail, reaped::action};
use crate::engine::{Engine, EngineError};
use crate::store::healing::NewHealing;
use crate::store::jobs::{self, Bare};
use crate::store::{Conn, StoreError, tasks};

use super::Reaped;

/// Fails a job that cannot be read for as long as none may run (`reaper.max_running_s`): what a hand broke, a hand may
/// mend in that time, as for a running one. None: it is not that long yet, it can be read, or somebody else was first.
///
/// # Errors
/// The database's.
pub(super) async fn end(engine: &Engine, id: JobId, since: Timestamp) -> Result<Option<Reaped>, EngineError> {
    let most = engine.settings().reaper.max_running;
    let waited = engine.now().since(since);
    if waited <= most {
        return Ok(None);
    }
    let Some((job, why)) = engine.store().read(move |tx| unread(tx, id)).await? else {
        engine.reaped.forget_unread(id);
        return Ok(None);
    };
    let why = format!(
        "it could not be claimed for {} s, longer than reaper.max_running_s ({}): {why}",
        waited.as_secs(),
        most.as_secs()
    );
    let did = action(Settlement::Fail);
    let healed = NewHealing {
        kind: "reaper".to_owned(),
        subject: format!("job {id} ({})", job.agent),
        why: why.clone(),
        action: did.to_owned(),
        stuck: Some(waited),
        instance: engine.instance().clone(),
    };
    let failed = fail(engine, &job, &why, Some(healed), |_| Ok(true)).await?;
    engine.reaped.forget_unread(id);
    Ok(failed.is_won().then(|| engine.reaped.note(&job, did)))
}

/// The job and what keeps it from being claimed, while it is queued and something does.
fn unread(tx: &mut Conn, id: JobId) -> Result<Option<(Bare, String)>, StoreError> {
    let Some(job) = jobs::bare(tx, id, JobStatus::Queued)? else {
        return Ok(None);
    };
    let row = jobs::by_id(tx, id).map(drop);
    let task = row.and_then(|()| tasks::by_id(tx, job.task_id).map(drop));
    match task {
        Ok(()) => Ok(None),
        Err(e @ StoreError::Broken { .. }) => Ok(Some((job, e.to_string()))),
        Err(e) => Err(e),
    }
}
