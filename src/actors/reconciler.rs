//! Looks for forgotten tasks in intervals. What heals them lies in the engine; a sweep that takes long is not begun twice.

use actix::prelude::*;
use slog_scope::{info, warn};

use crate::engine::EngineError;
use crate::engine::reconcile::{self, Swept};

use super::AddressBook;
use super::supervisor::Incarnation;

/// The reconciler.
pub struct ReconcilerActor {
    _life: Incarnation,
    book: AddressBook,
    busy: bool,
}

impl ReconcilerActor {
    pub(super) fn new(life: Incarnation, book: AddressBook) -> Self {
        Self {
            _life: life,
            book,
            busy: false,
        }
    }

    fn sweep(&mut self, ctx: &mut Context<Self>) {
        if self.busy {
            return;
        }
        self.busy = true;
        let engine = self.book.engine.clone();
        let sweep = async move { reconcile::sweep(&engine).await };
        ctx.spawn(sweep.into_actor(self).map(|swept, actor, _| {
            actor.busy = false;
            report(swept);
        }));
    }
}

fn report(swept: Result<Swept, EngineError>) {
    match swept {
        Ok(swept) => {
            for line in &swept.unblocked {
                info!("{}", line);
            }
            for line in &swept.trouble {
                warn!("{}", line);
            }
        }
        Err(e) => warn!(
            "forgotten tasks were not looked for, done at the next sweep: {}",
            e
        ),
    }
}

impl Actor for ReconcilerActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.sweep(ctx);
        let every = self.book.engine.settings().reconcile.interval;
        ctx.run_interval(every, |actor, ctx| actor.sweep(ctx));
    }
}
