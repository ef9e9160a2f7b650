//! Looks at the host in intervals, and prunes once a day. What is judged and removed lies in the engine; a look or a sweep
//! that takes long is not begun twice.

use std::time::{Duration, Instant};

use actix::prelude::*;
use slog_scope::{info, warn};

use crate::engine::host::{self, Looked};
use crate::engine::views::PruneReport;
use crate::engine::{EngineError, prune};

use super::AddressBook;
use super::supervisor::Incarnation;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// The watch of the host.
pub struct HostActor {
    _life: Incarnation,
    book: AddressBook,
    looking: bool,
    pruning: bool,
    /// A restart prunes once more, which finds nothing.
    pruned: Option<Instant>,
}

impl HostActor {
    pub(super) fn new(life: Incarnation, book: AddressBook) -> Self {
        Self {
            _life: life,
            book,
            looking: false,
            pruning: false,
            pruned: None,
        }
    }

    fn tick(&mut self, ctx: &mut Context<Self>) {
        self.look(ctx);
        let due = self.pruned.is_none_or(|at| at.elapsed() >= DAY);
        let engine = &self.book.engine;
        // What is left of the last boot comes first.
        if due && engine.settings().retention.enabled && engine.recovered() && self.book.claims() {
            self.prune(ctx);
        }
    }

    fn look(&mut self, ctx: &mut Context<Self>) {
        if self.looking {
            return;
        }
        self.looking = true;
        let engine = self.book.engine.clone();
        let look = async move { host::look(&engine).await };
        ctx.spawn(look.into_actor(self).map(|looked, actor, _| {
            actor.looking = false;
            match looked {
                Ok(looked) => report_look(&looked),
                Err(e) => warn!(
                    "what was seen of the host could not be kept, done at the next look: {}",
                    e
                ),
            }
        }));
    }

    fn prune(&mut self, ctx: &mut Context<Self>) {
        if self.pruning {
            return;
        }
        self.pruning = true;
        let engine = self.book.engine.clone();
        let sweep = async move { prune::scheduled(&engine).await };
        ctx.spawn(sweep.into_actor(self).map(|swept, actor, _| {
            actor.pruning = false;
            report_sweep(&swept);
            if swept.is_ok() {
                actor.pruned = Some(Instant::now());
            }
        }));
    }
}

fn report_look(looked: &Looked) {
    for line in &looked.worse {
        warn!("{}", line);
    }
    for line in &looked.better {
        info!("{}", line);
    }
    for line in &looked.trouble {
        warn!("a disk could not be looked at: {}", line);
    }
}

fn report_sweep(swept: &Result<PruneReport, EngineError>) {
    let report = match swept {
        Ok(report) => report,
        Err(e) => return warn!("not pruned, tried again at the next look: {}", e),
    };
    if report.removed_something() {
        info!("pruned"; "tasks" => report.tasks, "jobs" => report.jobs, "runs" => report.runs,
            "notices" => report.notices, "wip_refs" => report.wip_refs, "folders" => report.folders,
            "bytes" => report.bytes);
    }
    for what in &report.trouble {
        warn!("not pruned, tried again the next time: {}", what);
    }
    for command in report.commands.iter().filter(|c| c.succeeded == Some(false)) {
        let outcome = command.outcome.as_deref().unwrap_or_default();
        warn!("the prune_command of {} failed: {}", command.project, outcome);
    }
}

impl Actor for HostActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.tick(ctx);
        let every = self.book.engine.settings().host.interval;
        ctx.run_interval(every, |actor, ctx| actor.tick(ctx));
    }
}
