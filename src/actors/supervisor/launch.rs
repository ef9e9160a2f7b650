//! Brings one incarnation to life: builds the context by hand, publishes the address, and runs the actor
//! inside a guarded future. Never decides whether it should live.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{self, Poll, Waker};

use actix::dev::ContextFut;
use actix::fut::wrap_future;
use actix::{Actor, ActorContext, AsyncContext, Context};
use actix_rt::Arbiter;

use super::child::{Child, Slot};
use super::incarnation::{Cause, Guard, Incarnation, Life, message_of};
use super::policy::Placement;

/// How a child is made, with its actor's type forgotten.
pub(super) trait Launch: Send {
    /// The number of the next incarnation.
    fn advance(&self) -> u64;
    /// Withdraws the address.
    fn retract(&self);
    /// Starts an incarnation. Whatever goes wrong is reported through the guard.
    fn launch(&self, guard: Guard) -> Option<OwnArbiter>;
}

/// A thread that is asked to end when its incarnation is over.
pub(super) struct OwnArbiter(Arbiter);

impl Drop for OwnArbiter {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// The factory and what it needs.
pub(super) struct Recipe<A: Actor<Context = Context<A>>, F> {
    slot: Arc<Slot<A>>,
    placement: Placement,
    factory: Arc<F>,
}

impl<A: Actor<Context = Context<A>>, F> Recipe<A, F> {
    pub(super) fn new(child: &Child<A>, placement: Placement, factory: F) -> Self {
        Self {
            slot: child.slot(),
            placement,
            factory: Arc::new(factory),
        }
    }
}

impl<A, F> Launch for Recipe<A, F>
where
    A: Actor<Context = Context<A>>,
    F: Fn(Incarnation) -> A + Send + Sync + 'static,
{
    fn advance(&self) -> u64 {
        self.slot.advance()
    }

    fn retract(&self) {
        self.slot.retract();
    }

    fn launch(&self, guard: Guard) -> Option<OwnArbiter> {
        match self.placement {
            Placement::Shared => {
                begin(&self.slot, &*self.factory, guard);
                None
            }
            Placement::OwnArbiter => match Arbiter::try_new() {
                Ok(arbiter) => {
                    let (slot, factory) = (Arc::clone(&self.slot), Arc::clone(&self.factory));
                    arbiter.spawn_fn(move || begin(&slot, &*factory, guard));
                    Some(OwnArbiter(arbiter))
                }
                Err(error) => {
                    guard.life().blame(Cause::NoArbiter(error.to_string()));
                    None
                }
            },
        }
    }
}

/// Builds the actor and spawns it on the current arbiter. The address is public before `started()` runs.
fn begin<A, F>(slot: &Slot<A>, factory: &F, guard: Guard)
where
    A: Actor<Context = Context<A>>,
    F: Fn(Incarnation) -> A,
{
    let life = guard.life();
    let incarnation = Incarnation::new(Arc::clone(life));
    let actor = match catch_unwind(AssertUnwindSafe(|| factory(incarnation))) {
        Ok(actor) => actor,
        Err(payload) => {
            life.blame(Cause::FactoryPanicked(message_of(&*payload)));
            return;
        }
    };
    let mut context = Context::new();
    context.spawn(wrap_future::<_, A>(life.pulse()));
    if slot.publish(life.number, context.address()) {
        actix_rt::spawn(live(context, actor, guard));
    } else {
        // A thread that came to life too late: a successor has the name already.
        life.stopped();
    }
}

/// The whole life of one incarnation. The guard is dropped last, after the actor.
async fn live<A: Actor<Context = Context<A>>>(context: Context<A>, actor: A, guard: Guard) {
    let life = Arc::clone(guard.life());
    if life.is_over() {
        // Not even `started()` may run; a context future would run it when dropped.
        return;
    }
    let mut over = pin!(life.over());
    let mut body = Body {
        life: Arc::clone(&life),
        running: Some(context.into_future(actor)),
    };
    poll_fn(|cx| {
        if over.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        body.poll(cx).map(|()| life.stopped())
    })
    .await;
}

/// A running actor whose panics, on whatever way out, end here.
struct Body<A: Actor<Context = Context<A>>> {
    life: Arc<Life>,
    /// `None` once it is over.
    running: Option<ContextFut<A, Context<A>>>,
}

impl<A: Actor<Context = Context<A>>> Body<A> {
    fn poll(&mut self, cx: &mut task::Context<'_>) -> Poll<()> {
        let Some(running) = &mut self.running else {
            return Poll::Ready(());
        };
        match catch_unwind(AssertUnwindSafe(|| Pin::new(&mut *running).poll(cx))) {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(())) => {}
            Err(payload) => {
                // What a panic left behind is not trusted to run `stopping()` and `stopped()`.
                running.ctx().terminate();
                self.life.blame(Cause::Panicked(message_of(&*payload)));
            }
        }
        self.bury();
        Poll::Ready(())
    }

    fn bury(&mut self) {
        let dead = self.running.take();
        if let Err(payload) = catch_unwind(AssertUnwindSafe(move || drop(dead))) {
            self.life.blame(Cause::Panicked(message_of(&*payload)));
        }
    }
}

impl<A: Actor<Context = Context<A>>> Drop for Body<A> {
    /// Ended from outside: the actor is asked to stop in good order, but gets no second chance.
    fn drop(&mut self) {
        if let Some(running) = &mut self.running {
            running.ctx().stop();
            if self
                .poll(&mut task::Context::from_waker(Waker::noop()))
                .is_pending()
            {
                self.running
                    .iter_mut()
                    .for_each(|running| running.ctx().terminate());
                self.bury();
            }
        }
    }
}
