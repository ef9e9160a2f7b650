//! Production after a deploy, beside the walk: watching is armed when a task is done, and what it came to is told. Whatever
//! it comes to, the task stays done.

use super::{Abort, Setting, comment, notify, queue, record_artifact, say};
use crate::domain::id::NodeName;
use crate::domain::job::JobKind;
use crate::domain::post_deploy::{ActionTaken, Health, Probe};
use crate::domain::task::Task;
use crate::domain::time::Timestamp;
use crate::engine::check::one_line;
use crate::store::deploys::{Deploy, NewDeploy};
use crate::store::probes::Kept;
use crate::store::{Conn, deploys, probes};

/// The log of the time after a deploy.
const POST_DEPLOY_LOG: &str = "16-post-deploy-log.md";

/// Lets production be watched for a task that is done, where its project asks for that and production received something.
pub(in crate::engine) fn arm(tx: &mut Conn, s: &Setting, task: &Task) -> Result<(), Abort> {
    let config = &s.project.config;
    let Some(watched) = &config.post_deploy else {
        return Ok(());
    };
    if let (None, Some(revision)) = (&config.deploy.hook, &task.candidate) {
        let new = NewDeploy {
            project_id: task.project_id,
            task_id: task.id,
            visit: task.visit,
            revision: revision.clone(),
            person: None,
            previous: None,
            node: NodeName::trusted("local"),
        };
        deploys::record_merged(tx, &new, s.now)?;
    }
    let deployed = deploys::running_of_task(tx, task.id)?;
    // What was brought along is watched as what brought it.
    let Some(deploy) = deployed.filter(|d| d.health.is_none() && d.brought_by.is_none()) else {
        return Ok(());
    };
    let plan = &watched.plan;
    let text = format!(
        "production is watched with {}: {} probes in {} s",
        deploy.revision.short(),
        plan.probes,
        plan.window.as_secs()
    );
    say(tx, task, "post-deploy", &text, s.now)?;
    let first = plan.at(s.now, 0);
    queue(tx, s, task, JobKind::PostDeployMonitor, None, None, first)
}

/// What watching came to, to be told.
pub(in crate::engine) struct Told<'a> {
    /// With its verdict.
    pub deploy: &'a Deploy,
    /// How it is known.
    pub why: &'a str,
    /// The window, where it is known.
    pub window_s: Option<u64>,
}

/// Tells how production fared, and leaves the log.
pub(in crate::engine) fn tell_watched(
    tx: &mut Conn,
    task: &Task,
    told: &Told<'_>,
    now: Timestamp,
) -> Result<(), Abort> {
    let deploy = told.deploy;
    let health = deploy.health.unwrap_or(Health::Inconclusive);
    let taken = deploy.action.unwrap_or(ActionTaken::None);
    let (revision, why) = (deploy.revision.short(), told.why);
    let (about, how) = match (taken, health) {
        (ActionTaken::None, Health::Degraded) | (ActionTaken::AlertOnly, _) => (
            Some("degraded"),
            format!("production is DEGRADED with {revision}"),
        ),
        (ActionTaken::None, Health::Healthy | Health::Inconclusive) => {
            (None, format!("production is {} with {revision}", health.as_str()))
        }
        (ActionTaken::RolledBack, _) => (Some("rolled-back"), format!("{revision} was rolled back")),
        (ActionTaken::RollbackFailed, _) => (
            Some("rolled-back"),
            format!("the rollback of {revision} failed, production still runs it"),
        ),
        (ActionTaken::RollingBack | ActionTaken::RollbackUnknown, _) => (
            Some("rolled-back"),
            format!("{revision} was to be rolled back, and nobody knows what production runs: look at it"),
        ),
    };
    let text = format!("{}: {how}: {why}", task.work_item_id);
    say(tx, task, "post-deploy", &text, now)?;
    if let Some(about) = about {
        notify(tx, task, about, &text, now)?;
        comment(tx, task, about, &text, now)?;
    }
    let kept = probes::of_deploy(tx, deploy.id)?;
    record_artifact(tx, task, POST_DEPLOY_LOG, &log(told, (health, taken), &kept), now)
}

/// The job that watched for a task that is done is over before its time. Nothing of that touches the task.
pub(in crate::engine) fn give_up_watching(
    tx: &mut Conn,
    task: &Task,
    why: &str,
    now: Timestamp,
) -> Result<(), Abort> {
    let Some(deploy) = deploys::running_of_task(tx, task.id)? else {
        return Ok(say(tx, task, "post-deploy", why, now)?);
    };
    let ended = match deploy.action {
        None => deploys::judge(tx, deploy.id, (Health::Inconclusive, ActionTaken::None), now)?,
        Some(ActionTaken::RollingBack) => deploys::end_rollback(tx, deploy.id, ActionTaken::RollbackUnknown)?,
        Some(
            ActionTaken::None
            | ActionTaken::AlertOnly
            | ActionTaken::RolledBack
            | ActionTaken::RollbackFailed
            | ActionTaken::RollbackUnknown,
        ) => return Ok(say(tx, task, "post-deploy", why, now)?),
    };
    let deploy = ended.won().ok_or(Abort::Lost)?;
    let told = Told {
        deploy: &deploy,
        why,
        window_s: None,
    };
    tell_watched(tx, task, &told, now)
}

/// `16-post-deploy-log.md`.
fn log(told: &Told<'_>, (health, taken): (Health, ActionTaken), kept: &[Kept]) -> String {
    let deploy = told.deploy;
    // A JSON text is a YAML text too.
    let why = serde_json::Value::from(one_line(told.why, 500)).to_string();
    let after = || kept.iter().filter(|k| k.slot >= 0);
    let total = after().filter(|k| k.probe != Probe::Missing).count();
    let failed = after().filter(|k| matches!(k.probe, Probe::Failed(_))).count();
    let window = told.window_s.map_or("null".to_owned(), |s| s.to_string());
    let mut log = format!(
        "---\npost_deploy_status: {}\naction_taken: {}\nwindow_s: {window}\nchecks_total: {total}\nchecks_failed: {failed}\n\
         checks_missing: {}\nattempt: {}\nrevision: {}\nreason: {why}\n---\n\n# Production after deploy {}\n",
        health.as_str(),
        taken.as_str(),
        after().count() - total,
        deploy.id.0,
        deploy.revision,
        deploy.id.0,
    );
    if !kept.is_empty() {
        log.push_str("\n| probe | at | result |\n|---|---|---|\n");
    }
    for k in kept {
        let name = match k.slot {
            slot if slot < 0 => "before".to_owned(),
            slot => (slot + 1).to_string(),
        };
        let result = match &k.probe {
            Probe::Good => "good".to_owned(),
            Probe::Failed(why) => format!("failed: {}", one_line(why, 300).replace('|', "\\|")),
            Probe::Missing => "missing".to_owned(),
        };
        log.push_str(&format!("| {name} | {} | {result} |\n", k.at));
    }
    log
}
