//! What a claim needs to know about a page of jobs beside their rows.

use std::collections::{BTreeMap, BTreeSet};

use diesel::prelude::*;

use super::JobRow;
use super::request::ClaimRequest;
use crate::domain::budget;
use crate::domain::id::{BatchId, ProjectId, TaskId};
use crate::schema::{task_dependencies, tasks};
use crate::store::tasks::Unfinished;
use crate::store::{Conn, StoreError, spend};

/// The batches of those tasks of a page that are in one.
pub(super) fn batches(conn: &mut Conn, tasks_of_page: &[i64]) -> Result<BTreeMap<i64, BatchId>, StoreError> {
    let found: Vec<(i64, String)> = on!(conn, c => tasks::table
        .filter(tasks::id.eq_any(tasks_of_page))
        .filter(tasks::batch.is_not_null())
        .select((tasks::id, tasks::batch.assume_not_null()))
        .load(c))?;
    Ok(found
        .into_iter()
        .map(|(task, batch)| (task, BatchId::trusted(batch)))
        .collect())
}

/// Path lists as stored, and tasks that are waited for.
pub(super) type About = (BTreeMap<i64, String>, BTreeMap<i64, Vec<TaskId>>);

/// Of the tasks of a page: the path lists of those that have one; and for those that depend on others the ones that
/// are not over. A person let it go on without one that was cancelled.
pub(super) fn about(conn: &mut Conn, tasks_of_page: &[i64]) -> Result<About, StoreError> {
    let found: Vec<(i64, String, Option<i64>)> = on!(conn, c => tasks::table
        .left_join(task_dependencies::table.on(task_dependencies::task_id.eq(tasks::id)))
        .filter(tasks::id.eq_any(tasks_of_page))
        .filter(tasks::modifies.ne("[]").or(task_dependencies::depends_on.is_not_null()))
        .select((tasks::id, tasks::modifies, task_dependencies::depends_on.nullable()))
        .load(c))?;
    let mut paths = BTreeMap::new();
    let mut depends = Vec::new();
    for (task, modifies, depends_on) in found {
        depends.extend(depends_on.map(|on| (task, on)));
        if modifies != "[]" {
            paths.insert(task, modifies);
        }
    }
    let mut waits: BTreeMap<i64, Vec<TaskId>> = BTreeMap::new();
    if depends.is_empty() {
        return Ok((paths, waits));
    }
    let waited_for: BTreeSet<i64> = depends.iter().map(|(_, on)| *on).collect();
    let unfinished: Vec<i64> = on!(conn, c => tasks::table
        .filter(tasks::id.eq_any(&waited_for))
        .filter(Unfinished)
        .select(tasks::id)
        .load(c))?;
    for (task, on) in depends {
        if unfinished.contains(&on) {
            waits.entry(task).or_default().push(TaskId(on));
        }
    }
    Ok((paths, waits))
}

/// What projects with a limit for the day may still spend today.
pub(super) fn days_left(
    conn: &mut Conn,
    request: &ClaimRequest,
) -> Result<BTreeMap<ProjectId, i64>, StoreError> {
    let limits = &request.budgets.limits;
    let mut left: BTreeMap<ProjectId, i64> = limits
        .iter()
        .filter_map(|(project, limits)| Some((*project, limits.project_day?)))
        .collect();
    if left.is_empty() {
        return Ok(left);
    }
    let projects: Vec<ProjectId> = left.keys().copied().collect();
    let spent = spend::of_projects(conn, &projects, request.now)?;
    let reserved = spend::reservations(conn, request.budgets.reserve)?;
    let reserved = reserved.into_iter().map(|r| (r.project, r.micro_usd));
    for (project, micro_usd) in spent.into_iter().chain(reserved) {
        if let Some(left) = left.get_mut(&project) {
            *left = left.saturating_sub(micro_usd);
        }
    }
    Ok(left)
}

/// Those tasks of a page that have spent what they may.
pub(super) fn spent_up(
    conn: &mut Conn,
    request: &ClaimRequest,
    page: &[JobRow],
) -> Result<BTreeSet<TaskId>, StoreError> {
    let limit = |project| request.budgets.of(ProjectId(project)).task;
    let limited: Vec<TaskId> = page
        .iter()
        .filter(|row| limit(row.project_id).is_some())
        .map(|row| TaskId(row.task_id))
        .collect();
    if limited.is_empty() {
        return Ok(BTreeSet::new());
    }
    let spent = spend::of_tasks(conn, &limited)?;
    let over = |row: &&JobRow| {
        spent
            .get(&TaskId(row.task_id))
            .is_some_and(|spent| budget::is_used_up(limit(row.project_id), *spent))
    };
    Ok(page.iter().filter(over).map(|row| TaskId(row.task_id)).collect())
}
