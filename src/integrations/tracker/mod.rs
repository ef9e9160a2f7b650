//! Where issues live: what people are told about a task, and what they tell.

mod local;

use crate::domain::task::TrackerKind;
use crate::domain::time::Timestamp;
use crate::store::outbox::Notice;
use crate::store::{Conn, StoreError};

use super::forge::NotSupported;

/// A tracker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tracker {
    /// The built-in one: tasks are its issues, gestures come through API and command line.
    Local,
}

impl Tracker {
    /// The tracker that a project names.
    ///
    /// # Errors
    /// [`NotSupported`].
    pub fn of(kind: TrackerKind) -> Result<Self, NotSupported> {
        match kind {
            TrackerKind::Local => Ok(Self::Local),
            TrackerKind::Plane => Err(NotSupported {
                key: "tracker",
                kind: "plane",
            }),
        }
    }

    /// Delivers a comment or a state. Idempotent by the notice's cause.
    ///
    /// # Errors
    /// The database's.
    pub fn deliver(self, tx: &mut Conn, notice: &Notice, now: Timestamp) -> Result<(), StoreError> {
        match self {
            Self::Local => local::deliver(tx, notice, now),
        }
    }
}
