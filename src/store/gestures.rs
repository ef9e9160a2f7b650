//! The gestures of people and what they did. Rows are added, never changed.

use diesel::prelude::*;
use serde::Serialize;

use super::decode::{Cell, Row, all, maybe};
use super::{Conn, StoreError};
use crate::domain::id::{Sha, StageName, TaskId, Visit};
use crate::domain::task::Gesture;
use crate::domain::time::Timestamp;
use crate::schema::gestures;

/// A gesture as stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GestureRow {
    /// Row.
    pub id: i64,
    /// The task it was about.
    pub task_id: TaskId,
    /// What was done.
    pub gesture: Gesture,
    /// Who did it.
    pub person: String,
    /// What they wrote with it.
    pub comment: Option<String>,
    /// The stage the task was in.
    pub stage: StageName,
    /// The visit of that stage.
    pub visit: Visit,
    /// The candidate it was about.
    pub candidate: Option<Sha>,
    /// What it did, in one line ("ignored: …" for a no-op).
    pub effect: String,
    /// When.
    pub at: Timestamp,
}

/// A gesture to be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewGesture {
    /// The task it is about.
    pub task_id: TaskId,
    /// What was done.
    pub gesture: Gesture,
    /// Who did it.
    pub person: String,
    /// What they wrote with it.
    pub comment: Option<String>,
    /// The stage the task is in.
    pub stage: StageName,
    /// The visit of that stage.
    pub visit: Visit,
    /// The candidate it is about.
    pub candidate: Option<Sha>,
    /// What it does, in one line.
    pub effect: String,
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = gestures)]
struct Columns {
    id: i64,
    task_id: i64,
    gesture: String,
    person: String,
    comment: Option<String>,
    stage: String,
    visit: i64,
    candidate: Option<String>,
    effect: String,
    at: i64,
}

impl Row for Columns {
    type Domain = GestureRow;

    fn id(&self) -> i64 {
        self.id
    }

    fn decode(self) -> Result<GestureRow, StoreError> {
        let gesture = Cell {
            table: "gesture",
            id: &self.id,
            column: "gesture",
        }
        .word(&self.gesture, Gesture::parse)?;
        Ok(GestureRow {
            id: self.id,
            task_id: TaskId(self.task_id),
            gesture,
            person: self.person,
            comment: self.comment,
            stage: StageName::trusted(self.stage),
            visit: Visit(self.visit),
            candidate: self.candidate.map(Sha::trusted),
            effect: self.effect,
            at: Timestamp(self.at),
        })
    }
}

/// Keeps a gesture.
///
/// # Errors
/// See [`StoreError`].
pub fn record(conn: &mut Conn, new: &NewGesture, now: Timestamp) -> Result<GestureRow, StoreError> {
    let row: Columns = on!(conn, c => diesel::insert_into(gestures::table)
        .values((
            gestures::task_id.eq(new.task_id.0),
            gestures::gesture.eq(new.gesture.as_str()),
            gestures::person.eq(&new.person),
            gestures::comment.eq(new.comment.as_deref()),
            gestures::stage.eq(new.stage.as_str()),
            gestures::visit.eq(new.visit.0),
            gestures::candidate.eq(new.candidate.as_ref().map(Sha::as_str)),
            gestures::effect.eq(&new.effect),
            gestures::at.eq(now.0),
        ))
        .returning(Columns::as_returning())
        .get_result(c))?;
    row.decode()
}

/// The approval of a visit, unless it was rejected afterwards.
///
/// # Errors
/// [`StoreError::Broken`] when it cannot be read.
pub fn approved(conn: &mut Conn, task: TaskId, visit: Visit) -> Result<Option<GestureRow>, StoreError> {
    let decisions = [Gesture::Approved.as_str(), Gesture::Rejected.as_str()];
    let last = maybe(on!(conn, c => gestures::table
        .filter(gestures::task_id.eq(task.0))
        .filter(gestures::visit.eq(visit.0))
        .filter(gestures::gesture.eq_any(decisions))
        .order(gestures::id.desc())
        .select(Columns::as_select())
        .first(c)
        .optional())?)?;
    Ok(last.filter(|row| row.gesture == Gesture::Approved))
}

/// When a person last let the task begin or go on; the beginning of time where none did.
///
/// # Errors
/// See [`StoreError`].
pub fn last_start(conn: &mut Conn, task: TaskId) -> Result<Timestamp, StoreError> {
    let at: Option<i64> = on!(conn, c => gestures::table
        .filter(gestures::task_id.eq(task.0))
        .filter(gestures::gesture.eq(Gesture::InProgress.as_str()))
        .filter(gestures::effect.eq("applied"))
        .select(diesel::dsl::max(gestures::at))
        .first(c))?;
    Ok(Timestamp(at.unwrap_or(0)))
}

/// The last gesture that came with a comment.
///
/// # Errors
/// [`StoreError::Broken`] when it cannot be read.
pub fn latest_comment(conn: &mut Conn, task: TaskId) -> Result<Option<GestureRow>, StoreError> {
    maybe(on!(conn, c => gestures::table
        .filter(gestures::task_id.eq(task.0))
        .filter(gestures::comment.is_not_null())
        .order(gestures::id.desc())
        .select(Columns::as_select())
        .first(c)
        .optional())?)
}

/// All gestures about a task, oldest first.
///
/// # Errors
/// [`StoreError::Broken`] when one cannot be read.
pub fn of_task(conn: &mut Conn, task: TaskId) -> Result<Vec<GestureRow>, StoreError> {
    all(on!(conn, c => gestures::table
        .filter(gestures::task_id.eq(task.0))
        .order(gestures::id)
        .select(Columns::as_select())
        .load(c))?)
}
