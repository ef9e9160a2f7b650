//! An actor that lives but does not answer counts as dead.

use std::sync::Arc;
use std::time::Duration;

use orch::actors::supervisor::Reason;

use super::patient::{Block, Count, Freeze, Hold, Ward, hardy, wait_until};

const PING: Duration = Duration::from_millis(200);

#[actix::test]
async fn an_actor_that_waits_for_ever_is_replaced_and_ended() {
    let ward = Ward::with_ping(Some(PING));
    let child = ward.admit("patient", hardy()).await;
    let old = child.addr().unwrap();

    child.do_send(Freeze);
    let stats = ward.wait_for_restarts("patient", 1).await;

    assert_eq!(stats.last_cause.as_deref(), Some("frozen: no answer for 200ms"));
    assert_eq!(child.send(Count).await, Some((2, 1)));
    wait_until("the end of the frozen one", || {
        Arc::strong_count(&ward.token) == 3 && !old.connected()
    })
    .await;
    assert!(ward.escalated().is_empty());
}

#[actix::test]
async fn an_actor_that_blocks_its_own_thread_is_replaced_and_its_late_report_is_ignored() {
    let ward = Ward::with_ping(Some(PING));
    let child = ward.admit("patient", hardy().on_own_arbiter()).await;
    let old = child.addr().unwrap();
    let held = Arc::new(());
    assert!(child.send(Hold(Arc::clone(&held))).await.is_some());
    let (block, begun, release) = Block::new();

    child.do_send(block);
    begun.recv().unwrap();
    ward.wait_for_restarts("patient", 1).await;
    wait_until("the new address", || child.addr().is_some_and(|addr| addr != old)).await;
    assert_eq!(
        child.send(Count).await,
        Some((2, 1)),
        "a new thread serves while the old one blocks"
    );
    assert!(old.connected(), "a blocked thread cannot be interrupted");

    drop(release);
    wait_until("the end of the thawed one", || {
        Arc::strong_count(&ward.token) == 3
    })
    .await;
    wait_until("the end of its side future", || Arc::strong_count(&held) == 1).await;
    // The supervisor hears in order: when a newcomer is up, the late report has been heard.
    ward.admit("newcomer", hardy()).await;
    let stats = ward.stats("patient").unwrap();
    assert_eq!((stats.incarnation, stats.restarts), (2, 1));
    assert_eq!(child.send(Count).await, Some((2, 2)), "the successor went on");
}

#[actix::test]
async fn a_healthy_actor_is_left_alone() {
    let ward = Ward::with_ping(Some(PING));
    let (frozen, healthy) = (
        ward.admit("frozen", hardy()).await,
        ward.admit("healthy", hardy()).await,
    );
    for round in 1..=2 {
        frozen.do_send(Freeze);
        ward.wait_for_restarts("frozen", round).await;
    }
    assert_eq!(healthy.send(Count).await, Some((1, 1)));
}

#[actix::test]
async fn without_a_ping_limit_nothing_counts_as_frozen() {
    let off = Ward::open();
    let on = Ward::with_ping(Some(PING));
    let child = off.admit("patient", hardy()).await;
    child.do_send(Freeze);
    on.admit("patient", hardy()).await.do_send(Freeze);

    on.wait_for_restarts("patient", 1).await;

    assert_eq!(off.stats("patient").unwrap().restarts, 0);
}

#[actix::test]
async fn a_block_of_the_supervisors_own_thread_escalates() {
    let ward = Ward::with_ping(Some(PING));
    let child = ward.admit("patient", hardy()).await;
    let (block, _begun, release) = Block::new();
    let escalations = Arc::clone(&ward.escalations);
    let outside = std::thread::spawn(move || {
        let deadline = std::time::Instant::now() + Duration::from_secs(20);
        while escalations.lock().unwrap().is_empty() && std::time::Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
        }
        drop(release);
    });

    assert!(child.send(block).await.is_some());
    outside.join().unwrap();

    assert_eq!(ward.escalated(), [Reason::ArbiterBlocked(PING)]);
}
