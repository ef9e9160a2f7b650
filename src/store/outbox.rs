//! Notices to the outside, stored with what caused them and delivered in order per task. Never sends.

use diesel::dsl::{exists, min, not};
use diesel::prelude::*;
use serde::Serialize;
use serde_json::Value;

use super::decode::{Cell, Row, rows, to_json};
use super::{Conn, Guarded, Listing, StoreError};
use crate::domain::delivery::{Attempted, Channel};
use crate::domain::id::TaskId;
use crate::domain::task::TrackerKind;
use crate::domain::time::Timestamp;
use crate::schema::{outbox, tasks};

mod again;
mod kind;
mod people;
mod states;

pub use again::push_again;
pub use kind::OutboxKind;
pub use people::{Written, given_up, resend, waiting};
pub use states::{has_state, has_state_after};

mod alias {
    use crate::schema::outbox;
    diesel::alias!(outbox as earlier: Earlier);
}
use alias::earlier;

predicate!(
    /// The predicate of the index `outbox_pending`.
    Pending = "outbox.status = 'pending'"
);
predicate!(
    /// The same for an earlier row of the same task: the predicate of the index `outbox_pending_by_task`.
    EarlierPending = "earlier.status = 'pending'"
);

/// An outbox row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct OutboxId(pub i64);

/// A notice that is not delivered yet.
#[derive(Clone, Debug, PartialEq)]
pub struct Notice {
    /// Identity.
    pub id: OutboxId,
    /// The task it is about, if it is about one.
    pub task_id: Option<TaskId>,
    /// Names the cause; also the key by which a receiver can tell a repetition.
    pub cause: String,
    /// What kind it is.
    pub kind: OutboxKind,
    /// Where it goes.
    pub channel: Channel,
    /// Its content.
    pub payload: Value,
    /// Failed deliveries so far.
    pub attempts: i32,
    /// Of those, deliveries that were sent and not answered.
    pub unanswered: i32,
    /// Not before.
    pub available_at: Timestamp,
    /// Why the last delivery failed.
    pub error: Option<String>,
    /// When it was caused.
    pub created_at: Timestamp,
}

impl Notice {
    /// A text of its content; empty where there is none.
    pub fn text(&self, key: &str) -> &str {
        self.payload.get(key).and_then(Value::as_str).unwrap_or_default()
    }

    /// What the decision about its next delivery needs.
    pub fn attempted(&self) -> Attempted {
        Attempted {
            channel: self.channel,
            attempts: self.attempts,
            unanswered: self.unanswered,
            created_at: self.created_at,
        }
    }
}

/// A notice to be sent.
#[derive(Clone, Debug, PartialEq)]
pub struct NewOutbox {
    /// The task it is about, if it is about one.
    pub task_id: Option<TaskId>,
    /// Names the cause: a second notice for the same cause is not kept.
    pub cause: String,
    /// What kind it is.
    pub kind: OutboxKind,
    /// Where it goes.
    pub channel: Channel,
    /// Its content.
    pub payload: Value,
    /// Not before.
    pub available_at: Timestamp,
}

/// What became of a notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// It will be sent.
    New,
    /// There was one for that cause already.
    Known,
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = outbox)]
struct Columns {
    id: i64,
    task_id: Option<i64>,
    cause: String,
    kind: String,
    channel: String,
    payload: String,
    attempts: i32,
    unanswered: i32,
    available_at: i64,
    error: Option<String>,
    created_at: i64,
}

impl Row for Columns {
    type Domain = Notice;

    fn id(&self) -> i64 {
        self.id
    }

    fn decode(self) -> Result<Notice, StoreError> {
        let cell = |column| Cell {
            table: "outbox",
            id: &self.id,
            column,
        };
        Ok(Notice {
            kind: cell("kind").word(&self.kind, OutboxKind::parse)?,
            channel: cell("channel").word(&self.channel, Channel::parse)?,
            payload: cell("payload").json(&self.payload)?,
            id: OutboxId(self.id),
            task_id: self.task_id.map(TaskId),
            cause: self.cause,
            attempts: self.attempts,
            unanswered: self.unanswered,
            available_at: Timestamp(self.available_at),
            error: self.error,
            created_at: Timestamp(self.created_at),
        })
    }
}

/// Keeps a notice, once per cause.
///
/// # Errors
/// See [`StoreError`].
pub fn push(conn: &mut Conn, new: &NewOutbox, now: Timestamp) -> Result<Pushed, StoreError> {
    let payload = to_json(&new.payload)?;
    let added = on!(conn, c => diesel::insert_into(outbox::table)
        .values((
            outbox::task_id.eq(new.task_id.map(|id| id.0)),
            outbox::cause.eq(&new.cause),
            outbox::kind.eq(new.kind.as_str()),
            outbox::channel.eq(new.channel.as_str()),
            outbox::payload.eq(&payload),
            outbox::status.eq("pending"),
            outbox::available_at.eq(new.available_at.0),
            outbox::created_at.eq(now.0),
        ))
        .on_conflict(outbox::cause)
        .do_nothing()
        .execute(c))?;
    Ok(if added == 1 { Pushed::New } else { Pushed::Known })
}

/// Those of the causes for which there is a notice already.
///
/// # Errors
/// See [`StoreError`].
pub fn known(conn: &mut Conn, causes: &[String]) -> Result<Vec<String>, StoreError> {
    Ok(on!(conn, c => outbox::table
        .filter(outbox::cause.eq_any(causes))
        .select(outbox::cause)
        .load(c))?)
}

/// The notices to be sent now. Of each task only its earliest in each channel: a later one waits until that is sent or
/// dead.
///
/// # Errors
/// See [`StoreError`].
pub fn due(conn: &mut Conn, now: Timestamp, limit: usize) -> Result<Listing<Notice>, StoreError> {
    Ok(Listing::of(on!(conn, c => outbox::table
        .filter(Pending)
        .filter(outbox::available_at.le(now.0))
        .filter(not(exists(
            earlier
                .filter(EarlierPending)
                .filter(earlier.field(outbox::task_id).eq(outbox::task_id))
                .filter(earlier.field(outbox::channel).eq(outbox::channel))
                .filter(earlier.field(outbox::id).lt(outbox::id)),
        )))
        // Among those held back together the one that failed comes last: it may be what is wrong.
        .order((outbox::available_at, outbox::attempts, outbox::id))
        .limit(rows(limit))
        .select(Columns::as_select())
        .load(c))?))
}

/// The earliest time at which a notice may be due: when to wake up.
///
/// # Errors
/// See [`StoreError`].
pub fn next_due(conn: &mut Conn) -> Result<Option<Timestamp>, StoreError> {
    let at: Option<i64> = on!(conn, c => outbox::table
        .filter(Pending)
        .select(min(outbox::available_at))
        .first(c))?;
    Ok(at.map(Timestamp))
}

/// Records that a pending notice was delivered.
///
/// # Errors
/// See [`StoreError`].
pub fn sent(conn: &mut Conn, id: OutboxId, now: Timestamp) -> Result<Guarded<()>, StoreError> {
    Ok(Guarded::from_count(on!(conn, c => diesel::update(outbox::table)
        .filter(outbox::id.eq(id.0))
        .filter(Pending)
        .set((
            outbox::status.eq("sent"),
            outbox::sent_at.eq(now.0),
            outbox::error.eq(None::<&str>),
        ))
        .execute(c))?))
}

/// Why and until when a notice waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed {
    /// Why it could not be delivered.
    pub error: String,
    /// How often it was sent by now and no answer came.
    pub unanswered: i32,
    /// When to try again.
    pub available_at: Timestamp,
}

/// Records that a pending notice could not be delivered, and when to try again.
///
/// # Errors
/// See [`StoreError`].
pub fn failed(conn: &mut Conn, id: OutboxId, failed: &Failed) -> Result<Guarded<()>, StoreError> {
    Ok(Guarded::from_count(on!(conn, c => diesel::update(outbox::table)
        .filter(outbox::id.eq(id.0))
        .filter(Pending)
        .set((
            outbox::attempts.eq(outbox::attempts + 1),
            outbox::unanswered.eq(failed.unanswered),
            outbox::error.eq(&failed.error),
            outbox::available_at.eq(failed.available_at.0),
        ))
        .execute(c))?))
}

/// Records that a pending notice is about to be sent to a receiver that cannot tell a repetition: whoever dies after that
/// leaves it unanswered.
///
/// # Errors
/// See [`StoreError`].
pub fn sending(conn: &mut Conn, notice: &Notice) -> Result<Guarded<()>, StoreError> {
    Ok(Guarded::from_count(on!(conn, c => diesel::update(outbox::table)
        .filter(outbox::id.eq(notice.id.0))
        .filter(Pending)
        .filter(outbox::unanswered.eq(notice.unanswered))
        .set(outbox::unanswered.eq(outbox::unanswered + 1))
        .execute(c))?))
}

/// Until when a receiver is left alone; none while it is not.
///
/// # Errors
/// See [`StoreError`].
pub fn held_until(
    conn: &mut Conn,
    channel: Channel,
    now: Timestamp,
) -> Result<Option<Timestamp>, StoreError> {
    let first: Option<i64> = on!(conn, c => outbox::table
        .filter(Pending)
        .filter(outbox::channel.eq(channel.as_str()))
        .select(min(outbox::available_at))
        .first(c))?;
    Ok(first.map(Timestamp).filter(|at| *at > now))
}

/// Leaves a receiver alone that takes nothing now: nothing of its channel is due before then. Costs no attempt.
///
/// # Errors
/// See [`StoreError`].
pub fn hold_back(conn: &mut Conn, channel: Channel, until: Timestamp) -> Result<(), StoreError> {
    on!(conn, c => diesel::update(outbox::table)
        .filter(Pending)
        .filter(outbox::channel.eq(channel.as_str()))
        .filter(outbox::available_at.lt(until.0))
        .set(outbox::available_at.eq(until.0))
        .execute(c))?;
    Ok(())
}

/// The same for a tracker: nothing of the tasks whose issues are there is due before then.
///
/// # Errors
/// See [`StoreError`].
pub fn hold_back_tracker(conn: &mut Conn, tracker: TrackerKind, until: Timestamp) -> Result<(), StoreError> {
    on!(conn, c => diesel::update(outbox::table)
        .filter(Pending)
        .filter(outbox::channel.eq(Channel::Tracker.as_str()))
        .filter(outbox::available_at.lt(until.0))
        .filter(outbox::task_id.eq_any(tasks::table
            .filter(tasks::tracker.eq(tracker.as_str()))
            .select(tasks::id.nullable())))
        .set(outbox::available_at.eq(until.0))
        .execute(c))?;
    Ok(())
}

/// Lets what a task has for a receiver be tried now, however long it was to wait: somebody waits for it.
///
/// # Errors
/// See [`StoreError`].
pub fn hurry(conn: &mut Conn, task: TaskId, channel: Channel, now: Timestamp) -> Result<(), StoreError> {
    on!(conn, c => diesel::update(outbox::table)
        .filter(Pending)
        .filter(outbox::task_id.eq(task.0))
        .filter(outbox::channel.eq(channel.as_str()))
        .filter(outbox::available_at.gt(now.0))
        .set(outbox::available_at.eq(now.0))
        .execute(c))?;
    Ok(())
}

/// Gives a pending notice up.
///
/// # Errors
/// See [`StoreError`].
pub fn dead(conn: &mut Conn, id: OutboxId, error: &str) -> Result<Guarded<()>, StoreError> {
    Ok(Guarded::from_count(on!(conn, c => diesel::update(outbox::table)
        .filter(outbox::id.eq(id.0))
        .filter(Pending)
        .set((
            outbox::status.eq("dead"),
            outbox::error.eq(error),
        ))
        .execute(c))?))
}
