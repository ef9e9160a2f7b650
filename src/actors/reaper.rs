//! Says when running jobs are looked at whose executor may have died, and when those of lost nodes are. Off with
//! `reaper.enabled`: then it has no schedule.

use actix::prelude::*;
use slog_scope::{info, warn};

use crate::engine::reap::{self, Swept, TakenOver};

use super::AddressBook;
use super::queue::QueueJobs;
use super::supervisor::Incarnation;

/// This instance is on duty: jobs of silent ones are its own to settle.
#[derive(Message)]
#[rtype(result = "()")]
pub struct TakeOver;

/// The reaper.
pub struct ReaperActor {
    _life: Incarnation,
    book: AddressBook,
    sweeping: bool,
    taking_over: bool,
}

impl ReaperActor {
    pub(super) fn new(life: Incarnation, book: AddressBook) -> Self {
        Self {
            _life: life,
            book,
            sweeping: false,
            taking_over: false,
        }
    }

    fn sweep(&mut self, ctx: &mut Context<Self>) {
        // What is left of the last boot is adopted first.
        if self.sweeping || !self.book.engine.recovered() {
            return;
        }
        self.sweeping = true;
        let book = self.book.clone();
        let sweep = async move {
            let watched = |claim| book.monitor_of(claim).is_some();
            reap::sweep(&book.engine, &watched).await
        };
        ctx.spawn(sweep.into_actor(self).map(|swept, actor, _| {
            actor.sweeping = false;
            match swept {
                Ok(swept) => actor.report(&swept),
                Err(e) => warn!("the reaper could not look, tried again at its next tick: {}", e),
            }
        }));
    }

    fn report(&self, swept: &Swept) {
        for reaped in &swept.reaped {
            info!("reaped"; "job" => reaped.job_id, "agent" => &reaped.agent, "outcome" => &reaped.outcome);
        }
        for what in &swept.trouble {
            warn!("not reaped, tried again at the next tick: {}", what);
        }
        if !swept.reaped.is_empty() {
            self.book.queue.do_send(QueueJobs);
        }
    }
}

fn report(taken: &TakenOver) {
    for line in &taken.jobs {
        info!("taken over"; "what" => line);
    }
    for line in &taken.trouble {
        warn!("not taken over, tried again at the next heartbeat: {}", line);
    }
}

impl Actor for ReaperActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let reaper = &self.book.engine.settings().reaper;
        if reaper.enabled {
            ctx.run_interval(reaper.interval, |actor, ctx| actor.sweep(ctx));
        }
    }
}

impl Handler<TakeOver> for ReaperActor {
    type Result = ();

    fn handle(&mut self, _: TakeOver, ctx: &mut Self::Context) {
        if self.taking_over {
            return;
        }
        self.taking_over = true;
        let engine = self.book.engine.clone();
        let taking = async move { reap::take_over(&engine).await };
        ctx.spawn(taking.into_actor(self).map(|taken, actor, _| {
            actor.taking_over = false;
            match taken {
                Ok(taken) => report(&taken),
                Err(e) => warn!(
                    "jobs of silent nodes were not looked at, done at the next heartbeat: {}",
                    e
                ),
            }
        }));
    }
}
