//! Keeps actors alive: starts each from a factory, learns of every death, restarts with backoff, and
//! escalates when restarting does not help. Never reuses the state of an actor that died.
//!
//! actix tells nobody when an actor dies of a panic. So each incarnation runs inside a future of ours
//! ([`launch`]) that holds a guard *outside* the actor; however that future ends, by a panic, a stop or the
//! loss of its arbiter, dropping the guard reports it. A future started by [`Incarnation::spawn`] reports its
//! panic as the death of its owner. An actor that is alive but answers no ping is [`Cause::Frozen`].
//!
//! What cannot be done: a blocked thread cannot be interrupted. An actor with an arbiter of its own
//! ([`Policy::on_own_arbiter`]) is replaced on a new thread, and its predecessor ends at its next await; until
//! then only the claim and monitor epochs keep it harmless. Actors on the supervisor's own arbiter share one
//! thread with it: when that blocks, the [`watchdog`] escalates, because nothing there can be replaced.

mod child;
mod escalation;
mod incarnation;
mod launch;
mod policy;
mod registry;
mod table;
mod watchdog;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, Context};
use futures_util::FutureExt;
use tokio::sync::{mpsc, oneshot};

pub use self::child::Child;
pub use self::escalation::{EXIT_ESCALATED, Escalation, Reason};
pub use self::incarnation::{Cause, Incarnation};
pub use self::policy::{Backoff, Exhausted, Intensity, Policy};
pub use self::table::ChildStats;

use self::launch::Recipe;
use self::registry::{Event, Newcomer, Registry};
use self::table::Table;

/// What holds for all children alike.
#[derive(Clone, Copy, Debug)]
pub struct SupervisorConfig {
    /// An actor that has not answered for this long counts as dead. `None` switches pings and watchdog off.
    pub ping: Option<Duration>,
    /// How long a child that died again waits for its next start.
    pub backoff: Backoff,
}

impl Default for SupervisorConfig {
    fn default() -> Self {
        Self {
            ping: Some(Duration::from_secs(30)),
            backoff: Backoff::default(),
        }
    }
}

/// Why a child was not taken on.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SuperviseError {
    /// One with this name lives already. For a run's monitor that means: it is being watched, do nothing.
    #[error("{0} is supervised already: use its existing handle, or another name")]
    NameTaken(String),
    /// `stop_all` was called: nothing is started any more.
    #[error("{0} was not started because the service is stopping: leave it to the next start")]
    Stopping(String),
}

/// The handle of the supervisor; cheap to clone, usable from any thread.
#[derive(Clone)]
pub struct Supervisor {
    table: Arc<Table>,
    events: mpsc::UnboundedSender<Event>,
}

impl Supervisor {
    /// Starts the supervisor on the current arbiter. Its own panic escalates: nobody watches it but the process.
    ///
    /// # Panics
    /// Outside an actix system.
    pub fn start(config: SupervisorConfig, escalation: Escalation) -> Self {
        let (events, inbox) = mpsc::unbounded_channel();
        let table = Arc::new(Table::default());
        if let Some(ping) = config.ping {
            watchdog::start(events.clone(), ping, escalation.clone());
        }
        let registry = Registry::new(config, escalation.clone(), Arc::clone(&table), events.clone());
        actix_rt::spawn(async move {
            if let Err(payload) = AssertUnwindSafe(registry.run(inbox)).catch_unwind().await {
                escalation.raise(&Reason::SupervisorPanicked(incarnation::message_of(&*payload)));
            }
        });
        Self { table, events }
    }

    /// Takes on a child: it is started now and again after each death, always by `factory`.
    ///
    /// The start follows a moment later on the arbiter of its placement; messages sent before are dropped
    /// like those to a dead actor, so `started()` has to look at the database by itself.
    pub fn supervise<A, F>(
        &self,
        name: impl Into<String>,
        policy: Policy,
        factory: F,
    ) -> Result<Child<A>, SuperviseError>
    where
        A: Actor<Context = Context<A>>,
        F: Fn(Incarnation) -> A + Send + Sync + 'static,
    {
        let child = Child::named(name);
        self.supervise_as(&child, policy, factory)?;
        Ok(child)
    }

    /// Like [`supervise`](Self::supervise), for a handle that was handed out before: so actors can know each other.
    pub fn supervise_as<A, F>(
        &self,
        child: &Child<A>,
        policy: Policy,
        factory: F,
    ) -> Result<(), SuperviseError>
    where
        A: Actor<Context = Context<A>>,
        F: Fn(Incarnation) -> A + Send + Sync + 'static,
    {
        let recipe = Recipe::new(child, policy.placement, factory);
        self.table.admit(child.name(), |id, record| {
            // A send fails only when the supervisor is gone, and then the process is on its way out.
            let _ = self.events.send(Event::Added(Newcomer {
                id,
                record,
                recipe: Box::new(recipe),
                policy,
            }));
        })
    }

    /// How each child fares, in order of their start. Answers even when the supervisor itself is stuck.
    pub fn stats(&self) -> Vec<ChildStats> {
        self.table.stats()
    }

    /// Stops the children one after the other, the latest first, and restarts none. Returns the names of those
    /// that had not stopped when `patience` ran out.
    pub async fn stop_all(&self, patience: Duration) -> Vec<String> {
        let (reply, stopped) = oneshot::channel();
        self.table.close(|| {
            let _ = self.events.send(Event::StopAll { patience, reply });
        });
        stopped.await.unwrap_or_default()
    }
}
