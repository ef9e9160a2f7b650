//! What people see and do when agents fail: batches, breakers, nodes and rules, by the command line.

use std::fs;
use std::io::Write as _;
use std::process::Stdio;

use serde_json::Value;

use crate::support::{Agent, ONE_STAGE, Project, Repo, Setup, TestService, wait_until};

fn shop(repo: &Repo, developer: &str) -> Setup {
    let agent = Agent::diligent().role("developer", developer);
    Setup::new()
        .set("queue.max_attempts", 1)
        .project(Project::new("shop", repo).agent(&agent).then(ONE_STAGE))
}

fn json(service: &TestService, args: &[&str]) -> Value {
    let said = service.cli_ok(&[&["--json"], args].concat());
    serde_json::from_str(&said).unwrap()
}

fn said(output: &std::process::Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

const SPRING: &str = r#"
name = "spring"
project = "shop"
mode = "sequential"
[[task]]
id = "B-1"
title = "Remove the old importer"
[[task]]
id = "B-2"
title = "Rename the tables"
"#;

#[test]
fn a_batch_is_submitted_from_a_file_blocked_resumed_and_cancelled() {
    let repo = Repo::new();
    let service = shop(
        &repo,
        r#"
case $ORCH_WORK_ITEM in
B-1) [ "$nth" -ge 2 ] || { echo broken; exit 1; } ;;
B-2) here work; until_told never ;;
esac
echo x >"$ORCH_WORK_ITEM.txt"; commit it"#,
    )
    .start();
    let file = service.home().join("spring.toml");
    fs::write(&file, SPRING).unwrap();
    let file = file.to_str().unwrap();
    let first = service.cli_ok(&["batch", "submit", file]);
    assert!(
        first.starts_with("spring submitted: 2 tasks, sequential, project shop\n"),
        "{first}"
    );
    assert!(first.contains("Breaker closed; retries used: 0 of 50"), "{first}");
    assert!(
        service
            .cli_ok(&["batch", "submit", file])
            .contains("spring was there already")
    );

    // The same from stdin as JSON, with other content.
    let mut other = service
        .cli_command(&["batch", "submit", "-"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let text = r#"{"name": "spring", "mode": "parallel", "tasks": [{"title": "Else"}]}"#;
    other.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let refused = other.wait_with_output().unwrap();
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        said(&refused).contains("there is a batch spring with other content: give this one another name"),
        "{}",
        said(&refused)
    );

    wait_until("its first task is blocked", || {
        json(&service, &["batch", "show", "spring"])["tasks"][0]["status"] == "blocked"
    });
    let stands = json(&service, &["batch", "show", "spring"]);
    assert_eq!(
        (&stands["failures"], &stands["tasks"][1]["status"]),
        (&1.into(), &"active".into())
    );
    assert!(
        service
            .cli_ok(&["breaker", "list"])
            .contains("batch:spring  closed")
    );
    assert_eq!(service.cli_ok(&["batch", "resume", "spring"]), "B-1: resume\n");
    let (agent, _) = service.wait_here("work");
    let cancelled = service.cli_ok(&["batch", "cancel", "spring", "--person", "ann"]);
    assert_eq!(cancelled, "B-2: cancel\n");
    wait_until("its agent has ended", || !crate::support::lives(agent));
    assert_eq!(
        service.cli_ok(&["batch", "cancel", "spring"]),
        "No task of it had to be changed.\n"
    );
    let stands = json(&service, &["batch", "show", "spring"]);
    let words: Vec<_> = stands["tasks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|t| t["status"].clone())
        .collect();
    assert_eq!(words, ["done", "cancelled"]);

    for (args, code, says) in [
        (&["batch", "show", "nowhere"][..], 4, "no batch is called nowhere"),
        (&["batch", "cancel", "../x"], 1, "batch \"../x\" is not usable"),
        (
            &["batch", "submit", "/nowhere.toml"],
            2,
            "cannot read /nowhere.toml",
        ),
    ] {
        let output = service.cli(args);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {}", said(&output));
        assert!(said(&output).contains(says), "{args:?}: {}", said(&output));
    }
}

#[test]
fn a_text_is_checked_a_breaker_reset_and_a_node_given_back_by_hand() {
    let repo = Repo::new();
    let mut service = shop(
        &repo,
        r#"[ -e "$out/mended" ] || exit 127; echo x >"$ORCH_WORK_ITEM.txt"; commit it"#,
    )
    .set("queue.max_transient_attempts", 0)
    .set("repair.node_cool_s", 600)
    .set("breaker.failures", 1)
    .start();
    let checked = json(&service, &["repair", "check", "exit code 137 SIGKILL (Killed)"]);
    assert_eq!(
        (&checked["strategy"], &checked["fix"]),
        (&"oom".into(), &"reduce_slots".into())
    );
    let checked = json(
        &service,
        &["repair", "check", "exit code 1\nthere is room for more"],
    );
    assert_eq!(checked["strategy"], "none");

    let id = service.add("Say hello");
    wait_until("the node cools down", || {
        json(&service, &["node", "list"])[0]["stands"] == "cooled"
    });
    let scope = json(&service, &["breaker", "list"]);
    assert_eq!(
        (&scope[0]["scope"], &scope[0]["stands"]),
        (&"project:shop".into(), &"open".into())
    );
    fs::write(service.out().join("mended"), "").unwrap();
    assert_eq!(service.cli_ok(&["node", "clear", "local"]), "Given back.\n");
    assert_eq!(service.cli(&["node", "clear", "local"]).status.code(), Some(4));
    assert_eq!(service.cli_ok(&["breaker", "reset", "project:shop"]), "Closed.\n");
    for scope in ["project:../x", "batch:../x", "shop"] {
        assert_eq!(
            service.cli(&["breaker", "reset", scope]).status.code(),
            Some(1),
            "{scope}"
        );
    }
    service.wait_status(&id, "done");
    assert_eq!(
        service.cli_ok(&["breaker", "list"]),
        "Nothing has failed since its last success.\n"
    );
    let stats = json(&service, &["repair", "stats"]);
    let no_cli = stats
        .as_array()
        .unwrap()
        .iter()
        .find(|s| s["strategy"] == "no_cli")
        .unwrap()
        .clone();
    assert_eq!((&no_cli["matched"], &no_cli["helped"]), (&1.into(), &1.into()));
}
