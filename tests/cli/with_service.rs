//! With a service: what is asked of it, and what is made of its answers.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;

use super::Orch;
use crate::support::{FakeService, Reply};

fn task(id: &str, title: &str) -> serde_json::Value {
    json!({
        "id": id, "project": "shop", "title": title, "stage": "created", "status": "active", "reason": null,
        "branch": "feature/x", "candidate": null, "developer_retries": 0, "priority": 0,
        "stage_entered_at": "2026-01-01T00:00:00Z", "created_at": "2026-01-01T00:00:00Z", "finished_at": null
    })
}

fn at(service: &FakeService) -> Orch {
    Orch::new().env("ORCH_API_URL", &service.url)
}

#[test]
fn json_is_what_the_api_said_byte_for_byte() {
    let body = r#"{ "counts":{"queued":1},   "order":"kept" }"#;
    let service = FakeService::new(move |_| Reply::new(200, body));
    let ended = at(&service).run(&["queue", "--json"]);
    assert_eq!((ended.code, ended.out), (0, format!("{body}\n")));
    assert_eq!(service.asked()[0].line, "GET /queue");
}

#[test]
fn the_queue_says_in_a_line_each_what_is_not_in_order() {
    let counts = json!({"queued": 0, "running": 0, "done": 0, "failed": 0, "cancelled": 0});
    let queue = |repair: serde_json::Value| {
        let queue = json!({"counts": counts, "max_concurrency": 1, "poll_interval": 1, "paused": false, "live": [],
            "recent": [], "repair": repair});
        let body = queue.to_string();
        let service = FakeService::new(move |_| Reply::new(200, body.clone()));
        at(&service).run(&["queue"]).out
    };
    let calm = json!({"enabled": true, "source": "built in", "matched_total": 3, "breakers": [], "nodes": [],
        "hanging": []});
    assert_eq!(queue(calm).lines().count(), 1);
    let said = queue(json!({
        "enabled": true, "source": "/etc/rules.json", "since": "2026-01-01T00:00:00Z",
        "problem": "repair.rules_file /etc/rules.json: is\u{1b}[2J no file", "matched_total": 3,
        "breakers": [{"scope": "project:shop", "stands": "open", "failures": 5, "opened_at": null,
            "until": "2026-01-01T00:30:00Z"}],
        "nodes": [{"node": "a", "kind": "own", "slots": 1, "taken": 0, "labels": [], "stands": "blacklisted", "slots_fewer": 0, "until": "2026-01-01T00:30:00Z",
            "reason": "no_cli: no such program"},
            {"node": "b", "kind": "ssh", "slots": 2, "taken": 0, "labels": [], "stands": "usable", "slots_fewer": 1, "until": null, "reason": "oom: memory"}],
        "hanging": [{"what": "job 17", "seconds": 300}],
    }));
    insta::assert_snapshot!(said, @r"
    0 queued, 0 running of 1 at once; last 24 h: 0 done, 0 failed, 0 cancelled
    ! repair rules: repair.rules_file /etc/rules.json: is no file; the last good ones, of 2026-01-01T00:00:00Z, stay in force
    ! breaker project:shop is open until 2026-01-01T00:30:00Z after 5 failures in a row: `orch breaker reset project:shop` closes it
    ! node a is blacklisted until 2026-01-01T00:30:00Z (no_cli: no such program): `orch node clear a` gives it back
    ! node b is usable with a slot fewer (oom: memory): `orch node clear b` gives it back
    ! job 17 hangs for 5m: nothing is done about it while its step still runs; the log says which
    ");
}

#[test]
fn a_refusal_is_one_line_and_its_status_decides_the_exit_code() {
    for (status, code) in [
        (404, 4),
        (400, 1),
        (401, 1),
        (409, 1),
        (422, 1),
        (503, 1),
        (500, 70),
    ] {
        let problem =
            json!({"type": "about:blank", "title": "T", "status": status, "detail": "do\u{1b}[2J this"});
        let body = problem.to_string();
        let service = FakeService::new(move |_| Reply::new(status, body.clone()));
        let orch = at(&service);
        let ended = orch.run(&["task", "show", "ORCH-1"]);
        assert_eq!((ended.code, ended.out.as_str()), (code, ""), "{status}");
        assert_eq!(ended.err, "orch: do this\n");
        let said = orch.run(&["--json", "task", "show", "ORCH-1"]).err;
        assert_eq!(serde_json::from_str::<serde_json::Value>(&said).unwrap(), problem);
    }
}

#[test]
fn the_token_is_the_environments_else_the_data_directorys() {
    let service = FakeService::new(|_| Reply::new(200, "[]"));
    let orch = at(&service);
    std::fs::create_dir(orch.path().join("data")).unwrap();
    std::fs::write(orch.path().join("data/api-token"), "from-file\n").unwrap();
    orch.run(&["task", "list"]);
    orch.env("ORCH_API_TOKEN", "from-env").run(&["task", "list"]);
    let sent: Vec<_> = service
        .asked()
        .iter()
        .map(|a| a.header("authorization").map(str::to_owned))
        .collect();
    assert_eq!(
        sent,
        [
            Some("Bearer from-file".to_owned()),
            Some("Bearer from-env".to_owned())
        ]
    );
}

#[test]
fn a_task_is_added_from_flags_and_stdin() {
    let service = FakeService::new(|_| Reply::new(201, task("SHOP-1", "Search").to_string()));
    let args = [
        "task",
        "add",
        "Search",
        "-d",
        "-",
        "--depends-on",
        "A,B",
        "--priority",
        "-2",
        "--hold",
    ];
    let ended = at(&service).run_with_input(&args, "long\ntext");
    assert_eq!(
        (ended.code, ended.out.as_str()),
        (0, "SHOP-1 added: Search\n"),
        "{}",
        ended.err
    );
    let asked = service.asked().remove(0);
    assert_eq!(asked.line, "POST /api/v1/tasks");
    assert_eq!(asked.header("content-type"), Some("application/json"));
    let sent: serde_json::Value = serde_json::from_str(&asked.body).unwrap();
    assert_eq!(sent["description"], "long\ntext");
    assert_eq!(sent["depends_on"], json!(["A", "B"]));
    assert_eq!((&sent["priority"], &sent["hold"]), (&json!(-2), &json!(true)));
}

#[test]
fn a_file_adds_several_in_order_and_stops_at_a_refusal() {
    let service = FakeService::new(|asked| match asked.body.contains("\"two\"") {
        true => Reply::new(
            422,
            json!({"title": "T", "detail": "no such project"}).to_string(),
        ),
        false => Reply::new(201, task("SHOP-1", "one").to_string()),
    });
    let orch = at(&service);
    let file = "[[task]]\ntitle = \"one\"\n[[task]]\ntitle = \"two\"\nproject = \"x\"\n[[task]]\ntitle = \"three\"\n";
    std::fs::write(orch.path().join("tasks.toml"), file).unwrap();
    let ended = orch.run(&["task", "add", "--file", "tasks.toml", "--project", "shop"]);
    assert_eq!((ended.code, ended.out.as_str()), (1, "SHOP-1 added: one\n"));
    assert!(
        ended.err.contains("\"two\"") && ended.err.contains("no such project"),
        "{}",
        ended.err
    );
    let bodies: Vec<_> = service.asked().iter().map(|a| a.body.clone()).collect();
    assert_eq!(bodies.len(), 2);
    assert!(bodies[0].contains("\"project\":\"shop\"") && bodies[1].contains("\"project\":\"x\""));
}

#[test]
fn a_broken_file_adds_nothing() {
    let service = FakeService::new(|_| Reply::new(201, task("SHOP-1", "one").to_string()));
    let orch = at(&service);
    let file = "[[task]]\ntitle = \"one\"\n[[task]]\ntitel = \"two\"\n";
    std::fs::write(orch.path().join("tasks.toml"), file).unwrap();
    let ended = orch.run(&["task", "add", "--file", "tasks.toml"]);
    assert_eq!(ended.code, 2);
    assert!(
        ended.err.contains("tasks.toml") && ended.err.contains("titel"),
        "{}",
        ended.err
    );
    assert!(service.asked().is_empty());
}

#[test]
fn a_gesture_without_effect_is_told_by_the_exit_code() {
    for (applied, code) in [(true, 0), (false, 1)] {
        let answer =
            json!({"applied": applied, "effect": "it waits for nothing", "task": task("SHOP-1", "x")});
        let service = FakeService::new(move |_| Reply::new(200, answer.to_string()));
        let ended = at(&service).run(&[
            "task",
            "confirm-deploy",
            "../SHOP 1",
            "--person",
            "ann",
            "-m",
            "go",
            "--candidate",
            "4f2a9c1e",
        ]);
        assert_eq!(ended.code, code);
        assert!(ended.out.contains("it waits for nothing"));
        let asked = service.asked().remove(0);
        assert_eq!(asked.line, "POST /api/v1/tasks/..%2FSHOP%201/gestures");
        let sent: serde_json::Value = serde_json::from_str(&asked.body).unwrap();
        assert_eq!(
            sent,
            json!({"gesture": "confirm-deploy", "person": "ann", "comment": "go", "candidate": "4f2a9c1e"})
        );
    }
}

#[test]
fn what_comes_from_agents_cannot_drive_the_terminal() {
    let nasty = json!([task("SHOP-1", "red\u{1b}[31m \u{1b}]0;x\u{7}door\nnext")]).to_string();
    let service = FakeService::new(move |_| Reply::new(200, nasty.clone()));
    let ended = at(&service).run(&["task", "list"]);
    assert!(ended.out.contains("red door next"), "{:?}", ended.out);
    assert!(!ended.out.contains('\u{1b}'));
}

#[test]
fn colours_come_when_asked_for() {
    let service = FakeService::new(|_| Reply::new(200, json!([task("SHOP-1", "x")]).to_string()));
    let orch = at(&service);
    assert!(!orch.run(&["task", "list"]).out.contains('\u{1b}'));
    assert!(
        orch.run(&["--color", "always", "task", "list"])
            .out
            .contains('\u{1b}')
    );
    assert!(
        !orch
            .run(&["--color", "never", "task", "list"])
            .out
            .contains('\u{1b}')
    );
}

/// A log that grows by a piece with each request, then ends.
fn growing_log(pieces: &'static [&'static str]) -> FakeService {
    let asked = AtomicUsize::new(0);
    FakeService::new(move |_| {
        let n = asked.fetch_add(1, Ordering::Relaxed);
        let piece = pieces.get(n).copied().unwrap_or("");
        let next: usize = pieces.iter().take(n + 1).map(|p| p.len()).sum();
        Reply::new(200, piece)
            .header("X-Next-Offset", &next.to_string())
            .header("X-Run-Finished", if n >= pieces.len() { "true" } else { "false" })
    })
}

#[test]
fn a_followed_log_ends_with_its_run() {
    let service = growing_log(&["one\n", "", "two \u{1b}[31mred\n"]);
    let ended = at(&service).run(&["run", "logs", "-f", "7"]);
    assert_eq!((ended.code, ended.out.as_str()), (0, "one\ntwo \u{1b}[31mred\n"));
    let lines: Vec<_> = service.asked().into_iter().map(|a| a.line).collect();
    assert_eq!(lines.first().unwrap(), "GET /api/v1/runs/7/log?offset=0&wait_s=1");
    assert_eq!(lines.last().unwrap(), "GET /api/v1/runs/7/log?offset=17&wait_s=1");
}

#[test]
fn a_log_that_is_not_followed_ends_where_it_ends_now() {
    let service = growing_log(&["one\n", "two\n", "", "three\n"]);
    let ended = at(&service).run(&["run", "logs", "7", "--json"]);
    let texts: Vec<_> = ended
        .out
        .lines()
        .map(|l| serde_json::from_str::<serde_json::Value>(l).unwrap()["text"].clone())
        .collect();
    assert_eq!(texts, ["one\n", "two\n"]);
}

#[test]
fn a_reader_that_leaves_ends_a_followed_log() {
    let service = FakeService::new(|_| {
        Reply::new(200, "line\n")
            .header("X-Next-Offset", "5")
            .header("X-Run-Finished", "false")
    });
    let mut child = at(&service)
        .command(&["run", "logs", "-f", "7"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut first)
        .unwrap();
    assert_eq!(first, "line\n");
    let output = child.wait_with_output().unwrap();
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(output.stderr.is_empty());
}

#[test]
fn the_latest_events_are_collected_over_all_pages() {
    let service = FakeService::new(|asked| {
        let after: i64 = asked
            .line
            .split("after=")
            .nth(1)
            .unwrap()
            .split('&')
            .next()
            .unwrap()
            .parse()
            .unwrap();
        let event = |id: i64| {
            json!({"id": id, "at": "2026-01-01T00:00:00Z", "task": if id % 2 == 0 { "A" } else { "B" },
                   "stage": "created", "kind": "created", "text": "x"})
        };
        let page: Vec<_> = (after + 1..=9).take(4).map(event).collect();
        Reply::new(200, serde_json::Value::Array(page).to_string())
    });
    let ended = at(&service).run(&["events", "--json", "--task", "A", "--last", "2"]);
    let ids: Vec<_> = ended
        .json()
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["id"].clone())
        .collect();
    assert_eq!(ids, [6, 8]);
}

#[test]
fn what_was_healed_is_shown_as_a_table_with_how_long_it_had_been_stuck() {
    let body = json!([
        { "id": 2, "at": "2026-01-01T00:00:00Z", "kind": "reconciler", "subject": "A at review",
          "why": "lost webhook", "action": "goes on to testing", "stuck_ms": 200_000 },
        { "id": 1, "at": "2026-01-01T00:00:00Z", "kind": "start", "subject": "run 7", "why": "died",
          "action": "watched on", "stuck_ms": null },
    ]);
    let service = FakeService::new(move |_| Reply::new(200, body.to_string()));
    let shown = at(&service).run(&["healed", "--limit", "2"]);
    assert_eq!(service.asked()[0].line, "GET /api/v1/healed?limit=2");
    let words: Vec<Vec<&str>> = shown
        .out
        .lines()
        .map(|l| l.split_whitespace().collect())
        .collect();
    let of = |word: &str| words.iter().find(|l| l.contains(&word)).unwrap();
    let line = of("reconciler").join(" ");
    assert!(
        line.contains("A at review lost webhook 3m 20s goes on to testing"),
        "{line}"
    );
    assert!(
        of("start").join(" ").contains("run 7 died - watched on"),
        "{}",
        shown.out
    );
    assert_eq!(at(&service).run(&["healed", "--limit", "0"]).code, 2);
    let none = FakeService::new(|_| Reply::new(200, "[]"));
    assert_eq!(at(&none).run(&["healed"]).out, "Nothing had to be healed yet.\n");
}
