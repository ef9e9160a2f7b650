//! One life of a child: its number, what ends it, what it died of. Never outlives its report: the guard's
//! drop sends exactly one `Down`.

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use actix::{Actor, ActorContext, Context};
use futures_util::FutureExt;
use futures_util::future::{Either, select};
use tokio::sync::{mpsc, watch};

use super::registry::Event;
use super::table::{ChildId, locked};

/// What ended an incarnation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Cause {
    /// It said [`Incarnation::finish`]: its work is done. Not a death.
    #[error("finished")]
    Finished,
    /// It stopped without having finished.
    #[error("stopped")]
    Stopped,
    /// It panicked: in a handler, a context future, an interval, `started()`, or while it was dropped.
    #[error("panicked: {0}")]
    Panicked(String),
    /// A future that it had spawned on the side panicked.
    #[error("a spawned future panicked: {0}")]
    TaskPanicked(String),
    /// Its factory panicked: it never lived.
    #[error("its factory panicked: {0}")]
    FactoryPanicked(String),
    /// Its thread is gone.
    #[error("its arbiter was lost")]
    ArbiterLost,
    /// No thread could be made for it.
    #[error("no arbiter could be made for it: {0}")]
    NoArbiter(String),
    /// It lived but did not answer for so long.
    #[error("frozen: no answer for {0:?}")]
    Frozen(Duration),
}

/// The text of a panic's payload.
pub(super) fn message_of(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a message".to_owned())
}

/// What an incarnation and its supervisor share.
pub(super) struct Life {
    pub(super) child: ChildId,
    pub(super) name: Arc<str>,
    pub(super) number: u64,
    cause: Mutex<Option<Cause>>,
    over: watch::Sender<bool>,
    ping: watch::Sender<u64>,
    pong: AtomicU64,
    events: mpsc::UnboundedSender<Event>,
}

impl Life {
    pub(super) fn new(
        child: ChildId,
        name: Arc<str>,
        number: u64,
        events: mpsc::UnboundedSender<Event>,
    ) -> Arc<Self> {
        Arc::new(Self {
            child,
            name,
            number,
            cause: Mutex::new(None),
            over: watch::Sender::new(false),
            ping: watch::Sender::new(0),
            pong: AtomicU64::new(0),
            events,
        })
    }

    /// Ends the actor and its side futures at their next await.
    pub(super) fn end(&self) {
        self.over.send_replace(true);
    }

    pub(super) fn is_over(&self) -> bool {
        *self.over.borrow()
    }

    /// Resolves when the life is to end.
    pub(super) fn over(&self) -> impl Future<Output = ()> + use<> {
        let mut over = self.over.subscribe();
        async move {
            // The sender is gone only together with the life itself.
            let _ = over.wait_for(|over| *over).await;
        }
    }

    /// The first cause stands; only "finished" gives way, because a panic on the way out is a death after all.
    pub(super) fn blame(&self, cause: Cause) {
        let mut known = locked(&self.cause);
        if known.is_none() || *known == Some(Cause::Finished) {
            *known = Some(cause);
        }
    }

    fn finished(&self) {
        locked(&self.cause).get_or_insert(Cause::Finished);
    }

    /// Blames a plain end, unless the actor has said that it was done.
    pub(super) fn stopped(&self) {
        locked(&self.cause).get_or_insert(Cause::Stopped);
    }

    /// Asks for a sign of life: `true` when the last question was answered.
    pub(super) fn ping(&self) -> bool {
        let mut answered = false;
        self.ping.send_modify(|asked| {
            answered = self.pong.load(Ordering::SeqCst) == *asked;
            *asked += 1;
        });
        answered
    }

    /// Answers pings for as long as it is polled; it runs inside the actor's context, so nothing but a
    /// context that is polled to its end can answer.
    pub(super) fn pulse(self: &Arc<Self>) -> impl Future<Output = ()> + use<> {
        let life = Arc::clone(self);
        let mut ping = self.ping.subscribe();
        async move {
            while ping.changed().await.is_ok() {
                let asked = *ping.borrow_and_update();
                life.pong.store(asked, Ordering::SeqCst);
            }
        }
    }
}

/// Stands outside the actor; its drop is the report of the end.
pub(super) struct Guard(Arc<Life>);

impl Guard {
    pub(super) fn new(life: Arc<Life>) -> Self {
        Self(life)
    }

    pub(super) fn life(&self) -> &Arc<Life> {
        &self.0
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let life = &self.0;
        if thread::panicking() {
            life.blame(Cause::Panicked("while it was dropped".to_owned()));
        }
        let unsaid = if life.is_over() {
            Cause::Stopped
        } else {
            Cause::ArbiterLost
        };
        let cause = locked(&life.cause).take().unwrap_or(unsaid);
        life.end();
        // Nobody listens any more once the supervisor has stopped.
        let _ = life.events.send(Event::Down {
            child: life.child,
            incarnation: life.number,
            cause,
        });
    }
}

/// Handed to the factory: what an actor may know and say about its own life.
#[derive(Clone)]
pub struct Incarnation(Arc<Life>);

impl Incarnation {
    pub(super) fn new(life: Arc<Life>) -> Self {
        Self(life)
    }

    /// Grows with each start of this child.
    pub fn number(&self) -> u64 {
        self.0.number
    }

    /// The child's name.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Stops the actor because its work is done: it is not restarted and leaves the table.
    pub fn finish<A: Actor<Context = Context<A>>>(&self, ctx: &mut Context<A>) {
        self.0.finished();
        ctx.stop();
    }

    /// Spawns a future on the current arbiter. It ends with its owner, and its panic is its owner's death.
    ///
    /// Use it in place of `actix_rt::spawn`, where a panic is seen by nobody.
    pub fn spawn(&self, future: impl Future<Output = ()> + 'static) {
        let life = Arc::clone(&self.0);
        actix_rt::spawn(async move {
            let mut guarded = Box::pin(AssertUnwindSafe(future).catch_unwind());
            let panicked = match select(pin!(life.over()), &mut guarded).await {
                Either::Left(_) => None,
                Either::Right((end, _)) => end.err(),
            };
            let dropped = catch_unwind(AssertUnwindSafe(move || drop(guarded)));
            if let Some(payload) = panicked.or(dropped.err()) {
                life.blame(Cause::TaskPanicked(message_of(&*payload)));
                life.end();
            }
        });
    }
}
