//! Tells what Orch healed by itself: an agent that was killed, a monitor that died, a service that died. Never heals:
//! where telling fails, nothing but the telling is missing.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::domain::id::InstanceId;
use crate::domain::job::{Claim, Job};
use crate::domain::run::{Run, RunStep};
use crate::domain::time::Timestamp;
use crate::process::{self, RunState};
use crate::store::healing::{self, HealingEvent, NewHealing};
use crate::store::{Conn, StoreError, instances, runs};

use super::run::{Attempt, claim_of, run_dir};
use super::views::HealingView;
use super::{Engine, EngineError};

/// An attempt whose agent somebody killed; to be kept with the end of its job where that queues it again.
pub(super) fn killed_agent(engine: &Engine, a: &Attempt) -> Option<NewHealing> {
    let exit = a.run.exit.as_ref().filter(|e| e.cause.is_none())?;
    exit.signal?;
    Some(NewHealing {
        kind: "monitor".into(),
        subject: subject(&a.run),
        why: format!("its agent was killed: {}", process::exit_text(exit)),
        action: "queued again".into(),
        stuck: Some(engine.now().since(exit.finished_at)),
        instance: engine.instance().clone(),
    })
}

/// A monitor that died was replaced; its successor goes on from the recorded step.
///
/// # Errors
/// The database's.
pub async fn monitor_replaced(
    engine: &Engine,
    claim: Claim,
    cause: String,
    down: Option<Duration>,
) -> Result<(), EngineError> {
    let (instance, now) = (engine.instance().clone(), engine.now());
    let told = engine.store().write(move |tx| {
        let Some(run) = runs::of_claim(tx, claim)? else {
            return Ok::<_, StoreError>(());
        };
        let new = NewHealing {
            kind: "supervisor".into(),
            subject: subject(&run),
            why: format!("its monitor died: {cause}"),
            action: format!("a new monitor goes on from step {}", run.step.as_str()),
            stuck: down,
            instance,
        };
        healing::push(tx, &new, now)
    });
    told.await?;
    engine.committed();
    Ok(())
}

/// One of the service's own actors died, and another took its place.
///
/// # Errors
/// The database's.
pub async fn actor_restarted(
    engine: &Engine,
    name: &str,
    cause: String,
    down: Option<Duration>,
) -> Result<(), EngineError> {
    let new = NewHealing {
        kind: "supervisor".into(),
        subject: format!("actor {name}"),
        why: format!("it died: {cause}"),
        action: "a new one looks at the database and goes on".into(),
        stuck: down,
        instance: engine.instance().clone(),
    };
    let now = engine.now();
    engine
        .store()
        .write(move |tx| healing::push(tx, &new, now))
        .await?;
    engine.committed();
    Ok(())
}

/// Running jobs that a boot left behind which did not stop in order. To be called once, with what was found first.
///
/// # Errors
/// The database's.
pub async fn adopted(engine: &Engine, jobs: &[Job]) -> Result<(), EngineError> {
    let claims: Vec<_> = jobs.iter().map(claim_of).collect();
    let own = engine.instance().clone();
    let read = engine.store().read(move |tx| {
        let Some(born) = instances::by_id(tx, &own)?.map(|boot| boot.started_at) else {
            return Ok(Vec::new());
        };
        let mut dead = BTreeMap::new();
        let mut found = Vec::new();
        for claim in claims {
            if let Some(run) = runs::of_claim(tx, claim)?
                && run.instance != own
                && died(tx, &mut dead, &run.instance, born)?
            {
                found.push((claim, run));
            }
        }
        Ok::<_, StoreError>(found)
    });
    let found = read.await?;
    if found.is_empty() {
        return Ok(());
    }
    let news: Vec<_> = found
        .iter()
        .map(|(claim, run)| NewHealing {
            kind: "start".into(),
            subject: subject(run),
            why: "the service died while it ran".into(),
            action: goes_on(engine, *claim, run),
            stuck: None,
            instance: engine.instance().clone(),
        })
        .collect();
    let now = engine.now();
    let told = engine.store().write(move |tx| {
        news.iter().try_for_each(|new| healing::push(tx, new, now))?;
        Ok::<_, StoreError>(())
    });
    told.await?;
    engine.committed();
    Ok(())
}

/// It did not stop in order: nobody said so before this boot, which says it of those that it finds dead.
fn died(
    tx: &mut Conn,
    known: &mut BTreeMap<String, bool>,
    id: &InstanceId,
    born: Timestamp,
) -> Result<bool, StoreError> {
    if let Some(died) = known.get(id.as_str()) {
        return Ok(*died);
    }
    let died = instances::by_id(tx, id)?.is_some_and(|boot| boot.stopped_at.is_none_or(|at| at >= born));
    known.insert(id.as_str().to_owned(), died);
    Ok(died)
}

fn goes_on(engine: &Engine, claim: Claim, run: &Run) -> String {
    match process::look(&run_dir(engine, claim), run.shim.as_ref()) {
        Ok(RunState::Running(_)) => "its agent lives and is watched on".into(),
        Ok(RunState::Ended(_)) if run.step < RunStep::Exited => {
            "its agent has ended: goes on from its exit".into()
        }
        Ok(RunState::Ended(_) | RunState::NotLaunched) => format!("goes on from step {}", run.step.as_str()),
        Ok(RunState::Lost(_) | RunState::Elsewhere(_)) => "its agent is gone too: settled".into(),
        Err(e) => format!("not looked at yet: {e}"),
    }
}

fn subject(run: &Run) -> String {
    let role = run.role.map_or("orch", |r| r.as_str());
    format!("run {} ({role}, {})", run.id, run.stage)
}

/// What was healed last, newest first.
///
/// # Errors
/// The database's.
pub async fn recent(engine: &Engine, limit: usize) -> Result<Vec<HealingView>, EngineError> {
    let found = engine.store().read(move |tx| healing::recent(tx, limit)).await?;
    Ok(found.into_iter().map(view).collect())
}

fn view(e: HealingEvent) -> HealingView {
    HealingView {
        id: e.id,
        at: e.at.to_string(),
        kind: e.kind,
        subject: e.subject,
        why: e.why,
        action: e.action,
        stuck_ms: e.stuck_us.map(|us| us / 1000),
    }
}
