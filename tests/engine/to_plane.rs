//! Notices of issues in Plane reach it once and in order; while it is down, nothing else waits and nothing is lost.

use std::net::TcpListener;
use std::time::Duration;

use orch::domain::id::TaskId;
use orch::engine::deliver;
use serde_json::Value;

use super::house::{House, Plan, SHORT};
use crate::support::fake_plane::{FakePlane, KEY, PROJECT, WORKSPACE};

async fn house(url: &str) -> House {
    Plan::new(SHORT)
        .set(&format!("plane.url = '{url}'"))
        .set(&format!("plane.api_token = '{KEY}'"))
        .set(&format!("plane.workspace = '{WORKSPACE}'"))
        .set("plane.token_developer = 'key-of-developer'")
        .top("tracker = 'plane'")
        .top(&format!("plane_project = '{PROJECT}'"))
        .top("tracker_states = { done = 'Shipped' }")
        .build()
        .await
}

/// A task whose issue is in Plane, with nothing to be told yet.
async fn task(house: &House, issue: &str) -> TaskId {
    let task = house.add(issue).await;
    house.sql(&format!(
        "UPDATE tasks SET tracker = 'plane', external_id = '{issue}' WHERE id = {task}"
    ));
    house.sql("DELETE FROM outbox");
    task
}

fn comment(house: &House, task: TaskId, cause: &str) {
    notice(
        house,
        (task, cause, "comment"),
        &format!(r#"{{"author":"developer","body":"{cause}"}}"#),
    );
}

fn state(house: &House, task: TaskId, cause: &str, status: &str) {
    let payload = format!(r#"{{"state":"Usual","status":"{status}","stage":"development"}}"#);
    notice(house, (task, cause, "state"), &payload);
}

fn notice(house: &House, (task, cause, kind): (TaskId, &str, &str), payload: &str) {
    let now = house.engine.now().0;
    house.sql(&format!(
        "INSERT INTO outbox (task_id, cause, kind, channel, payload, status, available_at, created_at) VALUES \
         ({task}, '{cause}', '{kind}', 'tracker', '{payload}', 'pending', {now}, {now})"
    ));
}

fn causes(plane: &FakePlane, issue: &str) -> Vec<String> {
    let cause = |c: &Value| c["external_id"].as_str().unwrap().to_owned();
    plane.comments(issue).iter().map(cause).collect()
}

fn unseen(house: &House, task: TaskId) -> Value {
    let text = house.sql_lines(&format!(
        "SELECT coalesce(tracker_unseen, '[]') AS line FROM tasks WHERE id = {task}"
    ));
    serde_json::from_str(&text[0]).unwrap()
}

#[tokio::test]
async fn an_issue_is_told_in_order_under_the_names_of_its_board_and_its_echo_is_expected() {
    let plane = FakePlane::new();
    plane.key("key-of-developer", "the-developer");
    plane.add_state(PROJECT, "Shipped");
    let issue = plane.issue(PROJECT, "Search");
    let house = house(&plane.url).await;
    let task = task(&house, &issue).await;
    plane.take_seen();
    state(&house, task, "s-1", "active");
    comment(&house, task, "c-1");
    let (_, trouble) = house.delivered().await;
    assert_eq!(trouble, [""; 0]);
    // One that another one follows is not written.
    state(&house, task, "s-2", "blocked");
    state(&house, task, "s-3", "done");
    house.deliver().await;
    state(&house, task, "s-4", "done");
    house.deliver().await;
    assert_eq!(
        plane.take_seen(),
        [
            "GET states 200",
            "GET work-items 200",
            "PATCH work-items 200",
            "POST comments 201",
            "GET work-items 200",
            "PATCH work-items 200",
            // It is there already.
            "GET work-items 200",
        ]
    );
    assert_eq!(plane.state_of(&issue), "Shipped");
    assert_eq!(plane.comments(&issue)[0]["actor"], "the-developer");
    let unseen = unseen(&house, task);
    let states: Vec<_> = unseen
        .as_array()
        .unwrap()
        .iter()
        .filter(|u| u["seen"].is_null())
        .map(|u| u["state"].as_str())
        .collect();
    assert_eq!(states, [Some("In Progress"), Some("Shipped")]);
    assert!(
        unseen.as_array().unwrap().iter().all(|u| u["at"].is_i64()),
        "{unseen}"
    );
}

#[tokio::test]
async fn a_plane_that_is_down_for_an_hour_delays_nothing_else_and_loses_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let house = house(&format!("http://{address}")).await;
    let ids: Vec<_> = [
        "00000000-0000-4000-8000-00000000000b",
        "00000000-0000-4000-8000-00000000000d",
    ]
    .into();
    let (first, second) = (task(&house, ids[0]).await, task(&house, ids[1]).await);
    comment(&house, first, "c-1");
    comment(&house, first, "c-2");
    state(&house, second, "s-1", "active");
    let local = house.add("Here").await;
    house.sql("DELETE FROM outbox WHERE kind <> 'comment' AND task_id = 3");
    notice(
        &house,
        (local, "here", "comment"),
        r#"{"author":"orch","body":"said"}"#,
    );
    let (_, trouble) = house.delivered().await;
    assert_eq!(trouble.len(), 1, "one try is enough for all: {trouble:?}");
    assert!(trouble[0].contains("cannot be reached"), "{trouble:?}");
    assert_eq!(house.count("comments"), 1, "what is here is told at once");

    for _ in 0..60 {
        house.later(Duration::from_secs(60));
        house.deliver().await;
    }
    let plane = FakePlane::on(TcpListener::bind(address).unwrap());
    // The fake numbers what it makes: ten states, then an issue and its delivery each.
    assert_eq!(
        [plane.issue(PROJECT, "A"), plane.issue(PROJECT, "B")],
        [ids[0], ids[1]]
    );
    house.later(Duration::from_secs(3600));
    let (_, trouble) = house.delivered().await;
    let trouble: Vec<_> = trouble.iter().filter(|t| !t.contains("403")).collect();
    assert_eq!(trouble, [""; 0]);
    plane.key("key-of-developer", "the-developer");
    house.later(Duration::from_secs(3600));
    house.deliver().await;
    assert_eq!(causes(&plane, ids[0]), ["c-1", "c-2"]);
    assert_eq!(plane.state_of(ids[1]), "In Progress");
    assert_eq!(deliver::list(&house.engine).await.unwrap(), []);
}

#[tokio::test]
async fn who_died_after_a_state_was_written_does_not_take_its_echo_for_a_person() {
    let plane = FakePlane::new();
    let issue = plane.issue(PROJECT, "Search");
    let house = house(&plane.url).await;
    let task = task(&house, &issue).await;
    state(&house, task, "s-1", "active");
    // The answer is lost, twice: the change was made.
    plane.slow(2, Duration::ZERO);
    plane.drop_answer(2);
    let (_, trouble) = house.delivered().await;
    assert_eq!(trouble.len(), 1, "{trouble:?}");
    assert_eq!(plane.state_of(&issue), "In Progress");
    let begun = &unseen(&house, task)[0];
    assert!(
        begun["state"] == "In Progress" && begun["at"].is_null(),
        "{begun}"
    );
    plane.take_seen();
    house.later(Duration::from_secs(60));
    house.deliver().await;
    assert_eq!(
        plane.take_seen(),
        ["GET work-items 200"],
        "asked, and not written again"
    );
    let unseen = unseen(&house, task);
    assert!(
        unseen[0]["at"].is_i64() && unseen.as_array().unwrap().len() == 1,
        "{unseen}"
    );
}

#[tokio::test]
async fn what_is_wrong_with_one_issue_holds_up_no_other_and_a_missing_state_is_told() {
    let plane = FakePlane::new();
    plane.key("key-of-developer", "the-developer");
    let issue = plane.issue(PROJECT, "Search");
    let house = house(&plane.url).await;
    let gone = task(&house, "00000000-0000-4000-8000-0000000000ff").await;
    let here = task(&house, &issue).await;
    comment(&house, gone, "c-gone");
    comment(&house, here, "c-1");
    state(&house, here, "s-1", "done");
    let (_, trouble) = house.delivered().await;
    assert_eq!(causes(&plane, &issue), ["c-1"]);
    assert_eq!(trouble.len(), 2, "{trouble:?}");
    assert!(trouble[0].contains("is not there"), "{trouble:?}");
    assert!(
        trouble[1].contains("no state \"Shipped\": nothing was written"),
        "{trouble:?}"
    );
    assert_eq!(deliver::list(&house.engine).await.unwrap().len(), 1);
}
