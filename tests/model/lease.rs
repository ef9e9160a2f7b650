//! The merge lease: processes of two tasks that take, renew, lose and give it back, a reaper that writes about what it
//! saw a while ago, and a forge that knows no tokens and moves `main` from the expected head only. Any of them may
//! pause between any two steps for as long as it likes.

use stateright::{Model, Property};

/// Processes and the tasks they work for: the first task has a second process, as after a restart.
const TASK_OF: [u8; 3] = [0, 0, 1];
/// How long a lease holds, and when the clock stops: enough for one to expire and be renewed.
const TTL: u8 = 2;
const END: u8 = 3;
const GRANTS: u8 = 3;
const DEATHS: u8 = 1;

const TESTED_AS_MERGED: &str = "main advances only from the head that was tested on it";
const HOLDER_MERGES: &str = "who merges held the current token at its last look";
const OWN_TOKEN: &str = "every grant has a token of its own";
const LIVE_IS_LEFT: &str = "a live holder within its time is not reclaimed";

/// What of the protocol is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Without {
    Nothing,
    /// Whoever takes the lease over gets the token that is there.
    GrowingToken,
    /// What was tested is merged without asking whether the lease is still held.
    LastLook,
    /// The reaper frees whatever is there by now.
    GuardOfWhatWasSeen,
    /// The forge merges whatever `main` is by now.
    ExpectedHead,
}

/// What a holder keeps of its lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Held {
    token: u8,
    /// Which grant it is, whatever its token says.
    grant: u8,
}

/// The row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Lease {
    process: u8,
    held: Held,
    expires: u8,
}

impl Lease {
    fn task(&self) -> u8 {
        task_of(self.process)
    }
}

fn task_of(process: u8) -> u8 {
    TASK_OF[usize::from(process)]
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Phase {
    /// Holds nothing that it knows of.
    Out,
    Holds(Held),
    /// Its candidate stands on this head of `main`, and was tested there.
    Tested(Held, u8),
    /// Nothing is left but to send the merge. Was the lease its own then?
    Looked(Held, u8, bool),
    /// It has merged, and still has the lease as it knows.
    Merged(Held),
    Over,
    Dead,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct World {
    now: u8,
    lease: Option<Lease>,
    token: u8,
    grants: u8,
    /// How often `main` moved: its head.
    main: u8,
    processes: [Phase; 3],
    deaths: u8,
    reaper: Option<Lease>,
    last: Last,
}

/// What the last step came to, for the promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Last {
    Other,
    TakenOver,
    LookRefused,
    ForgeRefused,
    Merged { as_tested: bool, by_holder: bool },
    Reclaimed { from_live: bool },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Move {
    Tick,
    Acquire(u8),
    Renew(u8),
    Test(u8),
    Look(u8),
    Merge(u8),
    Release(u8),
    Die(u8),
    ReaperLooks,
    ReaperReclaims,
}

impl World {
    /// As the store judges it: by task, token and time.
    fn is_held(&self, process: u8, by: Held) -> bool {
        self.lease
            .is_some_and(|l| l.task() == task_of(process) && l.held.token == by.token && l.expires > self.now)
    }

    fn phase(&self, process: u8) -> Phase {
        self.processes[usize::from(process)]
    }

    fn goes(&mut self, process: u8, to: Phase) {
        self.processes[usize::from(process)] = to;
    }

    /// Extends what the same task holds, else takes what is free or expired; else another one holds it.
    fn acquire(&mut self, without: Without, process: u8) {
        let expires = self.now + TTL;
        let held = match self.lease.filter(|l| l.expires > self.now) {
            Some(l) if l.task() == task_of(process) => l.held,
            Some(_) => return,
            None => {
                if self.token == 0 || without != Without::GrowingToken {
                    self.token += 1;
                }
                self.grants += 1;
                if self.lease.is_some() {
                    self.last = Last::TakenOver;
                }
                Held {
                    token: self.token,
                    grant: self.grants,
                }
            }
        };
        self.lease = Some(Lease {
            process,
            held,
            expires,
        });
        self.goes(process, Phase::Holds(held));
    }

    fn renew(&mut self, process: u8, held: Held) {
        let now = self.now;
        if self.is_held(process, held)
            && let Some(lease) = &mut self.lease
        {
            lease.expires = now + TTL;
        }
    }

    fn look(&mut self, without: Without, process: u8, held: Held, base: u8) {
        let own = self.is_held(process, held) && self.lease.is_some_and(|l| l.held == held);
        if without == Without::LastLook || (self.is_held(process, held) && self.main == base) {
            self.goes(process, Phase::Looked(held, base, own));
        } else {
            self.last = Last::LookRefused;
            self.goes(process, Phase::Out);
        }
    }

    fn merge(&mut self, without: Without, process: u8, looked: (Held, u8, bool)) {
        let (held, base, by_holder) = looked;
        let as_tested = self.main == base;
        if !as_tested && without != Without::ExpectedHead {
            self.last = Last::ForgeRefused;
            self.goes(process, Phase::Out);
            return;
        }
        self.last = Last::Merged { as_tested, by_holder };
        self.main += 1;
        self.goes(process, Phase::Merged(held));
    }

    fn release(&mut self, process: u8, held: Held, then: Phase) {
        let own = |l: &Lease| l.task() == task_of(process) && l.held.token == held.token;
        self.lease = self.lease.filter(|l| !own(l));
        self.goes(process, then);
    }

    fn reclaim(&mut self, without: Without) {
        let (Some(saw), Some(is)) = (self.reaper.take(), self.lease) else {
            return;
        };
        if is == saw || without == Without::GuardOfWhatWasSeen {
            let from_live = self.phase(is.process) != Phase::Dead && is.expires > self.now;
            self.last = Last::Reclaimed { from_live };
            self.lease = None;
        }
    }

    /// One step of a process, by where it stands.
    fn step(&mut self, without: Without, what: Move, process: u8) {
        match (what, self.phase(process)) {
            (Move::Acquire(_), Phase::Out) => self.acquire(without, process),
            (Move::Renew(_), Phase::Holds(held) | Phase::Tested(held, _)) => self.renew(process, held),
            (Move::Test(_), Phase::Holds(held)) => self.goes(process, Phase::Tested(held, self.main)),
            (Move::Look(_), Phase::Tested(held, base)) => self.look(without, process, held, base),
            (Move::Merge(_), Phase::Looked(held, base, own)) => {
                self.merge(without, process, (held, base, own));
            }
            (Move::Release(_), Phase::Holds(held)) => self.release(process, held, Phase::Out),
            (Move::Release(_), Phase::Merged(held)) => self.release(process, held, Phase::Over),
            (what, phase) => panic!("{what:?} is no step of {phase:?}"),
        }
    }
}

impl Model for Without {
    type State = World;
    type Action = Move;

    fn init_states(&self) -> Vec<World> {
        vec![World {
            now: 0,
            lease: None,
            token: 0,
            grants: 0,
            main: 0,
            processes: [Phase::Out; 3],
            deaths: DEATHS,
            reaper: None,
            last: Last::Other,
        }]
    }

    fn actions(&self, world: &World, moves: &mut Vec<Move>) {
        if world.now < END {
            moves.push(Move::Tick);
        }
        for process in 0..3 {
            match world.phase(process) {
                Phase::Out => moves.push(Move::Acquire(process)),
                Phase::Holds(_) => {
                    moves.extend([Move::Renew(process), Move::Test(process), Move::Release(process)]);
                }
                Phase::Tested(..) => moves.extend([Move::Renew(process), Move::Look(process)]),
                Phase::Looked(..) => moves.push(Move::Merge(process)),
                Phase::Merged(_) => moves.push(Move::Release(process)),
                Phase::Over | Phase::Dead => continue,
            }
            if world.deaths > 0 {
                moves.push(Move::Die(process));
            }
        }
        match (world.reaper, world.lease) {
            (Some(_), _) => moves.push(Move::ReaperReclaims),
            (None, Some(l)) if world.phase(l.process) == Phase::Dead || l.expires <= world.now => {
                moves.push(Move::ReaperLooks);
            }
            (None, _) => {}
        }
    }

    fn next_state(&self, before: &World, what: Move) -> Option<World> {
        let mut world = before.clone();
        world.last = Last::Other;
        match what {
            Move::Tick => world.now += 1,
            Move::Acquire(p)
            | Move::Renew(p)
            | Move::Test(p)
            | Move::Look(p)
            | Move::Merge(p)
            | Move::Release(p) => world.step(*self, what, p),
            Move::Die(p) => {
                world.deaths -= 1;
                world.goes(p, Phase::Dead);
            }
            Move::ReaperLooks => world.reaper = world.lease,
            Move::ReaperReclaims => world.reclaim(*self),
        }
        Some(world)
    }

    /// Taking and giving back could go on for ever.
    fn within_boundary(&self, world: &World) -> bool {
        world.grants <= GRANTS
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(TESTED_AS_MERGED, |_, w: &World| {
                !matches!(w.last, Last::Merged { as_tested: false, .. })
            }),
            Property::always(HOLDER_MERGES, |_, w: &World| {
                !matches!(w.last, Last::Merged { by_holder: false, .. })
            }),
            Property::always(OWN_TOKEN, |_, w: &World| w.token == w.grants),
            Property::always(LIVE_IS_LEFT, |_, w: &World| {
                w.last != Last::Reclaimed { from_live: true }
            }),
            Property::sometimes("both tasks are merged", |_, w: &World| w.main >= 2),
            Property::sometimes("reclaimed", |_, w: &World| {
                w.last == Last::Reclaimed { from_live: false }
            }),
            Property::sometimes("taken over when it had expired", |_, w: &World| {
                w.last == Last::TakenOver
            }),
            Property::sometimes("the last look refuses", |_, w: &World| {
                w.last == Last::LookRefused
            }),
            Property::sometimes("the forge refuses", |_, w: &World| w.last == Last::ForgeRefused),
        ]
    }
}

#[test]
fn whatever_the_order_main_receives_only_what_was_tested_on_it() {
    super::holds("lease", Without::Nothing);
}

#[test]
fn a_token_that_does_not_grow_lets_a_former_holder_merge() {
    super::is_broken("a token that stays", Without::GrowingToken, OWN_TOKEN);
    super::is_broken("a token that stays", Without::GrowingToken, HOLDER_MERGES);
}

#[test]
fn without_a_last_look_a_former_holder_merges() {
    super::is_broken("no last look", Without::LastLook, HOLDER_MERGES);
}

#[test]
fn a_reaper_that_frees_what_it_did_not_see_takes_the_lease_of_a_live_holder() {
    super::is_broken("an unguarded reclaim", Without::GuardOfWhatWasSeen, LIVE_IS_LEFT);
}

#[test]
fn a_forge_that_ignores_the_expected_head_merges_what_was_never_tested_so() {
    super::is_broken("a merge on any head", Without::ExpectedHead, TESTED_AS_MERGED);
}
