//! Watches one claimed job to its end. All it does is call the engine; a successor goes on from the recorded step.

use actix::prelude::*;
use slog_scope::{error, info, warn};

use crate::domain::job::Claim;
use crate::engine::EngineError;
use crate::engine::run::{self, Driven};

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
    work: Option<SpawnHandle>,
}

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
    fn over(&mut self, driven: Result<Driven, EngineError>, ctx: &mut Context<Self>) {
        match driven {
            Ok(driven) => {
                info!("job is over"; "job" => self.claim.job.0, "how" => format!("{driven:?}"));
                forget(&self.book, self.claim);
                self.book.queue.do_send(QueueJobs);
                self.life.finish(ctx);
            }
            Err(e) => {
                // Not finished: the supervisor starts a successor, which goes on from the recorded step.
                error!("job {}: {}", self.claim.job, e);
                ctx.stop();
            }
        }
    }
}

impl Actor for AgentMonitorActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let (engine, claim) = (self.book.engine.clone(), self.claim);
        if self.life.number() > 1 {
            warn!("a successor takes over"; "job" => claim.job.0, "incarnation" => self.life.number());
        }
        let work = async move { Box::pin(run::drive(&engine, claim)).await };
        self.work = Some(
            ctx.spawn(
                work.into_actor(self)
                    .map(|driven, actor, ctx| actor.over(driven, ctx)),
            ),
        );
    }
}

impl Handler<TakenAway> for AgentMonitorActor {
    type Result = ();

    /// The job was cancelled: what runs is ended, its work kept.
    fn handle(&mut self, _: TakenAway, ctx: &mut Self::Context) {
        if let Some(work) = self.work.take() {
            ctx.cancel_future(work);
        }
        let (engine, claim) = (self.book.engine.clone(), self.claim);
        let end = async move { run::abandon(&engine, claim).await.map(|()| Driven::Superseded) };
        self.work = Some(
            ctx.spawn(
                end.into_actor(self)
                    .map(|driven, actor, ctx| actor.over(driven, ctx)),
            ),
        );
    }
}
