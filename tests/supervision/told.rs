//! That an actor of the service died and was replaced is written down for people.

use std::time::{Duration, Instant};

use orch::actors::AddressBook;
use orch::actors::queue::QueueJobs;
use orch::actors::supervisor::Intensity;
use orch::engine::heal;

use super::patient::{Ward, wait_until};
use crate::engine::house::{House, PATIENCE};

#[actix::test]
async fn an_actor_that_panicked_and_lives_again_is_a_healing_that_says_of_what_it_died() {
    let house = House::short().await;
    let ward = Ward::open();
    let book = AddressBook::new(house.engine.clone(), ward.supervisor.clone());
    book.start(Intensity::default()).unwrap();
    wait_until("the start", || house.engine.recovered()).await;
    assert_eq!(heal::recent(&house.engine, 9).await.unwrap(), []);

    house.break_clock();
    book.queue.do_send(QueueJobs);

    let mut told = Vec::new();
    let deadline = Instant::now() + PATIENCE;
    while told.is_empty() {
        assert!(Instant::now() < deadline, "nobody was told");
        tokio::time::sleep(Duration::from_millis(5)).await;
        told = heal::recent(&house.engine, 9).await.unwrap();
    }
    let [told] = &told[..] else { panic!("{told:#?}") };
    let restarted = ward
        .supervisor
        .stats()
        .into_iter()
        .find(|child| child.restarts > 0);
    assert_eq!(told.subject, format!("actor {}", restarted.unwrap().name));
    assert_eq!(told.kind, "supervisor");
    assert_eq!(told.why, "it died: panicked: the clock is broken");
    assert!(told.stuck_ms.is_some(), "{told:?}");
    assert!(ward.escalated().is_empty());
}
