//! Projects: their names, and the numbers of their tasks. Never holds a project's settings.

use diesel::prelude::*;
use diesel::upsert::excluded;
use serde::Serialize;

use super::{Conn, StoreError};
use crate::domain::id::{ProjectId, ProjectName};
use crate::domain::time::Timestamp;
use crate::schema::projects;

/// A project as stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ProjectRow {
    /// Identity.
    pub id: ProjectId,
    /// Its name.
    pub name: ProjectName,
    /// What its tasks' names begin with.
    pub prefix: String,
}

type Columns = (i64, String, String);

fn decode((id, name, prefix): Columns) -> ProjectRow {
    ProjectRow {
        id: ProjectId(id),
        name: ProjectName::trusted(name),
        prefix,
    }
}

/// The project of that name, created if need be. A changed prefix is taken over.
///
/// # Errors
/// See [`StoreError`].
pub fn ensure(
    conn: &mut Conn,
    name: &ProjectName,
    prefix: &str,
    now: Timestamp,
) -> Result<ProjectRow, StoreError> {
    let row: Columns = on!(conn, c => diesel::insert_into(projects::table)
        .values((
            projects::name.eq(name.as_str()),
            projects::prefix.eq(prefix),
            projects::created_at.eq(now.0),
        ))
        .on_conflict(projects::name)
        .do_update()
        .set(projects::prefix.eq(excluded(projects::prefix)))
        .returning((projects::id, projects::name, projects::prefix))
        .get_result(c))?;
    Ok(decode(row))
}

/// The next number for a task of the project; each is given once.
///
/// # Errors
/// See [`StoreError`].
pub fn take_number(conn: &mut Conn, id: ProjectId) -> Result<i64, StoreError> {
    let next: i64 = on!(conn, c => diesel::update(projects::table.find(id.0))
        .set(projects::next_number.eq(projects::next_number + 1))
        .returning(projects::next_number)
        .get_result(c))?;
    Ok(next - 1)
}

/// All projects, by id.
///
/// # Errors
/// See [`StoreError`].
pub fn all(conn: &mut Conn) -> Result<Vec<ProjectRow>, StoreError> {
    let rows: Vec<Columns> = on!(conn, c => projects::table
        .select((projects::id, projects::name, projects::prefix))
        .order(projects::id)
        .load(c))?;
    Ok(rows.into_iter().map(decode).collect())
}
