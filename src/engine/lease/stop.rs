//! Stops the merges into a repository whose main has something else than what was tested, and lets them go on when a person
//! says so. Never looks at the repository.

use crate::domain::time::Timestamp;
use crate::store::merge_stops::{self, MergeStop};
use crate::store::{Conn, StoreError, jobs, readable, tasks};

use super::super::transition::say;
use super::super::views::MergeStopView;
use super::super::{Engine, EngineError};

/// What a job says that waits for the merges to go on. Who waits for something else is not woken with it.
const MERGES_STOPPED: &str = "merges are stopped";

/// For the job that waits, and for people.
pub(super) fn waits(stop: &MergeStop) -> String {
    let repo = &stop.repo;
    format!(
        "{MERGES_STOPPED} for {repo} until `orch lease release {repo} --merges`: {}",
        stop.why
    )
}

/// What stops merges at present, for people.
///
/// # Errors
/// The database's.
pub async fn list(engine: &Engine) -> Result<Vec<MergeStopView>, EngineError> {
    Ok(engine.store().read(views).await?)
}

pub(in crate::engine) fn views(tx: &mut Conn) -> Result<Vec<MergeStopView>, StoreError> {
    let mut views = Vec::new();
    for stop in merge_stops::list(tx)? {
        let task = match stop.task {
            Some(id) => readable(tasks::by_id(tx, id))?.map(|t| t.work_item_id.to_string()),
            None => None,
        };
        views.push(MergeStopView {
            repo: stop.repo,
            why: stop.why,
            task,
            since: stop.at.map(|at| at.to_string()),
        });
    }
    Ok(views)
}

/// Lets the merges into a repository go on, which may be called by the name of its project; whoever waits looks again at once.
///
/// # Errors
/// `NotFound` when they are not stopped.
pub async fn lift(engine: &Engine, repo: &str, now: Timestamp) -> Result<(), EngineError> {
    let projects = || engine.projects();
    let named = projects().find(|p| p.config.name.as_str() == repo);
    let repo = named.map_or_else(|| repo.to_owned(), |p| p.config.repo.clone());
    let waiting: Vec<_> = projects()
        .filter(|p| p.config.repo == repo)
        .map(|p| p.id)
        .collect();
    let wanted = repo.clone();
    let wrote = engine.store().write(move |tx| {
        let Some(stop) = merge_stops::of(tx, &wanted)? else {
            return Ok(false);
        };
        if !merge_stops::lift(tx, &wanted)?.is_won() {
            return Ok(false);
        }
        if let Some(id) = stop.task
            && let Some(task) = readable(tasks::by_id(tx, id))?
        {
            let text = format!("a person let the merges into {wanted} go on");
            say(tx, &task, "lease", &text, now)?;
        }
        for project in waiting {
            jobs::wake_reserved(tx, project, MERGES_STOPPED, now)?;
        }
        Ok::<_, StoreError>(true)
    });
    match wrote.await? {
        true => {
            engine.committed();
            Ok(())
        }
        false => {
            let what = format!("merges into {repo} are not stopped: see `orch lease list`");
            Err(EngineError::NotFound { what })
        }
    }
}
