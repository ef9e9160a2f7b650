//! An actor that dies on demand in every way there is, and a ward to watch it in.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use actix::prelude::*;
use orch::actors::supervisor::{
    Backoff, Child, ChildStats, Escalation, Incarnation, Intensity, Policy, Reason, Supervisor,
    SupervisorConfig,
};

/// How a patient dies.
#[derive(Clone, Debug)]
pub enum Death {
    PanicInHandler,
    PanicInSpawn,
    PanicInWait,
    PanicInInterval,
    PanicInActorFuture,
    PanicInSideFuture,
    Stop,
    Terminate,
    LoseArbiter,
    Finish,
}

#[derive(Message)]
#[rtype(result = "()")]
pub struct Die(pub Death);

/// Blocks the patient's thread until the other end lets go.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Block {
    pub entered: mpsc::Sender<()>,
    pub until: mpsc::Receiver<()>,
}

impl Block {
    /// The message, what tells that it has begun, and what ends it when dropped.
    pub fn new() -> (Self, mpsc::Receiver<()>, mpsc::Sender<()>) {
        let (entered, begun) = mpsc::channel();
        let (release, until) = mpsc::channel();
        (Self { entered, until }, begun, release)
    }
}

/// Lets the patient wait for ever, while its thread goes on.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Freeze;

/// Answers the incarnation's number and how many of these it has had.
#[derive(Message)]
#[rtype(result = "(u64, u64)")]
pub struct Count;

/// Spawns a side future that holds the token until it is ended.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Hold(pub Arc<()>);

pub struct Patient {
    pub incarnation: Incarnation,
    pub counted: u64,
    /// Held for the count of those alive.
    pub _token: Arc<()>,
    pub dies_in_started: bool,
}

impl Actor for Patient {
    type Context = Context<Self>;

    fn started(&mut self, _ctx: &mut Self::Context) {
        assert!(!self.dies_in_started, "dies in started");
    }
}

impl Handler<Die> for Patient {
    type Result = ();

    fn handle(&mut self, Die(death): Die, ctx: &mut Self::Context) {
        match death {
            Death::PanicInHandler => panic!("dies in handler"),
            Death::PanicInSpawn => {
                ctx.spawn(async { panic!("dies in spawn") }.into_actor(self));
            }
            Death::PanicInWait => ctx.wait(async { panic!("dies in wait") }.into_actor(self)),
            Death::PanicInInterval => {
                ctx.run_interval(Duration::from_millis(1), |_, _| panic!("dies in interval"));
            }
            Death::PanicInActorFuture => {
                ctx.spawn(
                    async {}
                        .into_actor(self)
                        .map(|(), _, _| panic!("dies in actor future")),
                );
            }
            Death::PanicInSideFuture => self.incarnation.spawn(async { panic!("dies in side future") }),
            Death::Stop => ctx.stop(),
            Death::Terminate => ctx.terminate(),
            Death::LoseArbiter => drop(Arbiter::current().stop()),
            Death::Finish => self.incarnation.finish(ctx),
        }
    }
}

impl Handler<Block> for Patient {
    type Result = ();

    fn handle(&mut self, block: Block, _ctx: &mut Self::Context) {
        let _ = block.entered.send(());
        let _ = block.until.recv();
    }
}

impl Handler<Freeze> for Patient {
    type Result = ();

    fn handle(&mut self, _: Freeze, ctx: &mut Self::Context) {
        ctx.wait(std::future::pending::<()>().into_actor(self));
    }
}

impl Handler<Count> for Patient {
    type Result = MessageResult<Count>;

    fn handle(&mut self, _: Count, _ctx: &mut Self::Context) -> Self::Result {
        self.counted += 1;
        MessageResult((self.incarnation.number(), self.counted))
    }
}

impl Handler<Hold> for Patient {
    type Result = ();

    fn handle(&mut self, Hold(token): Hold, _ctx: &mut Self::Context) {
        self.incarnation.spawn(async move {
            let _held = token;
            std::future::pending::<()>().await;
        });
    }
}

/// A supervisor whose escalations are collected, not obeyed.
pub struct Ward {
    pub supervisor: Supervisor,
    pub escalations: Arc<Mutex<Vec<Reason>>>,
    pub token: Arc<()>,
}

impl Ward {
    pub fn open() -> Self {
        Self::with_ping(None)
    }

    pub fn with_ping(ping: Option<Duration>) -> Self {
        let escalations = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&escalations);
        let escalation = Escalation::by(move |reason| seen.lock().unwrap().push(reason.clone()));
        let backoff = Backoff {
            min: Duration::from_millis(5),
            max: Duration::from_millis(20),
        };
        let supervisor = Supervisor::start(SupervisorConfig { ping, backoff }, escalation);
        Self {
            supervisor,
            escalations,
            token: Arc::new(()),
        }
    }

    pub async fn admit(&self, name: &str, policy: Policy) -> Child<Patient> {
        let token = Arc::clone(&self.token);
        let factory = move |incarnation| healthy(incarnation, &token);
        let child = self.supervisor.supervise(name, policy, factory).unwrap();
        wait_until("the first start", || child.addr().is_some()).await;
        child
    }

    pub fn stats(&self, name: &str) -> Option<ChildStats> {
        self.supervisor
            .stats()
            .into_iter()
            .find(|child| child.name == name)
    }

    pub async fn wait_for_restarts(&self, name: &str, restarts: u64) -> ChildStats {
        let reached = || {
            self.stats(name)
                .filter(|s| s.restarts >= restarts && s.up_since.is_some())
        };
        wait_until("a restart", || reached().is_some()).await;
        reached().unwrap()
    }

    pub fn escalated(&self) -> Vec<Reason> {
        self.escalations.lock().unwrap().clone()
    }
}

pub fn healthy(incarnation: Incarnation, token: &Arc<()>) -> Patient {
    Patient {
        incarnation,
        counted: 0,
        _token: Arc::clone(token),
        dies_in_started: false,
    }
}

/// Bears more than any test does to it.
pub fn hardy() -> Policy {
    Policy::singleton(Intensity {
        restarts: 1000,
        within: Duration::from_secs(60),
    })
}

/// Counts calls of `on_exhausted`.
pub fn budget_of(restarts: u32) -> (Policy, Arc<AtomicU64>) {
    let spent = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&spent);
    let settle = move |_| {
        count.fetch_add(1, Ordering::SeqCst);
    };
    (Policy::budget(Intensity::lifetime(restarts), settle), spent)
}

pub async fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        actix_rt::time::sleep(Duration::from_millis(1)).await;
    }
}
