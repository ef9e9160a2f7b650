//! Claims jobs for this instance. What a claim may take is decided in the store's transaction, by `domain::claim`.

use crate::domain::job::Job;
use crate::domain::time::Timestamp;
use crate::store::jobs::{self, ClaimRequest};
use crate::store::{StoreError, flags};

use super::{Engine, EngineError};

/// The flag that pauses agent jobs.
pub const PAUSED: &str = "queue.paused";

/// Reserved jobs that may run at once.
const RESERVED_CEILING: usize = 16;
/// Claims in one go.
const BATCH: usize = 32;

/// What claiming gave.
#[derive(Clone, Debug)]
pub struct Claimed {
    /// Jobs that are ours now.
    pub jobs: Vec<Job>,
    /// When the next queued job becomes available, if one waits for its time.
    pub next_at: Option<Timestamp>,
    /// Rows that could not be read, with the reason.
    pub broken: Vec<(i64, String)>,
}

/// Claims what fits, in one transaction. Without anything to claim, nothing is written.
///
/// # Errors
/// The database's.
pub async fn claim(engine: &Engine) -> Result<Claimed, EngineError> {
    let settings = engine.settings();
    let now = engine.now();
    let limits = engine
        .projects()
        .filter_map(|p| p.config.max_concurrency.map(|n| (p.id, n)))
        .collect();
    let request = ClaimRequest {
        now,
        node: settings.node.clone(),
        instance: engine.instance().clone(),
        max_concurrency: settings.max_concurrency,
        project_concurrency: limits,
        default_project_concurrency: Some(settings.queue.project_concurrency).filter(|n| *n > 0),
        paused: false,
        reserved_ceiling: RESERVED_CEILING,
        limit: BATCH,
    };
    let (claimed, next_at) = engine
        .store()
        .write(move |tx| {
            let paused = flags::get(tx, PAUSED)?.as_deref() == Some("true");
            let claimed = jobs::claim_next(tx, &ClaimRequest { paused, ..request })?;
            Ok::<_, StoreError>((claimed, jobs::next_available_at(tx, now)?))
        })
        .await?;
    if !claimed.rows.is_empty() {
        engine.changed.send_modify(|n| *n += 1);
    }
    Ok(Claimed {
        jobs: claimed.rows,
        next_at,
        broken: claimed.broken,
    })
}
