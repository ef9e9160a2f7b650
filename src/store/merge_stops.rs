//! Repositories into which nobody merges until a person has looked: main was found to have something else than what was
//! tested. Outlives every service; never decides what is a mismatch.

use diesel::prelude::*;
use serde::{Deserialize, Serialize};

use super::decode::to_json;
use super::{Conn, Guarded, StoreError, flags};
use crate::domain::id::TaskId;
use crate::domain::time::Timestamp;
use crate::schema::settings_state;

/// Before the repository, in the key. Without `%` and `_`, which mean something to LIKE.
const PREFIX: &str = "merges-stopped:";

/// Why nobody merges into a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MergeStop {
    /// The repository.
    pub repo: String,
    /// What was found.
    pub why: String,
    /// The task whose merge it was; none where the row cannot be read.
    pub task: Option<TaskId>,
    /// When it was found; none where the row cannot be read.
    pub at: Option<Timestamp>,
}

#[derive(Serialize, Deserialize)]
struct Kept {
    why: String,
    task: i64,
    at: i64,
}

fn key(repo: &str) -> String {
    format!("{PREFIX}{repo}")
}

/// A row that cannot be read stops as well: only a person says that it may go on.
fn decode(repo: &str, value: &str) -> MergeStop {
    let repo = repo.to_owned();
    match serde_json::from_str::<Kept>(value) {
        Ok(kept) => MergeStop {
            repo,
            why: kept.why,
            task: Some(TaskId(kept.task)),
            at: Some(Timestamp(kept.at)),
        },
        Err(e) => MergeStop {
            repo,
            why: format!("the row that says why cannot be read: {e}"),
            task: None,
            at: None,
        },
    }
}

/// Stops the merges into a repository. What stops them already stands.
///
/// # Errors
/// See [`StoreError`].
pub fn place(
    conn: &mut Conn,
    (repo, task): (&str, TaskId),
    why: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    let kept = Kept {
        why: why.to_owned(),
        task: task.0,
        at: now.0,
    };
    flags::keep_first(conn, &key(repo), &to_json(&kept)?).map(drop)
}

/// What stops the merges into a repository, if something does.
///
/// # Errors
/// See [`StoreError`].
pub fn of(conn: &mut Conn, repo: &str) -> Result<Option<MergeStop>, StoreError> {
    let value = flags::get(conn, &key(repo))?;
    Ok(value.map(|value| decode(repo, &value)))
}

/// All of them, by repository.
///
/// # Errors
/// See [`StoreError`].
pub fn list(conn: &mut Conn) -> Result<Vec<MergeStop>, StoreError> {
    let rows: Vec<(String, String)> = on!(conn, c => settings_state::table
        .filter(settings_state::key.like(format!("{PREFIX}%")))
        .order(settings_state::key)
        .select((settings_state::key, settings_state::value))
        .load(c))?;
    let stops = rows.iter().filter_map(|(key, value)| {
        let repo = key.strip_prefix(PREFIX)?;
        Some(decode(repo, value))
    });
    Ok(stops.collect())
}

/// Lets the merges into a repository go on.
///
/// # Errors
/// See [`StoreError`].
pub fn lift(conn: &mut Conn, repo: &str) -> Result<Guarded<()>, StoreError> {
    Ok(Guarded::from_count(on!(conn, c => diesel::delete(
        settings_state::table.find(key(repo))
    )
    .execute(c))?))
}
