//! Jobs of instances that were silent for too long. Judged from the database alone, never by a process.

use std::time::Duration;

use crate::domain::id::{InstanceId, JobId, NodeName};
use crate::domain::job::{Job, JobEnd};
use crate::domain::reap::Settlement;
use crate::domain::run::RunStep;
use crate::domain::time::Timestamp;
use crate::process::RunState;
use crate::store::healing::NewHealing;
use crate::store::{Conn, StoreError, clock, healing, instances, jobs, tasks};

use super::super::run::claim_of;
use super::super::run::reaped::{self, Case, Decided, Tree, action};
use super::super::{Engine, EngineError, transition};

/// What was taken over from silent instances.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TakenOver {
    /// One line for each job.
    pub jobs: Vec<String>,
    /// What could not be; tried again the next time.
    pub trouble: Vec<String>,
}

const PAGE: usize = 200;

/// Settles the jobs of instances that were silent for longer than the TTL: one whose work was delivered and whose gates
/// are green goes on, every other is queued again with its attempt refunded. To be called by whoever is on duty. Off with
/// `reaper.enabled`.
///
/// # Errors
/// The database's.
pub async fn take_over(engine: &Engine) -> Result<TakenOver, EngineError> {
    let mut taken = TakenOver::default();
    if !engine.store().is_shared() || !engine.settings().reaper.enabled {
        return Ok(taken);
    }
    let ttl = engine.settings().instance.ttl;
    let mut after = JobId(0);
    loop {
        let own = engine.own_clock();
        let read = engine.store().read(move |tx| {
            let before = clock::now(tx, own)? - ttl;
            jobs::of_silent(tx, before, after, PAGE)
        });
        let page = read.await?;
        let seen = page.rows.iter().map(|job| job.id.0);
        let Some(last) = seen.chain(page.broken.iter().map(|(id, _)| *id)).max() else {
            break;
        };
        after = JobId(last);
        for (id, why) in page.broken {
            taken.trouble.push(format!("job {id} cannot be read: {why}"));
        }
        for job in page.rows {
            let id = job.id;
            match take(engine, job).await {
                Ok(Some(line)) => taken.jobs.push(line),
                Ok(None) | Err(EngineError::Lost) => {}
                Err(e) => taken.trouble.push(format!("job {id}: {e}")),
            }
        }
    }
    if !taken.jobs.is_empty() {
        engine.committed();
    }
    Ok(taken)
}

/// None: it was heard again, or somebody else was first.
async fn take(engine: &Engine, job: Job) -> Result<Option<String>, EngineError> {
    let Some(lost) = job.instance.clone() else {
        return Ok(None);
    };
    let line = match delivered(engine, &job).await? {
        Some((case, decided)) => go_on(engine, lost, case, decided).await?,
        None => queue_again(engine, lost, job.clone()).await?,
    };
    if line.is_some() {
        engine.reaped.note(&job, "taken over from a lost node");
    }
    Ok(line)
}

/// The job as a case, where its task can go on from what its run has delivered.
async fn delivered(engine: &Engine, job: &Job) -> Result<Option<(Case, Decided)>, EngineError> {
    let claim = claim_of(job);
    let read = engine.store().read(move |tx| reaped::read(tx, claim)).await?;
    let Some((job, task, Some(run))) = read.filter(|(_, _, run)| {
        run.as_ref()
            .is_some_and(|run| run.exit.is_some() && run.step >= RunStep::Pushed)
    }) else {
        return Ok(None);
    };
    let case = Case {
        claim,
        job,
        task,
        run: Some(run),
        // Its folder is on a machine that nobody hears.
        state: RunState::NotLaunched,
        tree: Tree::Gone,
    };
    let decided = reaped::decide(engine, &case).await?;
    Ok((decided.settlement == Settlement::GoOn).then_some((case, decided)))
}

async fn go_on(
    engine: &Engine,
    lost: InstanceId,
    case: Case,
    decided: Decided,
) -> Result<Option<String>, EngineError> {
    let (own, ttl) = (engine.own_clock(), engine.settings().instance.ttl);
    let (claim, silent) = (case.claim, lost.clone());
    let guard = move |tx: &mut Conn| {
        let before = clock::now(tx, own)? - ttl;
        is_lost(tx, claim, &silent, before)
    };
    let Some(a) = reaped::take(engine, &case, guard).await? else {
        return Ok(None);
    };
    let healed = healed(engine, &case.job, ttl, action(decided.settlement));
    let line = line(&healed);
    reaped::settle_elsewhere(engine, a, decided, healed).await?;
    Ok(Some(line))
}

/// Whether the claim is still that of an instance which is still silent. If so neither changes until this transaction
/// ends.
fn is_lost(
    tx: &mut Conn,
    claim: crate::domain::job::Claim,
    lost: &InstanceId,
    before: Timestamp,
) -> Result<bool, StoreError> {
    Ok(instances::is_silent(tx, lost, before)? && jobs::is_of(tx, claim, lost)?)
}

async fn queue_again(engine: &Engine, lost: InstanceId, job: Job) -> Result<Option<String>, EngineError> {
    let (own, ttl, healer) = (engine.own_clock(), engine.settings().instance.ttl, engine.clone());
    let taken = engine.store().write(move |tx| {
        let (now, claim) = (clock::now(tx, own)?, claim_of(&job));
        if !is_lost(tx, claim, &lost, now - ttl)? {
            return Ok(None);
        }
        let silent = instances::by_id(tx, &lost)?.map_or(ttl, |i| now.since(i.heartbeat_at));
        let healed = healed(&healer, &job, silent, action(Settlement::Refund));
        let end = JobEnd::Snooze {
            reason: healed.why.clone(),
            available_at: now,
        };
        if !jobs::end(tx, claim, &end, now)?.is_won() {
            return Ok(None);
        }
        transition::give_back(tx, job.task_id, job.project_id, now)?;
        if let Some(task) = tasks::by_id(tx, job.task_id)? {
            let text = format!("{}: {}", healed.why, healed.action);
            transition::say(tx, &task, "healed", &text, now)?;
        }
        healing::push(tx, &healed, now)?;
        Ok::<_, StoreError>(Some(line(&healed)))
    });
    Ok(taken.await?)
}

fn healed(engine: &Engine, job: &Job, silent: Duration, action: &str) -> NewHealing {
    let node = job.node.as_ref().map_or("?", NodeName::as_str);
    NewHealing {
        kind: "node lost".into(),
        subject: format!("job {}", job.id),
        why: format!("node {node} was not heard for {} s", silent.as_secs()),
        action: action.to_owned(),
        stuck: Some(silent),
        instance: engine.instance().clone(),
    }
}

fn line(healed: &NewHealing) -> String {
    format!("{}: {}: {}", healed.subject, healed.why, healed.action)
}
