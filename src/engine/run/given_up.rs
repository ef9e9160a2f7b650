//! Gives up what is on a node that does not come back. Never asks the node: what it has is not waited for, and not taken
//! when it returns after all.

use std::path::Path;
use std::time::Duration;

use tokio::time::timeout;

use crate::domain::id::{ClaimEpoch, JobId, NodeName};
use crate::domain::job::Claim;
use crate::process::far::{self, FarRun};
use crate::process::{self, RunState};

use super::super::{Engine, EngineError, blocking};
use super::far::{BACK, GIVEN_UP, known_back, patience};
use super::{abandon, run_dir};

/// Whoever looks after a run is given so long to leave it.
const BUSY: Duration = Duration::from_secs(5);

/// Gives up every run whose work is on that node and not here. Their agents here (those that stand for the ones there) are
/// ended; whoever drives their jobs finds that, and what was over already is put away. Answers whose they were.
///
/// # Errors
/// `Conflict` while the node is just giving one back; a process that does not die; the database's.
pub(in crate::engine) async fn give_up(engine: &Engine, node: &NodeName) -> Result<Vec<Claim>, EngineError> {
    let mut given_up = Vec::new();
    for claim in away(engine, node).await? {
        let dir = run_dir(engine, claim);
        let back = dir.join(BACK);
        let Ok(alone) = timeout(BUSY, engine.tidying(claim)).await else {
            let what = format!(
                "node {node} is being asked for the work of job {}: try again in a moment",
                claim.job
            );
            return Err(EngineError::Conflict { what });
        };
        if known_back(&back)?.is_some() {
            continue;
        }
        far::note(&back, GIVEN_UP)?;
        drop(alone);
        if let RunState::Running(shim) = process::look(&dir, None)? {
            process::kill_tree(&shim, patience(engine, &dir)).await?;
        }
        // What is driven still is its monitor's.
        abandon(engine, claim).await?;
        given_up.push(claim);
    }
    Ok(given_up)
}

/// The claims of runs whose work is on that node.
async fn away(engine: &Engine, node: &NodeName) -> Result<Vec<Claim>, EngineError> {
    let (runs, node) = (engine.settings().data_dir.join("runs"), node.to_string());
    blocking(move || {
        let mut found = Vec::new();
        for dir in std::fs::read_dir(&runs).into_iter().flatten().flatten() {
            let dir = dir.path();
            let there = FarRun::read(&dir).ok().flatten().filter(|far| far.node == node);
            if there.is_some() && !dir.join(BACK).exists() {
                found.extend(claim_of(&dir));
            }
        }
        Ok::<_, EngineError>(found)
    })
    .await
}

/// The claim that names a run's folder.
fn claim_of(dir: &Path) -> Option<Claim> {
    let (job, epoch) = dir.file_name()?.to_str()?.split_once('-')?;
    Some(Claim {
        job: JobId(job.parse().ok()?),
        epoch: ClaimEpoch(epoch.parse().ok()?),
    })
}
