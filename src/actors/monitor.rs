//! Watches one claimed job to its end. All it does is call the engine; a successor goes on from the recorded step.

use std::time::Duration;

use actix::prelude::*;
use slog_scope::{error, info, warn};

use crate::domain::job::Claim;
use crate::engine::run::{self, Driven};
use crate::engine::{EngineError, heal};
use crate::store::Retry;

use super::queue::{self, QueueJobs};
use super::supervisor::{Child, Incarnation, Intensity, Policy, SuperviseError};
use super::{AddressBook, TakenAway};

/// Restarts in the life of one run; past it only that job is settled.
const BUDGET: u32 = 5;

/// One run's monitor.
pub struct AgentMonitorActor {
    life: Incarnation,
    book: AddressBook,
    claim: Claim,
    /// The job was taken away: what is left is to put away what it had.
    taken: bool,
    work: Option<SpawnHandle>,
}

/// Shortest wait for a database that does not take writes.
const PAUSE: Duration = Duration::from_secs(1);

/// Starts the monitor of a claim.
///
/// # Errors
/// When it has one already, or the service is stopping.
pub fn start(book: &AddressBook, claim: Claim) -> Result<(), SuperviseError> {
    let child: Child<AgentMonitorActor> = Child::named(format!("monitor-{}-{}", claim.job, claim.epoch));
    let exhausted = book.clone();
    let policy = Policy::budget(Intensity::lifetime(BUDGET), move |e| {
        let why = format!(
            "its monitor died {} times, last of: {}",
            e.restarts + 1,
            e.last_cause
        );
        queue::give_up(&exhausted, claim, why);
    });
    let made = book.clone();
    book.supervisor
        .supervise_as(&child, policy, move |life| AgentMonitorActor {
            life,
            book: made.clone(),
            claim,
            taken: false,
            work: None,
        })?;
    book.monitors().push((claim, child));
    Ok(())
}

/// Takes a monitor that is over out of the address book.
pub(super) fn forget(book: &AddressBook, claim: Claim) {
    book.monitors().retain(|(watched, _)| *watched != claim);
}

impl AgentMonitorActor {
    /// Goes on from the recorded step, or puts away what was taken from us.
    fn work(&mut self, ctx: &mut Context<Self>) {
        let (engine, claim, taken) = (self.book.engine.clone(), self.claim, self.taken);
        let work = async move {
            if taken {
                return run::abandon(&engine, claim).await.map(|()| Driven::Superseded);
            }
            Box::pin(run::drive(&engine, claim)).await
        };
        self.work = Some(
            ctx.spawn(
                work.into_actor(self)
                    .map(|driven, actor, ctx| actor.over(driven, ctx)),
            ),
        );
    }

    fn over(&mut self, driven: Result<Driven, EngineError>, ctx: &mut Context<Self>) {
        match driven {
            Ok(driven) => {
                if driven == Driven::Superseded {
                    self.book.engine.note_superseded();
                }
                info!("job is over"; "job" => self.claim.job.0, "how" => format!("{driven:?}"));
                forget(&self.book, self.claim);
                self.book.queue.do_send(QueueJobs);
                self.life.finish(ctx);
            }
            Err(e) => match e.retry() {
                // The database will be back: that costs nothing of the run's budget of deaths.
                Retry::After(pause) => {
                    warn!("job {}, tried again soon: {}", self.claim.job, e);
                    let again = ctx.run_later(pause.max(PAUSE), |actor, ctx| actor.work(ctx));
                    self.work = Some(again);
                }
                // Not finished: the supervisor starts a successor, which goes on from the recorded step.
                Retry::Never => {
                    error!("job {}: {}", self.claim.job, e);
                    ctx.stop();
                }
            },
        }
    }
}

impl AgentMonitorActor {
    fn tell_replaced(&self, ctx: &mut Context<Self>) {
        let (cause, down) = self.book.last_death(self.life.name());
        let (engine, claim) = (self.book.engine.clone(), self.claim);
        let told = async move {
            if let Err(e) = heal::monitor_replaced(&engine, claim, cause, down).await {
                warn!("that a monitor was replaced is not told: {}", e);
            }
        };
        ctx.spawn(told.into_actor(self));
    }
}

impl Actor for AgentMonitorActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        if self.life.number() > 1 {
            warn!("a successor takes over"; "job" => self.claim.job.0, "incarnation" => self.life.number());
            self.tell_replaced(ctx);
        }
        self.work(ctx);
        if let Some(fault) = self.book.fault.clone() {
            ctx.spawn(
                fault
                    .strike(self.book.engine.clone(), self.claim)
                    .into_actor(self),
            );
        }
    }
}

impl Handler<TakenAway> for AgentMonitorActor {
    type Result = ();

    /// The job was cancelled: what runs is ended, its work kept.
    fn handle(&mut self, _: TakenAway, ctx: &mut Self::Context) {
        if let Some(work) = self.work.take() {
            ctx.cancel_future(work);
        }
        self.taken = true;
        self.work(ctx);
    }
}
