//! States that Orch wrote to a task's issue and has not seen back yet. What people do there is told from its echoes by them.

use diesel::prelude::*;
use serde::{Deserialize, Serialize};

use crate::domain::id::TaskId;
use crate::domain::time::Timestamp;
use crate::schema::tasks;
use crate::store::decode::to_json;
use crate::store::{Conn, Guarded, StoreError};

/// As many are remembered, the oldest forgotten first.
const MOST: usize = 20;
/// A writer in between is looked past so often.
const TRIES: usize = 5;

/// A state that was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unseen {
    /// Its name on the board.
    pub state: String,
    /// When the issue was changed by it, by the tracker's clock; none: it is about to be written, or nobody heard the answer.
    pub at: Option<Timestamp>,
}

/// What is not seen back yet, oldest first.
///
/// # Errors
/// See [`StoreError`].
pub fn unseen(conn: &mut Conn, id: TaskId) -> Result<Vec<Unseen>, StoreError> {
    Ok(parse(text(conn, id)?.as_deref()))
}

/// Notes that a state is about to be written.
///
/// # Errors
/// See [`StoreError`].
pub fn will_write_state(conn: &mut Conn, id: TaskId, state: &str) -> Result<Guarded<()>, StoreError> {
    change(conn, id, |unseen| {
        // The one that waits longest for its answer is this one, begun before.
        unseen.retain(|one| one.state != state || one.at.is_some());
        unseen.push(Unseen {
            state: state.to_owned(),
            at: None,
        });
    })
}

/// Notes when the state was written that was about to be; nothing, when none was.
///
/// # Errors
/// See [`StoreError`].
pub fn wrote_state(
    conn: &mut Conn,
    id: TaskId,
    state: &str,
    at: Option<Timestamp>,
) -> Result<Guarded<()>, StoreError> {
    change(conn, id, |unseen| {
        let begun = unseen
            .iter_mut()
            .find(|one| one.state == state && one.at.is_none());
        if let Some(begun) = begun {
            begun.at = at;
        }
    })
}

fn text(conn: &mut Conn, id: TaskId) -> Result<Option<String>, StoreError> {
    let found: Option<Option<String>> = on!(conn, c => tasks::table
        .filter(tasks::id.eq(id.0))
        .select(tasks::tracker_unseen)
        .first(c)
        .optional())?;
    Ok(found.flatten())
}

/// What cannot be read is begun anew: it only tells echoes.
fn parse(text: Option<&str>) -> Vec<Unseen> {
    text.and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_default()
}

fn change(conn: &mut Conn, id: TaskId, change: impl Fn(&mut Vec<Unseen>)) -> Result<Guarded<()>, StoreError> {
    for _ in 0..TRIES {
        let before = text(conn, id)?;
        let mut unseen = parse(before.as_deref());
        let stood = unseen.clone();
        change(&mut unseen);
        if unseen == stood {
            return Ok(Guarded::Won(()));
        }
        let surplus = unseen.len().saturating_sub(MOST);
        unseen.drain(..surplus);
        let after = match unseen.is_empty() {
            true => None,
            false => Some(to_json(&unseen)?),
        };
        let changed = match before.as_deref() {
            Some(before) => on!(conn, c => diesel::update(tasks::table)
                .filter(tasks::id.eq(id.0))
                .filter(tasks::tracker_unseen.eq(before))
                .set(tasks::tracker_unseen.eq(after.as_deref()))
                .execute(c))?,
            None => on!(conn, c => diesel::update(tasks::table)
                .filter(tasks::id.eq(id.0))
                .filter(tasks::tracker_unseen.is_null())
                .set(tasks::tracker_unseen.eq(after.as_deref()))
                .execute(c))?,
        };
        if changed == 1 {
            return Ok(Guarded::Won(()));
        }
    }
    Ok(Guarded::Lost)
}
