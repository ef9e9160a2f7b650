//! Deploys for people: what was brought to production, and letting a revision out of quarantine. Never deploys.

use crate::domain::id::ProjectName;
use crate::store::deploys::Deploy;
use crate::store::quarantine::Quarantined;
use crate::store::{StoreError, deploys, quarantine, readable, tasks};

use super::views::DeployView;
use super::{Engine, EngineError, ProjectHandle, transition};

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

fn named<'a>(engine: &'a Engine, name: &str) -> Result<&'a std::sync::Arc<ProjectHandle>, EngineError> {
    let found = engine.projects().find(|p| p.config.name.as_str() == name);
    found.ok_or_else(|| EngineError::NotFound {
        what: format!("there is no project {name:?}: see `orch project list`"),
    })
}
