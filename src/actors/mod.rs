//! When it is done: schedules, mailboxes, restarts, and nothing else. What is done lies in `engine`.
//! An actor keeps nothing that cannot be read again from the database.

pub mod fault;
pub mod heartbeat;
pub mod hints;
pub mod host;
pub mod inbox;
pub mod lease;
pub mod monitor;
pub mod notifier;
pub mod queue;
pub mod reaper;
pub mod reconciler;
pub mod repair;
pub mod supervisor;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actix::prelude::*;
use slog_scope::warn;

use crate::domain::job::Claim;
use crate::domain::time::Timestamp;
use crate::engine::{Engine, heal};

use fault::MonitorPanic;
use heartbeat::HeartbeatActor;
use host::HostActor;
use inbox::InboxActor;
use lease::LeaseActor;
use monitor::AgentMonitorActor;
use notifier::NotifierActor;
use queue::QueueActor;
use reaper::ReaperActor;
use reconciler::ReconcilerActor;
use repair::RepairActor;
use supervisor::{Child, Incarnation, Intensity, Policy, SuperviseError, Supervisor};

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
    /// Applies deliveries of webhooks.
    pub inbox: Child<InboxActor>,
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
    /// Keeps the rules of repair fresh, and its audit in files.
    pub repair: Child<RepairActor>,
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
            inbox: Child::named("inbox"),
            heartbeat: Child::named("heartbeat"),
            reconciler: Child::named("reconciler"),
            reaper: Child::named("reaper"),
            host: Child::named("host"),
            lease: Child::named("lease"),
            repair: Child::named("repair"),
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
        self.singleton(&self.reaper, intensity, ReaperActor::new)?;
        self.singleton(&self.lease, intensity, LeaseActor::new)?;
        self.singleton(&self.host, intensity, HostActor::new)?;
        self.singleton(&self.repair, intensity, RepairActor::new)?;
        if self.engine.store().is_shared() {
            self.singleton(&self.heartbeat, intensity, HeartbeatActor::new)?;
        }
        if self.engine.settings().inbox_enabled {
            self.singleton(&self.inbox, intensity, InboxActor::new)?;
        }
        if self.engine.settings().notify.enabled {
            self.singleton(&self.notifier, intensity, NotifierActor::new)?;
        }
        if self.engine.settings().reconcile.enabled {
            self.singleton(&self.reconciler, intensity, ReconcilerActor::new)?;
        }
        self.singleton(&self.queue, intensity, QueueActor::new)
    }

    fn singleton<A>(
        &self,
        child: &Child<A>,
        intensity: Intensity,
        make: fn(Incarnation, Self) -> A,
    ) -> Result<(), SuperviseError>
    where
        A: Actor<Context = Context<A>>,
    {
        let book = self.clone();
        self.supervisor
            .supervise_as(child, Policy::singleton(intensity), move |life| {
                if life.number() > 1 {
                    book.tell_restarted(life.name().to_owned());
                }
                make(life, book.clone())
            })
    }

    /// Writes down that an actor died and lives again. Nobody waits for it.
    fn tell_restarted(&self, name: String) {
        let book = self.clone();
        actix_rt::spawn(async move {
            let (cause, down) = book.last_death(&name);
            if let Err(e) = heal::actor_restarted(&book.engine, &name, cause, down).await {
                warn!("that {} was restarted is not told: {}", name, e);
            }
        });
    }

    /// What a child died of last, and how long ago.
    fn last_death(&self, name: &str) -> (String, Option<Duration>) {
        let known = self.supervisor.stats();
        let own = known.into_iter().find(|child| child.name == name);
        let (cause, at) = own.map_or((None, None), |own| (own.last_cause, own.died_at));
        (cause.unwrap_or_default(), at.map(|at| now().since(at)))
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
