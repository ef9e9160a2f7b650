//! What the reconciler remembers between sweeps, for people. Lost with the service: then something is said once more.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::domain::id::{ProjectId, TaskId};
use crate::domain::time::Timestamp;
use crate::engine::Engine;

use super::board::Looked;

/// How the reconciler stands since the start of this service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reconciliation {
    /// Its last sweep.
    pub last_run: Option<Timestamp>,
    /// Tasks it moved.
    pub unblocked_total: u64,
    /// The last of them.
    pub last_unblocked: Option<String>,
    /// Looks at a task that failed.
    pub failed_total: u64,
}

/// What is remembered.
#[derive(Clone, Debug, Default)]
pub(in crate::engine) struct Memory {
    stands: Reconciliation,
    /// What was said last about a task that cannot be looked at.
    said: BTreeMap<TaskId, String>,
    /// The same about boards.
    said_of_boards: Vec<String>,
    boards: BTreeMap<ProjectId, Looked>,
}

pub(in crate::engine) type Remembered = Arc<Mutex<Memory>>;

impl Engine {
    /// How the reconciler stands.
    pub fn reconciliation(&self) -> Reconciliation {
        self.reconciler().stands.clone()
    }

    fn reconciler(&self) -> MutexGuard<'_, Memory> {
        self.reconciling.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How far a project's board was read.
    pub(super) fn board(&self, project: ProjectId) -> Looked {
        self.reconciler()
            .boards
            .get(&project)
            .cloned()
            .unwrap_or_default()
    }

    pub(super) fn remember_board(&self, project: ProjectId, looked: Looked) {
        self.reconciler().boards.insert(project, looked);
    }

    /// Answers what was not said in the last sweep.
    pub(super) fn remember_trouble(&self, trouble: Vec<String>) -> Vec<String> {
        let mut memory = self.reconciler();
        memory.stands.failed_total += trouble.len() as u64;
        let before = std::mem::replace(&mut memory.said_of_boards, trouble);
        let fresh = memory.said_of_boards.iter().filter(|line| !before.contains(line));
        fresh.cloned().collect()
    }

    pub(super) fn remember_unblocked(&self, told: String) {
        let mut memory = self.reconciler();
        memory.stands.unblocked_total += 1;
        memory.stands.last_unblocked = Some(told);
    }

    /// Ends a sweep; answers what was not said yet.
    pub(super) fn remember_failed(&self, failed: BTreeMap<TaskId, String>, now: Timestamp) -> Vec<String> {
        let mut memory = self.reconciler();
        memory.stands.last_run = Some(now);
        memory.stands.failed_total += failed.len() as u64;
        let before = std::mem::replace(&mut memory.said, failed);
        let fresh = memory
            .said
            .iter()
            .filter(|(id, why)| before.get(id) != Some(*why));
        fresh.map(|(_, why)| why.clone()).collect()
    }
}
