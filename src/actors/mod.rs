//! When it is done: schedules, mailboxes, restarts, and nothing else. What is done lies in `engine`.
//! An actor keeps nothing that cannot be read again from the database.

pub mod fault;
pub mod heartbeat;
pub mod hints;
pub mod host;
pub mod lease;
pub mod monitor;
pub mod notifier;
pub mod queue;
pub mod reaper;
pub mod reconciler;
pub mod supervisor;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use actix::prelude::*;

use crate::domain::job::Claim;
use crate::domain::time::Timestamp;
use crate::engine::Engine;

use fault::MonitorPanic;
use heartbeat::HeartbeatActor;
use host::HostActor;
use lease::LeaseActor;
use monitor::AgentMonitorActor;
use notifier::NotifierActor;
use queue::QueueActor;
use reaper::ReaperActor;
use reconciler::ReconcilerActor;
use supervisor::{Child, Intensity, Policy, SuperviseError, Supervisor};

/// The wall clock, for this floor to hand down as a value.
pub fn now() -> Timestamp {
    Timestamp(jiff::Timestamp::now().as_microsecond())
}

type Monitors = Vec<(Claim, Child<AgentMonitorActor>)>;

/// The address book: who can be told something.
#[derive(Clone)]
pub struct AddressBook {
    /// Does the work.
    pub engine: Engine,
    /// Restarts whoever dies.
    pub supervisor: Supervisor,
    /// Claims jobs.
    pub queue: Child<QueueActor>,
    /// Delivers the outbox.
    pub notifier: Child<NotifierActor>,
    /// Says that this instance lives; started only where several share a database.
    pub heartbeat: Child<HeartbeatActor>,
    /// Lets forgotten tasks go on; started only where it is switched on.
    pub reconciler: Child<ReconcilerActor>,
    /// Settles jobs whose executor died.
    pub reaper: Child<ReaperActor>,
    /// Watches the disks and the clock, and prunes.
    pub host: Child<HostActor>,
    /// Takes leases back.
    pub lease: Child<LeaseActor>,
    monitors: Arc<Mutex<Monitors>>,
    closing: Arc<AtomicBool>,
    fault: Option<Arc<MonitorPanic>>,
}

impl AddressBook {
    /// An address book without living actors.
    pub fn new(engine: Engine, supervisor: Supervisor) -> Self {
        Self {
            engine,
            supervisor,
            queue: Child::named("queue"),
            notifier: Child::named("notifier"),
            heartbeat: Child::named("heartbeat"),
            reconciler: Child::named("reconciler"),
            reaper: Child::named("reaper"),
            host: Child::named("host"),
            lease: Child::named("lease"),
            monitors: Arc::default(),
            closing: Arc::default(),
            fault: None,
        }
    }

    /// With a fault that was asked for.
    #[must_use]
    pub fn with_fault(mut self, fault: Option<MonitorPanic>) -> Self {
        self.fault = fault.map(Arc::new);
        self
    }

    /// Starts the singletons.
    ///
    /// # Errors
    /// When the service is stopping.
    pub fn start(&self, intensity: Intensity) -> Result<(), SuperviseError> {
        let book = self.clone();
        self.supervisor
            .supervise_as(&self.reaper, Policy::singleton(intensity), move |inc| {
                ReaperActor::new(inc, book.clone())
            })?;
        let book = self.clone();
        self.supervisor
            .supervise_as(&self.lease, Policy::singleton(intensity), move |inc| {
                LeaseActor::new(inc, book.clone())
            })?;
        let book = self.clone();
        self.supervisor
            .supervise_as(&self.host, Policy::singleton(intensity), move |inc| {
                HostActor::new(inc, book.clone())
            })?;
        if self.engine.store().is_shared() {
            let book = self.clone();
            self.supervisor
                .supervise_as(&self.heartbeat, Policy::singleton(intensity), move |inc| {
                    HeartbeatActor::new(inc, book.clone())
                })?;
        }
        let book = self.clone();
        self.supervisor
            .supervise_as(&self.notifier, Policy::singleton(intensity), move |inc| {
                NotifierActor::new(inc, book.clone())
            })?;
        if self.engine.settings().reconcile.enabled {
            let book = self.clone();
            self.supervisor
                .supervise_as(&self.reconciler, Policy::singleton(intensity), move |inc| {
                    ReconcilerActor::new(inc, book.clone())
                })?;
        }
        let book = self.clone();
        self.supervisor
            .supervise_as(&self.queue, Policy::singleton(intensity), move |inc| {
                QueueActor::new(inc, book.clone())
            })
    }

    /// Nothing is claimed from now on: the service is about to stop. Holds for every later incarnation of the queue.
    pub fn stop_claiming(&self) {
        self.closing.store(true, Ordering::Release);
    }

    fn claims(&self) -> bool {
        !self.closing.load(Ordering::Acquire)
    }

    /// The monitor of a claim, if it has one.
    pub fn monitor_of(&self, claim: Claim) -> Option<Child<AgentMonitorActor>> {
        self.monitors()
            .iter()
            .find(|(watched, _)| *watched == claim)
            .map(|(_, child)| child.clone())
    }

    /// The claims that have a monitor.
    fn watched(&self) -> Vec<Claim> {
        self.monitors().iter().map(|(claim, _)| *claim).collect()
    }

    /// How many monitors live.
    pub fn monitor_count(&self) -> usize {
        self.monitors().len()
    }

    fn monitors(&self) -> std::sync::MutexGuard<'_, Monitors> {
        self.monitors.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Asks an actor to end its present work and stop for good.
#[derive(Message)]
#[rtype(result = "()")]
pub struct TakenAway;
