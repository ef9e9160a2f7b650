//! Says when merge leases of dead holders are taken back: at the start, and as often as the reaper looks. Off with
//! `lease_reclaim.enabled`: then it has no schedule.

use actix::prelude::*;
use slog_scope::{info, warn};

use crate::engine::reclaim;

use super::AddressBook;
use super::queue::QueueJobs;
use super::supervisor::Incarnation;

/// The lease keeper.
pub struct LeaseActor {
    _life: Incarnation,
    book: AddressBook,
    sweeping: bool,
}

impl LeaseActor {
    pub(super) fn new(life: Incarnation, book: AddressBook) -> Self {
        Self {
            _life: life,
            book,
            sweeping: false,
        }
    }

    fn sweep(&mut self, ctx: &mut Context<Self>) {
        if self.sweeping {
            return;
        }
        self.sweeping = true;
        let engine = self.book.engine.clone();
        let sweep = async move { reclaim::sweep(&engine).await };
        ctx.spawn(sweep.into_actor(self).map(|swept, actor, _| {
            actor.sweeping = false;
            match swept {
                Ok(swept) => {
                    for line in &swept.leases {
                        info!("lease reclaimed"; "what" => line);
                    }
                    for what in &swept.trouble {
                        warn!("not looked at, done at the next tick: {}", what);
                    }
                    if !swept.leases.is_empty() {
                        actor.book.queue.do_send(QueueJobs);
                    }
                }
                Err(e) => warn!("leases were not looked at, done at the next tick: {}", e),
            }
        }));
    }
}

impl Actor for LeaseActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let settings = self.book.engine.settings();
        if settings.lease_reclaim.enabled {
            let every = settings.reaper.interval;
            self.sweep(ctx);
            ctx.run_interval(every, |actor, ctx| actor.sweep(ctx));
        }
    }
}
