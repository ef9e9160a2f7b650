//! Revisions that production does not get again: their deploy failed, or was rolled back. Never decides which.

use diesel::prelude::*;
use serde::Serialize;

use super::decode::all;
use super::decode::{Row, maybe};
use super::{Conn, StoreError};
use crate::domain::id::{ProjectId, Sha, TaskId};
use crate::domain::time::Timestamp;
use crate::schema::quarantine;

/// A revision that is not deployed again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Quarantined {
    /// Its project.
    pub project_id: ProjectId,
    /// The revision.
    pub revision: Sha,
    /// The task that brought it.
    pub task_id: TaskId,
    /// One line.
    pub reason: String,
    /// Since when.
    pub created_at: Timestamp,
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = quarantine)]
struct Columns {
    project_id: i64,
    revision: String,
    task_id: i64,
    reason: String,
    created_at: i64,
}

impl Row for Columns {
    type Domain = Quarantined;

    fn id(&self) -> i64 {
        self.project_id
    }

    fn decode(self) -> Result<Quarantined, StoreError> {
        Ok(Quarantined {
            project_id: ProjectId(self.project_id),
            revision: Sha::trusted(self.revision),
            task_id: TaskId(self.task_id),
            reason: self.reason,
            created_at: Timestamp(self.created_at),
        })
    }
}

/// Quarantines a revision; the first reason stays.
///
/// # Errors
/// See [`StoreError`].
pub fn put(conn: &mut Conn, new: &Quarantined) -> Result<(), StoreError> {
    on!(conn, c => diesel::insert_into(quarantine::table)
        .values((
            quarantine::project_id.eq(new.project_id.0),
            quarantine::revision.eq(new.revision.as_str()),
            quarantine::task_id.eq(new.task_id.0),
            quarantine::reason.eq(&new.reason),
            quarantine::created_at.eq(new.created_at.0),
        ))
        .on_conflict((quarantine::project_id, quarantine::revision))
        .do_nothing()
        .execute(c))?;
    Ok(())
}

/// The quarantine of a revision, if it is in one.
///
/// # Errors
/// See [`StoreError`].
pub fn of(conn: &mut Conn, project: ProjectId, revision: &Sha) -> Result<Option<Quarantined>, StoreError> {
    maybe(on!(conn, c => quarantine::table
        .filter(quarantine::project_id.eq(project.0))
        .filter(quarantine::revision.eq(revision.as_str()))
        .select(Columns::as_select())
        .first(c)
        .optional())?)
}

/// All of a project, newest first.
///
/// # Errors
/// See [`StoreError`].
pub fn of_project(conn: &mut Conn, project: ProjectId) -> Result<Vec<Quarantined>, StoreError> {
    all(on!(conn, c => quarantine::table
        .filter(quarantine::project_id.eq(project.0))
        .order(quarantine::created_at.desc())
        .select(Columns::as_select())
        .load(c))?)
}

/// Lets a revision go; true when it was in quarantine.
///
/// # Errors
/// See [`StoreError`].
pub fn release(conn: &mut Conn, project: ProjectId, revision: &Sha) -> Result<bool, StoreError> {
    let released = on!(conn, c => diesel::delete(quarantine::table)
        .filter(quarantine::project_id.eq(project.0))
        .filter(quarantine::revision.eq(revision.as_str()))
        .execute(c))?;
    Ok(released > 0)
}
