//! Says that this instance lives, and lets the reaper take over from those that do not. Only where several share a database.

use actix::prelude::*;
use slog_scope::{error, info, warn};

use crate::domain::job::Claim;
use crate::engine::instances::{self, Beat};

use super::notifier::Deliver;
use super::reaper::TakeOver;
use super::supervisor::Incarnation;
use super::{AddressBook, TakenAway};

/// Another service may have taken something away.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Look;

/// The heartbeat.
pub struct HeartbeatActor {
    _life: Incarnation,
    book: AddressBook,
    busy: bool,
    looking: bool,
    again: bool,
    on_duty: bool,
    silent: bool,
}

impl HeartbeatActor {
    pub(super) fn new(life: Incarnation, book: AddressBook) -> Self {
        Self {
            _life: life,
            book,
            busy: false,
            looking: false,
            again: false,
            on_duty: false,
            silent: false,
        }
    }

    fn beat(&mut self, ctx: &mut Context<Self>) {
        if self.busy {
            return;
        }
        self.busy = true;
        let engine = self.book.engine.clone();
        let beat = async move { instances::beat(&engine).await };
        ctx.spawn(beat.into_actor(self).map(|beat, actor, ctx| {
            actor.busy = false;
            match beat {
                Ok(beat) => {
                    actor.report(beat);
                    actor.look(ctx);
                }
                Err(e) => {
                    actor.silent = true;
                    error!("the database does not hear this service: {}", e);
                }
            }
        }));
    }

    /// For claims that are watched here and are over.
    fn look(&mut self, ctx: &mut Context<Self>) {
        if self.looking {
            self.again = true;
            return;
        }
        self.looking = true;
        let (engine, watched) = (self.book.engine.clone(), self.book.watched());
        let look = async move { instances::taken_away(&engine, watched).await };
        ctx.spawn(look.into_actor(self).map(|gone, actor, ctx| {
            actor.looking = false;
            match gone {
                Ok(gone) => gone.into_iter().for_each(|claim| actor.tell(claim)),
                Err(e) => warn!(
                    "not looked what was taken away, done at the next heartbeat: {}",
                    e
                ),
            }
            if std::mem::take(&mut actor.again) {
                actor.look(ctx);
            }
        }));
    }

    fn tell(&self, claim: Claim) {
        if let Some(monitor) = self.book.monitor_of(claim) {
            monitor.do_send(TakenAway);
        }
    }

    fn report(&mut self, beat: Beat) {
        if std::mem::take(&mut self.silent) {
            info!("the database hears this service again");
        }
        if beat.on_duty {
            self.book.reaper.do_send(TakeOver);
        }
        if beat.on_duty && !self.on_duty {
            info!("on duty for all instances");
            self.book.notifier.do_send(Deliver);
        }
        self.on_duty = beat.on_duty;
    }
}

impl Actor for HeartbeatActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.beat(ctx);
        let every = self.book.engine.settings().instance.heartbeat;
        ctx.run_interval(every, |actor, ctx| actor.beat(ctx));
    }
}

impl Handler<Look> for HeartbeatActor {
    type Result = ();
    fn handle(&mut self, _: Look, ctx: &mut Self::Context) {
        self.look(ctx);
    }
}
