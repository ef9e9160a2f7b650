//! Notices that are to be sent once more, because what they were to bring about is still missing.

use diesel::prelude::*;

use super::{NewOutbox, Pending, Pushed, push};
use crate::domain::time::Timestamp;
use crate::schema::outbox;
use crate::store::decode::to_json;
use crate::store::{Conn, StoreError};

/// Keeps a notice as [`push`] does; one for the same cause that was sent or given up is sent again, from its first attempt
/// on.
///
/// # Errors
/// See [`StoreError`].
pub fn push_again(conn: &mut Conn, new: &NewOutbox, now: Timestamp) -> Result<(), StoreError> {
    match push(conn, new, now)? {
        Pushed::New => return Ok(()),
        Pushed::Known => {}
    }
    let payload = to_json(&new.payload)?;
    on!(conn, c => diesel::update(outbox::table)
        .filter(outbox::cause.eq(&new.cause))
        .filter(diesel::dsl::not(Pending))
        .set((
            outbox::status.eq("pending"),
            outbox::payload.eq(&payload),
            outbox::attempts.eq(0),
            outbox::unanswered.eq(0),
            outbox::error.eq(None::<&str>),
            outbox::created_at.eq(now.0),
            outbox::available_at.eq(new.available_at.0),
            outbox::sent_at.eq(None::<i64>),
        ))
        .execute(c))?;
    Ok(())
}
