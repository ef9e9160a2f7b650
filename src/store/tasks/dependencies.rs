//! Which task waits for which. Within one project, never in a circle.

use std::collections::BTreeSet;

use diesel::prelude::*;

use super::TaskRow;
use crate::domain::id::TaskId;
use crate::domain::task::Task;
use crate::schema::{task_dependencies, tasks};
use crate::store::conn::Serial;
use crate::store::decode::all;
use crate::store::{Conn, StoreError};

/// What became of a wish for a dependency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a refused dependency does not exist"]
pub enum AddDependency {
    /// Added, or known already.
    Added,
    /// Refused: one of the tasks does not exist, or they belong to different projects.
    OtherProject,
    /// Refused: the tasks would wait for each other for ever.
    Circle,
}

/// Makes `task` wait until `depends_on` is done.
///
/// # Errors
/// See [`StoreError`].
pub fn add_dependency(
    conn: &mut Conn,
    task: TaskId,
    depends_on: TaskId,
) -> Result<AddDependency, StoreError> {
    conn.serialize_on(Serial::Dependency)?;
    let projects: Vec<i64> = on!(conn, c => tasks::table
        .filter(tasks::id.eq(task.0).or(tasks::id.eq(depends_on.0)))
        .select(tasks::project_id)
        .load(c))?;
    if task == depends_on || reaches(conn, depends_on, task)? {
        return Ok(AddDependency::Circle);
    }
    if projects.len() != 2 || projects.first() != projects.last() {
        return Ok(AddDependency::OtherProject);
    }
    on!(conn, c => diesel::insert_into(task_dependencies::table)
        .values((
            task_dependencies::task_id.eq(task.0),
            task_dependencies::depends_on.eq(depends_on.0),
        ))
        .on_conflict_do_nothing()
        .execute(c))?;
    Ok(AddDependency::Added)
}

/// Whether `from` waits for `to`, directly or through others.
fn reaches(conn: &mut Conn, from: TaskId, to: TaskId) -> Result<bool, StoreError> {
    let mut seen = BTreeSet::from([from.0]);
    let mut edge = vec![from.0];
    while let Some(task) = edge.pop() {
        if task == to.0 {
            return Ok(true);
        }
        let next: Vec<i64> = on!(conn, c => task_dependencies::table
            .filter(task_dependencies::task_id.eq(task))
            .select(task_dependencies::depends_on)
            .load(c))?;
        edge.extend(next.into_iter().filter(|id| seen.insert(*id)));
    }
    Ok(false)
}

/// The tasks that wait for this one, whatever became of them.
///
/// # Errors
/// [`StoreError::Broken`] when one cannot be read.
pub fn dependants(conn: &mut Conn, task: TaskId) -> Result<Vec<Task>, StoreError> {
    all(on!(conn, c => task_dependencies::table
        .inner_join(tasks::table.on(tasks::id.eq(task_dependencies::task_id)))
        .filter(task_dependencies::depends_on.eq(task.0))
        .order(tasks::id)
        .select(TaskRow::as_select())
        .load(c))?)
}

/// The tasks that this one waits for, done or not.
///
/// # Errors
/// [`StoreError::Broken`] when one cannot be read.
pub fn dependencies(conn: &mut Conn, task: TaskId) -> Result<Vec<Task>, StoreError> {
    all(on!(conn, c => task_dependencies::table
        .inner_join(tasks::table.on(tasks::id.eq(task_dependencies::depends_on)))
        .filter(task_dependencies::task_id.eq(task.0))
        .order(tasks::id)
        .select(TaskRow::as_select())
        .load(c))?)
}
