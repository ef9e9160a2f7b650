//! Brings what was merged to production by the project's hook: one attempt for a Confirm Deploy, whose end is known or asked
//! for. Never runs a hook for a candidate that nobody confirmed, and none for a quarantined revision.

use crate::domain::deploy::{DeployId, DeployStatus, Said};
use crate::domain::front_matter::DEPLOY_LOG;
use crate::domain::id::Sha;
use crate::domain::job::JobKind;
use crate::settings::project::Hook;
use crate::store::deploys::{Deploy, Intended, NewDeploy};
use crate::store::{StoreError, deploys, intents, jobs, quarantine, tasks};

use super::super::look::{Question, confirm_key, contains, merge_key, tip};
use super::super::transition::{self, Abort};
use super::super::{Engine, EngineError, blocking, records, revision};
use super::failed::{self, Again};
use super::hook::{self, Action, Ended, Stands};
use super::merge::{Until, snooze};
use super::{Attempt, Step, judge, watch};

mod settle;

pub(in crate::engine) use settle::settled;
use settle::{brought, log, outcome, record, shown};

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
            let outcome = outcome(engine, a, &deploy, &ended.said).await?;
            let tail = shown(engine, hook, &ended.tail);
            (record(engine, a, &deploy, &outcome, &tail).await?, tail)
        }
        // A person has had a look, and asks again. The hook is not run a second time.
        DeployStatus::Unknown => {
            let again = Said::AskProduction("asked again".to_owned());
            let outcome = outcome(engine, a, &deploy, &again).await?;
            (record(engine, a, &deploy, &outcome, "").await?, String::new())
        }
    };
    if deploy.status == DeployStatus::Unknown {
        let why = format!(
            "nobody knows what production runs: {}. Look at it, and say what it is with `orch deploy settle {} succeeded|failed`; \
             or have it asked once more with In Progress and Confirm Deploy. The hook is not run again",
            deploy.result.unwrap_or_default(),
            deploy.id.0
        );
        return failed::over(engine, a, &why, Again::Never).await;
    }
    if deploy.status == DeployStatus::Failed && a.project.config.records_ref.is_none() {
        // Its log goes onto the branch, on which a developer works next: now, or it would void the next candidate.
        if let Some(text) = log(&deploy, &tail) {
            let file = (DEPLOY_LOG.file, text.as_str());
            a.check_hold(engine).await?;
            // Else its notice brings it later.
            drop(records::write(&a.project, &a.task, file, records::Onto::Merged).await);
        }
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

/// Why the task stays where it is although there is no hook any more: one was at work, and nobody knows how it ended.
pub(super) async fn left_open(engine: &Engine, a: &Attempt) -> Result<Option<String>, EngineError> {
    let (task, visit) = (a.task.id, a.task.visit);
    let known = engine
        .store()
        .read(move |tx| deploys::of_visit(tx, task, visit))
        .await?;
    Ok(match known {
        Some(deploy) if matches!(deploy.status, DeployStatus::Open | DeployStatus::Unknown) => Some(format!(
            "deploy {} is not settled, and {} has no deploy.hook any more: put it back, or look at production and say what it is \
             with `orch deploy settle {} succeeded|failed`",
            deploy.id.0,
            a.project.config.source.display(),
            deploy.id.0
        )),
        Some(_) | None => None,
    })
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
    let revision = received(a, &head).await?;
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
        revision,
        person,
        previous,
        node: engine.settings().node.clone(),
    };
    if let Some(why) = on_top_of_quarantined(engine, a, &new.revision).await? {
        return Ok(Begun::Refused(why));
    }
    let already = already(engine, a, &new.revision).await?;
    match intend(engine, a, new, already).await? {
        Intent::Ours(deploy) => Ok(Begun::Attempt(deploy)),
        Intent::Quarantined(why) => Ok(Begun::Refused(why)),
        Intent::Again => Ok(Begun::Wait(format!(
            "{WAITS_FOR_DEPLOY}: another one was settled just now"
        ))),
        Intent::Busy(other) => forgotten(engine, a, hook, &other).await.map(Begun::Wait),
    }
}

enum Intent {
    Ours(Deploy),
    Quarantined(String),
    Busy(Deploy),
    /// What was decided about was no longer so.
    Again,
}

/// What production has, or is about to, as it was seen before an attempt is written down.
struct Seen {
    /// The newest attempt of the project.
    newest: Option<DeployId>,
    /// The one that brought the new one's revision along, and which that is.
    brought: Option<(DeployId, String)>,
}

/// Writes the attempt down and gives the lease back: what runs now is no merge.
async fn intend(engine: &Engine, a: &Attempt, new: NewDeploy, seen: Seen) -> Result<Intent, EngineError> {
    let (hold, task, now) = (a.hold(), a.task.clone(), engine.now());
    let intended = engine.store().write(move |tx| {
        hold.check(tx)?;
        transition::let_go(tx, &task, now)?;
        if let Some(bad) = quarantine::of(tx, new.project_id, &new.revision)? {
            let why = format!("{} is quarantined: {}", new.revision.short(), bad.reason);
            return Ok(Intent::Quarantined(why));
        }
        let newest = deploys::latest(tx, new.project_id, 1)?.pop();
        if newest.as_ref().map(|d| d.id) != seen.newest
            && newest
                .as_ref()
                .is_none_or(|d| d.task_id != new.task_id || d.visit != new.visit)
        {
            return Ok(Intent::Again);
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
                Intent::Ours(match seen.brought {
                    Some(by) => brought(tx, &task, (&deploy, by), now)?,
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

/// An attempt whose task nobody works for any more holds up every other one: it is settled by whoever comes to it. Answers
/// what is waited for.
async fn forgotten(engine: &Engine, a: &Attempt, hook: &Hook, open: &Deploy) -> Result<String, EngineError> {
    let (id, owner, visit) = (open.id.0, open.task_id, open.visit);
    let read = engine.store().read(move |tx| {
        // Whoever works for another visit does not drive it.
        let live = jobs::live_of_task(tx, owner)?;
        let live = live.is_some_and(|j| j.kind == JobKind::DeployFinalizer && j.visit == visit);
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
    let outcome = outcome(engine, a, open, &ended.said).await?;
    let tail = shown(engine, hook, &ended.tail);
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
async fn already(engine: &Engine, a: &Attempt, revision: &Sha) -> Result<Seen, EngineError> {
    let project = a.task.project_id;
    let read = engine.store().read(move |tx| {
        let newest = deploys::latest(tx, project, 1)?.pop().map(|d| d.id);
        Ok::<_, StoreError>((newest, deploys::last_good(tx, project)?))
    });
    let (newest, good) = read.await?;
    let Some(newer) = good.filter(|d| d.revision != *revision) else {
        return Ok(Seen {
            newest,
            brought: None,
        });
    };
    let (handle, ours, theirs) = (a.project.clone(), revision.clone(), newer.revision.clone());
    let has = blocking(move || Ok::<_, EngineError>(contains(&handle.repository()?, &theirs, &ours)?));
    let brought = has.await?.then(|| (newer.id, newer.revision.short().to_owned()));
    Ok(Seen { newest, brought })
}

/// Why a revision is not deployed that has a quarantined one of another task in it, and nothing that was healthy since.
async fn on_top_of_quarantined(
    engine: &Engine,
    a: &Attempt,
    revision: &Sha,
) -> Result<Option<String>, EngineError> {
    let (project, own) = (a.task.project_id, a.task.id);
    let read = engine.store().read(move |tx| {
        let since = deploys::last_good(tx, project)?.and_then(|d| d.finished_at);
        let mut bad = quarantine::of_project(tx, project)?;
        bad.retain(|q| q.task_id != own && since.is_none_or(|since| q.created_at > since));
        Ok::<_, StoreError>(bad)
    });
    let bad = read.await?;
    if bad.is_empty() {
        return Ok(None);
    }
    let (handle, ours) = (a.project.clone(), revision.clone());
    let found = blocking(move || {
        let repo = handle.repository()?;
        for q in bad {
            if contains(&repo, &ours, &q.revision)? {
                return Ok(Some(q));
            }
        }
        Ok::<_, EngineError>(None)
    });
    Ok(found.await?.map(|q| {
        format!(
            "{} has {} in it, which is quarantined: {}; have that mended first, or release it with `orch deploy release {} {}`, \
             then let the task go on with In Progress",
            revision.short(),
            q.revision.short(),
            q.reason,
            a.project.config.name,
            q.revision.short()
        )
    }))
}

/// What main received for a candidate: the candidate, or what a merge made of it.
async fn received(a: &Attempt, head: &Sha) -> Result<Sha, EngineError> {
    let (project, head) = (a.project.clone(), head.clone());
    blocking(move || {
        let repo = project.repository()?;
        let main = tip(&repo, &project.config.main)?;
        repo.ensure_commits(&[&main, &head])?;
        Ok::<_, EngineError>(repo.received(&main, &head)?.unwrap_or(head))
    })
    .await
}
