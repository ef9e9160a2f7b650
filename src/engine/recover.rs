//! What a boot left behind: jobs that ran when it ended, and runs and checks that were never cleaned up.
//! Adopts, never restarts: what the shims went on with is watched on.

use std::sync::atomic::Ordering;

use crate::domain::id::JobId;
use crate::domain::job::{Claim, Job};
use crate::domain::time::Timestamp;
use crate::git::GitError;
use crate::store::{StoreError, jobs, runs};

use super::contain::{Unit, limited};
use super::run::{abandon, far};
use super::{Engine, EngineError, check, rescue, spare};

/// What there is to go on with.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// Running jobs of this node: each needs a monitor.
    pub jobs: Vec<Job>,
    /// Rows that could not be read, with the reason.
    pub broken: Vec<(i64, String)>,
}

/// What was cleaned up.
#[derive(Clone, Debug, Default)]
pub struct Swept {
    /// Runs that were.
    pub runs: usize,
    /// What could not be; tried again the next time.
    pub trouble: Vec<String>,
}

const PAGE: usize = 200;

/// Lists the running jobs of this node; on SQLite, where there is one service, all of them. May be called again at any time.
///
/// # Errors
/// The database's.
pub async fn running(engine: &Engine) -> Result<Found, EngineError> {
    let mut found = Found::default();
    let mut after: Option<JobId> = None;
    // Alone on its database, a service has every job, whatever its node was called before.
    let alone = !engine.store().is_shared();
    let (node, instance) = (engine.settings().node.clone(), engine.instance().clone());
    loop {
        let page = engine
            .store()
            .read(move |tx| jobs::running(tx, after, PAGE))
            .await?;
        let ids = page.rows.iter().map(|job| job.id.0);
        let Some(last) = ids.chain(page.broken.iter().map(|(id, _)| *id)).max() else {
            break;
        };
        after = Some(JobId(last));
        found.broken.extend(page.broken);
        let own =
            |job: &Job| alone || job.node.as_ref() == Some(&node) || job.instance.as_ref() == Some(&instance);
        found.jobs.extend(page.rows.into_iter().filter(own));
    }
    let other = |j: &Job| j.instance.as_ref() != Some(&instance) || (alone && j.node.as_ref() != Some(&node));
    if found.jobs.iter().any(other) {
        let adopted = engine.store().write(move |tx| match alone {
            true => jobs::adopt_all(tx, &node, &instance),
            false => jobs::adopt(tx, &node, &instance),
        });
        adopted.await?;
    }
    engine.recovered.store(true, Ordering::Release);
    Ok(found)
}

/// Cleans up runs and checks whose claim is over, and brings rescues to their end that were cut off. May be called again at any time, while others claim and work.
///
/// # Errors
/// The database's.
pub async fn sweep(engine: &Engine) -> Result<Swept, EngineError> {
    let mut swept = Swept::default();
    let (over, broken) = left_over(engine).await?;
    for (id, why) in broken {
        swept.trouble.push(format!("run {id} cannot be read: {why}"));
    }
    let mut silent = Vec::new();
    for claim in over {
        let asked = far::asked(engine, claim).await;
        // Once is enough to know that a machine does not answer.
        if asked.as_ref().is_some_and(|target| silent.contains(target)) {
            continue;
        }
        match limited(engine, Unit::Job(claim.job), abandon(engine, claim)).await {
            Ok(()) => swept.runs += 1,
            Err(EngineError::Hangs) => {}
            Err(e) => {
                let what = format!("run of job {} (claim {}): {e}", claim.job, claim.epoch);
                swept.trouble.push(what);
                let unreachable = matches!(e, EngineError::Git(GitError::Unreachable { .. }));
                silent.extend(asked.filter(|_| unreachable));
            }
        }
    }
    swept.trouble.extend(check::sweep_left_over(engine).await?);
    swept.trouble.extend(rescue::go_on(engine).await?);
    swept.trouble.extend(far::sweep(engine, silent).await?);
    if let Err(e) = spare::sweep(engine).await {
        swept.trouble.push(format!("spare worktrees: {e}"));
    }
    Ok(swept)
}

type Broken = Vec<(i64, String)>;

/// Open runs of this node whose job does not run under their claim any more.
async fn left_over(engine: &Engine) -> Result<(Vec<Claim>, Broken), EngineError> {
    let (node, alone) = (engine.settings().node.clone(), !engine.store().is_shared());
    let read = engine.store().read(move |tx| {
        let open = runs::open(tx)?;
        let mut over = Vec::new();
        // What another machine has left is in its own folders.
        for run in open.rows.into_iter().filter(|run| alone || run.node == node) {
            let claim = Claim {
                job: run.job_id,
                epoch: run.claim_epoch,
            };
            if !jobs::holds(tx, claim)? {
                over.push(claim);
            }
        }
        Ok::<_, StoreError>((over, open.broken))
    });
    Ok(read.await?)
}

impl Engine {
    /// True once recovery has finished and the database answers.
    ///
    /// # Errors
    /// What is not ready yet.
    pub async fn ready(&self) -> Result<(), String> {
        if !self.recovered() {
            return Err("recovery has not finished".into());
        }
        // As a write, because reading works on a full disk and beside a program that keeps the file locked.
        let answer = self
            .store()
            .write(|tx| jobs::next_available_at(tx, Timestamp(0)))
            .await;
        match answer {
            Ok(_) => Ok(()),
            Err(StoreError::Saturated) => Err("the database has more to write than it can".into()),
            Err(_) => Err("the database does not take writes".into()),
        }
    }
}
