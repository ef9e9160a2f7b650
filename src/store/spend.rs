//! What runs cost, summed by task, and by project and day. Never decides what is too much.

use std::collections::BTreeMap;

use diesel::prelude::*;

use super::jobs::{Queued, Running};
use super::tasks::Unfinished;
use super::{Conn, Guarded, StoreError};
use crate::domain::budget::{self, Spent, day_of};
use crate::domain::id::{JobId, ProjectId, RunId, TaskId};
use crate::domain::job::JobKind;
use crate::domain::run::RunStep;
use crate::domain::time::Timestamp;
use crate::schema::{jobs, project_spend, runs, task_spend, tasks};

/// What of a run is counted by now: `micro_usd` in place of what was counted of it before. Lost: the run is gone, or
/// somebody else counts it at this moment.
///
/// # Errors
/// See [`StoreError`].
pub fn charge(
    conn: &mut Conn,
    run: RunId,
    micro_usd: i64,
    now: Timestamp,
) -> Result<Guarded<()>, StoreError> {
    match counted(conn, run)? {
        Some(before) => replace(conn, run, before, micro_usd, now),
        None => Ok(Guarded::Lost),
    }
}

/// A run is over, and nobody will learn what it cost: what is counted of it stays, and where nothing is, `micro_usd`
/// counts.
///
/// # Errors
/// See [`StoreError`].
pub fn assume(
    conn: &mut Conn,
    run: RunId,
    micro_usd: i64,
    now: Timestamp,
) -> Result<Guarded<()>, StoreError> {
    match counted(conn, run)? {
        Some(before) if before.0 == 0 => replace(conn, run, before, micro_usd, now),
        Some(_) => Ok(Guarded::Won(())),
        None => Ok(Guarded::Lost),
    }
}

/// What is counted of a run, its task and its project.
type Counted = (i64, i64, i64);

fn counted(conn: &mut Conn, run: RunId) -> Result<Option<Counted>, StoreError> {
    Ok(on!(conn, c => runs::table
        .inner_join(tasks::table.on(tasks::id.eq(runs::task_id)))
        .filter(runs::id.eq(run.0))
        .select((runs::charged_micro_usd, runs::task_id, tasks::project_id))
        .first(c)
        .optional())?)
}

fn replace(
    conn: &mut Conn,
    run: RunId,
    (before, task, project): Counted,
    micro_usd: i64,
    now: Timestamp,
) -> Result<Guarded<()>, StoreError> {
    let more = micro_usd - before;
    if more == 0 {
        return Ok(Guarded::Won(()));
    }
    let changed = on!(&mut *conn, c => diesel::update(runs::table)
        .filter(runs::id.eq(run.0))
        .filter(runs::charged_micro_usd.eq(before))
        .set(runs::charged_micro_usd.eq(micro_usd))
        .execute(c))?;
    if changed == 0 {
        return Ok(Guarded::Lost);
    }
    on!(&mut *conn, c => diesel::insert_into(project_spend::table)
        .values((
            project_spend::project_id.eq(project),
            project_spend::day.eq(day_of(now)),
            project_spend::micro_usd.eq(more),
        ))
        .on_conflict((project_spend::project_id, project_spend::day))
        .do_update()
        .set(project_spend::micro_usd.eq(project_spend::micro_usd + more))
        .execute(c))?;
    on!(conn, c => diesel::insert_into(task_spend::table)
        .values((
            task_spend::task_id.eq(task),
            task_spend::micro_usd.eq(more),
        ))
        .on_conflict(task_spend::task_id)
        .do_update()
        .set(task_spend::micro_usd.eq(task_spend::micro_usd + more))
        .execute(c))?;
    Ok(Guarded::Won(()))
}

/// A person lets a task go on: its limit counts from what it has spent by now.
///
/// # Errors
/// See [`StoreError`].
pub fn let_go_on(conn: &mut Conn, task: TaskId) -> Result<(), StoreError> {
    on!(conn, c => diesel::update(task_spend::table.find(task.0))
        .set(task_spend::let_go_at.eq(task_spend::micro_usd))
        .execute(c))?;
    Ok(())
}

/// What counts against the limits of a task and of its project today.
///
/// # Errors
/// See [`StoreError`].
pub fn spent(conn: &mut Conn, task: TaskId, project: ProjectId, now: Timestamp) -> Result<Spent, StoreError> {
    let of_task = of_tasks(conn, &[task])?;
    let of_project = of_projects(conn, &[project], now)?;
    Ok(Spent {
        task: of_task.get(&task).copied().unwrap_or(0),
        project_day: of_project.get(&project).copied().unwrap_or(0),
    })
}

/// What projects have spent today; one that has spent nothing is absent.
///
/// # Errors
/// See [`StoreError`].
pub fn of_projects(
    conn: &mut Conn,
    projects: &[ProjectId],
    now: Timestamp,
) -> Result<BTreeMap<ProjectId, i64>, StoreError> {
    let ids: Vec<i64> = projects.iter().map(|id| id.0).collect();
    let found: Vec<(i64, i64)> = on!(conn, c => project_spend::table
        .filter(project_spend::project_id.eq_any(&ids))
        .filter(project_spend::day.eq(day_of(now)))
        .select((project_spend::project_id, project_spend::micro_usd))
        .load(c))?;
    Ok(found.into_iter().map(|(id, usd)| (ProjectId(id), usd)).collect())
}

/// What counts against the limits of tasks; one that has spent nothing is absent.
///
/// # Errors
/// See [`StoreError`].
pub fn of_tasks(conn: &mut Conn, tasks: &[TaskId]) -> Result<BTreeMap<TaskId, i64>, StoreError> {
    let ids: Vec<i64> = tasks.iter().map(|id| id.0).collect();
    let found: Vec<(i64, i64)> = on!(conn, c => task_spend::table
        .filter(task_spend::task_id.eq_any(&ids))
        .select((task_spend::task_id, task_spend::micro_usd - task_spend::let_go_at))
        .load(c))?;
    Ok(found.into_iter().map(|(id, usd)| (TaskId(id), usd)).collect())
}

/// What is reserved for an agent that runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reserved {
    /// Its task.
    pub task: TaskId,
    /// That task's project.
    pub project: ProjectId,
    /// Micro-USD, beyond what is counted of its run.
    pub micro_usd: i64,
}

/// What is reserved for the agents that run, where each is assumed to cost `reserve`. A run whose exit is recorded has
/// told what it cost.
///
/// # Errors
/// See [`StoreError`].
pub fn reservations(conn: &mut Conn, reserve: i64) -> Result<Vec<Reserved>, StoreError> {
    type Row = (i64, i64, Option<String>, Option<i64>);
    let found: Vec<Row> = on!(conn, c => jobs::table
        .left_join(runs::table.on(runs::job_id.eq(jobs::id).and(runs::claim_epoch.eq(jobs::claim_epoch))))
        .filter(Running)
        .filter(jobs::kind.eq(JobKind::Agent.as_str()))
        .select((jobs::task_id, jobs::project_id, runs::step.nullable(), runs::charged_micro_usd.nullable()))
        .load(c))?;
    let at_work = |step: &Option<String>| {
        step.as_deref()
            .and_then(RunStep::parse)
            .is_none_or(|step| step < RunStep::Exited)
    };
    Ok(found
        .into_iter()
        .filter(|(_, _, step, _)| at_work(step))
        .map(|(task, project, _, charged)| Reserved {
            task: TaskId(task),
            project: ProjectId(project),
            micro_usd: budget::reserved(reserve, charged.unwrap_or(0)),
        })
        .collect())
}

/// An agent job that waits, and what counts against the limit of its task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// The job.
    pub job: JobId,
    /// Its task.
    pub task: TaskId,
    /// That task's project.
    pub project: ProjectId,
    /// Micro-USD.
    pub spent: i64,
}

/// Agent jobs that are available, of tasks that have spent at least so much.
///
/// # Errors
/// See [`StoreError`].
pub fn waiting(conn: &mut Conn, at_least: i64, now: Timestamp) -> Result<Vec<Waiting>, StoreError> {
    let found: Vec<(i64, i64, i64, i64)> = on!(conn, c => jobs::table
        .inner_join(task_spend::table.on(task_spend::task_id.eq(jobs::task_id)))
        .filter(Queued)
        .filter(jobs::kind.eq(JobKind::Agent.as_str()))
        .filter(jobs::available_at.le(now.0))
        .filter((task_spend::micro_usd - task_spend::let_go_at).ge(at_least))
        .select((jobs::id, jobs::task_id, jobs::project_id, task_spend::micro_usd - task_spend::let_go_at))
        .load(c))?;
    Ok(found
        .into_iter()
        .map(|(job, task, project, spent)| Waiting {
            job: JobId(job),
            task: TaskId(task),
            project: ProjectId(project),
            spent,
        })
        .collect())
}

/// Those of the projects of which an agent job is available.
///
/// # Errors
/// See [`StoreError`].
pub fn with_work(
    conn: &mut Conn,
    projects: &[ProjectId],
    now: Timestamp,
) -> Result<Vec<ProjectId>, StoreError> {
    let ids: Vec<i64> = projects.iter().map(|id| id.0).collect();
    let found: Vec<i64> = on!(conn, c => jobs::table
        .filter(Queued)
        .filter(jobs::kind.eq(JobKind::Agent.as_str()))
        .filter(jobs::available_at.le(now.0))
        .filter(jobs::project_id.eq_any(&ids))
        .select(jobs::project_id)
        .distinct()
        .load(c))?;
    Ok(found.into_iter().map(ProjectId).collect())
}

/// A task that is not over, and what it has spent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OfTask {
    /// The task.
    pub task: TaskId,
    /// Its name for people.
    pub name: String,
    /// Its project.
    pub project: ProjectId,
    /// What counts against its limit, micro-USD.
    pub spent: i64,
}

/// What the tasks that are not over have spent; one that has spent nothing is absent.
///
/// # Errors
/// See [`StoreError`].
pub fn of_unfinished(conn: &mut Conn) -> Result<Vec<OfTask>, StoreError> {
    let found: Vec<(i64, String, i64, i64)> = on!(conn, c => tasks::table
        .inner_join(task_spend::table.on(task_spend::task_id.eq(tasks::id)))
        .filter(Unfinished)
        .order(tasks::id)
        .select((tasks::id, tasks::work_item_id, tasks::project_id, task_spend::micro_usd - task_spend::let_go_at))
        .load(c))?;
    Ok(found
        .into_iter()
        .map(|(task, name, project, spent)| OfTask {
            task: TaskId(task),
            name,
            project: ProjectId(project),
            spent,
        })
        .collect())
}
