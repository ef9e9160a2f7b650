//! The handle of a supervised actor: always the current incarnation, or nobody. Never keeps a message for an
//! actor that is down: messages only make things fast, the database is the truth.

use std::fmt;
use std::sync::{Arc, Mutex};

use actix::dev::ToEnvelope;
use actix::{Actor, Addr, Context, Handler, Message};

use super::table::locked;

/// A cloneable handle that survives every restart of its actor.
pub struct Child<A: Actor<Context = Context<A>>> {
    slot: Arc<Slot<A>>,
}

impl<A: Actor<Context = Context<A>>> Child<A> {
    /// A handle without an actor yet, for [`Supervisor::supervise_as`](super::Supervisor::supervise_as).
    pub fn named(name: impl Into<String>) -> Self {
        let current = Mutex::new(Current {
            number: 0,
            addr: None,
        });
        Self {
            slot: Arc::new(Slot {
                name: name.into().into(),
                current,
            }),
        }
    }

    /// The name under which it is supervised.
    pub fn name(&self) -> &str {
        &self.slot.name
    }

    /// The current incarnation's address; `None` while it is down.
    pub fn addr(&self) -> Option<Addr<A>> {
        locked(&self.slot.current).addr.clone()
    }

    /// Sends without waiting; the message is lost when the actor is down.
    pub fn do_send<M>(&self, message: M)
    where
        M: Message + Send + 'static,
        M::Result: Send,
        A: Handler<M>,
        A::Context: ToEnvelope<A, M>,
    {
        if let Some(addr) = self.addr() {
            addr.do_send(message);
        }
    }

    /// Sends and waits for the answer; `None` when the actor is down or dies before it answers.
    pub async fn send<M>(&self, message: M) -> Option<M::Result>
    where
        M: Message + Send + 'static,
        M::Result: Send,
        A: Handler<M>,
        A::Context: ToEnvelope<A, M>,
    {
        self.addr()?.send(message).await.ok()
    }

    pub(super) fn slot(&self) -> Arc<Slot<A>> {
        Arc::clone(&self.slot)
    }
}

impl<A: Actor<Context = Context<A>>> Clone for Child<A> {
    fn clone(&self) -> Self {
        Self {
            slot: Arc::clone(&self.slot),
        }
    }
}

impl<A: Actor<Context = Context<A>>> fmt::Debug for Child<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let current = locked(&self.slot.current);
        f.debug_struct("Child")
            .field("name", &self.slot.name)
            .field("incarnation", &current.number)
            .field("up", &current.addr.is_some())
            .finish()
    }
}

/// Where the current address is published.
pub(super) struct Slot<A: Actor<Context = Context<A>>> {
    name: Arc<str>,
    current: Mutex<Current<A>>,
}

struct Current<A: Actor<Context = Context<A>>> {
    number: u64,
    addr: Option<Addr<A>>,
}

impl<A: Actor<Context = Context<A>>> Slot<A> {
    /// Makes room for the next incarnation, whose number it returns.
    pub(super) fn advance(&self) -> u64 {
        let mut current = locked(&self.current);
        current.number += 1;
        current.number
    }

    /// Withdraws the address.
    pub(super) fn retract(&self) {
        locked(&self.current).addr = None;
    }

    /// Publishes an incarnation's address; refused when another has been made room for since.
    pub(super) fn publish(&self, number: u64, addr: Addr<A>) -> bool {
        let mut current = locked(&self.current);
        let expected = current.number == number;
        if expected {
            current.addr = Some(addr);
        }
        expected
    }
}
