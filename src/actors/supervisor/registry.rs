//! The supervisor's loop: every source of news is one [`Event`], and the answer to each is found here. Never
//! runs an actor's code but its factory.

use std::collections::BTreeMap;
use std::future::pending;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::Sender as ProbeReply;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep};

use super::SupervisorConfig;
use super::escalation::{Escalation, Reason};
use super::incarnation::{Cause, Guard, Life};
use super::launch::{Launch, OwnArbiter};
use super::policy::{Exhausted, OnExhausted, Policy, Verdict, Window};
use super::table::{ChildId, Record, Table};
use super::watchdog::PARTS;

/// A child that was admitted and waits for its first start.
pub(super) struct Newcomer {
    pub(super) id: ChildId,
    pub(super) record: Arc<Record>,
    pub(super) recipe: Box<dyn Launch>,
    pub(super) policy: Policy,
}

/// All that the supervisor can hear.
pub(super) enum Event {
    Added(Newcomer),
    Down {
        child: ChildId,
        incarnation: u64,
        cause: Cause,
    },
    /// The wait after the death of that incarnation is over.
    Due {
        child: ChildId,
        after: u64,
    },
    Probe(ProbeReply<()>),
    StopAll {
        patience: Duration,
        reply: oneshot::Sender<Vec<String>>,
    },
    OutOfPatience,
}

struct Entry {
    record: Arc<Record>,
    recipe: Box<dyn Launch>,
    on_exhausted: Option<OnExhausted>,
    window: Window,
    /// The number of the current or last incarnation.
    number: u64,
    /// `None` while it is down.
    up: Option<Up>,
}

struct Up {
    life: Arc<Life>,
    /// Held for its drop.
    _arbiter: Option<OwnArbiter>,
    missed: u32,
}

enum Phase {
    Working,
    Stopping(Vec<oneshot::Sender<Vec<String>>>),
    Stopped,
}

pub(super) struct Registry {
    config: SupervisorConfig,
    escalation: Escalation,
    table: Arc<Table>,
    events: mpsc::UnboundedSender<Event>,
    children: BTreeMap<ChildId, Entry>,
    phase: Phase,
}

impl Registry {
    pub(super) fn new(
        config: SupervisorConfig,
        escalation: Escalation,
        table: Arc<Table>,
        events: mpsc::UnboundedSender<Event>,
    ) -> Self {
        let (children, phase) = (BTreeMap::new(), Phase::Working);
        Self {
            config,
            escalation,
            table,
            events,
            children,
            phase,
        }
    }

    /// Runs until everything was stopped on order.
    pub(super) async fn run(mut self, mut inbox: mpsc::UnboundedReceiver<Event>) {
        let mut rounds = self.config.ping.map(|ping| {
            let mut rounds = interval((ping / PARTS).max(Duration::from_millis(1)));
            // After a suspension one round is missed, not all of them at once.
            rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
            rounds
        });
        while !matches!(self.phase, Phase::Stopped) {
            tokio::select! {
                event = inbox.recv() => match event {
                    Some(event) => self.handle(event),
                    None => return,
                },
                () = next_round(&mut rounds) => self.look_for_frozen(),
            }
        }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Added(newcomer) => self.add(newcomer),
            Event::Down {
                child,
                incarnation,
                cause,
            } => self.down(child, incarnation, cause),
            Event::Due { child, after } => self.due(child, after),
            // The watchdog does not wait for ever, so nobody may be there to hear it.
            Event::Probe(reply) => drop(reply.send(())),
            Event::StopAll { patience, reply } => self.stop_all(patience, reply),
            Event::OutOfPatience => self.leave(),
        }
    }

    fn add(&mut self, newcomer: Newcomer) {
        let Newcomer {
            id,
            record,
            recipe,
            policy,
        } = newcomer;
        let window = Window::new(policy.intensity);
        let on_exhausted = policy.on_exhausted;
        self.children.insert(
            id,
            Entry {
                record,
                recipe,
                on_exhausted,
                window,
                number: 0,
                up: None,
            },
        );
        self.launch(id);
    }

    fn launch(&mut self, id: ChildId) {
        let Some(entry) = self.children.get_mut(&id) else {
            return;
        };
        entry.number = entry.recipe.advance();
        let life = Life::new(
            id,
            Arc::clone(&entry.record.name),
            entry.number,
            self.events.clone(),
        );
        entry.record.up(entry.number, crate::actors::now());
        let arbiter = entry.recipe.launch(Guard::new(Arc::clone(&life)));
        entry.up = Some(Up {
            life,
            _arbiter: arbiter,
            missed: 0,
        });
    }

    fn down(&mut self, id: ChildId, incarnation: u64, cause: Cause) {
        let current = self
            .children
            .get(&id)
            .filter(|entry| entry.number == incarnation && entry.up.is_some());
        if current.is_none() {
            slog_scope::debug!("a late report of a superseded incarnation"; "incarnation" => incarnation);
            return;
        }
        if let Phase::Stopping(_) = self.phase {
            self.forget(id);
            self.stop_next();
        } else if cause == Cause::Finished {
            self.forget(id);
        } else {
            self.died(id, &cause);
        }
    }

    fn died(&mut self, id: ChildId, cause: &Cause) {
        let Some(entry) = self.children.get_mut(&id) else {
            return;
        };
        entry.up = None;
        entry.recipe.retract();
        entry.record.down(cause.to_string(), crate::actors::now());
        if self.escalation.raised() {
            return;
        }
        let verdict = entry.window.note(Instant::now().into_std(), self.config.backoff);
        slog_scope::warn!("actor died"; "actor" => &*entry.record.name, "incarnation" => entry.number,
            "cause" => %cause, "verdict" => ?verdict);
        match verdict {
            Verdict::Restart(Duration::ZERO) => self.launch(id),
            Verdict::Restart(wait) => {
                let due = Event::Due {
                    child: id,
                    after: entry.number,
                };
                self.tell_later(wait, due);
            }
            Verdict::Exhausted => self.give_up(id),
        }
    }

    fn due(&mut self, id: ChildId, after: u64) {
        let waiting = |entry: &Entry| entry.up.is_none() && entry.number == after;
        if self.children.get(&id).is_some_and(waiting)
            && matches!(self.phase, Phase::Working)
            && !self.escalation.raised()
        {
            self.launch(id);
        }
    }

    fn give_up(&mut self, id: ChildId) {
        let Some(entry) = self.children.get_mut(&id) else {
            return;
        };
        let stats = entry.record.stats();
        let exhausted = Exhausted {
            name: stats.name,
            incarnation: stats.incarnation,
            restarts: stats.restarts,
            last_cause: stats.last_cause.unwrap_or_default(),
        };
        let Some(settle) = entry.on_exhausted.take() else {
            return self.escalation.raise(&Reason::ChildExhausted(exhausted));
        };
        // Forgotten first: whoever settles may take on a successor of the same name.
        self.forget(id);
        slog_scope::error!("actor given up"; "actor" => &exhausted.name, "cause" => &exhausted.last_cause);
        if catch_unwind(AssertUnwindSafe(|| settle(exhausted))).is_err() {
            slog_scope::error!("settling an actor that was given up panicked: the reaper has to find it");
        }
    }

    fn look_for_frozen(&mut self) {
        let Some(limit) = self.config.ping else { return };
        let mut frozen = Vec::new();
        for (id, entry) in &mut self.children {
            let Some(up) = &mut entry.up else { continue };
            up.missed = if up.life.ping() { 0 } else { up.missed + 1 };
            if up.missed >= PARTS {
                up.life.end();
                frozen.push(*id);
            }
        }
        if matches!(self.phase, Phase::Working) {
            for id in frozen {
                self.died(id, &Cause::Frozen(limit));
            }
        }
    }

    fn stop_all(&mut self, patience: Duration, reply: oneshot::Sender<Vec<String>>) {
        match &mut self.phase {
            Phase::Working => {
                self.phase = Phase::Stopping(vec![reply]);
                self.tell_later(patience, Event::OutOfPatience);
                self.stop_next();
            }
            Phase::Stopping(waiting) => waiting.push(reply),
            Phase::Stopped => drop(reply.send(Vec::new())),
        }
    }

    /// Ends the latest child that still lives; its report brings us here again.
    fn stop_next(&mut self) {
        while let Some((&id, entry)) = self.children.last_key_value() {
            match &entry.up {
                Some(up) => return up.life.end(),
                None => self.forget(id),
            }
        }
        self.leave();
    }

    /// Leaves, naming those that did not stop.
    fn leave(&mut self) {
        let Phase::Stopping(waiting) = std::mem::replace(&mut self.phase, Phase::Stopped) else {
            return;
        };
        let mut left = Vec::new();
        for entry in self.children.values() {
            if let Some(up) = &entry.up {
                up.life.end();
                left.push(entry.record.name.to_string());
            }
        }
        for reply in waiting {
            // Who asked may have stopped waiting.
            let _ = reply.send(left.clone());
        }
    }

    fn forget(&mut self, id: ChildId) {
        if let Some(entry) = self.children.remove(&id) {
            entry.recipe.retract();
        }
        self.table.remove(id);
    }

    fn tell_later(&self, wait: Duration, event: Event) {
        let events = self.events.clone();
        actix_rt::spawn(async move {
            sleep(wait).await;
            let _ = events.send(event);
        });
    }
}

async fn next_round(rounds: &mut Option<Interval>) {
    match rounds {
        Some(rounds) => drop(rounds.tick().await),
        None => pending().await,
    }
}
