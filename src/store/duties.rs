//! What only one of several instances does at a time: each duty is a lease of its own. The token grows at every takeover
//! and outlives every holder.

use std::time::Duration;

use diesel::prelude::*;

use super::{Conn, StoreError};
use crate::domain::id::{FencingToken, InstanceId};
use crate::domain::time::Timestamp;
use crate::schema::duties;

/// The outbox, taking over what lost instances had, and finding forgotten tasks.
pub const SINGLETONS: &str = "singletons";

/// Takes a duty that nobody has, or whose holder was silent too long, or keeps one's own for `ttl` more. None: another
/// instance has it.
///
/// # Errors
/// See [`StoreError`].
pub fn hold(
    conn: &mut Conn,
    name: &str,
    instance: &InstanceId,
    ttl: Duration,
    now: Timestamp,
) -> Result<Option<FencingToken>, StoreError> {
    let until = (now + ttl).0;
    let kept: Option<i64> = on!(conn, c => diesel::update(duties::table)
        .filter(duties::name.eq(name))
        .filter(duties::instance.eq(instance.as_str()))
        .filter(duties::expires_at.gt(now.0))
        .set(duties::expires_at.eq(until))
        .returning(duties::token)
        .get_result(c)
        .optional())?;
    if kept.is_some() {
        return Ok(kept.map(FencingToken));
    }
    let taken: Option<i64> = on!(conn, c => diesel::update(duties::table)
        .filter(duties::name.eq(name))
        .filter(duties::expires_at.le(now.0))
        .set((
            duties::instance.eq(instance.as_str()),
            duties::expires_at.eq(until),
            duties::token.eq(duties::token + 1),
        ))
        .returning(duties::token)
        .get_result(c)
        .optional())?;
    if taken.is_some() {
        return Ok(taken.map(FencingToken));
    }
    let made: Option<i64> = on!(conn, c => diesel::insert_into(duties::table)
        .values((
            duties::name.eq(name),
            duties::instance.eq(instance.as_str()),
            duties::expires_at.eq(until),
            duties::token.eq(1),
        ))
        .on_conflict(duties::name)
        .do_nothing()
        .returning(duties::token)
        .get_result(c)
        .optional())?;
    Ok(made.map(FencingToken))
}

/// The token under which an instance has a duty now; none when it has not.
///
/// # Errors
/// See [`StoreError`].
pub fn held(
    conn: &mut Conn,
    name: &str,
    instance: &InstanceId,
    now: Timestamp,
) -> Result<Option<FencingToken>, StoreError> {
    let token: Option<i64> = on!(conn, c => duties::table
        .filter(duties::name.eq(name))
        .filter(duties::instance.eq(instance.as_str()))
        .filter(duties::expires_at.gt(now.0))
        .select(duties::token)
        .first(c)
        .optional())?;
    Ok(token.map(FencingToken))
}

/// Gives back what an instance had, so that others need not wait for its silence.
///
/// # Errors
/// See [`StoreError`].
pub fn release(conn: &mut Conn, instance: &InstanceId, now: Timestamp) -> Result<(), StoreError> {
    on!(conn, c => diesel::update(duties::table)
        .filter(duties::instance.eq(instance.as_str()))
        .filter(duties::expires_at.gt(now.0))
        .set(duties::expires_at.eq(now.0))
        .execute(c))?;
    Ok(())
}
