//! One job, and everybody who writes about it: monitors that look and write whenever they come to it, the reaper, and a
//! service that starts again. Harsher than the service: one look suffices for the reaper, and it passes over nobody.
//! Left out is the task's own version, the second guard of a stage: it would hide what the first one is for.

use stateright::{Model, Property};

const MAX_ATTEMPTS: u8 = 2;
/// Agents killed, monitors lost or doubled, services killed: so many together.
const FAULTS: u8 = 3;

const ONE_AGENT: &str = "at most one agent lives";
const OWN_AGENT: &str = "an agent lives only under the current claim";
const ADVANCES_ONCE: &str = "the stage advances at most once";
const DONE_IS_ADVANCED: &str = "a job is done exactly when its stage has advanced";
const NOTHING_INVENTED: &str = "no stage advances without an exit 0";
const SUPERSEDED_IS_MUTE: &str = "a superseded claim writes nothing";
const WITHIN_ATTEMPTS: &str = "attempts never exceed the maximum";
const SETTLES: &str = "what goes no further has settled";

/// What of the protocol is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Without {
    Nothing,
    /// Writes ask for a running job, whoever runs it.
    EpochGuard,
    /// The reaper moves the stage, then writes.
    ClaimBeforeAct,
    /// A start queues again what ran, without a look whether it lives.
    LookAtStart,
    /// Nobody reaps.
    Reaper,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Status {
    Queued,
    Running,
    Done,
    Failed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Agent {
    NotLaunched,
    Alive,
    /// With what it recorded: exit 0 or another.
    Exited(bool),
    /// Gone, and no exit is recorded.
    Dead,
}

/// What somebody who looked is going to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Verdict {
    /// Done, and the stage advances.
    Advance,
    /// Queued again while attempts are left, else failed.
    Again,
    /// Queued again at no cost.
    Refund,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Phase {
    Launching,
    Watching,
    Found(Verdict),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Monitor {
    epoch: u8,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Reaper {
    Idle,
    Decided(u8, Verdict),
    /// Only where it acts before it has won.
    Acted(u8, Verdict),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Start {
    Over,
    /// What ran is not yet looked at.
    Begun,
    Adopts(Monitor),
    Requeues(u8),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct World {
    status: Status,
    epoch: u8,
    attempts: u8,
    /// By claim, the first one first.
    agents: Vec<Agent>,
    /// Sorted: which of two like ones it is does not matter.
    monitors: Vec<Monitor>,
    reaper: Reaper,
    start: Start,
    faults: u8,
    advanced: u8,
    last: Last,
}

/// What the last step came to, for the promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Last {
    Other,
    SupersededWrote,
    LateRefused,
    Reaped(Verdict),
    Adopted,
    RequeuedAtStart,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Move {
    Claim,
    Launch(Monitor),
    Exit(u8, bool),
    MonitorLooks(Monitor, Verdict),
    MonitorWrites(Monitor),
    ReaperLooks(Verdict),
    ReaperActs,
    ReaperWrites,
    StartLooks,
    StartActs,
    KillAgent(u8),
    LoseMonitor(Monitor),
    DoubleMonitor(Monitor),
    KillService,
}

impl World {
    fn new() -> Self {
        Self {
            status: Status::Queued,
            epoch: 0,
            attempts: 0,
            agents: Vec::new(),
            monitors: Vec::new(),
            reaper: Reaper::Idle,
            start: Start::Over,
            faults: FAULTS,
            advanced: 0,
            last: Last::Other,
        }
    }

    fn agent(&mut self, epoch: u8) -> &mut Agent {
        &mut self.agents[usize::from(epoch) - 1]
    }

    fn agent_of(&self, epoch: u8) -> Agent {
        self.agents[usize::from(epoch) - 1]
    }

    fn alive(&self) -> impl Iterator<Item = u8> {
        (1..=self.epoch).filter(|epoch| self.agent_of(*epoch) == Agent::Alive)
    }

    fn put(&mut self, monitor: Monitor) {
        self.monitors.push(monitor);
        self.monitors.sort();
    }

    fn take(&mut self, monitor: Monitor) {
        if let Some(at) = self.monitors.iter().position(|m| *m == monitor) {
            self.monitors.remove(at);
        }
    }

    fn again(&mut self) {
        self.status = if self.attempts < MAX_ATTEMPTS {
            Status::Queued
        } else {
            Status::Failed
        };
    }

    /// The one guarded write. False: it lost.
    fn write(&mut self, without: Without, epoch: u8, verdict: Verdict) -> bool {
        let current = epoch == self.epoch;
        let guard = current || without == Without::EpochGuard;
        if self.status != Status::Running || !guard {
            if !current {
                self.last = Last::LateRefused;
            }
            return false;
        }
        if !current {
            self.last = Last::SupersededWrote;
        }
        match verdict {
            Verdict::Advance => self.status = Status::Done,
            Verdict::Again => self.again(),
            Verdict::Refund => {
                self.attempts -= 1;
                self.status = Status::Queued;
            }
        }
        true
    }

    fn advance(&mut self, verdict: Verdict) {
        if verdict == Verdict::Advance {
            self.advanced += 1;
        }
    }

    /// What can happen without anybody's fault.
    fn own_moves(&self, without: Without, moves: &mut Vec<Move>) {
        if self.status == Status::Queued {
            moves.push(Move::Claim);
        }
        for epoch in self.alive() {
            moves.extend([Move::Exit(epoch, true), Move::Exit(epoch, false)]);
        }
        for monitor in &self.monitors {
            match monitor.phase {
                Phase::Launching => moves.push(Move::Launch(*monitor)),
                Phase::Watching => {
                    let verdicts = verdicts(self.agent_of(monitor.epoch));
                    moves.extend(verdicts.iter().map(|v| Move::MonitorLooks(*monitor, *v)));
                }
                Phase::Found(_) => moves.push(Move::MonitorWrites(*monitor)),
            }
        }
        match self.reaper {
            Reaper::Idle if self.status == Status::Running && without != Without::Reaper => {
                moves.extend(self.reapable().iter().map(|v| Move::ReaperLooks(*v)));
            }
            Reaper::Idle => {}
            Reaper::Decided(..) if without == Without::ClaimBeforeAct => moves.push(Move::ReaperActs),
            Reaper::Decided(..) | Reaper::Acted(..) => moves.push(Move::ReaperWrites),
        }
        match self.start {
            Start::Over => {}
            Start::Begun => moves.push(Move::StartLooks),
            Start::Adopts(_) | Start::Requeues(_) => moves.push(Move::StartActs),
        }
    }

    /// What the reaper can find about the current claim. What was never launched is left to whoever is to launch it.
    fn reapable(&self) -> &'static [Verdict] {
        let agent = self.agent_of(self.epoch);
        let launching = self.monitors.iter().any(|m| m.epoch == self.epoch)
            || matches!(self.start, Start::Begun | Start::Adopts(_));
        if agent == Agent::NotLaunched && !launching {
            return &[Verdict::Again];
        }
        verdicts(agent)
    }

    fn faults(&self, moves: &mut Vec<Move>) {
        if self.faults == 0 {
            return;
        }
        moves.extend(self.alive().map(Move::KillAgent));
        for monitor in &self.monitors {
            moves.extend([Move::LoseMonitor(*monitor), Move::DoubleMonitor(*monitor)]);
        }
        moves.push(Move::KillService);
    }

    fn start_looks(&mut self, without: Without) {
        self.start = Start::Over;
        if self.status != Status::Running {
            return;
        }
        let epoch = self.epoch;
        let phase = match self.agent_of(epoch) {
            _ if without == Without::LookAtStart => None,
            Agent::NotLaunched => Some(Phase::Launching),
            Agent::Alive | Agent::Exited(_) => Some(Phase::Watching),
            Agent::Dead => None,
        };
        self.start = match phase {
            Some(phase) => Start::Adopts(Monitor { epoch, phase }),
            None => Start::Requeues(epoch),
        };
    }

    fn start_acts(&mut self, without: Without) {
        match self.start {
            Start::Over | Start::Begun => {}
            Start::Adopts(monitor) => {
                self.put(monitor);
                self.last = Last::Adopted;
            }
            Start::Requeues(epoch) => {
                if self.write(without, epoch, Verdict::Refund) {
                    self.last = Last::RequeuedAtStart;
                }
            }
        }
        self.start = Start::Over;
    }
}

/// What can be found about an agent. An exit 0 is not yet a green gate.
fn verdicts(agent: Agent) -> &'static [Verdict] {
    match agent {
        Agent::NotLaunched | Agent::Alive => &[],
        Agent::Exited(true) => &[Verdict::Advance, Verdict::Again],
        Agent::Exited(false) | Agent::Dead => &[Verdict::Again],
    }
}

impl Model for Without {
    type State = World;
    type Action = Move;

    fn init_states(&self) -> Vec<World> {
        vec![World::new()]
    }

    fn actions(&self, world: &World, moves: &mut Vec<Move>) {
        world.own_moves(*self, moves);
        world.faults(moves);
    }

    fn next_state(&self, before: &World, what: Move) -> Option<World> {
        let mut world = before.clone();
        world.last = Last::Other;
        match what {
            Move::Claim => {
                world.status = Status::Running;
                world.epoch += 1;
                world.attempts += 1;
                world.agents.push(Agent::NotLaunched);
                world.put(Monitor {
                    epoch: world.epoch,
                    phase: Phase::Launching,
                });
            }
            Move::Launch(monitor) => {
                // The run's folder is looked at first: what was launched already is found.
                if world.agent_of(monitor.epoch) == Agent::NotLaunched {
                    *world.agent(monitor.epoch) = Agent::Alive;
                }
                world.take(monitor);
                world.put(Monitor {
                    phase: Phase::Watching,
                    ..monitor
                });
            }
            Move::Exit(epoch, well) => *world.agent(epoch) = Agent::Exited(well),
            Move::MonitorLooks(monitor, verdict) => {
                world.take(monitor);
                world.put(Monitor {
                    phase: Phase::Found(verdict),
                    ..monitor
                });
            }
            Move::MonitorWrites(monitor) => {
                world.take(monitor);
                if let Phase::Found(verdict) = monitor.phase
                    && world.write(*self, monitor.epoch, verdict)
                {
                    world.advance(verdict);
                }
            }
            Move::ReaperLooks(verdict) => world.reaper = Reaper::Decided(world.epoch, verdict),
            Move::ReaperActs | Move::ReaperWrites => self.reap(&mut world),
            Move::StartLooks => world.start_looks(*self),
            Move::StartActs => world.start_acts(*self),
            Move::KillAgent(epoch) => *world.agent(epoch) = Agent::Dead,
            Move::LoseMonitor(monitor) => world.take(monitor),
            Move::DoubleMonitor(monitor) => world.put(Monitor {
                phase: monitor.phase.min(Phase::Watching),
                ..monitor
            }),
            Move::KillService => {
                world.monitors.clear();
                world.reaper = Reaper::Idle;
                world.start = Start::Begun;
            }
        }
        let faults = matches!(
            what,
            Move::KillAgent(_) | Move::LoseMonitor(_) | Move::DoubleMonitor(_) | Move::KillService
        );
        world.faults -= u8::from(faults);
        Some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(ONE_AGENT, |_, w: &World| w.alive().count() <= 1),
            Property::always(OWN_AGENT, |_, w: &World| {
                w.alive().all(|e| e == w.epoch && w.status == Status::Running)
            }),
            Property::always(ADVANCES_ONCE, |_, w: &World| w.advanced <= 1),
            Property::always(DONE_IS_ADVANCED, |_, w: &World| {
                (w.status == Status::Done) == (w.advanced == 1)
            }),
            Property::always(NOTHING_INVENTED, |_, w: &World| {
                w.advanced == 0 || w.agents.contains(&Agent::Exited(true))
            }),
            Property::always(SUPERSEDED_IS_MUTE, |_, w: &World| w.last != Last::SupersededWrote),
            Property::always(WITHIN_ATTEMPTS, |_, w: &World| w.attempts <= MAX_ATTEMPTS),
            Property::always(SETTLES, |without: &Without, w: &World| {
                let mut moves = Vec::new();
                w.own_moves(*without, &mut moves);
                let over = matches!(w.status, Status::Done | Status::Failed);
                !moves.is_empty() || (over && w.monitors.is_empty() && w.alive().count() == 0)
            }),
            Property::sometimes("done", |_, w: &World| w.status == Status::Done),
            Property::sometimes("failed", |_, w: &World| w.status == Status::Failed),
            Property::sometimes("reaped, and done", |_, w: &World| {
                w.last == Last::Reaped(Verdict::Advance)
            }),
            Property::sometimes("reaped, and queued again", |_, w: &World| {
                w.last == Last::Reaped(Verdict::Again) && w.status == Status::Queued
            }),
            Property::sometimes("a late write is refused", |_, w: &World| {
                w.last == Last::LateRefused
            }),
            Property::sometimes("adopted after a restart", |_, w: &World| {
                w.last == Last::Adopted && w.alive().count() == 1
            }),
            Property::sometimes("queued again at a start", |_, w: &World| {
                w.last == Last::RequeuedAtStart
            }),
        ]
    }
}

impl Without {
    /// The reaper goes one step on: wins and then acts, or where that is left out acts and then asks.
    fn reap(self, world: &mut World) {
        match world.reaper {
            Reaper::Idle => {}
            Reaper::Decided(epoch, verdict) if self == Self::ClaimBeforeAct => {
                world.advance(verdict);
                world.reaper = Reaper::Acted(epoch, verdict);
            }
            Reaper::Decided(epoch, verdict) => {
                world.reaper = Reaper::Idle;
                if world.write(self, epoch, verdict) {
                    world.last = Last::Reaped(verdict);
                    world.advance(verdict);
                }
            }
            Reaper::Acted(epoch, verdict) => {
                world.reaper = Reaper::Idle;
                world.write(self, epoch, verdict);
            }
        }
    }
}

#[test]
fn whatever_the_order_one_agent_lives_and_the_stage_advances_once() {
    super::holds("claims", Without::Nothing);
}

#[test]
fn without_the_epoch_a_late_monitor_writes_over_its_successor() {
    super::is_broken(
        "claims without the epoch guard",
        Without::EpochGuard,
        SUPERSEDED_IS_MUTE,
    );
    super::is_broken("claims without the epoch guard", Without::EpochGuard, ONE_AGENT);
}

#[test]
fn a_reaper_that_acts_before_it_has_won_advances_a_stage_twice() {
    super::is_broken("a reaper that acts first", Without::ClaimBeforeAct, ADVANCES_ONCE);
    super::is_broken(
        "a reaper that acts first",
        Without::ClaimBeforeAct,
        DONE_IS_ADVANCED,
    );
}

#[test]
fn a_start_that_does_not_look_starts_a_second_agent() {
    super::is_broken("a start without a look", Without::LookAtStart, ONE_AGENT);
}

#[test]
fn without_a_reaper_a_job_whose_monitor_is_lost_stays_stuck() {
    super::is_broken("no reaper", Without::Reaper, SETTLES);
}
