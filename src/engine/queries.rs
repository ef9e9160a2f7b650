//! Reads for people and machines: tasks, jobs, runs, events as [`views`](super::views). Never writes.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::domain::id::WorkItemId;
use crate::domain::id::{JobId, RunId};
use crate::domain::job::{Job, JobStatus};
use crate::domain::run::RunStep;
use crate::domain::task::Task;
use crate::domain::time::Timestamp;
use crate::process;
use crate::store::jobs::ClaimRequest;
use crate::store::tasks::TaskFilter;
use crate::store::{Conn, StoreError, comments, events, evidence, jobs, pull_requests, runs, tasks};

use super::gestures::work_item;
use super::lease::stop;
use super::present::{event_view, job_view, run_view, task_view};
use super::queue::{held, name_of, paused, request};
use super::run::run_dir;
use super::views::{
    CommentView, CountsView, EventView, GateView, JobView, ProjectView, QueueView, RunView, TaskDetail,
    TaskView,
};
use super::{Engine, EngineError};

/// Which tasks to list.
#[derive(Clone, Debug, Default)]
pub struct TaskQuery {
    /// Only of this project.
    pub project: Option<String>,
    /// Finished ones too.
    pub all: bool,
    /// Only those older than the task of this name.
    pub before: Option<String>,
    /// At most.
    pub limit: i64,
}

/// Where a run's log is.
#[derive(Clone, Debug)]
pub struct RunLog {
    /// The file; absent until the agent printed something.
    pub path: PathBuf,
    /// Nothing will be added any more.
    pub finished: bool,
}

/// Tasks, newest first.
///
/// # Errors
/// `NotFound` for an unknown project or an unknown task to go on from.
pub async fn tasks(engine: &Engine, query: TaskQuery, _now: Timestamp) -> Result<Vec<TaskView>, EngineError> {
    let project = match &query.project {
        Some(name) => Some(
            engine
                .projects()
                .find(|p| p.config.name.as_str() == name)
                .ok_or_else(|| EngineError::NotFound {
                    what: format!("no project {name:?}"),
                })?
                .id,
        ),
        None => None,
    };
    let before = match &query.before {
        Some(name) => Some(find_task(engine, name).await?.id),
        None => None,
    };
    let limit = usize::try_from(query.limit.clamp(1, 1000)).unwrap_or(1000);
    let filter = TaskFilter {
        open_only: !query.all,
        project,
        before,
        limit,
    };
    let listed = engine.store().read(move |tx| tasks::list(tx, filter)).await?;
    Ok(listed
        .rows
        .iter()
        .map(|t| task_view(t, project_name(engine, t)))
        .collect())
}

/// A task with all that is known of it.
///
/// # Errors
/// `NotFound`, `Conflict` for a name that several projects have.
pub async fn task(engine: &Engine, id: &str, now: Timestamp) -> Result<TaskDetail, EngineError> {
    let task = find_task(engine, id).await?;
    let project = project_name(engine, &task);
    let request = request(engine, now);
    let detail = engine
        .store()
        .read(move |tx| detail(tx, &task, &project, &request))
        .await?;
    Ok(detail)
}

fn detail(
    tx: &mut Conn,
    task: &Task,
    project: &str,
    request: &ClaimRequest,
) -> Result<TaskDetail, StoreError> {
    let now = request.now;
    let name = task.work_item_id.as_str();
    let gates = evidence::latest_all(tx, task.id)?
        .into_iter()
        .filter(|e| !e.gate.starts_with(':'));
    let gates = gates.map(|e| GateView {
        gate: e.gate,
        state: e.verdict.state.to_string(),
        reason: e.verdict.reason,
        candidate: e.candidate.to_string(),
        at: e.recorded_at.to_string(),
    });
    let queued = jobs::live_of_task(tx, task.id)?.is_some_and(|j| j.status == JobStatus::Queued);
    let held = if queued { held(tx, request)? } else { Held::new() };
    let pull_request = pull_requests::by_branch(tx, task.project_id, &task.branch)?;
    let mut jobs: Vec<_> = jobs::of_task(tx, task.id)?
        .rows
        .iter()
        .map(|j| with_reason(job_view(j, name), &held))
        .collect();
    let mut runs: Vec<_> = runs::of_task(tx, task.id)?
        .rows
        .iter()
        .map(|r| run_view(r, name, now))
        .collect();
    jobs.sort_by_key(|j| std::cmp::Reverse(j.id));
    runs.sort_by_key(|r| std::cmp::Reverse(r.id));
    Ok(TaskDetail {
        task: task_view(task, project),
        description: task.description.clone(),
        depends_on: tasks::dependencies(tx, task.id)?
            .iter()
            .map(|t| t.work_item_id.to_string())
            .collect(),
        modifies: task.modifies.clone(),
        gates: gates.collect(),
        jobs,
        runs,
        events: events::of_task(tx, task.id)?
            .into_iter()
            .map(|e| event_view(e, name))
            .collect(),
        comments: comments::of_task(tx, task.id)?
            .into_iter()
            .map(|c| CommentView {
                author: c.author,
                body: c.body,
                at: c.created_at.to_string(),
            })
            .collect(),
        pull_request: pull_request.map(|p| format!("#{} {}", p.number, p.state.as_str())),
    })
}

/// The queue with its counts.
///
/// # Errors
/// The database's.
pub async fn queue(engine: &Engine, now: Timestamp) -> Result<QueueView, EngineError> {
    let (max_concurrency, poll_interval) = (
        engine.settings().max_concurrency,
        engine.settings().queue.tick.as_secs(),
    );
    let request = request(engine, now);
    let view = engine
        .store()
        .read(move |tx| {
            let counts = jobs::counts(tx, now)?;
            let mut live = jobs::running(tx, None, 200)?.rows;
            live.extend(jobs::queued(tx, 200)?.rows);
            let held = held(tx, &request)?;
            Ok::<_, StoreError>(QueueView {
                counts: CountsView {
                    queued: counts.queued,
                    running: counts.running,
                    done: counts.done_24h,
                    failed: counts.failed_24h,
                    cancelled: counts.cancelled_24h,
                },
                max_concurrency,
                poll_interval,
                paused: paused(tx)?,
                merges_stopped: stop::views(tx)?,
                live: named(tx, live, &held)?,
                recent: {
                    let recent = jobs::recent(tx, 10)?.rows;
                    named(tx, recent, &held)?
                },
            })
        })
        .await?;
    Ok(view)
}

fn named(tx: &mut Conn, jobs: Vec<Job>, held: &Held) -> Result<Vec<JobView>, StoreError> {
    let mut views = Vec::with_capacity(jobs.len());
    for job in jobs {
        let name = name_of(tx, job.task_id)?;
        views.push(with_reason(job_view(&job, &name), held));
    }
    Ok(views)
}

type Held = BTreeMap<JobId, String>;

fn with_reason(mut view: JobView, held: &Held) -> JobView {
    view.held = held.get(&JobId(view.id)).cloned();
    view
}

/// A job.
///
/// # Errors
/// `NotFound`.
pub async fn job(engine: &Engine, id: i64) -> Result<JobView, EngineError> {
    let found = engine
        .store()
        .read(move |tx| {
            let Some(job) = jobs::by_id(tx, JobId(id))? else {
                return Ok::<_, StoreError>(None);
            };
            let name = name_of(tx, job.task_id)?;
            Ok(Some(job_view(&job, &name)))
        })
        .await?;
    found.ok_or_else(|| EngineError::NotFound {
        what: format!("no job {id}"),
    })
}

/// A run.
///
/// # Errors
/// `NotFound`.
pub async fn run(engine: &Engine, id: i64, now: Timestamp) -> Result<RunView, EngineError> {
    let found = engine
        .store()
        .read(move |tx| {
            let Some(run) = runs::by_id(tx, RunId(id))? else {
                return Ok::<_, StoreError>(None);
            };
            let name = name_of(tx, run.task_id)?;
            Ok(Some(run_view(&run, &name, now)))
        })
        .await?;
    found.ok_or_else(|| EngineError::NotFound {
        what: format!("no run {id}"),
    })
}

/// The runs of a task, newest first.
///
/// # Errors
/// `NotFound`.
pub async fn runs(engine: &Engine, task: &str, now: Timestamp) -> Result<Vec<RunView>, EngineError> {
    let task = find_task(engine, task).await?;
    let listed = engine.store().read(move |tx| runs::of_task(tx, task.id)).await?;
    let name = task.work_item_id.to_string();
    Ok(listed
        .rows
        .iter()
        .rev()
        .map(|r| run_view(r, &name, now))
        .collect())
}

/// Where a run's log is.
///
/// # Errors
/// `NotFound`.
pub async fn run_log(engine: &Engine, run: i64) -> Result<RunLog, EngineError> {
    let found = engine.store().read(move |tx| runs::by_id(tx, RunId(run))).await?;
    let found = found.ok_or_else(|| EngineError::NotFound {
        what: format!("no run {run}"),
    })?;
    engine.check_here(&found)?;
    let claim = crate::domain::job::Claim {
        job: found.job_id,
        epoch: found.claim_epoch,
    };
    let finished = found.step >= RunStep::Exited;
    Ok(RunLog {
        path: process::output_path(&run_dir(engine, claim)),
        finished,
    })
}

/// What happened after event `after`, oldest first.
///
/// # Errors
/// The database's.
pub async fn events(engine: &Engine, after: i64, limit: i64) -> Result<Vec<EventView>, EngineError> {
    let limit = usize::try_from(limit.clamp(1, 1000)).unwrap_or(1000);
    let found = engine
        .store()
        .read(move |tx| {
            let mut views = Vec::new();
            for event in events::after(tx, after, limit)? {
                let name = name_of(tx, event.task_id)?;
                views.push(event_view(event, &name));
            }
            Ok::<_, StoreError>(views)
        })
        .await?;
    Ok(found)
}

/// All projects.
pub fn projects(engine: &Engine) -> Vec<ProjectView> {
    let view = |p: &std::sync::Arc<super::ProjectHandle>| ProjectView {
        name: p.config.name.to_string(),
        prefix: p.config.prefix.clone(),
        repo: p.config.repo.clone(),
        main: p.config.main.to_string(),
        stages: p
            .config
            .pipeline
            .stages()
            .iter()
            .map(|s| s.name.to_string())
            .collect(),
    };
    engine.projects().map(view).collect()
}

/// The task of that name; `project/NAME` where several projects have it.
pub(super) async fn find_task(engine: &Engine, name: &str) -> Result<Task, EngineError> {
    let (project, name) = match name.split_once('/') {
        Some((project, rest)) => (Some(project.to_owned()), rest),
        None => (None, name),
    };
    let id = work_item(name)?;
    let mut found = by_name(engine, id.clone()).await?;
    // People leave the zeros out.
    if let (true, Some(full)) = (found.is_empty(), id.with_zeros()) {
        found = by_name(engine, full).await?;
    }
    if let Some(project) = &project {
        found.retain(|t| project_name(engine, t) == *project);
    }
    match found.len() {
        1 => Ok(found.remove(0)),
        0 => Err(EngineError::NotFound {
            what: format!(
                "no task {name}{}: see `orch task list --all`",
                project.map(|p| format!(" in project {p:?}")).unwrap_or_default()
            ),
        }),
        _ => {
            let names: Vec<_> = found
                .iter()
                .map(|t| format!("{}/{name}", project_name(engine, t)))
                .collect();
            Err(EngineError::Conflict {
                what: format!("{name} exists in several projects: say {}", names.join(" or ")),
            })
        }
    }
}

async fn by_name(engine: &Engine, id: WorkItemId) -> Result<Vec<Task>, EngineError> {
    Ok(engine.store().read(move |tx| tasks::by_name(tx, &id)).await?)
}

fn project_name(engine: &Engine, task: &Task) -> String {
    engine.project_name(task.project_id)
}
