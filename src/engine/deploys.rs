//! Deploys for people: what was brought to production, and letting a revision out of quarantine. Never deploys.

use crate::domain::deploy::{DeployId, DeployStatus, Outcome};
use crate::domain::id::ProjectName;
use crate::domain::job::JobKind;
use crate::store::deploys::Deploy;
use crate::store::quarantine::Quarantined;
use crate::store::{StoreError, deploys, jobs, quarantine, readable, tasks};

use super::run::QUARANTINED;
use super::transition::Abort;
use super::views::DeployView;
use super::{Engine, EngineError, ProjectHandle, run, transition};

/// Most attempts of a project that are listed.
const LISTED: usize = 50;
/// Least digits that name a revision.
const DIGITS: usize = 7;

/// The latest attempts, of one project or of all, newest first.
///
/// # Errors
/// `NotFound` for a project that there is not; the database's.
pub async fn list(engine: &Engine, project: Option<&str>) -> Result<Vec<DeployView>, EngineError> {
    let wanted: Vec<(_, ProjectName)> = match project {
        Some(name) => vec![named(engine, name)?],
        None => engine.projects().collect(),
    }
    .into_iter()
    .map(|p| (p.id, p.config.name.clone()))
    .collect();
    let read = engine.store().read(move |tx| {
        let mut found = Vec::new();
        for (project, name) in wanted {
            let bad = quarantine::of_project(tx, project)?;
            for deploy in deploys::latest(tx, project, LISTED)? {
                let task = readable(tasks::by_id(tx, deploy.task_id))?;
                let task =
                    task.map_or_else(|| format!("#{}", deploy.task_id), |t| t.work_item_id.to_string());
                found.push(view(&name, task, deploy, &bad));
            }
        }
        found.sort_by_key(|d| std::cmp::Reverse(d.id));
        Ok::<_, StoreError>(found)
    });
    Ok(read.await?)
}

fn view(project: &ProjectName, task: String, deploy: Deploy, bad: &[Quarantined]) -> DeployView {
    let quarantined = bad.iter().find(|q| q.revision == deploy.revision);
    DeployView {
        id: deploy.id.0,
        project: project.to_string(),
        task,
        revision: deploy.revision.to_string(),
        confirmed_by: deploy.person,
        previous: deploy.previous,
        status: deploy.status.as_str().to_owned(),
        result: deploy.result,
        started_at: deploy.created_at.to_string(),
        finished_at: deploy.finished_at.map(|at| at.to_string()),
        quarantined: quarantined.map(|q| q.reason.clone()),
    }
}

/// Lets a revision out of quarantine at a person's wish: what is on top of it may be deployed again.
///
/// # Errors
/// `NotFound` when there is no such project, or no such revision in its quarantine; `Conflict` when the beginning of the
/// revision means several.
pub async fn release(engine: &Engine, project: &str, revision: &str) -> Result<(), EngineError> {
    let project = named(engine, project)?;
    let (id, name) = (project.id, project.config.name.clone());
    let (wanted, now) = (revision.to_lowercase(), engine.now());
    let released = engine.store().write(move |tx| {
        let mut found = quarantine::of_project(tx, id)?;
        found.retain(|q| wanted.len() >= DIGITS && q.revision.as_str().starts_with(&wanted));
        if let [only] = found.as_slice() {
            quarantine::release(tx, id, &only.revision)?;
            jobs::wake_reserved(tx, id, QUARANTINED, now)?;
            if let Some(task) = readable(tasks::by_id(tx, only.task_id))? {
                let text = format!("{} was let out of quarantine by a person", only.revision.short());
                transition::say(tx, &task, "deploy", &text, now)?;
            }
        }
        Ok::<_, StoreError>(found.len())
    });
    match released.await? {
        1 => {
            engine.committed();
            Ok(())
        }
        0 => Err(EngineError::NotFound {
            what: format!(
                "no revision that begins with {revision:?} (at least {DIGITS} digits) is in quarantine in {name}: see \
                 `orch deploy list`"
            ),
        }),
        _ => Err(EngineError::Conflict {
            what: format!("{revision:?} is the beginning of several revisions: give more of it"),
        }),
    }
}

/// Settles an attempt of which nobody knows how it ended, as a person says. Its task goes on by In Progress.
///
/// # Errors
/// `NotFound` for an attempt that there is not; `Conflict` when it is settled, or a job of its task is about to.
pub async fn settle(engine: &Engine, id: i64, succeeded: bool) -> Result<(), EngineError> {
    let now = engine.now();
    let wrote = engine.store().write(move |tx| {
        let Some(deploy) = deploys::by_id(tx, DeployId(id))? else {
            return Ok(Err(Not::There));
        };
        let live = jobs::live_of_task(tx, deploy.task_id)?;
        let driven = live.is_some_and(|j| j.kind == JobKind::DeployFinalizer && j.visit == deploy.visit);
        let task = readable(tasks::by_id(tx, deploy.task_id))?;
        let (false, Some(task)) = (driven, task) else {
            return Ok(Err(Not::Driven));
        };
        let outcome = Outcome {
            status: if succeeded {
                DeployStatus::Succeeded
            } else {
                DeployStatus::Failed
            },
            why: "a person looked at production".to_owned(),
        };
        match run::settled(tx, &task, (&deploy, &outcome), "", now) {
            Ok(_) => Ok(Ok(())),
            Err(Abort::Lost) => Ok(Err(Not::Open)),
            Err(Abort::Store(e)) => Err(e),
        }
    });
    let what = match wrote.await? {
        Ok(()) => {
            engine.committed();
            return Ok(());
        }
        Err(Not::There) => {
            let what = format!("there is no deploy {id}: see `orch deploy list`");
            return Err(EngineError::NotFound { what });
        }
        Err(Not::Driven) => format!("a job is at work on deploy {id}: wait for its end"),
        Err(Not::Open) => format!("deploy {id} is settled: see `orch deploy list`"),
    };
    Err(EngineError::Conflict { what })
}

/// Why an attempt is not settled by hand.
enum Not {
    There,
    Driven,
    Open,
}

fn named<'a>(engine: &'a Engine, name: &str) -> Result<&'a std::sync::Arc<ProjectHandle>, EngineError> {
    let found = engine.projects().find(|p| p.config.name.as_str() == name);
    found.ok_or_else(|| EngineError::NotFound {
        what: format!("there is no project {name:?}: see `orch project list`"),
    })
}
