//! The watch of the host: told once per crossing, claims stop and go on, and an idle look writes nothing.

use std::time::Duration;

use orch::engine::host::{self, Looked, Part, Reading};
use orch::engine::queries;

use super::house::{House, Plan, SHORT};

async fn seen(house: &House, reading: Reading) -> Looked {
    let key = match reading {
        Reading::Used(_) => "disk.data_dir",
        Reading::Ahead(_) => "clock",
    };
    let part = Part {
        key,
        what: "the disk of data_dir".to_owned(),
        reading,
    };
    house.later(Duration::from_secs(30));
    host::judge(&house.engine, vec![part], Vec::new()).await.unwrap()
}

async fn used(house: &House, permille: u32) -> Looked {
    seen(house, Reading::Used(permille)).await
}

/// What people were told of the host.
async fn told(house: &House) -> Vec<String> {
    let told = house.deliver().await;
    told.into_iter()
        .filter(|(about, _)| about == "host")
        .map(|(_, text)| text)
        .collect()
}

#[tokio::test]
async fn a_disk_is_told_once_for_each_time_that_it_fills_up_and_an_idle_look_writes_nothing() {
    let house = House::short().await;
    let idle = house.dump();
    assert_eq!(used(&house, 850).await, Looked::default());
    assert_eq!(house.dump(), idle);

    assert_eq!(used(&house, 851).await.worse.len(), 1);
    let first = told(&house).await;
    assert_eq!(first.len(), 1, "{first:?}");
    assert!(
        first[0].contains("85.1 %") && first[0].contains("orch prune"),
        "{first:?}"
    );
    let idle = house.dump();
    for swings in [849, 900, 840, 852] {
        assert_eq!(used(&house, swings).await, Looked::default());
    }
    assert_eq!(house.dump(), idle);

    assert_eq!(used(&house, 700).await.better.len(), 1);
    assert_eq!(told(&house).await, [""; 0], "that it is better is no message");
    assert_eq!(used(&house, 851).await.worse.len(), 1);
    assert_eq!(told(&house).await.len(), 1, "another crossing is another cause");
}

#[tokio::test]
async fn a_restart_does_not_tell_again_what_was_told() {
    let mut house = House::short().await;
    used(&house, 900).await;
    assert_eq!(told(&house).await.len(), 1);
    house.restart().await;
    assert_eq!(used(&house, 910).await, Looked::default());
    assert_eq!(told(&house).await, [""; 0]);
}

#[tokio::test]
async fn on_a_full_disk_nothing_is_claimed_which_is_said_and_heals_by_itself() {
    let mut house = House::short().await;
    house.add("Say hello").await;
    assert_eq!(used(&house, 960).await.worse.len(), 1);
    assert_eq!(house.claim().await, []);
    let queue = queries::queue(&house.engine, house.engine.now()).await.unwrap();
    let held = queue.live[0].held.clone().unwrap();
    assert!(
        held.contains("host.disk_stop_percent") && held.contains("orch prune"),
        "{held}"
    );
    assert_eq!(used(&house, 931).await, Looked::default());
    assert_eq!(house.claim().await, [], "not before there is some room");

    while house.hints.try_recv().is_ok() {}
    assert_eq!(used(&house, 900).await.better.len(), 1);
    assert!(house.hints.try_recv().is_ok(), "the queue is woken");
    let healed = "SELECT kind || ': ' || action || ' ' || (stuck_us / 1000000) AS line FROM healing_events";
    assert_eq!(house.sql_lines(healed), ["host: claims go on 60"]);
    assert_eq!(house.claim().await.len(), 1);
}

#[tokio::test]
async fn a_full_disk_stops_claims_also_when_it_takes_no_alert() {
    let house = House::short().await;
    house.add("Say hello").await;
    house.sql(
        "CREATE TRIGGER full BEFORE INSERT ON settings_state BEGIN SELECT RAISE(ABORT, 'disk full'); END",
    );
    let part = Part {
        key: "disk.data_dir",
        what: "the disk".to_owned(),
        reading: Reading::Used(999),
    };
    let look = async || host::judge(&house.engine, vec![part.clone()], Vec::new()).await;
    assert!(look().await.is_err());
    assert_eq!(house.claim().await, []);
    house.sql("DROP TRIGGER full");
    assert_eq!(look().await.unwrap().worse.len(), 1, "told by the next look");
    assert_eq!(told(&house).await.len(), 1);
}

#[tokio::test]
async fn a_clock_that_is_off_is_told_once_and_stops_nothing() {
    let house = House::short().await;
    house.add("Say hello").await;
    assert_eq!(seen(&house, Reading::Ahead(60_000_000)).await, Looked::default());
    assert_eq!(seen(&house, Reading::Ahead(-75_000_000)).await.worse.len(), 1);
    assert_eq!(seen(&house, Reading::Ahead(-76_000_000)).await, Looked::default());
    let told = told(&house).await;
    assert!(told.len() == 1 && told[0].contains("-75 s"), "{told:?}");
    assert_eq!(house.claim().await.len(), 1);
}

#[tokio::test]
async fn a_watch_that_is_switched_off_looks_at_nothing() {
    let house = Plan::new(SHORT)
        .set("host.watch_enabled = false")
        .set("host.disk_alert_percent = 1")
        .set("host.disk_stop_percent = 2")
        .build()
        .await;
    house.add("Say hello").await;
    let before = house.dump();
    assert_eq!(host::look(&house.engine).await.unwrap(), Looked::default());
    assert_eq!(house.dump(), before);
    assert_eq!(house.claim().await.len(), 1);
}
