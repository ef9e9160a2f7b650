//! Which states of a task's issue are still to be written.

use diesel::prelude::*;

use super::{OutboxId, OutboxKind, Pending};
use crate::domain::id::TaskId;
use crate::schema::outbox;
use crate::store::{Conn, StoreError};

/// Whether a state of the task is still to be written.
///
/// # Errors
/// See [`StoreError`].
pub fn has_state(conn: &mut Conn, task: TaskId) -> Result<bool, StoreError> {
    has_state_after(conn, task, OutboxId(0))
}

/// Whether a later state of the task is still to be written than that of this notice.
///
/// # Errors
/// See [`StoreError`].
pub fn has_state_after(conn: &mut Conn, task: TaskId, notice: OutboxId) -> Result<bool, StoreError> {
    let found: Option<i64> = on!(conn, c => outbox::table
        .filter(Pending)
        .filter(outbox::task_id.eq(task.0))
        .filter(outbox::kind.eq(OutboxKind::State.as_str()))
        .filter(outbox::id.gt(notice.0))
        .select(outbox::id)
        .first(c)
        .optional())?;
    Ok(found.is_some())
}
