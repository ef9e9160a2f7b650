//! Says that this instance lives, and takes over from those that do not. Only where several share a database.

use actix::prelude::*;
use slog_scope::{error, info, warn};

use crate::engine::EngineError;
use crate::engine::instances::{self, Beat, TakenOver};

use crate::domain::job::Claim;

use super::notifier::Deliver;
use super::supervisor::Incarnation;
use super::{AddressBook, TakenAway};

/// The heartbeat.
pub struct HeartbeatActor {
    _life: Incarnation,
    book: AddressBook,
    busy: bool,
    on_duty: bool,
    silent: bool,
}

/// What one round found.
struct Round {
    beat: Beat,
    taken_over: TakenOver,
    /// Claims that are watched here and are over.
    taken_away: Vec<Claim>,
}

impl HeartbeatActor {
    pub(super) fn new(life: Incarnation, book: AddressBook) -> Self {
        Self {
            _life: life,
            book,
            busy: false,
            on_duty: false,
            silent: false,
        }
    }

    fn beat(&mut self, ctx: &mut Context<Self>) {
        if self.busy {
            return;
        }
        self.busy = true;
        let (engine, watched) = (self.book.engine.clone(), self.book.watched());
        let round = async move {
            let beat = instances::beat(&engine).await?;
            let taken_over = match beat.on_duty {
                true => instances::take_over(&engine).await?,
                false => TakenOver::default(),
            };
            let taken_away = instances::taken_away(&engine, watched).await?;
            Ok::<_, EngineError>(Round {
                beat,
                taken_over,
                taken_away,
            })
        };
        ctx.spawn(round.into_actor(self).map(|round, actor, _| {
            actor.busy = false;
            match round {
                Ok(round) => actor.report(round),
                Err(e) => {
                    actor.silent = true;
                    error!("the database does not hear this service: {}", e);
                }
            }
        }));
    }

    fn report(&mut self, round: Round) {
        if std::mem::take(&mut self.silent) {
            info!("the database hears this service again");
        }
        for line in &round.taken_over.jobs {
            info!("taken over"; "what" => line);
        }
        for line in &round.taken_over.trouble {
            warn!("not taken over, tried again at the next heartbeat: {}", line);
        }
        for claim in round.taken_away {
            if let Some(monitor) = self.book.monitor_of(claim) {
                monitor.do_send(TakenAway);
            }
        }
        if round.beat.on_duty && !self.on_duty {
            info!("on duty for all instances");
            self.book.notifier.do_send(Deliver);
        }
        self.on_duty = round.beat.on_duty;
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
