//! The built-in tracker's comments. One per external id, however often it is delivered.

use diesel::prelude::*;
use serde::Serialize;

use super::{Conn, StoreError};
use crate::domain::id::TaskId;
use crate::domain::time::Timestamp;
use crate::schema::comments;

/// A comment as stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Comment {
    /// Row.
    pub id: i64,
    /// Its task.
    pub task_id: TaskId,
    /// The key of its delivery.
    pub external_id: String,
    /// Who wrote it.
    pub author: String,
    /// What they wrote.
    pub body: String,
    /// When.
    pub created_at: Timestamp,
}

/// A comment to be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewComment {
    /// Its task.
    pub task_id: TaskId,
    /// The key of its delivery.
    pub external_id: String,
    /// Who writes it.
    pub author: String,
    /// What they write.
    pub body: String,
}

/// What became of a comment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// It was added.
    New,
    /// It was there already.
    Known,
}

type Columns = (i64, i64, String, String, String, i64);

/// Keeps a comment, once per external id.
///
/// # Errors
/// See [`StoreError`].
pub fn insert(conn: &mut Conn, new: &NewComment, now: Timestamp) -> Result<Written, StoreError> {
    let added = on!(conn, c => diesel::insert_into(comments::table)
        .values((
            comments::task_id.eq(new.task_id.0),
            comments::external_id.eq(&new.external_id),
            comments::author.eq(&new.author),
            comments::body.eq(&new.body),
            comments::created_at.eq(now.0),
        ))
        .on_conflict(comments::external_id)
        .do_nothing()
        .execute(c))?;
    Ok(if added == 1 { Written::New } else { Written::Known })
}

/// The comments on a task, oldest first.
///
/// # Errors
/// See [`StoreError`].
pub fn of_task(conn: &mut Conn, task: TaskId) -> Result<Vec<Comment>, StoreError> {
    let found: Vec<Columns> = on!(conn, c => comments::table
        .filter(comments::task_id.eq(task.0))
        .order(comments::id)
        .load(c))?;
    Ok(found
        .into_iter()
        .map(|(id, task_id, external_id, author, body, created_at)| Comment {
            id,
            task_id: TaskId(task_id),
            external_id,
            author,
            body,
            created_at: Timestamp(created_at),
        })
        .collect())
}
