//! Watches production around a deploy: before it, and afterwards by a reserved job that makes one look and sleeps until the
//! next. What was seen is kept with every look, so that whoever goes on knows it. Never decides what is healthy.

mod verdict;

use std::time::Duration;

use crate::domain::id::Sha;
use crate::domain::job::JobEnd;
use crate::domain::post_deploy::{ActionTaken, Due, Health, Judged, Plan, Probe, due, judge};
use crate::domain::run::RunStep;
use crate::domain::time::Timestamp;
use crate::integrations::probe;
use crate::settings::project::PostDeploy;
use crate::store::deploys::Deploy;
use crate::store::probes::Kept;
use crate::store::{StoreError, deploys, probes};

use super::super::transition::{self, Abort, Ending};
use super::super::{Engine, EngineError, check};
use super::merge::{Until, snooze};
use super::{Attempt, Step};

/// Looks before a deploy.
const BASELINE: i32 = 3;
/// Longest time between two of them.
const BASELINE_PAUSE: Duration = Duration::from_secs(1);
/// How long a job rests while nobody is to watch.
const OFF: Duration = Duration::from_secs(60);

/// Looks at production before a deploy, once for it: what was not healthy before is not rolled back to. To be called before
/// the hook is started.
///
/// # Errors
/// `Lost`; the database's. What production answers is none.
pub(super) async fn baseline(engine: &Engine, a: &Attempt, deploy: &Deploy) -> Result<(), EngineError> {
    let Some(config) = &a.project.config.post_deploy else {
        return Ok(());
    };
    if !engine.settings().post_deploy.enabled {
        return Ok(());
    }
    let id = deploy.id;
    let known = engine.store().read(move |tx| probes::of_deploy(tx, id)).await?;
    if !known.is_empty() {
        return Ok(());
    }
    let mut kept = Vec::new();
    for slot in -BASELINE..0 {
        if slot > -BASELINE {
            tokio::time::sleep(config.plan.interval().min(BASELINE_PAUSE)).await;
        }
        let probe = look(engine, config, None).await;
        let at = engine.now();
        kept.push(Kept { slot, at, probe });
    }
    keep_baseline(engine, a, deploy, kept).await
}

async fn keep_baseline(
    engine: &Engine,
    a: &Attempt,
    deploy: &Deploy,
    kept: Vec<Kept>,
) -> Result<(), EngineError> {
    let (hold, id) = (a.hold(), deploy.id);
    let wrote = engine.store().write(move |tx| {
        hold.check(tx)?;
        for kept in &kept {
            probes::keep(tx, id, kept)?;
        }
        Ok::<_, Abort>(())
    });
    Ok(wrote.await?)
}

/// What is known of a deploy that is watched.
struct Seen {
    deploy: Deploy,
    /// Looks since the deploy, in the order of their slots.
    looks: Vec<Probe>,
    /// Something else was deployed since.
    newer: bool,
}

/// One look, if it is time for one, or the verdict. A rollback that has begun is finished, whatever the switch says.
pub(super) async fn watch(engine: &Engine, a: &mut Attempt) -> Result<Step, EngineError> {
    let Some(seen) = read(engine, a).await? else {
        return verdict::nothing_to_watch(engine, a).await;
    };
    match seen.deploy.action {
        Some(ActionTaken::RollingBack) => return verdict::roll_back(engine, a, &seen.deploy).await,
        // Its verdict came with the end of another job.
        Some(
            ActionTaken::None
            | ActionTaken::AlertOnly
            | ActionTaken::RolledBack
            | ActionTaken::RollbackFailed
            | ActionTaken::RollbackUnknown,
        ) => return verdict::nothing_to_watch(engine, a).await,
        None => {}
    }
    if !engine.settings().post_deploy.enabled {
        let why = "production is not watched (post_deploy.enabled)".to_owned();
        return snooze(engine, a, why, Until::Pause(OFF)).await;
    }
    let inconclusive = |why: &str| Judged {
        health: Health::Inconclusive,
        why: why.to_owned(),
    };
    let Some(config) = a.project.config.post_deploy.clone() else {
        let judged = inconclusive("the project's file has no [post_deploy] any more");
        return verdict::conclude(engine, a, &seen.deploy, judged).await;
    };
    if seen.newer {
        let judged = inconclusive("there is a newer deploy");
        return verdict::conclude(engine, a, &seen.deploy, judged).await;
    }
    if let Some(judged) = judge(&config.plan, &seen.looks) {
        return verdict::conclude(engine, a, &seen.deploy, judged).await;
    }
    let start = a.job.created_at;
    match due(&config.plan, start, seen.looks.len(), engine.now()) {
        Due::Now { from, slot } => {
            a.check_hold(engine).await?;
            let probe = look(engine, &config, Some(&seen.deploy.revision)).await;
            let now = engine.now();
            let missing = (from..slot).map(|slot| (slot, Probe::Missing));
            let new = missing.chain([(slot, probe)]).collect();
            keep(engine, a, (&config.plan, seen), new, now).await
        }
        Due::Gone { from } => {
            let missing = (from..config.plan.probes).map(|slot| (slot, Probe::Missing));
            let new = missing.collect();
            keep(engine, a, (&config.plan, seen), new, engine.now()).await
        }
        Due::At(at) => {
            let pause = at.since(engine.now());
            snooze(engine, a, so_far(&config.plan, &seen.looks), Until::Pause(pause)).await
        }
        Due::Complete => {
            let judged = inconclusive("the window is over");
            verdict::conclude(engine, a, &seen.deploy, judged).await
        }
    }
}

async fn read(engine: &Engine, a: &Attempt) -> Result<Option<Seen>, EngineError> {
    let task = a.task.id;
    let read = engine.store().read(move |tx| {
        let Some(deploy) = deploys::running_of_task(tx, task)? else {
            return Ok::<_, StoreError>(None);
        };
        let kept = probes::of_deploy(tx, deploy.id)?;
        let newer = deploys::has_newer(tx, &deploy)?;
        let looks = kept.into_iter().filter(|k| k.slot >= 0).map(|k| k.probe);
        Ok(Some(Seen {
            looks: looks.collect(),
            deploy,
            newer,
        }))
    });
    Ok(read.await?)
}

/// Asks production once.
async fn look(engine: &Engine, config: &PostDeploy, revision: Option<&Sha>) -> Probe {
    let answer = probe::get_there(&config.url, config.timeout()).await;
    let met = answer.and_then(|told| config.expect.meets(told.status, &told.body, revision));
    match met {
        Ok(()) => Probe::Good,
        Err(why) => Probe::Failed(check::one_line(&engine.settings().without_secrets(&why), 300)),
    }
}

/// Keeps what was seen, and sleeps until the next look; stays awake where that was enough for a verdict.
async fn keep(
    engine: &Engine,
    a: &mut Attempt,
    (plan, seen): (&Plan, Seen),
    new: Vec<(u16, Probe)>,
    now: Timestamp,
) -> Result<Step, EngineError> {
    let (hold, id, start) = (a.hold(), seen.deploy.id, a.job.created_at);
    let known = seen.looks.into_iter();
    let looks: Vec<Probe> = known.chain(new.iter().map(|(_, probe)| probe.clone())).collect();
    let next = u16::try_from(looks.len()).unwrap_or(u16::MAX);
    let snooze = judge(plan, &looks).is_none().then(|| JobEnd::Snooze {
        reason: so_far(plan, &looks),
        available_at: plan.at(start, next),
    });
    let sleeps = snooze.is_some();
    let wrote = engine.store().write(move |tx| {
        hold.check(tx)?;
        for (slot, probe) in new {
            let slot = i32::from(slot);
            probes::keep(tx, id, &Kept { slot, at: now, probe })?;
        }
        if let Some(end) = snooze {
            transition::end_claim(tx, &Ending::new(hold, end), now)?;
        }
        Ok::<_, Abort>(())
    });
    wrote.await?;
    if !sleeps {
        return Ok(Step::On);
    }
    a.run.step = RunStep::Evaluated;
    engine.committed();
    Ok(Step::Over)
}

/// How it stands, for people.
fn so_far(plan: &Plan, looks: &[Probe]) -> String {
    let failed = looks
        .iter()
        .filter(|look| matches!(look, Probe::Failed(_)))
        .count();
    format!(
        "watches production: {} of {} probes, {failed} failed",
        looks.len(),
        plan.probes
    )
}
