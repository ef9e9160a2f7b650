//! `orch demo`, as the README says it.

use std::fs;
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::{Postgres, processes_below};

/// Runs the demo with a place of its own for temporary files.
fn demo(args: &[&str]) -> (TempDir, Output) {
    let room = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_orch"))
        .arg("demo")
        .args(args)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("HOME", room.path())
        .env("TMPDIR", room.path())
        .current_dir(room.path())
        .output()
        .unwrap();
    (room, output)
}

fn nothing_is_left(room: &TempDir) {
    assert_eq!(processes_below(room.path()), Vec::<i32>::new());
    let left: Vec<_> = fs::read_dir(room.path()).unwrap().flatten().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn the_demo_tells_machines_what_came_of_it_and_leaves_nothing_behind() {
    let (room, output) = demo(&["--json"]);
    let out = String::from_utf8(output.stdout).unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{out}\n{said}", output.status);
    nothing_is_left(&room);

    let lines: Vec<Value> = out.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let (summary, events) = lines.split_last().unwrap();
    assert_eq!(
        (&summary["type"], &summary["ok"]),
        (&"summary".into(), &true.into())
    );
    let checks = summary["checks"].as_array().unwrap();
    assert!(
        !checks.is_empty() && checks.iter().all(|c| c["holds"] == true),
        "{checks:?}"
    );
    assert!(events.len() > 10);
    // The reviewer sends the first attempt back: the developer and the reviewer work twice.
    let runs = |stage: &str| {
        let rows = summary["stages"].as_array().unwrap();
        rows.iter().find(|r| r["stage"] == stage).unwrap()["runs"]
            .as_u64()
            .unwrap()
    };
    assert_eq!((runs("development"), runs("review")), (2, 2));
}

#[test]
fn the_demo_tells_people_what_came_of_it_and_leaves_nothing_behind() {
    let (room, output) = demo(&[]);
    let out = String::from_utf8(output.stdout).unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{out}\n{said}", output.status);
    nothing_is_left(&room);
    assert!(out.contains("development") && out.contains("deploy"), "{out}");
    assert!(
        !out.contains('\u{1b}'),
        "no escape sequences where nobody sees them"
    );
}

#[test]
fn the_demo_runs_on_postgresql_and_drops_its_database() {
    let Some(postgres) = Postgres::fresh() else { return };
    let (room, output) = demo(&["--json", "--database-url", postgres.url()]);
    let out = String::from_utf8(output.stdout).unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{out}\n{said}", output.status);
    nothing_is_left(&room);
    assert_eq!(postgres.databases_like("orch_demo_%"), 0);
}

#[test]
fn a_server_that_does_not_answer_is_named_without_its_password() {
    let (room, output) = demo(&["--database-url", "postgres://me:secret@127.0.0.1:1/x"]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("postgres://me@127.0.0.1:1/x") && !said.contains("secret"),
        "{said}"
    );
    nothing_is_left(&room);
}
