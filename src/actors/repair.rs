//! Says when the rules of repair are looked at anew, and when the audit of retries is written to its files: at the
//! start, when something was written into it, and in intervals.

use actix::prelude::*;
use slog_scope::{info, warn};

use crate::engine::repair::{self, Reload, audit};

use super::AddressBook;
use super::supervisor::Incarnation;

/// The keeper of the rules and of the audit.
pub struct RepairActor {
    _life: Incarnation,
    book: AddressBook,
    reading: bool,
    writing: bool,
    /// More was written into the audit meanwhile.
    again: bool,
}

impl RepairActor {
    pub(super) fn new(life: Incarnation, book: AddressBook) -> Self {
        Self {
            _life: life,
            book,
            reading: false,
            writing: false,
            again: false,
        }
    }

    fn read(&mut self, ctx: &mut Context<Self>) {
        if self.reading {
            return;
        }
        self.reading = true;
        let engine = self.book.engine.clone();
        let reload = async move { repair::reload(&engine).await };
        ctx.spawn(reload.into_actor(self).map(|reload, actor, _| {
            actor.reading = false;
            match reload {
                Ok(Reload::Unchanged(_)) => {}
                Ok(Reload::Taken(count)) => info!("repair rules read"; "strategies" => count),
                Ok(Reload::Refused(why)) => warn!("the last good repair rules stay: {}", why),
                Err(e) => warn!(
                    "the repair rules were not looked at, done at the next tick: {}",
                    e
                ),
            }
        }));
    }

    fn write(&mut self, ctx: &mut Context<Self>) {
        if self.writing {
            self.again = true;
            return;
        }
        self.writing = true;
        let engine = self.book.engine.clone();
        let write = async move { audit::write(&engine).await };
        ctx.spawn(write.into_actor(self).map(|written, actor, ctx| {
            actor.writing = false;
            match written {
                Ok(written) => {
                    for what in &written.set_aside {
                        warn!("an audit file was set aside and written anew: {}", what);
                    }
                    for what in &written.mended {
                        warn!(
                            "the last line of an audit file was torn by a crash and is written anew: {}",
                            what
                        );
                    }
                }
                Err(e) => warn!(
                    "the audit of retries was not written to its files, done at the next tick: {}",
                    e
                ),
            }
            if std::mem::take(&mut actor.again) {
                actor.write(ctx);
            }
        }));
    }
}

impl Actor for RepairActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.read(ctx);
        self.write(ctx);
        let every = self.book.engine.settings().repair.reload;
        ctx.run_interval(every, |actor, ctx| {
            actor.read(ctx);
            actor.write(ctx);
        });
    }
}

/// Something was written into the audit.
#[derive(Message)]
#[rtype(result = "()")]
pub struct WriteAudit;

impl Handler<WriteAudit> for RepairActor {
    type Result = ();
    fn handle(&mut self, _: WriteAudit, ctx: &mut Self::Context) {
        self.write(ctx);
    }
}
