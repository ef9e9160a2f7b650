//! What people look at and ask for: what was given up, what waits, sending again.

use diesel::prelude::*;

use super::{Columns, Notice, OutboxId, Pending};
use crate::domain::time::Timestamp;
use crate::schema::outbox;
use crate::store::decode::rows;
use crate::store::{Conn, Guarded, Listing, StoreError};

predicate!(
    /// The predicate of the index `outbox_dead`.
    Dead = "outbox.status = 'dead'"
);

/// The notices that were given up, newest first.
///
/// # Errors
/// See [`StoreError`].
pub fn given_up(conn: &mut Conn, limit: usize) -> Result<Listing<Notice>, StoreError> {
    Ok(Listing::of(on!(conn, c => outbox::table
        .filter(Dead)
        .order(outbox::id.desc())
        .limit(rows(limit))
        .select(Columns::as_select())
        .load(c))?))
}

/// The notices that wait, the next one first.
///
/// # Errors
/// See [`StoreError`].
pub fn waiting(conn: &mut Conn, limit: usize) -> Result<Listing<Notice>, StoreError> {
    Ok(Listing::of(on!(conn, c => outbox::table
        .filter(Pending)
        .order((outbox::available_at, outbox::id))
        .limit(rows(limit))
        .select(Columns::as_select())
        .load(c))?))
}

/// Sends a notice again that was given up, from its first attempt on.
///
/// # Errors
/// See [`StoreError`].
pub fn resend(conn: &mut Conn, id: OutboxId, now: Timestamp) -> Result<Guarded<()>, StoreError> {
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
