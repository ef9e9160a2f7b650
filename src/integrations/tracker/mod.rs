//! Where issues live: what people are told about a task, and what they tell.

mod local;
pub mod plane;

use crate::domain::task::TrackerKind;
use crate::domain::time::Timestamp;
use crate::store::outbox::Notice;
use crate::store::{Conn, StoreError};

/// A tracker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tracker {
    /// The built-in one: tasks are its issues, gestures come through API and command line.
    Local,
    /// Plane, over its REST API.
    Plane,
}

impl Tracker {
    /// The tracker that a project names.
    pub fn of(kind: TrackerKind) -> Self {
        match kind {
            TrackerKind::Local => Self::Local,
            TrackerKind::Plane => Self::Plane,
        }
    }
}

/// Delivers a comment or a state of an issue that is here. Idempotent by the notice's cause.
///
/// # Errors
/// The database's.
pub fn keep(tx: &mut Conn, notice: &Notice, now: Timestamp) -> Result<(), StoreError> {
    local::deliver(tx, notice, now)
}
