//! Claims jobs and starts a monitor for each. Woken by messages; the slow tick does the same by itself, and finds
//! running jobs whose monitor never came to be.

use std::time::Duration;

use actix::prelude::*;
use slog_scope::{error, info, warn};

use crate::domain::job::Job;
use crate::engine::queue::{self, Claimed};
use crate::engine::{EngineError, heal, reap, recover, run};
use crate::store::Retry;

use super::AddressBook;
use super::monitor;
use super::supervisor::{Incarnation, SuperviseError};

/// Something may be claimable.
#[derive(Message)]
#[rtype(result = "()")]
pub struct QueueJobs;

/// The queue.
pub struct QueueActor {
    _life: Incarnation,
    book: AddressBook,
    /// A claim is under way; another wish was heard meanwhile.
    claiming: bool,
    again: bool,
    /// A look for running jobs without a monitor is under way.
    adopting: bool,
    sweeping: bool,
    timer: Option<SpawnHandle>,
}

impl QueueActor {
    pub(super) fn new(life: Incarnation, book: AddressBook) -> Self {
        Self {
            _life: life,
            book,
            claiming: false,
            again: false,
            adopting: false,
            sweeping: false,
            timer: None,
        }
    }

    fn claim(&mut self, ctx: &mut Context<Self>) {
        // What is left of the last boot comes first.
        if !self.book.claims() || !self.book.engine.recovered() {
            return;
        }
        if self.claiming {
            self.again = true;
            return;
        }
        self.claiming = true;
        self.again = false;
        let engine = self.book.engine.clone();
        let claim = async move { queue::claim(&engine).await };
        ctx.spawn(claim.into_actor(self).map(|claimed, actor, ctx| {
            actor.claiming = false;
            match claimed {
                Ok(claimed) => actor.begin(claimed, ctx),
                Err(e) => {
                    warn!("claiming failed: {}", e);
                    actor.again_after(&e, ctx);
                }
            }
            if actor.again {
                actor.claim(ctx);
            }
        }));
    }

    /// Looks anew when the database may be back. At what runs too: a claim whose answer was lost may have been kept.
    fn again_after(&mut self, failed: &EngineError, ctx: &mut Context<Self>) {
        if let Retry::After(pause) = failed.retry() {
            let again = ctx.run_later(pause, |actor, ctx| actor.adopt(ctx));
            if let Some(earlier) = self.timer.replace(again) {
                ctx.cancel_future(earlier);
            }
        }
    }

    fn begin(&mut self, claimed: Claimed, ctx: &mut Context<Self>) {
        for (id, why) in claimed.broken {
            error!("job {} cannot be read and stays queued: {}", id, why);
        }
        for job in &claimed.jobs {
            info!("claimed"; "job" => job.id.0, "epoch" => job.claim_epoch.0, "kind" => job.kind.as_str(), "stage" => job.stage.as_str());
            self.watch(job);
        }
        if !claimed.jobs.is_empty() {
            // There may be more than one batch.
            self.again = true;
        }
        if let Some(timer) = self.timer.take() {
            ctx.cancel_future(timer);
        }
        if let Some(at) = claimed.next_at {
            let wait = at.since(self.book.engine.now()).max(Duration::from_millis(1));
            self.timer = Some(ctx.run_later(wait, |actor, ctx| actor.claim(ctx)));
        }
    }

    fn watch(&self, job: &Job) {
        match monitor::start(&self.book, run::claim_of(job)) {
            Ok(()) | Err(SuperviseError::NameTaken(_)) => {}
            Err(e @ SuperviseError::Stopping(_)) => info!("{}", e),
        }
    }

    /// Jobs that run without a monitor: after a restart of the service, or of this actor between claim and start.
    fn adopt(&mut self, ctx: &mut Context<Self>) {
        if self.adopting {
            return;
        }
        self.adopting = true;
        let engine = self.book.engine.clone();
        let first = !engine.recovered();
        let running = async move { recover::running(&engine).await };
        ctx.spawn(running.into_actor(self).map(move |found, actor, ctx| {
            actor.adopting = false;
            match found {
                Ok(found) => {
                    for (id, why) in found.broken {
                        error!("row {} cannot be read: {}", id, why);
                    }
                    found
                        .jobs
                        .iter()
                        .filter(|j| actor.book.monitor_of(run::claim_of(j)).is_none())
                        .for_each(|j| actor.watch(j));
                    if first {
                        actor.tell_adopted(found.jobs, ctx);
                    }
                }
                Err(e) => {
                    warn!("looking for running jobs failed: {}", e);
                    actor.again_after(&e, ctx);
                }
            }
            actor.claim(ctx);
            actor.sweep(ctx);
        }));
    }

    fn tell_adopted(&self, jobs: Vec<Job>, ctx: &mut Context<Self>) {
        let engine = self.book.engine.clone();
        let told = async move {
            if let Err(e) = heal::adopted(&engine, &jobs).await {
                warn!("what was adopted is not told: {}", e);
            }
        };
        ctx.spawn(told.into_actor(self));
    }

    /// Cleaning up after what is over may take long; claims go on meanwhile.
    fn sweep(&mut self, ctx: &mut Context<Self>) {
        if self.sweeping {
            return;
        }
        self.sweeping = true;
        let engine = self.book.engine.clone();
        let sweep = async move { recover::sweep(&engine).await };
        ctx.spawn(sweep.into_actor(self).map(|swept, actor, _| {
            actor.sweeping = false;
            match swept {
                Ok(swept) => swept
                    .trouble
                    .iter()
                    .for_each(|what| warn!("not cleaned up, tried again at the next tick: {}", what)),
                Err(e) => warn!("cleaning up failed, tried again at the next tick: {}", e),
            }
        }));
    }
}

impl Actor for QueueActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.adopt(ctx);
        let tick = self.book.engine.settings().queue.tick;
        ctx.run_interval(tick, |actor, ctx| actor.adopt(ctx));
    }
}

impl Handler<QueueJobs> for QueueActor {
    type Result = ();
    fn handle(&mut self, _: QueueJobs, ctx: &mut Self::Context) {
        self.claim(ctx);
    }
}

/// Gives a job whose monitor died once too often to the engine to be settled.
pub(super) fn give_up(book: &AddressBook, claim: crate::domain::job::Claim, why: String) {
    let book = book.clone();
    actix_rt::spawn(async move {
        monitor::forget(&book, claim);
        if let Err(e) = reap::give_up(&book.engine, claim, &why).await {
            error!(
                "job {} could not be settled: the next tick gives it a new monitor, or the reaper ends it past reaper.max_running_s: {}",
                claim.job, e
            );
        }
        book.queue.do_send(QueueJobs);
    });
}
