//! What follows from how production fared: recorded and told once, and where it has to be and may be, the version before is
//! brought back. Intended first: who dies while the hook runs finds that it was to run, and the hook is started once.

use crate::domain::deploy::Said;
use crate::domain::id::{NodeName, ProjectId, Sha, TaskId};
use crate::domain::job::JobEnd;
use crate::domain::post_deploy::{
    Action, ActionTaken, Baseline, Facts, Health, Judged, Probe, action, rolled_back,
};
use crate::domain::run::RunStep;
use crate::domain::task::Task;
use crate::domain::time::Timestamp;
use crate::store::deploys::Deploy;
use crate::store::quarantine::Quarantined;
use crate::store::{Conn, deploys, jobs, probes, quarantine};

use super::super::super::transition::{self, Abort, Ending, Told};
use super::super::super::{Engine, EngineError, revision};
use super::super::deploy::WAITS_FOR_DEPLOY;
use super::super::hook;
use super::super::{Attempt, Step};

/// There is no deploy, or its verdict is known: the job is over.
pub(super) async fn nothing_to_watch(engine: &Engine, a: &mut Attempt) -> Result<Step, EngineError> {
    let (ending, now) = (Ending::new(a.hold(), JobEnd::Done), engine.now());
    let wrote = engine.store().write(move |tx| {
        transition::end_claim(tx, &ending, now)?;
        Ok::<_, Abort>(())
    });
    wrote.await?;
    Ok(over(engine, a))
}

fn over(engine: &Engine, a: &mut Attempt) -> Step {
    a.run.step = RunStep::Evaluated;
    engine.committed();
    Step::Over
}

/// What a verdict needs to know of its project.
struct Means {
    node: NodeName,
    enabled: bool,
    self_hosting: bool,
    window_s: Option<u64>,
}

impl Means {
    fn of(engine: &Engine, a: &Attempt) -> Self {
        let config = &a.project.config;
        let watched = config.post_deploy.as_ref();
        Self {
            node: engine.settings().node.clone(),
            enabled: watched.is_some_and(|w| w.auto_rollback) && config.deploy.hook.is_some(),
            self_hosting: config.self_hosting,
            window_s: watched.map(|w| w.plan.window.as_secs()),
        }
    }
}

/// Records a verdict with the end of the job; or intends a rollback, and the job goes on.
pub(super) async fn conclude(
    engine: &Engine,
    a: &mut Attempt,
    deploy: &Deploy,
    judged: Judged,
) -> Result<Step, EngineError> {
    let (hold, task, now) = (a.hold(), a.task.clone(), engine.now());
    let (means, deploy) = (Means::of(engine, a), deploy.clone());
    let concluded = engine.store().write(move |tx| {
        hold.check(tx)?;
        let what = action(judged.health, &facts(tx, &means, &deploy)?);
        let (taken, why) = match what {
            Action::Rollback => {
                intend(tx, &task, &deploy, (&means.node, &judged.why), now)?;
                return Ok(false);
            }
            Action::None => (ActionTaken::None, judged.why),
            Action::AlertOnly(why) => (
                ActionTaken::AlertOnly,
                format!("{}; not rolled back: {why}", judged.why),
            ),
        };
        let Some(deploy) = deploys::judge(tx, deploy.id, (judged.health, taken), now)?.won() else {
            return Err(Abort::Lost);
        };
        let told = Told {
            deploy: &deploy,
            why: &why,
            window_s: means.window_s,
        };
        transition::tell_watched(tx, &task, &told, now)?;
        transition::end_claim(tx, &Ending::new(hold, JobEnd::Done), now)?;
        Ok::<_, Abort>(true)
    });
    match concluded.await? {
        true => Ok(over(engine, a)),
        false => {
            engine.committed();
            Ok(Step::On)
        }
    }
}

/// As they stand in this transaction: nothing newer begins beside it, for a rollback keeps the project's only place for a
/// hook at work.
fn facts(tx: &mut Conn, means: &Means, deploy: &Deploy) -> Result<Facts, Abort> {
    let kept = probes::of_deploy(tx, deploy.id)?.into_iter();
    let before: Vec<Probe> = kept.filter(|k| k.slot < 0).map(|k| k.probe).collect();
    Ok(Facts {
        enabled: means.enabled,
        self_hosting: means.self_hosting,
        baseline: Baseline::of(&before),
        newer: deploys::has_newer(tx, deploy)?,
        taken: deploy.action,
    })
}

/// From now on it is rolled back, and not deployed again.
fn intend(
    tx: &mut Conn,
    task: &Task,
    deploy: &Deploy,
    (node, why): (&NodeName, &str),
    now: Timestamp,
) -> Result<(), Abort> {
    let Some(deploy) = deploys::begin_rollback(tx, deploy.id, node, now)?.won() else {
        return Err(Abort::Lost);
    };
    put_away(
        tx,
        (deploy.project_id, deploy.task_id),
        &deploy.revision,
        why,
        now,
    )?;
    let text = format!(
        "{}: production is {} with {}: {why}; rolling back",
        task.work_item_id,
        Health::Degraded.as_str(),
        deploy.revision.short()
    );
    transition::say(tx, task, "post-deploy", &text, now)?;
    transition::notify(tx, task, "degraded", &text, now)
}

fn put_away(
    tx: &mut Conn,
    (project_id, task_id): (ProjectId, TaskId),
    revision: &Sha,
    why: &str,
    now: Timestamp,
) -> Result<(), Abort> {
    let bad = Quarantined {
        project_id,
        revision: revision.clone(),
        task_id,
        reason: format!("rolled back: {why}"),
        created_at: now,
    };
    Ok(quarantine::put(tx, &bad)?)
}

/// Runs the hook of a rollback that was intended, or finds it, and records how it ended.
pub(super) async fn roll_back(
    engine: &Engine,
    a: &mut Attempt,
    deploy: &Deploy,
) -> Result<Step, EngineError> {
    let (taken, why) = match a.project.config.deploy.hook.clone() {
        Some(hook) => {
            let action = hook::Action::Rollback {
                since: deploy.judged_at.unwrap_or(deploy.created_at),
            };
            let ended = hook::run(engine, a, &hook, action, deploy).await?;
            let live = live(engine, a, &ended.said).await;
            rolled_back(
                &ended.said,
                live.as_ref(),
                &deploy.revision,
                deploy.previous.as_deref(),
            )
        }
        None => (
            ActionTaken::RollbackUnknown,
            "the project's file has no hook any more".to_owned(),
        ),
    };
    let (hold, task, now) = (a.hold(), a.task.clone(), engine.now());
    let (window_s, id) = (Means::of(engine, a).window_s, deploy.id);
    let recorded = engine.store().write(move |tx| {
        hold.check(tx)?;
        let Some(deploy) = deploys::end_rollback(tx, id, taken)?.won() else {
            return Err(Abort::Lost);
        };
        let told = Told {
            deploy: &deploy,
            why: &why,
            window_s,
        };
        transition::tell_watched(tx, &task, &told, now)?;
        jobs::wake_reserved(tx, deploy.project_id, WAITS_FOR_DEPLOY, now)?;
        transition::end_claim(tx, &Ending::new(hold, JobEnd::Done), now)?;
        Ok::<_, Abort>(())
    });
    recorded.await?;
    Ok(over(engine, a))
}

/// What production runs, where the hook's end leaves that open and the project says how to ask.
async fn live(engine: &Engine, a: &Attempt, said: &Said) -> Option<Result<String, String>> {
    match (said, &a.project.config.deploy.revision) {
        (Said::AskProduction(_), Some(source)) => {
            Some(revision::ask(engine, &a.project, source, None, a.claim, "live").await)
        }
        (Said::AskProduction(_), None) | (Said::Settled(_), _) => None,
    }
}
