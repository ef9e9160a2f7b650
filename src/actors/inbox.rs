//! Applies deliveries, woken by each that arrives and when a postponed one is due; its slow tick does the same by itself.

use std::time::Duration;

use actix::prelude::*;
use slog_scope::warn;

use crate::engine::inbox::{self, Applied};

use super::AddressBook;
use super::supervisor::Incarnation;

/// The inbox may have deliveries to apply.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Apply;

/// Applies deliveries.
pub struct InboxActor {
    _life: Incarnation,
    book: AddressBook,
    busy: bool,
    again: bool,
    timer: Option<SpawnHandle>,
}

impl InboxActor {
    pub(super) fn new(life: Incarnation, book: AddressBook) -> Self {
        Self {
            _life: life,
            book,
            busy: false,
            again: false,
            timer: None,
        }
    }

    fn apply(&mut self, ctx: &mut Context<Self>) {
        if self.busy {
            self.again = true;
            return;
        }
        self.busy = true;
        self.again = false;
        let engine = self.book.engine.clone();
        let round = async move { inbox::apply(&engine).await };
        ctx.spawn(round.into_actor(self).map(|done, actor, ctx| {
            actor.busy = false;
            match done {
                Ok(done) => actor.report(&done, ctx),
                Err(e) => warn!("deliveries are not applied, tried again at the next tick: {}", e),
            }
            if actor.again {
                actor.apply(ctx);
            }
        }));
    }

    fn report(&mut self, done: &Applied, ctx: &mut Context<Self>) {
        for line in &done.trouble {
            warn!("inbox: {}", line);
        }
        if let Some(timer) = self.timer.take() {
            ctx.cancel_future(timer);
        }
        if let Some(at) = done.next_at {
            let wait = at.since(self.book.engine.now()).max(Duration::from_millis(1));
            self.timer = Some(ctx.run_later(wait, |actor, ctx| actor.apply(ctx)));
        }
    }
}

impl Actor for InboxActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.apply(ctx);
        let tick = self.book.engine.settings().queue.tick;
        ctx.run_interval(tick, |actor, ctx| actor.apply(ctx));
    }
}

impl Handler<Apply> for InboxActor {
    type Result = ();
    fn handle(&mut self, _: Apply, ctx: &mut Self::Context) {
        self.apply(ctx);
    }
}
