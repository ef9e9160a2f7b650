//! Holds what agents cost against what they may: before a claim, and when a run was stopped for it.

use serde_json::json;

use crate::domain::budget::{self, Budget, dollars, exceeded, is_used_up, next_day};
use crate::domain::delivery::Channel;
use crate::domain::id::ProjectId;
use crate::domain::job::JobStatus;
use crate::domain::task::Task;
use crate::domain::time::Timestamp;
use crate::store::jobs::Budgets;
use crate::store::outbox::{NewOutbox, OutboxKind};
use crate::store::spend::{self, Reserved, Waiting};
use crate::store::{Conn, StoreError, jobs, outbox, tasks};

use super::transition::{self, Abort, Briefing};
use super::views::{BudgetView, SpentView};
use super::{Engine, EngineError};

/// The limits of the projects that have any.
pub(super) fn budgets(engine: &Engine) -> Budgets {
    Budgets {
        limits: engine
            .projects()
            .filter(|p| p.config.budget.any())
            .map(|p| (p.id, p.config.budget))
            .collect(),
        reserve: engine.settings().budget.reserve,
    }
}

/// What agents cost, held against what they may.
///
/// # Errors
/// The database's.
pub async fn show(engine: &Engine) -> Result<BudgetView, EngineError> {
    let (now, reserve) = (engine.now(), engine.settings().budget.reserve);
    let ids: Vec<ProjectId> = engine.projects().map(|p| p.id).collect();
    let read = engine.store().read(move |tx| {
        let days = spend::of_projects(tx, &ids, now)?;
        let tasks = spend::of_unfinished(tx)?;
        Ok::<_, StoreError>((days, tasks, spend::reservations(tx, reserve)?))
    });
    let (days, tasks, reserved) = read.await?;
    let sum = |of: &dyn Fn(&Reserved) -> bool| reserved.iter().filter(|r| of(r)).map(|r| r.micro_usd).sum();
    let projects = engine.projects().map(|project| SpentView {
        name: project.config.name.to_string(),
        spent_micro_usd: days.get(&project.id).copied().unwrap_or(0),
        reserved_micro_usd: sum(&|r| r.project == project.id),
        limit_micro_usd: project.config.budget.project_day,
    });
    let projects = projects.collect();
    let limit = |id| engine.project(id).ok().and_then(|p| p.config.budget.task);
    let tasks = tasks.into_iter().map(|task| SpentView {
        spent_micro_usd: task.spent,
        reserved_micro_usd: sum(&|r| r.task == task.task),
        limit_micro_usd: limit(task.project),
        name: task.name,
    });
    Ok(BudgetView {
        day: now.to_string().chars().take(10).collect(),
        reserve_micro_usd: reserve,
        projects,
        tasks: tasks.collect(),
    })
}

/// A project whose agents may start nothing more today.
struct Day {
    project: ProjectId,
    spent: i64,
    /// Names the notification about it.
    cause: String,
    told: bool,
}

/// Parks the tasks that wait for an agent and have spent what they may, and tells people of projects that have, once for
/// a day. Answers when the queue has to look again for that. Writes nothing when there is nothing new.
pub(super) async fn enforce(
    engine: &Engine,
    budgets: &Budgets,
    now: Timestamp,
) -> Result<Option<Timestamp>, EngineError> {
    if !budgets.any() {
        return Ok(None);
    }
    let asked = budgets.clone();
    let read = engine.store().read(move |tx| used_up(tx, &asked, now));
    let (waiting, days) = read.await?;
    for waiting in waiting {
        match park(engine, budgets, waiting, now).await {
            // Somebody did something about it, or its rows cannot be read: others are not held up by it.
            Ok(()) | Err(EngineError::Lost | EngineError::Store(StoreError::Broken { .. })) => {}
            Err(e) => return Err(e),
        }
    }
    let next = (!days.is_empty()).then(|| next_day(now));
    for day in days.into_iter().filter(|day| !day.told) {
        let name = engine.project_name(day.project);
        let limit = budgets.of(day.project).project_day.unwrap_or_default();
        tell_day(engine, day, &name, limit, now).await?;
    }
    Ok(next)
}

fn used_up(tx: &mut Conn, budgets: &Budgets, now: Timestamp) -> Result<(Vec<Waiting>, Vec<Day>), StoreError> {
    let least = budgets.limits.values().filter_map(|limits| limits.task).min();
    let mut waiting = match least {
        Some(least) => spend::waiting(tx, least, now)?,
        None => Vec::new(),
    };
    waiting.retain(|w| is_used_up(budgets.of(w.project).task, w.spent));
    let limited = budgets.limits.iter().filter(|(_, l)| l.project_day.is_some());
    let limited: Vec<ProjectId> = limited.map(|(project, _)| *project).collect();
    let mut spent = spend::of_projects(tx, &limited, now)?;
    spent.retain(|project, spent| is_used_up(budgets.of(*project).project_day, *spent));
    if spent.is_empty() {
        return Ok((waiting, Vec::new()));
    }
    let over: Vec<ProjectId> = spent.keys().copied().collect();
    let held = spend::with_work(tx, &over, now)?;
    let cause = |project: &ProjectId| format!("notify:budget:{project}:{}", budget::day_of(now));
    let causes: Vec<String> = held.iter().map(cause).collect();
    let known = outbox::known(tx, &causes)?;
    let days = held.iter().zip(causes).map(|(project, cause)| Day {
        project: *project,
        spent: spent.get(project).copied().unwrap_or_default(),
        told: known.contains(&cause),
        cause,
    });
    Ok((waiting, days.collect()))
}

/// Parks a task whose job waits: job and task in one transaction, told once.
async fn park(
    engine: &Engine,
    budgets: &Budgets,
    waiting: Waiting,
    now: Timestamp,
) -> Result<(), EngineError> {
    let limit = budgets.of(waiting.project).task;
    let parked = engine.store().write(move |tx| {
        let task = tasks::by_id(tx, waiting.task)?.ok_or(Abort::Lost)?;
        let why = spent_up(tx, &task, limit)?.ok_or(Abort::Lost)?;
        let before = jobs::cancel(tx, waiting.job, &why, now)?
            .won()
            .ok_or(Abort::Lost)?;
        if before.status != JobStatus::Queued {
            return Err(Abort::Lost);
        }
        stop(tx, &task, &why, "", now)
    });
    parked.await?;
    engine.committed();
    Ok(())
}

/// Why a task may start nothing more, if so.
pub(super) fn spent_up(tx: &mut Conn, task: &Task, limit: Option<i64>) -> Result<Option<String>, StoreError> {
    let Some(limit) = limit else { return Ok(None) };
    let spent = spend::of_tasks(tx, &[task.id])?
        .get(&task.id)
        .copied()
        .unwrap_or(0);
    Ok(is_used_up(Some(limit), spent).then(|| of_task(spent, limit)))
}

/// Parks a task that has spent what it may: told once.
pub(super) fn stop(tx: &mut Conn, task: &Task, why: &str, kept: &str, now: Timestamp) -> Result<(), Abort> {
    let b = Briefing::line("budget", format!("parked: {why}{kept}"));
    transition::block(tx, now, task, why, &b).map(drop)
}

/// Why a run of the task was stopped, if it was for what it cost.
pub(super) async fn why_stopped(engine: &Engine, task: &Task) -> Result<Option<String>, EngineError> {
    let limits = engine.project(task.project_id)?.config.budget;
    let (id, project, now) = (task.id, task.project_id, engine.now());
    let read = engine.store().read(move |tx| spend::spent(tx, id, project, now));
    let spent = read.await?;
    Ok(exceeded(limits, spent).map(|which| match which {
        Budget::Task => of_task(spent.task, limits.task.unwrap_or_default()),
        Budget::ProjectDay => of_day(spent.project_day, limits.project_day.unwrap_or_default()),
    }))
}

fn of_task(spent: i64, limit: i64) -> String {
    format!(
        "the task has spent {} of {} (budget.task_usd); In Progress lets it spend as much again",
        dollars(spent),
        dollars(limit)
    )
}

fn of_day(spent: i64, limit: i64) -> String {
    format!(
        "the project has spent {} of {} today (budget.project_day_usd); its agents go on after midnight UTC",
        dollars(spent),
        dollars(limit)
    )
}

async fn tell_day(
    engine: &Engine,
    day: Day,
    name: &str,
    limit: i64,
    now: Timestamp,
) -> Result<(), EngineError> {
    let text = format!("{name}: {}", of_day(day.spent, limit));
    let row = NewOutbox {
        task_id: None,
        cause: day.cause,
        kind: OutboxKind::Notification,
        channel: Channel::People,
        payload: json!({ "about": "budget", "text": text }),
        available_at: now,
    };
    engine
        .store()
        .write(move |tx| outbox::push(tx, &row, now))
        .await?;
    engine.committed();
    Ok(())
}
