//! What is known of a task's issue at its tracker: the state it has there, and what Orch wrote and has not seen back. What
//! people do is told from Orch's echoes by it. No part of a task's version: it says nothing about where the task stands.

use diesel::prelude::*;

use crate::domain::id::TaskId;
use crate::domain::sighting::{Known, Written};
use crate::domain::time::Timestamp;
use crate::schema::tasks;
use crate::store::decode::to_json;
use crate::store::{Conn, Guarded, StoreError};

/// As many are remembered, the oldest forgotten first.
const MOST: usize = 20;
/// A writer in between is looked past so often.
const TRIES: usize = 5;

/// What is known of the issue.
///
/// # Errors
/// See [`StoreError`].
pub fn tracked(conn: &mut Conn, id: TaskId) -> Result<Known, StoreError> {
    type Columns = (Option<String>, Option<i64>, Option<String>);
    let found: Option<Columns> = on!(conn, c => tasks::table
        .filter(tasks::id.eq(id.0))
        .select((tasks::tracker_state, tasks::tracker_at, tasks::tracker_unseen))
        .first(c)
        .optional())?;
    let (state, at, unseen) = found.unwrap_or_default();
    Ok(Known {
        state,
        at: at.map(Timestamp),
        wrote: parse(unseen.as_deref()),
    })
}

/// Notes that a state was seen at the tracker and acted upon, changed there at that time. It has another one by now where
/// Orch wrote later.
///
/// # Errors
/// See [`StoreError`].
pub fn saw_state(conn: &mut Conn, id: TaskId, state: &str, at: Option<Timestamp>) -> Result<(), StoreError> {
    if !tracked(conn, id)?.wrote_after(at) {
        stands_at(conn, id, state)?;
    }
    if let Some(at) = at {
        let earlier = tasks::tracker_at.is_null().or(tasks::tracker_at.lt(at.0));
        on!(conn, c => diesel::update(tasks::table)
            .filter(tasks::id.eq(id.0))
            .filter(earlier)
            .set(tasks::tracker_at.eq(at.0))
            .execute(c))?;
    }
    Ok(())
}

fn stands_at(conn: &mut Conn, id: TaskId, state: &str) -> Result<(), StoreError> {
    on!(conn, c => diesel::update(tasks::table)
        .filter(tasks::id.eq(id.0))
        .set(tasks::tracker_state.eq(state))
        .execute(c))?;
    Ok(())
}

/// Notes that a state is about to be written.
///
/// # Errors
/// See [`StoreError`].
pub fn will_write_state(
    conn: &mut Conn,
    id: TaskId,
    state: &str,
    now: Timestamp,
) -> Result<Guarded<()>, StoreError> {
    change(conn, id, |wrote| {
        // The one that waits longest for its answer is this one, begun before.
        wrote.retain(|one| one.state != state || one.at.is_some());
        wrote.push(Written {
            state: state.to_owned(),
            at: None,
            begun: Some(now),
            seen: false,
        });
    })
}

/// Notes that the issue has a state that Orch wanted, and when it was changed last: by Orch, where that was begun, else it
/// had the state already.
///
/// # Errors
/// See [`StoreError`].
pub fn wrote_state(
    conn: &mut Conn,
    id: TaskId,
    state: &str,
    at: Option<Timestamp>,
) -> Result<Guarded<()>, StoreError> {
    stands_at(conn, id, state)?;
    change(conn, id, |wrote| {
        let begun = wrote
            .iter_mut()
            .find(|one| one.state == state && one.at.is_none());
        match begun {
            Some(begun) => begun.at = at,
            None => {
                let there = Written {
                    state: state.to_owned(),
                    at,
                    begun: None,
                    seen: true,
                };
                if wrote.last() != Some(&there) {
                    wrote.push(there);
                }
                keep_last_seen(wrote);
            }
        }
    })
}

/// Notes what was seen back. The last one is kept: what is older than that came before it.
///
/// # Errors
/// See [`StoreError`].
pub fn saw_back(conn: &mut Conn, id: TaskId, seen: &Written) -> Result<Guarded<()>, StoreError> {
    change(conn, id, |wrote| {
        if let Some(one) = wrote.iter_mut().find(|one| *one == seen) {
            one.seen = true;
            keep_last_seen(wrote);
        }
    })
}

fn keep_last_seen(wrote: &mut Vec<Written>) {
    let last = wrote.iter().rposition(|one| one.seen);
    let mut at = 0;
    wrote.retain(|one| {
        at += 1;
        !one.seen || Some(at - 1) == last
    });
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
fn parse(text: Option<&str>) -> Vec<Written> {
    text.and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_default()
}

fn change(
    conn: &mut Conn,
    id: TaskId,
    change: impl Fn(&mut Vec<Written>),
) -> Result<Guarded<()>, StoreError> {
    for _ in 0..TRIES {
        let before = text(conn, id)?;
        let mut wrote = parse(before.as_deref());
        let stood = wrote.clone();
        change(&mut wrote);
        if wrote == stood {
            return Ok(Guarded::Won(()));
        }
        let surplus = wrote.len().saturating_sub(MOST);
        wrote.drain(..surplus);
        let after = match wrote.is_empty() {
            true => None,
            false => Some(to_json(&wrote)?),
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
