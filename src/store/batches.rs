//! Batches: which tasks were submitted together. Never looks at how they fare.

use diesel::prelude::*;

use super::decode::{Cell, all};
use super::tasks::TaskRow;
use super::{Conn, StoreError};
use crate::domain::batch::BatchMode;
use crate::domain::id::{BatchId, ProjectId, TaskId};
use crate::domain::task::Task;
use crate::domain::time::Timestamp;
use crate::schema::{batches, tasks};

/// A batch as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Its name, unique among all projects.
    pub id: BatchId,
    /// Its project.
    pub project: ProjectId,
    /// How its tasks are worked.
    pub mode: BatchMode,
    /// When it was submitted.
    pub created_at: Timestamp,
    /// A digest of what was submitted.
    pub content: String,
}

/// Writes a batch. False: there is one of that name, which stays as it is.
///
/// # Errors
/// See [`StoreError`].
pub fn insert(conn: &mut Conn, new: &Batch) -> Result<bool, StoreError> {
    let written = on!(conn, c => diesel::insert_into(batches::table)
        .values((
            batches::id.eq(new.id.as_str()),
            batches::project_id.eq(new.project.0),
            batches::mode.eq(new.mode.as_str()),
            batches::created_at.eq(new.created_at.0),
            batches::content.eq(&new.content),
        ))
        .on_conflict(batches::id)
        .do_nothing()
        .execute(c))?;
    Ok(written > 0)
}

/// Makes a task a member. It is one for good.
///
/// # Errors
/// See [`StoreError`].
pub fn join(conn: &mut Conn, batch: &BatchId, task: TaskId) -> Result<(), StoreError> {
    on!(conn, c => diesel::update(tasks::table.find(task.0))
        .set(tasks::batch.eq(batch.as_str()))
        .execute(c))?;
    Ok(())
}

/// The batch of that name.
///
/// # Errors
/// [`StoreError::Broken`] when it cannot be read.
pub fn by_id(conn: &mut Conn, id: &BatchId) -> Result<Option<Batch>, StoreError> {
    let found: Option<(String, i64, String, i64, String)> = on!(conn, c => batches::table
        .find(id.as_str())
        .first(c)
        .optional())?;
    let Some((id, project, mode, created_at, content)) = found else {
        return Ok(None);
    };
    let cell = Cell {
        table: "batch",
        id: &id,
        column: "mode",
    };
    Ok(Some(Batch {
        mode: cell.word(&mode, BatchMode::parse)?,
        id: BatchId::trusted(id),
        project: ProjectId(project),
        created_at: Timestamp(created_at),
        content,
    }))
}

/// The tasks of a batch, in the order in which they were given.
///
/// # Errors
/// [`StoreError::Broken`] when one cannot be read.
pub fn members(conn: &mut Conn, batch: &BatchId) -> Result<Vec<Task>, StoreError> {
    all(on!(conn, c => tasks::table
        .filter(tasks::batch.eq(batch.as_str()))
        .order(tasks::id)
        .select(TaskRow::as_select())
        .load(c))?)
}
