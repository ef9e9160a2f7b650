//! The one update of a task's stage, status and version.

use diesel::prelude::*;

use super::TaskRow;
use crate::domain::id::{CodeTree, Sha, StageName, TaskId, TaskVersion};
use crate::domain::task::{Task, TaskStatus};
use crate::domain::time::Timestamp;
use crate::schema::tasks;
use crate::store::decode::guarded;
use crate::store::{Conn, Guarded, StoreError};

/// What changes. `None` leaves a field as it is; `Some(None)` empties it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaskChange {
    /// Enters a stage (even the one it is in): a new visit begins.
    pub enter: Option<StageName>,
    /// How it stands.
    pub status: Option<TaskStatus>,
    /// Why it waits or is blocked.
    pub reason: Option<Option<String>>,
    /// Branch head offered for the next stage.
    pub candidate: Option<Option<Sha>>,
    /// Its tree without artifacts.
    pub code_tree: Option<Option<CodeTree>>,
    /// Evidence packet for the next developer job.
    pub evidence: Option<Option<String>>,
    /// Rollbacks that counted.
    pub developer_retries: Option<i32>,
}

#[derive(AsChangeset)]
#[diesel(table_name = tasks)]
struct Columns<'a> {
    stage: Option<&'a str>,
    stage_entered_at: Option<i64>,
    status: Option<&'a str>,
    finished_at: Option<i64>,
    reason: Option<Option<&'a str>>,
    candidate: Option<Option<&'a str>>,
    code_tree: Option<Option<&'a str>>,
    evidence: Option<Option<&'a str>>,
    developer_retries: Option<i32>,
}

/// Changes a task that still has the expected version and is not over. The version grows with every change.
///
/// # Errors
/// See [`StoreError`].
pub fn compare_and_set(
    conn: &mut Conn,
    id: TaskId,
    expected: TaskVersion,
    change: &TaskChange,
    now: Timestamp,
) -> Result<Guarded<Task>, StoreError> {
    let columns = Columns {
        stage: change.enter.as_ref().map(StageName::as_str),
        stage_entered_at: change.enter.as_ref().map(|_| now.0),
        status: change.status.map(TaskStatus::as_str),
        finished_at: change.status.filter(|s| s.is_terminal()).map(|_| now.0),
        reason: change.reason.as_ref().map(Option::as_deref),
        candidate: change.candidate.as_ref().map(|c| c.as_ref().map(Sha::as_str)),
        code_tree: change
            .code_tree
            .as_ref()
            .map(|c| c.as_ref().map(CodeTree::as_str)),
        evidence: change.evidence.as_ref().map(Option::as_deref),
        developer_retries: change.developer_retries,
    };
    let visits = i64::from(change.enter.is_some());
    let over = [TaskStatus::Done.as_str(), TaskStatus::Cancelled.as_str()];
    let row: Option<TaskRow> = on!(conn, c => diesel::update(tasks::table)
        .filter(tasks::id.eq(id.0))
        .filter(tasks::version.eq(expected.0))
        .filter(tasks::status.ne(over[0]))
        .filter(tasks::status.ne(over[1]))
        .set((
            tasks::version.eq(tasks::version + 1),
            tasks::visit.eq(tasks::visit + visits),
            tasks::updated_at.eq(now.0),
            &columns,
        ))
        .returning(TaskRow::as_returning())
        .get_result(c)
        .optional())?;
    guarded(row)
}

/// Changes the priority of the jobs that a task will have. No part of its version: it says nothing about where it stands.
///
/// # Errors
/// See [`StoreError`].
pub fn reprioritise(conn: &mut Conn, id: TaskId, priority: i32) -> Result<(), StoreError> {
    on!(conn, c => diesel::update(tasks::table)
        .filter(tasks::id.eq(id.0))
        .set(tasks::priority.eq(priority))
        .execute(c))?;
    Ok(())
}
