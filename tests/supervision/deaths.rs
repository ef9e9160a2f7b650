//! Every kind of death is seen and answered by a fresh incarnation.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use actix::prelude::*;
use orch::actors::supervisor::{Incarnation, Policy};

use super::patient::{Count, Death, Die, Patient, Ward, hardy, healthy, wait_until};

async fn dies_and_is_replaced(policy: Policy, death: Death, cause: &str) {
    let ward = Ward::open();
    let child = ward.admit("patient", policy).await;
    let old = child.addr().unwrap();
    assert_eq!(child.send(Count).await, Some((1, 1)));
    assert_eq!(child.send(Count).await, Some((1, 2)));

    child.do_send(Die(death));
    let stats = ward.wait_for_restarts("patient", 1).await;

    assert_eq!(stats.last_cause.as_deref(), Some(cause));
    assert_eq!((stats.incarnation, stats.restarts), (2, 1));
    wait_until("the new address", || child.addr().is_some_and(|addr| addr != old)).await;
    assert_eq!(child.send(Count).await, Some((2, 1)), "the state is fresh");
    wait_until("the end of the old address", || !old.connected()).await;
    assert_eq!(
        Arc::strong_count(&ward.token),
        3,
        "one patient is left: the ward's, the factory's and its own"
    );
    assert!(ward.escalated().is_empty());
}

#[actix::test]
async fn a_panic_in_a_handler_is_a_death() {
    dies_and_is_replaced(hardy(), Death::PanicInHandler, "panicked: dies in handler").await;
}

#[actix::test]
async fn a_panic_in_a_context_future_is_a_death() {
    dies_and_is_replaced(hardy(), Death::PanicInSpawn, "panicked: dies in spawn").await;
}

#[actix::test]
async fn a_panic_in_a_future_that_the_actor_waits_for_is_a_death() {
    dies_and_is_replaced(hardy(), Death::PanicInWait, "panicked: dies in wait").await;
}

#[actix::test]
async fn a_panic_in_an_interval_is_a_death() {
    dies_and_is_replaced(hardy(), Death::PanicInInterval, "panicked: dies in interval").await;
}

#[actix::test]
async fn a_panic_in_an_actor_future_is_a_death() {
    dies_and_is_replaced(
        hardy(),
        Death::PanicInActorFuture,
        "panicked: dies in actor future",
    )
    .await;
}

#[actix::test]
async fn a_panic_in_a_side_future_is_the_death_of_its_owner() {
    let cause = "a spawned future panicked: dies in side future";
    dies_and_is_replaced(hardy(), Death::PanicInSideFuture, cause).await;
}

#[actix::test]
async fn a_stop_without_having_finished_is_a_death() {
    dies_and_is_replaced(hardy(), Death::Stop, "stopped").await;
    dies_and_is_replaced(hardy(), Death::Terminate, "stopped").await;
}

#[actix::test]
async fn the_loss_of_its_arbiter_is_a_death_and_the_successor_gets_a_new_one() {
    dies_and_is_replaced(
        hardy().on_own_arbiter(),
        Death::LoseArbiter,
        "its arbiter was lost",
    )
    .await;
}

#[actix::test]
async fn a_panic_on_an_arbiter_of_its_own_is_a_death() {
    dies_and_is_replaced(
        hardy().on_own_arbiter(),
        Death::PanicInHandler,
        "panicked: dies in handler",
    )
    .await;
}

#[actix::test]
async fn a_panic_in_started_is_a_death() {
    let ward = Ward::open();
    let token = Arc::clone(&ward.token);
    let factory = move |incarnation: Incarnation| Patient {
        dies_in_started: incarnation.number() == 1,
        ..healthy(incarnation, &token)
    };
    let child = ward.supervisor.supervise("patient", hardy(), factory).unwrap();

    let stats = ward.wait_for_restarts("patient", 1).await;

    assert_eq!(stats.last_cause.as_deref(), Some("panicked: dies in started"));
    assert_eq!(child.send(Count).await, Some((2, 1)));
}

#[actix::test]
async fn a_panic_in_the_factory_is_a_death_of_the_child_and_not_of_the_supervisor() {
    for policy in [hardy(), hardy().on_own_arbiter()] {
        let ward = Ward::open();
        let token = Arc::clone(&ward.token);
        let factory = move |incarnation: Incarnation| {
            assert!(incarnation.number() > 1, "no body");
            healthy(incarnation, &token)
        };
        let child = ward.supervisor.supervise("patient", policy, factory).unwrap();

        let stats = ward.wait_for_restarts("patient", 1).await;

        assert_eq!(stats.last_cause.as_deref(), Some("its factory panicked: no body"));
        wait_until("the address", || child.addr().is_some()).await;
        assert_eq!(child.send(Count).await, Some((2, 1)));
    }
}

#[derive(Clone)]
struct Spiteful {
    ran_after_its_panic: Arc<AtomicBool>,
}

impl Actor for Spiteful {
    type Context = Context<Self>;

    fn stopping(&mut self, _ctx: &mut Self::Context) -> Running {
        self.ran_after_its_panic.store(true, Ordering::SeqCst);
        panic!("panics again while stopping");
    }
}

impl Drop for Spiteful {
    fn drop(&mut self) {
        panic!("panics again while being dropped");
    }
}

impl Handler<Count> for Spiteful {
    type Result = MessageResult<Count>;

    fn handle(&mut self, _: Count, _ctx: &mut Self::Context) -> Self::Result {
        panic!("first panic");
    }
}

#[actix::test]
async fn a_second_panic_on_the_way_out_does_not_abort_the_process() {
    let ward = Ward::open();
    let ran = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&ran);
    let factory = move |_| Spiteful {
        ran_after_its_panic: Arc::clone(&seen),
    };
    let child = ward.supervisor.supervise("spiteful", hardy(), factory).unwrap();
    wait_until("the first start", || child.addr().is_some()).await;

    assert_eq!(
        child.send(Count).await,
        None,
        "who waits for an answer learns that none will come"
    );
    let stats = ward.wait_for_restarts("spiteful", 1).await;

    assert_eq!(stats.last_cause.as_deref(), Some("panicked: first panic"));
    assert!(
        !ran.load(Ordering::SeqCst),
        "what panicked is not asked to stop in good order"
    );
}

struct Clumsy(Incarnation);

impl Actor for Clumsy {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        if self.0.number() == 1 {
            self.0.finish(ctx);
        }
    }

    fn stopped(&mut self, _ctx: &mut Self::Context) {
        panic!("cannot put its work away");
    }
}

#[actix::test]
async fn who_panics_while_finishing_has_not_finished() {
    let ward = Ward::open();
    ward.supervisor.supervise("clumsy", hardy(), Clumsy).unwrap();
    let stats = ward.wait_for_restarts("clumsy", 1).await;
    assert_eq!(
        stats.last_cause.as_deref(),
        Some("panicked: cannot put its work away")
    );
}

#[actix::test]
async fn the_first_restart_comes_within_a_tenth_of_a_second() {
    let ward = Ward::open();
    let child = ward.admit("patient", hardy()).await;
    let before = std::time::Instant::now();

    child.do_send(Die(Death::PanicInHandler));
    ward.wait_for_restarts("patient", 1).await;

    let took = before.elapsed();
    assert!(took < Duration::from_millis(100), "took {took:?}");
}

#[actix::test]
async fn a_hundred_deaths_of_mixed_kinds_are_all_seen() {
    let ward = Ward::open();
    let child = ward.admit("patient", hardy()).await;
    let kinds = [
        Death::PanicInHandler,
        Death::PanicInSpawn,
        Death::PanicInSideFuture,
        Death::Stop,
    ];
    for (nth, death) in (1..=100).zip(kinds.iter().cycle()) {
        child.do_send(Die(death.clone()));
        let stats = ward.wait_for_restarts("patient", nth).await;
        assert_eq!(stats.restarts, nth);
    }
}
