//! What all callers of Plane in this process share: what each key may still ask, and the states of each project.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::domain::allowance::Allowance;
use crate::domain::time::Timestamp;
use crate::settings::{Secret, Settings};

use super::states::Known;

/// Cheap to clone; every clone is the same.
#[derive(Clone)]
pub struct Shared {
    inner: Arc<Mutex<Inner>>,
    /// Requests that Plane lets a key have.
    per_minute: usize,
}

#[derive(Default)]
struct Inner {
    /// By key.
    allowances: BTreeMap<String, Allowance>,
    /// By project.
    boards: BTreeMap<String, Known>,
}

impl Shared {
    /// Nothing asked yet.
    pub fn of(settings: &Settings) -> Self {
        Self {
            inner: Arc::default(),
            per_minute: settings.plane.requests_per_minute,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with<T>(&self, key: &Secret, change: impl FnOnce(&mut Allowance) -> T) -> T {
        let mut inner = self.lock();
        let slot = inner.allowances.entry(key.expose().to_owned());
        change(slot.or_insert_with(|| Allowance::new(self.per_minute)))
    }

    /// Takes one request of the key's out, or says how long to wait.
    pub(super) fn take(&self, key: &Secret, now: Timestamp) -> Result<Permit, Duration> {
        self.with(key, |allowance| allowance.take(now))?;
        Ok(Permit {
            shared: self.clone(),
            key: key.clone(),
        })
    }

    pub(super) fn board(&self, project: &str) -> Option<Known> {
        self.lock().boards.get(project).cloned()
    }

    pub(super) fn keep_board(&self, project: &str, known: Known) {
        self.lock().boards.insert(project.to_owned(), known);
    }

    pub(super) fn forget_board(&self, project: &str) {
        self.lock().boards.remove(project);
    }
}

/// A request that may go out; given back when it is over, however it ends.
pub(super) struct Permit {
    shared: Shared,
    key: Secret,
}

impl Permit {
    pub(super) fn told(&self, left: u64, reset: Timestamp) {
        self.shared
            .with(&self.key, |allowance| allowance.told(left, reset));
    }

    pub(super) fn close(&self, after: Duration, now: Timestamp) {
        self.shared
            .with(&self.key, |allowance| allowance.close(after, now));
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.shared.with(&self.key, Allowance::ended);
    }
}
