//! Who is supervised and how each one fares, readable from any thread. Never starts or stops anything.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;

use super::SuperviseError;
use crate::domain::time::Timestamp;

/// A panic while a lock was held is reported elsewhere; what is guarded here is valid after every statement.
pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Grows with each child that is taken on; never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ChildId(u64);

/// How one child fares.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ChildStats {
    /// The child.
    pub name: String,
    /// The number of its current or last incarnation; 0 before the first.
    pub incarnation: u64,
    /// How often it was started again.
    pub restarts: u64,
    /// What it died of last.
    pub last_cause: Option<String>,
    /// When it died last.
    pub died_at: Option<Timestamp>,
    /// Since when it lives; `None` while it is down.
    pub up_since: Option<Timestamp>,
}

/// One child's line in the table.
pub(super) struct Record {
    pub(super) name: Arc<str>,
    state: Mutex<State>,
}

#[derive(Clone, Default)]
struct State {
    incarnation: u64,
    restarts: u64,
    last_cause: Option<String>,
    died_at: Option<Timestamp>,
    up_since: Option<Timestamp>,
}

impl Record {
    pub(super) fn up(&self, incarnation: u64, now: Timestamp) {
        let mut state = locked(&self.state);
        state.restarts += u64::from(state.incarnation > 0);
        state.incarnation = incarnation;
        state.up_since = Some(now);
    }

    pub(super) fn down(&self, cause: String, now: Timestamp) {
        let mut state = locked(&self.state);
        state.died_at = Some(now);
        state.last_cause = Some(cause);
        state.up_since = None;
    }

    pub(super) fn stats(&self) -> ChildStats {
        let state = locked(&self.state).clone();
        ChildStats {
            name: self.name.to_string(),
            incarnation: state.incarnation,
            restarts: state.restarts,
            last_cause: state.last_cause,
            died_at: state.died_at,
            up_since: state.up_since,
        }
    }
}

/// All children, in order of admission.
#[derive(Default)]
pub(super) struct Table(Mutex<Rows>);

#[derive(Default)]
struct Rows {
    closed: bool,
    admitted: u64,
    records: BTreeMap<ChildId, Arc<Record>>,
}

impl Table {
    /// Gives a child its line. `announce` runs under the lock, so that no announcement follows the closing.
    pub(super) fn admit(
        &self,
        name: &str,
        announce: impl FnOnce(ChildId, Arc<Record>),
    ) -> Result<(), SuperviseError> {
        let mut rows = locked(&self.0);
        if rows.closed {
            return Err(SuperviseError::Stopping(name.to_string()));
        }
        if rows.records.values().any(|record| &*record.name == name) {
            return Err(SuperviseError::NameTaken(name.to_string()));
        }
        rows.admitted += 1;
        let id = ChildId(rows.admitted);
        let record = Arc::new(Record {
            name: Arc::from(name),
            state: Mutex::default(),
        });
        rows.records.insert(id, Arc::clone(&record));
        announce(id, record);
        Ok(())
    }

    /// Admits nobody any more.
    pub(super) fn close(&self, announce: impl FnOnce()) {
        let mut rows = locked(&self.0);
        rows.closed = true;
        announce();
    }

    pub(super) fn remove(&self, id: ChildId) {
        locked(&self.0).records.remove(&id);
    }

    pub(super) fn stats(&self) -> Vec<ChildStats> {
        locked(&self.0)
            .records
            .values()
            .map(|record| record.stats())
            .collect()
    }
}
