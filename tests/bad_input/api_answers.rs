//! What the real service says of itself while there is work of every kind, two hundred at once, and waiting for news.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use orch::engine::views::AddTask;
use serde_json::{Value, json};

use super::{TWO_STAGES, blocked};
use crate::support::{Agent, Project, Repo, Setup};

#[test]
fn status_and_queue_show_what_is_there() {
    let repo = Repo::new();
    let agent = Agent::new().role(
        "developer",
        "case $ORCH_WORK_ITEM in FAILS) exit 3 ;; RUNS) here runs; until_told go ;; esac; echo x >\"$ORCH_WORK_ITEM\"",
    );
    let mut service = Setup::new()
        .set("queue.max_attempts", 1)
        .set("queue.tick_s", 7)
        .project(Project::new("shop", &repo).agent(&agent).then(TWO_STAGES))
        .start();
    let add = |service: &crate::support::TestService, id: &str, hold: bool| {
        service.add_task(&AddTask {
            id: Some(id.to_owned()),
            title: format!("Do {id}"),
            hold,
            ..AddTask::default()
        });
    };
    let health = service.api().get("/health");
    assert_eq!(health.text(), r#"{"status":"ok","service":"orchestrator"}"#);
    assert_eq!(health.header("content-type"), Some("application/json"));
    let ready: Value = service.api().get("/ready").ok();
    assert_eq!(ready, json!({ "status": "ready" }));

    add(&service, "DONE", false);
    service.wait_status("DONE", "done");
    add(&service, "FAILS", false);
    blocked(&mut service, "FAILS");
    add(&service, "HELD", true);
    add(&service, "RUNS", false);
    service.wait_here("runs");
    add(&service, "WAITS", false);

    let status: Value = service.api().get("/status").ok();
    let of = |list: &Value, key: &str| -> BTreeSet<String> {
        let all = list.as_array().unwrap().iter();
        all.map(|one| one[key].as_str().unwrap().to_owned()).collect()
    };
    let names = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect::<BTreeSet<_>>();
    assert_eq!(
        of(&status["tasks"], "id"),
        names(&["FAILS", "HELD", "RUNS", "WAITS"])
    );
    let actors = of(&status["actors"], "name");
    assert!(
        actors.is_superset(&names(&["notifier", "queue"]))
            && actors.iter().any(|a| a.starts_with("monitor-")),
        "{actors:?}"
    );
    for actor in status["actors"].as_array().unwrap() {
        assert_eq!(
            (&actor["incarnation"], &actor["restarts"]),
            (&json!(1), &json!(0)),
            "{actor}"
        );
        let since = actor["up_since"].as_str().unwrap();
        assert!(since.starts_with("20") && since.ends_with('Z'), "{actor}");
    }
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(status["instance"].as_str().unwrap().len(), 36);

    service.pause(true);
    let queue: Value = service.api().get("/queue").ok();
    // FAILS, DONE and its merge are over; RUNS and WAITS are not.
    assert_eq!(
        queue["counts"],
        json!({ "queued": 1, "running": 1, "done": 2, "failed": 1, "cancelled": 0 })
    );
    assert_eq!(
        (
            &queue["max_concurrency"],
            &queue["poll_interval"],
            &queue["paused"]
        ),
        (&json!(1), &json!(7), &json!(true))
    );
    let live = queue["live"].as_array().unwrap();
    assert_eq!(of(&queue["live"], "task"), names(&["RUNS", "WAITS"]));
    let waits = live.iter().find(|job| job["task"] == "WAITS").unwrap();
    assert_eq!(
        (&waits["status"], &waits["held"]),
        (&json!("queued"), &json!("the queue is paused"))
    );
    assert_eq!(
        of(&queue["recent"], "task"),
        names(&["DONE", "FAILS", "RUNS", "WAITS"])
    );
    for (block, keys) in [
        ("resilience", &["enabled"][..]),
        (
            "reconcile",
            &[
                "enabled",
                "plane_enabled",
                "interval",
                "last_run_ts",
                "unblocked_total",
                "last_unblocked",
            ],
        ),
        (
            "reaper",
            &[
                "enabled",
                "interval",
                "last_run_ts",
                "reaped_total",
                "last_reaped",
                "lease_reclaimed_total",
            ],
        ),
        ("post_deploy", &["enabled", "watching", "last"]),
        (
            "repair",
            &[
                "enabled",
                "source",
                "since",
                "problem",
                "matched_total",
                "last_match",
                "breakers",
                "nodes",
                "hanging",
            ],
        ),
    ] {
        for key in keys {
            assert!(queue[block].get(key).is_some(), "{block}.{key}: {queue}");
        }
    }
    service.pause(false);
    service.tell("go");
    for id in ["RUNS", "WAITS"] {
        service.wait_status(id, "done");
    }
    let idle = service.wait_idle();
    assert_eq!(
        (idle.counts.queued, idle.counts.running, idle.counts.done),
        (0, 0, 6)
    );
    let status: Value = service.api().get("/status").ok();
    assert_eq!(of(&status["tasks"], "id"), names(&["FAILS", "HELD"]));
}

#[test]
fn two_hundred_at_once_are_all_answered_and_nothing_is_added_twice() {
    let repo = Repo::new();
    let service = Setup::new()
        .project(Project::new("shop", &repo).then(TWO_STAGES))
        .start();
    let api = service.api();
    let ask = |n: usize| match n % 4 {
        0 => api.post(
            "/api/v1/tasks",
            &json!({ "title": format!("Task {n}"), "hold": true }),
        ),
        1 => api.post(
            "/api/v1/tasks",
            &json!({ "title": "The same", "external_id": "same", "hold": true }),
        ),
        2 => api.get("/api/v1/tasks?all=true"),
        _ => api.get(["/status", "/queue", "/health", "/ready", "/api/v1/events"][n / 4 % 5]),
    };
    let answers: Vec<_> = std::thread::scope(|scope| {
        let askers: Vec<_> = (0..200).map(|n| scope.spawn(move || (n, ask(n)))).collect();
        askers.into_iter().map(|asker| asker.join().unwrap()).collect()
    });
    let mut numbered = BTreeSet::new();
    let (mut same, mut made) = (BTreeSet::new(), 0);
    for (n, answer) in answers {
        assert!((200..300).contains(&answer.status), "{n}: {}", answer.text());
        let id = || answer.json::<Value>()["id"].as_str().unwrap().to_owned();
        match n % 4 {
            0 => assert!(numbered.insert(id()), "{} was given twice", id()),
            1 => {
                made += usize::from(answer.status == 201);
                same.insert(id());
            }
            _ => {}
        }
    }
    assert_eq!((numbered.len(), same.len(), made), (50, 1, 1));
    let tasks: Vec<Value> = api.get("/api/v1/tasks?all=true").ok();
    assert_eq!(tasks.len(), 51);
    assert_eq!(service.events(0, 0).len(), 51, "one event for each");
}

#[test]
fn waiting_for_news_ends_with_its_time_or_with_the_news() {
    let repo = Repo::new();
    let service = Setup::new()
        .project(Project::new("shop", &repo).then(TWO_STAGES))
        .start();
    let began = Instant::now();
    assert_eq!(service.events(0, 1), []);
    let took = began.elapsed();
    assert!(
        took >= Duration::from_secs(1) && took < Duration::from_secs(10),
        "{took:?}"
    );
    // Many wait at once, longer than anything here takes; one event is news for all of them.
    let api = service.api();
    let waiting: Vec<_> = (0..50)
        .map(|_| {
            let api = api.clone();
            std::thread::spawn(move || api.get("/api/v1/events?after=0&wait_s=30").ok::<Vec<Value>>())
        })
        .collect();
    let began = Instant::now();
    service.add_task(&AddTask {
        title: "News".to_owned(),
        hold: true,
        ..AddTask::default()
    });
    for asker in waiting {
        assert_eq!(asker.join().unwrap()[0]["kind"], "created");
    }
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    for query in [
        "after=x",
        "wait_s=-1",
        "wait_s=1.5",
        "before=1",
        "after=99999999999999999999",
    ] {
        let answer = api.get(&format!("/api/v1/events?{query}"));
        let detail = super::names::refused(&answer, 400, query);
        super::assert_names(&detail, &[query]);
    }
}
