//! Delivers the outbox, woken by messages and when the next notice is due; its slow tick does the same by itself.

use std::time::Duration;

use actix::prelude::*;
use slog_scope::{error, info, warn};

use crate::engine::deliver::{self, Delivered};
use crate::integrations::notify::Receivers;

use super::AddressBook;
use super::supervisor::Incarnation;

/// The outbox may have rows to deliver.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Deliver;

/// The notifier.
pub struct NotifierActor {
    _life: Incarnation,
    book: AddressBook,
    receivers: Receivers,
    busy: bool,
    again: bool,
    timer: Option<SpawnHandle>,
}

impl NotifierActor {
    pub(super) fn new(life: Incarnation, book: AddressBook) -> Self {
        let receivers = Receivers::of(book.engine.settings());
        Self {
            _life: life,
            book,
            receivers,
            busy: false,
            again: false,
            timer: None,
        }
    }

    fn deliver(&mut self, ctx: &mut Context<Self>) {
        if self.busy {
            self.again = true;
            return;
        }
        self.busy = true;
        self.again = false;
        let (engine, receivers) = (self.book.engine.clone(), self.receivers.clone());
        let round = async move { deliver::deliver(&engine, &receivers, &say).await };
        ctx.spawn(round.into_actor(self).map(|done, actor, ctx| {
            actor.busy = false;
            let more = match done {
                Ok(done) => actor.report(&done, ctx),
                Err(e) => {
                    warn!("delivering failed, tried again at the next tick: {}", e);
                    false
                }
            };
            if more || actor.again {
                actor.deliver(ctx);
            }
        }));
    }

    fn report(&mut self, done: &Delivered, ctx: &mut Context<Self>) -> bool {
        for (id, why) in &done.broken {
            error!("outbox row {} cannot be read: {}", id, why);
        }
        for line in &done.trouble {
            warn!("not delivered: {}", line);
        }
        if let Some(timer) = self.timer.take() {
            ctx.cancel_future(timer);
        }
        if let Some(at) = done.next_at {
            let wait = at.since(self.book.engine.now()).max(Duration::from_millis(1));
            self.timer = Some(ctx.run_later(wait, |actor, ctx| actor.deliver(ctx)));
        }
        done.more
    }
}

/// The log channel.
fn say(about: &str, text: &str) {
    info!("{}", text; "notification" => about);
}

impl Actor for NotifierActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.deliver(ctx);
        let tick = self.book.engine.settings().queue.tick;
        ctx.run_interval(tick, |actor, ctx| actor.deliver(ctx));
    }
}

impl Handler<Deliver> for NotifierActor {
    type Result = ();
    fn handle(&mut self, _: Deliver, ctx: &mut Self::Context) {
        self.deliver(ctx);
    }
}
