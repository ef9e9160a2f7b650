//! What Orch healed by itself, for people. Rows are added, never changed.

use std::time::Duration;

use diesel::prelude::*;
use serde::Serialize;

use super::decode::rows;
use super::{Conn, StoreError};
use crate::domain::id::InstanceId;
use crate::domain::time::Timestamp;
use crate::schema::healing_events;

/// Something that was stuck and what was done about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HealingEvent {
    /// Row.
    pub id: i64,
    /// When.
    pub at: Timestamp,
    /// Who healed: "monitor", "supervisor", "start", "reaper", "lease", "reconciler", "node lost".
    pub kind: String,
    /// What was stuck: "run 7 (developer, development)".
    pub subject: String,
    /// Why it was.
    pub why: String,
    /// What was done.
    pub action: String,
    /// How long it was stuck, where that is known, microseconds.
    pub stuck_us: Option<i64>,
    /// The boot of the service that healed.
    pub instance: InstanceId,
}

/// A healing to be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewHealing {
    /// Who heals.
    pub kind: String,
    /// What was stuck.
    pub subject: String,
    /// Why it was.
    pub why: String,
    /// What is done.
    pub action: String,
    /// How long it was stuck, where that is known.
    pub stuck: Option<Duration>,
    /// The boot of the service that heals.
    pub instance: InstanceId,
}

type Columns = (i64, i64, String, String, String, String, Option<i64>, String);

/// Keeps a healing.
///
/// # Errors
/// See [`StoreError`].
pub fn push(conn: &mut Conn, new: &NewHealing, now: Timestamp) -> Result<(), StoreError> {
    let stuck = new
        .stuck
        .map(|d| i64::try_from(d.as_micros()).unwrap_or(i64::MAX));
    on!(conn, c => diesel::insert_into(healing_events::table)
        .values((
            healing_events::at.eq(now.0),
            healing_events::kind.eq(&new.kind),
            healing_events::subject.eq(&new.subject),
            healing_events::why.eq(&new.why),
            healing_events::action.eq(&new.action),
            healing_events::stuck_us.eq(stuck),
            healing_events::instance.eq(new.instance.as_str()),
        ))
        .execute(c))?;
    Ok(())
}

/// The last healings, newest first.
///
/// # Errors
/// See [`StoreError`].
pub fn recent(conn: &mut Conn, limit: usize) -> Result<Vec<HealingEvent>, StoreError> {
    let found: Vec<Columns> = on!(conn, c => healing_events::table
        .order(healing_events::id.desc())
        .limit(rows(limit))
        .load(c))?;
    Ok(found
        .into_iter()
        .map(
            |(id, at, kind, subject, why, action, stuck_us, instance)| HealingEvent {
                id,
                at: Timestamp(at),
                kind,
                subject,
                why,
                action,
                stuck_us,
                instance: InstanceId::trusted(instance),
            },
        )
        .collect())
}
