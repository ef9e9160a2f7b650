//! What happened to tasks, for people: one line each. Nothing is ever decided from them.

use diesel::prelude::*;
use serde::Serialize;

use super::decode::rows;
use super::{Conn, StoreError, news};
use crate::domain::id::{StageName, TaskId};
use crate::domain::time::Timestamp;
use crate::schema::events;

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Event {
    /// Row; grows.
    pub id: i64,
    /// When.
    pub at: Timestamp,
    /// To which task.
    pub task_id: TaskId,
    /// What sort of thing: "stage", "job", "gate", "gesture" …
    pub kind: String,
    /// The stage it happened in.
    pub stage: StageName,
    /// One line.
    pub text: String,
}

/// Something to be told.
#[derive(Clone, Copy, Debug)]
pub struct NewEvent<'a> {
    /// To which task it happened.
    pub task_id: TaskId,
    /// The stage it happened in.
    pub stage: &'a StageName,
    /// What sort of thing.
    pub kind: &'a str,
    /// One line.
    pub text: &'a str,
}

type Columns = (i64, i64, i64, String, String, String);

fn decode((id, at, task_id, kind, stage, text): Columns) -> Event {
    Event {
        id,
        at: Timestamp(at),
        task_id: TaskId(task_id),
        kind,
        stage: StageName::trusted(stage),
        text,
    }
}

/// Tells that something happened.
///
/// # Errors
/// See [`StoreError`].
pub fn push(conn: &mut Conn, new: NewEvent<'_>, now: Timestamp) -> Result<(), StoreError> {
    on!(conn, c => diesel::insert_into(events::table)
        .values((
            events::at.eq(now.0),
            events::task_id.eq(new.task_id.0),
            events::kind.eq(new.kind),
            events::stage.eq(new.stage.as_str()),
            events::text.eq(new.text),
        ))
        .execute(c))?;
    news::tell(conn)
}

/// What happened after that row, oldest first.
///
/// # Errors
/// See [`StoreError`].
pub fn after(conn: &mut Conn, id: i64, limit: usize) -> Result<Vec<Event>, StoreError> {
    let found: Vec<Columns> = on!(conn, c => events::table
        .filter(events::id.gt(id))
        .order(events::id)
        .limit(rows(limit))
        .load(c))?;
    Ok(found.into_iter().map(decode).collect())
}

/// What happened to a task, oldest first.
///
/// # Errors
/// See [`StoreError`].
pub fn of_task(conn: &mut Conn, task: TaskId) -> Result<Vec<Event>, StoreError> {
    let found: Vec<Columns> = on!(conn, c => events::table
        .filter(events::task_id.eq(task.0))
        .order(events::id)
        .load(c))?;
    Ok(found.into_iter().map(decode).collect())
}
