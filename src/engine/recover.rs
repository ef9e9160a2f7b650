//! What a start finds: jobs that ran when the last boot ended, and runs that were never cleaned up.
//! Adopts, never restarts: what the shims went on with is watched on.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use crate::domain::id::JobId;
use crate::domain::job::{Claim, Job, JobStatus};
use crate::store::{StoreError, jobs, runs};

use super::run::{abandon, claim_of};
use super::{Engine, EngineError, check};

/// What there is to go on with.
#[derive(Clone, Debug, Default)]
pub struct Recovery {
    /// Running jobs of this node: each needs a monitor.
    pub jobs: Vec<Job>,
    /// Rows that could not be read, with the reason.
    pub broken: Vec<(i64, String)>,
    /// Runs that were cleaned up, and what could not be.
    pub swept: usize,
    /// What could not be cleaned up now; tried again at the next start.
    pub trouble: Vec<String>,
}

const PAGE: usize = 200;

/// Lists the running jobs of this node and cleans up runs whose claim is over. May be called again at any time.
///
/// # Errors
/// The database's.
pub async fn recover(engine: &Engine) -> Result<Recovery, EngineError> {
    let mut found = Recovery::default();
    let mut after: Option<JobId> = None;
    loop {
        let page = engine
            .store()
            .read(move |tx| jobs::running(tx, after, PAGE))
            .await?;
        found.broken.extend(page.broken);
        let Some(last) = page.rows.last() else { break };
        after = Some(last.id);
        let node = &engine.settings().node;
        found
            .jobs
            .extend(page.rows.into_iter().filter(|j| j.node.as_ref() == Some(node)));
    }
    let running = running(&found);
    for claim in left_over(engine, &mut found, &running).await? {
        match abandon(engine, claim).await {
            Ok(()) => found.swept += 1,
            Err(e) => found
                .trouble
                .push(format!("run of job {} (claim {}): {e}", claim.job, claim.epoch)),
        }
    }
    // Only before the first claim: one made meanwhile would be taken for one that is over.
    if !engine.recovered.load(Ordering::Acquire) {
        check::sweep_left_over(engine, &running).await?;
    }
    engine.recovered.store(true, Ordering::Release);
    Ok(found)
}

fn running(found: &Recovery) -> BTreeSet<(JobId, i64)> {
    found.jobs.iter().map(|j| (j.id, claim_of(j).epoch.0)).collect()
}

/// Open runs whose job does not run under their claim any more.
async fn left_over(
    engine: &Engine,
    found: &mut Recovery,
    running: &BTreeSet<(JobId, i64)>,
) -> Result<Vec<Claim>, EngineError> {
    let open = engine
        .store()
        .read(|tx| {
            let open = runs::open(tx)?;
            let mut rows = Vec::with_capacity(open.rows.len());
            for run in open.rows {
                let job = jobs::by_id(tx, run.job_id)?;
                let ended =
                    job.is_none_or(|j| j.status != JobStatus::Running || j.claim_epoch != run.claim_epoch);
                rows.push((run, ended));
            }
            Ok::<_, StoreError>((rows, open.broken))
        })
        .await?;
    found.broken.extend(open.1);
    let over = open
        .0
        .into_iter()
        .filter(|(run, ended)| *ended && !running.contains(&(run.job_id, run.claim_epoch.0)));
    Ok(over
        .map(|(run, _)| Claim {
            job: run.job_id,
            epoch: run.claim_epoch,
        })
        .collect())
}
