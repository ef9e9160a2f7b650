//! Brings what was merged to production by the project's hook: one attempt for a Confirm Deploy, whose end is known or asked
//! for. Never runs a hook for a candidate that nobody confirmed, and none for a quarantined revision.

use crate::domain::deploy::{DeployStatus, Outcome, Said, settle};
use crate::domain::front_matter::DEPLOY_LOG;
use crate::domain::id::Sha;
use crate::domain::task::Task;
use crate::domain::time::Timestamp;
use crate::settings::project::Hook;
use crate::store::deploys::{Deploy, Intended, NewDeploy};
use crate::store::quarantine::Quarantined;
use crate::store::{Conn, StoreError, deploys, intents, jobs, quarantine, tasks};

use super::super::look::{Question, confirm_key, contains, merge_key};
use super::super::transition::{self, Abort};
use super::super::{Engine, EngineError, blocking, check, revision};
use super::failed::{self, Again};
use super::hook::{self, Action, Ended, Stands};
use super::merge::{Until, snooze};
use super::{Attempt, Step, judge, watch};

/// Deploys what this visit merged, and lets the gates say what follows.
pub(super) async fn deploy(engine: &Engine, a: &mut Attempt, hook: &Hook) -> Result<Step, EngineError> {
    let (task, visit) = (a.task.id, a.task.visit);
    let known = engine
        .store()
        .read(move |tx| deploys::of_visit(tx, task, visit))
        .await?;
    let deploy = match known {
        Some(deploy) => deploy,
        None => match begin(engine, a, hook).await? {
            Begun::Attempt(deploy) => deploy,
            Begun::Wait(why) => return snooze(engine, a, why, Until::Pause(a.pause(engine))).await,
            Begun::Refused(why) => return failed::over(engine, a, &why, Again::Never).await,
        },
    };
    let (deploy, tail) = match deploy.status {
        DeployStatus::Succeeded | DeployStatus::Failed => (deploy, String::new()),
        DeployStatus::Open => {
            let stands = hook::stands(engine, hook, Action::Deploy, &deploy).await?;
            if matches!(stands, Stands::NotStarted) {
                watch::baseline(engine, a, &deploy).await?;
            }
            let ended = hook::run(engine, a, hook, Action::Deploy, &deploy).await?;
            let outcome = outcome(engine, a, &deploy, &ended.said).await;
            (record(engine, a, &deploy, &outcome, &ended).await?, ended.tail)
        }
        // A person has had a look, and asks again. The hook is not run a second time.
        DeployStatus::Unknown => {
            let ended = Ended {
                said: Said::AskProduction("asked again".to_owned()),
                tail: String::new(),
            };
            let outcome = outcome(engine, a, &deploy, &ended.said).await;
            (record(engine, a, &deploy, &outcome, &ended).await?, ended.tail)
        }
    };
    if deploy.status == DeployStatus::Unknown {
        let why = format!(
            "nobody knows what production runs: {}. Look at it; then Confirm Deploy has it asked again (the hook is not run again), \
             Rejected sends the task back to development",
            deploy.result.unwrap_or_default()
        );
        return failed::over(engine, a, &why, Again::Never).await;
    }
    let question = Question {
        head: None,
        gates: None,
        run: Some(a.run.id),
        anew: None,
    };
    let mut judgement = judge::ask(engine, a, question).await?;
    judgement.tail = tail;
    judge::conclude(engine, a, judgement).await
}

/// What beginning an attempt came to.
enum Begun {
    /// It is written down.
    Attempt(Deploy),
    /// Not now.
    Wait(String),
    /// Not at all.
    Refused(String),
}

async fn begin(engine: &Engine, a: &Attempt, hook: &Hook) -> Result<Begun, EngineError> {
    let (key, task) = (merge_key(&a.task), a.task.clone());
    let (merge, confirmed) = engine
        .store()
        .read(move |tx| {
            let merge = intents::by_key(tx, &key)?.filter(|i| i.is_done());
            let head = merge
                .as_ref()
                .and_then(|m| Sha::parse(m.payload.get("head")?.as_str()?).ok());
            let confirmed = match &head {
                Some(head) => intents::by_key(tx, &confirm_key(&task, head))?.filter(|i| !i.is_void()),
                None => None,
            };
            Ok::<_, StoreError>((head, confirmed))
        })
        .await?;
    let Some(head) = merge else {
        return Ok(Begun::Refused(
            "nothing was merged that could be deployed".to_owned(),
        ));
    };
    if a.stage.confirm && confirmed.is_none() {
        let why = format!(
            "{} was merged without Confirm Deploy: it is not deployed",
            head.short()
        );
        return Ok(Begun::Refused(why));
    }
    let person = confirmed.and_then(|i| Some(i.payload.get("person")?.as_str()?.to_owned()));
    let previous = match &a.project.config.deploy.revision {
        Some(source) => revision::ask(engine, &a.project, source, Some(&head), a.claim, "live")
            .await
            .ok(),
        None => None,
    };
    let new = NewDeploy {
        project_id: a.task.project_id,
        task_id: a.task.id,
        visit: a.task.visit,
        revision: head,
        person,
        previous,
        node: engine.settings().node.clone(),
    };
    let already = already(engine, a, &new.revision).await?;
    match intend(engine, a, new, already).await? {
        Intent::Ours(deploy) => Ok(Begun::Attempt(deploy)),
        Intent::Quarantined(why) => Ok(Begun::Refused(why)),
        Intent::Busy(other) => forgotten(engine, a, hook, &other).await.map(Begun::Wait),
    }
}

enum Intent {
    Ours(Deploy),
    Quarantined(String),
    Busy(Deploy),
}

/// Writes the attempt down and gives the lease back: what runs now is no merge.
async fn intend(
    engine: &Engine,
    a: &Attempt,
    new: NewDeploy,
    already: Option<Outcome>,
) -> Result<Intent, EngineError> {
    let (hold, task, now) = (a.hold(), a.task.clone(), engine.now());
    let intended = engine.store().write(move |tx| {
        hold.check(tx)?;
        transition::let_go(tx, &task, now)?;
        if let Some(bad) = quarantine::of(tx, new.project_id, &new.revision)? {
            let why = format!("{} is quarantined: {}", new.revision.short(), bad.reason);
            return Ok(Intent::Quarantined(why));
        }
        Ok::<_, Abort>(match deploys::intend(tx, &new, now)? {
            Intended::Ours(deploy) => {
                let by = deploy.person.as_deref().unwrap_or("no gesture asked for");
                let text = format!(
                    "deploy {} of {} begins ({by})",
                    deploy.id.0,
                    deploy.revision.short()
                );
                transition::say(tx, &task, "deploy", &text, now)?;
                Intent::Ours(match already {
                    Some(outcome) => settled(tx, &task, (&deploy, &outcome), "", now)?,
                    None => deploy,
                })
            }
            Intended::Busy(other) => Intent::Busy(other),
        })
    });
    let intended = intended.await?;
    engine.committed();
    Ok(intended)
}

/// Settles an outcome that only production knows.
async fn outcome(engine: &Engine, a: &Attempt, deploy: &Deploy, said: &Said) -> Outcome {
    match said {
        Said::Settled(outcome) => outcome.clone(),
        Said::AskProduction(why) => {
            let live = match &a.project.config.deploy.revision {
                Some(source) => {
                    revision::ask(
                        engine,
                        &a.project,
                        source,
                        Some(&deploy.revision),
                        a.claim,
                        "live",
                    )
                    .await
                }
                None => Err("set deploy.revision_url or deploy.revision_command to have it asked".to_owned()),
            };
            settle(why, &live, &deploy.revision, deploy.previous.as_deref())
        }
    }
}

/// The attempt is settled once, with all that follows from it but the task's move.
async fn record(
    engine: &Engine,
    a: &Attempt,
    deploy: &Deploy,
    outcome: &Outcome,
    ended: &Ended,
) -> Result<Deploy, EngineError> {
    let (hold, task, now) = (a.hold(), a.task.clone(), engine.now());
    let (deploy, outcome, tail) = (deploy.clone(), outcome.clone(), ended.tail.clone());
    let recorded = engine.store().write(move |tx| {
        hold.check(tx)?;
        settled(tx, &task, (&deploy, &outcome), &tail, now)
    });
    let deploy = recorded.await?;
    engine.committed();
    Ok(deploy)
}

/// An attempt whose task nobody works for any more holds up every other one: it is settled by whoever comes to it. Answers
/// what is waited for.
async fn forgotten(engine: &Engine, a: &Attempt, hook: &Hook, open: &Deploy) -> Result<String, EngineError> {
    let (id, owner) = (open.id.0, open.task_id);
    let read = engine.store().read(move |tx| {
        let live = jobs::live_of_task(tx, owner)?.is_some();
        Ok::<_, StoreError>((tasks::by_id(tx, owner)?, live))
    });
    let (Some(task), live) = read.await? else {
        return Ok(format!("{WAITS_FOR_DEPLOY} {id}"));
    };
    let why = format!("{WAITS_FOR_DEPLOY} {id}, of {}", task.work_item_id);
    if live || open.status != DeployStatus::Open {
        return Ok(why);
    }
    let ended = match hook::stands(engine, hook, Action::Deploy, open).await? {
        Stands::AtWork | Stands::Cut => return Ok(why),
        Stands::Ended(ended) => ended,
        Stands::NotStarted => Ended {
            said: Said::AskProduction("its hook was never started from here".to_owned()),
            tail: String::new(),
        },
    };
    let (outcome, tail) = (outcome(engine, a, open, &ended.said).await, ended.tail);
    let (hold, open, now) = (a.hold(), open.clone(), engine.now());
    let recorded = engine.store().write(move |tx| {
        hold.check(tx)?;
        settled(tx, &task, (&open, &outcome), &tail, now).map(drop)
    });
    recorded.await?;
    engine.committed();
    Ok(why)
}

/// What a job says that waits for the end of another deploy.
pub(super) const WAITS_FOR_DEPLOY: &str = "waits for the end of deploy";

/// Where production runs something newer that has it: the older revision is not put in its place.
async fn already(engine: &Engine, a: &Attempt, revision: &Sha) -> Result<Option<Outcome>, EngineError> {
    let project = a.task.project_id;
    let read = engine.store().read(move |tx| {
        let latest = deploys::latest(tx, project, 1)?.pop();
        Ok::<_, StoreError>(match latest.filter(|d| d.status == DeployStatus::Succeeded) {
            Some(deploy) if quarantine::of(tx, project, &deploy.revision)?.is_none() => Some(deploy),
            Some(_) | None => None,
        })
    });
    let Some(newer) = read.await?.filter(|d| d.revision != *revision) else {
        return Ok(None);
    };
    let (handle, ours, theirs) = (a.project.clone(), revision.clone(), newer.revision.clone());
    let has = blocking(move || Ok::<_, EngineError>(contains(&handle.repository()?, &theirs, &ours)?));
    Ok(has.await?.then(|| Outcome {
        status: DeployStatus::Succeeded,
        why: format!(
            "deploy {} of {} brought it along",
            newer.id.0,
            newer.revision.short()
        ),
    }))
}

/// Settles an attempt, with what follows: the log, what people are told, and the quarantine of what failed.
fn settled(
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
fn log(deploy: &Deploy, tail: &str) -> Option<String> {
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
