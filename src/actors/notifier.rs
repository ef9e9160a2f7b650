//! Delivers the outbox, woken by messages; its slow tick does the same by itself.

use actix::prelude::*;
use slog_scope::{error, info, warn};

use crate::engine::deliver::{self, Delivered};

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
    busy: bool,
    again: bool,
}

impl NotifierActor {
    pub(super) fn new(life: Incarnation, book: AddressBook) -> Self {
        Self {
            _life: life,
            book,
            busy: false,
            again: false,
        }
    }

    fn deliver(&mut self, ctx: &mut Context<Self>) {
        if self.busy {
            self.again = true;
            return;
        }
        self.busy = true;
        self.again = false;
        let engine = self.book.engine.clone();
        let round = async move { deliver::deliver(&engine, &say).await };
        ctx.spawn(round.into_actor(self).map(|done, actor, ctx| {
            actor.busy = false;
            let more = match done {
                Ok(done) => report(&done),
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
}

/// The log channel.
fn say(about: &str, text: &str) {
    info!("{}", text; "notification" => about);
}

fn report(done: &Delivered) -> bool {
    for (id, why) in &done.broken {
        error!("outbox row {} cannot be read: {}", id, why);
    }
    done.more
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
