//! How an attempt is settled, and what follows: the log, what people are told, the quarantine of what failed. Never runs a hook.

use std::time::Duration;

use super::WAITS_FOR_DEPLOY;
use crate::domain::deploy::{DeployId, DeployStatus, Outcome, Said, settle};
use crate::domain::front_matter::DEPLOY_LOG;
use crate::domain::task::Task;
use crate::domain::time::Timestamp;
use crate::engine::run::Attempt;
use crate::engine::transition::{self, Abort};
use crate::engine::{Engine, EngineError, check, revision};
use crate::settings::project::Hook;
use crate::store::deploys::Deploy;
use crate::store::quarantine::Quarantined;
use crate::store::{Conn, deploys, jobs, quarantine};

/// Settles an outcome that only production knows. What switches over answers for a while as before, or not at all: the new
/// revision counts at once, anything else when it stays so.
pub(super) async fn outcome(
    engine: &Engine,
    a: &Attempt,
    deploy: &Deploy,
    said: &Said,
) -> Result<Outcome, EngineError> {
    let why = match said {
        Said::Settled(outcome) => return Ok(outcome.clone()),
        Said::AskProduction(why) => why,
    };
    let settled =
        |live: &Result<String, String>| settle(why, live, &deploy.revision, deploy.previous.as_deref());
    let Some(source) = &a.project.config.deploy.revision else {
        let nobody = "set deploy.revision_url or deploy.revision_command to have it asked";
        return Ok(settled(&Err(nobody.to_owned())));
    };
    let (mut before, mut same) = (None, 0);
    for look in 1..=LOOKS {
        let place = (a.claim, "live");
        let live = revision::answer(engine, &a.project, source, Some(&deploy.revision), place).await?;
        let live = live.map(|revision| revision.as_str().to_owned());
        let outcome = settled(&live);
        same = if before.as_ref() == Some(&live) {
            same + 1
        } else {
            1
        };
        let stays = live.is_ok() && same >= STAYS;
        if outcome.status == DeployStatus::Succeeded || stays || look == LOOKS {
            return Ok(outcome);
        }
        before = Some(live);
        tokio::time::sleep(BETWEEN_LOOKS).await;
    }
    Ok(settled(&Err("it was not asked".to_owned())))
}

/// Between two questions what production runs.
const BETWEEN_LOOKS: Duration = Duration::from_secs(2);
/// How often it is asked at most: a minute.
const LOOKS: u32 = 30;
/// How often it has to say the same that is not the new revision.
const STAYS: u32 = 3;

/// What a hook printed, for people and for git: without control characters, without what it was given to keep.
pub(super) fn shown(engine: &Engine, hook: &Hook, tail: &str) -> String {
    let plain: String = tail.chars().filter(|c| !c.is_control() || *c == '\n').collect();
    let own = hook.env.values().filter(|value| value.len() >= SECRET);
    let plain = own.fold(plain, |text, value| text.replace(value.as_str(), "***"));
    engine.settings().without_secrets(&plain)
}

/// Length from which a variable of a hook is taken for one.
const SECRET: usize = 6;

/// The attempt is settled once, with all that follows from it but the task's move.
pub(super) async fn record(
    engine: &Engine,
    a: &Attempt,
    deploy: &Deploy,
    outcome: &Outcome,
    tail: &str,
) -> Result<Deploy, EngineError> {
    let (hold, task, now) = (a.hold(), a.task.clone(), engine.now());
    let (deploy, outcome, tail) = (deploy.clone(), outcome.clone(), tail.to_owned());
    let recorded = engine.store().write(move |tx| {
        hold.check(tx)?;
        settled(tx, &task, (&deploy, &outcome), &tail, now)
    });
    let deploy = recorded.await?;
    engine.committed();
    Ok(deploy)
}

/// Settles an attempt for which nothing has to be done: another one brought its revision along.
pub(super) fn brought(
    tx: &mut Conn,
    task: &Task,
    (deploy, (by, revision)): (&Deploy, (DeployId, String)),
    now: Timestamp,
) -> Result<Deploy, Abort> {
    let why = format!("deploy {} of {revision} brought it along", by.0);
    let Some(deploy) = deploys::brought(tx, deploy.id, by, &why, now)?.won() else {
        return Err(Abort::Lost);
    };
    follow(tx, task, &deploy, "", now)?;
    Ok(deploy)
}

/// Settles an attempt, with what follows: the log, what people are told, and the quarantine of what failed.
pub(in crate::engine) fn settled(
    tx: &mut Conn,
    task: &Task,
    (deploy, outcome): (&Deploy, &Outcome),
    tail: &str,
    now: Timestamp,
) -> Result<Deploy, Abort> {
    let Some(deploy) = deploys::settle(tx, deploy.id, outcome, now)?.won() else {
        return Err(Abort::Lost);
    };
    follow(tx, task, &deploy, tail, now)?;
    jobs::wake_reserved(tx, deploy.project_id, WAITS_FOR_DEPLOY, now)?;
    Ok(deploy)
}

fn follow(tx: &mut Conn, task: &Task, deploy: &Deploy, tail: &str, now: Timestamp) -> Result<(), Abort> {
    let why = deploy.result.clone().unwrap_or_default();
    let (revision, id) = (deploy.revision.short(), &task.work_item_id);
    let text = match deploy.status {
        DeployStatus::Succeeded => format!("{id} deployed: production runs {revision} ({why})"),
        DeployStatus::Failed => format!("{id}: deploy of {revision} failed: {why}"),
        DeployStatus::Unknown | DeployStatus::Open => {
            format!("{id}: nobody knows whether {revision} is deployed: {why}")
        }
    };
    transition::say(tx, task, "deploy", &text, now)?;
    transition::notify(tx, task, "deployed", &text, now)?;
    transition::comment(tx, task, "deployed", &text, now)?;
    if deploy.status == DeployStatus::Failed {
        let bad = Quarantined {
            project_id: deploy.project_id,
            revision: deploy.revision.clone(),
            task_id: deploy.task_id,
            reason: format!("its deploy failed: {why}"),
            created_at: now,
        };
        quarantine::put(tx, &bad)?;
    }
    if let Some(log) = log(deploy, tail) {
        transition::record_artifact(tx, task, DEPLOY_LOG.file, &log, now)?;
    }
    Ok(())
}

/// `14-deploy-log.md`; none while nobody knows how it ended.
pub(super) fn log(deploy: &Deploy, tail: &str) -> Option<String> {
    let status = match deploy.status {
        DeployStatus::Succeeded => "SUCCESS",
        DeployStatus::Failed => "FAILED",
        DeployStatus::Open | DeployStatus::Unknown => return None,
    };
    // A JSON text is a YAML text too.
    let text = |text: &str| serde_json::Value::from(check::one_line(text, 500)).to_string();
    let person = deploy
        .person
        .as_deref()
        .unwrap_or("nobody: the gesture is waived");
    let mut log = format!(
        "---\n{}: {status}\nattempt: {}\nrevision: {}\nprevious: {}\nconfirmed_by: {}\nreason: {}\n---\n\n# Deploy {}\n",
        DEPLOY_LOG.key,
        deploy.id.0,
        deploy.revision,
        text(deploy.previous.as_deref().unwrap_or("unknown")),
        text(person),
        text(deploy.result.as_deref().unwrap_or_default()),
        deploy.id.0,
    );
    if !tail.trim().is_empty() {
        log.push_str("\nThe end of what the hook printed:\n\n");
        for line in tail.lines() {
            let line: String = line.chars().filter(|c| !c.is_control()).collect();
            log.push_str(&format!("    {line}\n"));
        }
    }
    Some(log)
}
