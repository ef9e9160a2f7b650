//! Small durable facts about the service itself, by key: the pause of the queue, when a sweep last ran.

use diesel::prelude::*;

use super::{Conn, StoreError};
use crate::schema::settings_state;

/// The value kept under a key, if there is one.
///
/// # Errors
/// See [`StoreError`].
pub fn get(conn: &mut Conn, key: &str) -> Result<Option<String>, StoreError> {
    Ok(on!(conn, c => settings_state::table
        .find(key)
        .select(settings_state::value)
        .first(c)
        .optional())?)
}

/// Keeps a value under a key unless there is one; answers what is kept.
///
/// # Errors
/// See [`StoreError`].
pub fn keep_first(conn: &mut Conn, key: &str, value: &str) -> Result<String, StoreError> {
    on!(conn, c => diesel::insert_into(settings_state::table)
        .values((
            settings_state::key.eq(key),
            settings_state::value.eq(value),
        ))
        .on_conflict(settings_state::key)
        .do_nothing()
        .execute(c))?;
    Ok(get(conn, key)?.unwrap_or_else(|| value.to_owned()))
}

/// Keeps a value under a key.
///
/// # Errors
/// See [`StoreError`].
pub fn set(conn: &mut Conn, key: &str, value: &str) -> Result<(), StoreError> {
    on!(conn, c => diesel::insert_into(settings_state::table)
        .values((
            settings_state::key.eq(key),
            settings_state::value.eq(value),
        ))
        .on_conflict(settings_state::key)
        .do_update()
        .set(settings_state::value.eq(value))
        .execute(c))?;
    Ok(())
}
