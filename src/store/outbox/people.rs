//! What people look at and ask for: what was given up, what waits, sending again.

use diesel::prelude::*;

use super::{Columns, OutboxId, Pending};
use crate::domain::time::Timestamp;
use crate::schema::outbox;
use crate::store::decode::{maybe, rows};
use crate::store::{Conn, Guarded, StoreError};

predicate!(
    /// The predicate of the index `outbox_dead`.
    Dead = "outbox.status = 'dead'"
);

/// A notice as it is written: what it says may mean nothing.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = outbox)]
pub struct Written {
    /// Its number.
    pub id: i64,
    /// Names the cause.
    pub cause: String,
    /// A word of [`super::OutboxKind`], as a rule.
    pub kind: String,
    /// A word of [`crate::domain::delivery::Channel`], as a rule.
    pub channel: String,
    /// JSON, as a rule.
    pub payload: String,
    /// Failed deliveries so far.
    pub attempts: i32,
    /// Why the last delivery failed.
    pub error: Option<String>,
    /// When it was caused, microseconds.
    pub created_at: i64,
    /// Not before, microseconds.
    pub available_at: i64,
}

/// The notices that were given up, newest first; those that cannot be read too.
///
/// # Errors
/// See [`StoreError`].
pub fn given_up(conn: &mut Conn, limit: usize) -> Result<Vec<Written>, StoreError> {
    Ok(on!(conn, c => outbox::table
        .filter(Dead)
        .order(outbox::id.desc())
        .limit(rows(limit))
        .select(Written::as_select())
        .load(c))?)
}

/// The notices that wait, the next one first; those that cannot be read too.
///
/// # Errors
/// See [`StoreError`].
pub fn waiting(conn: &mut Conn, limit: usize) -> Result<Vec<Written>, StoreError> {
    Ok(on!(conn, c => outbox::table
        .filter(Pending)
        .order((outbox::available_at, outbox::id))
        .limit(rows(limit))
        .select(Written::as_select())
        .load(c))?)
}

/// Sends a notice again that was given up, from its first attempt on.
///
/// # Errors
/// [`StoreError::Broken`] when it cannot be read: it would only be given up again.
pub fn resend(conn: &mut Conn, id: OutboxId, now: Timestamp) -> Result<Guarded<()>, StoreError> {
    let dead: Option<Columns> = on!(conn, c => outbox::table
        .find(id.0)
        .filter(Dead)
        .select(Columns::as_select())
        .first(c)
        .optional())?;
    maybe(dead)?;
    Ok(Guarded::from_count(on!(conn, c => diesel::update(outbox::table)
        .filter(outbox::id.eq(id.0))
        .filter(Dead)
        .set((
            outbox::status.eq("pending"),
            outbox::attempts.eq(0),
            outbox::unanswered.eq(0),
            outbox::created_at.eq(now.0),
            outbox::available_at.eq(now.0),
        ))
        .execute(c))?))
}
