//! `orch demo`, as the README says it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::{Postgres, processes_below};

/// Runs the demo with a place of its own for temporary files.
fn demo(args: &[&str]) -> (TempDir, Output) {
    let room = tempfile::tempdir().unwrap();
    let output = command(&room, args).output().unwrap();
    (room, output)
}

fn command(room: &TempDir, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_orch"));
    command
        .arg("demo")
        .args(args)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("HOME", room.path())
        .env("TMPDIR", room.path())
        .current_dir(room.path());
    command
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

fn heals(args: &[&str]) {
    let (room, output) = demo(&[&["--faults", "--json"], args].concat());
    let out = String::from_utf8(output.stdout).unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{out}\n{said}", output.status);
    nothing_is_left(&room);
    let summary: Value = serde_json::from_str(out.lines().last().unwrap()).unwrap();
    let text = |row: &Value| format!("{}; {}; {}", row["fault"], row["noticed"], row["done"]);
    let healed: Vec<_> = summary["healed"].as_array().unwrap().iter().map(text).collect();
    let words = [
        ["analyst's agent", "exit code 137 SIGKILL", "queued again"],
        ["monitor panicked", "panicked", "from step running"],
        [
            "service was killed",
            "the service died",
            "its agent lives and is watched on",
        ],
    ];
    assert_eq!(healed.len(), words.len());
    for (row, words) in healed.iter().zip(words) {
        assert!(words.iter().all(|w| row.contains(w)), "{row}: {words:?}");
    }
    let checks = summary["checks"].as_array().unwrap();
    assert_eq!(checks.len(), 7, "{checks:?}");
}

#[test]
fn the_demo_with_faults_heals_them_all() {
    heals(&[]);
}

#[test]
fn the_demo_with_faults_heals_them_all_on_postgresql() {
    if let Some(postgres) = Postgres::fresh() {
        heals(&["--database-url", postgres.url()]);
        assert_eq!(postgres.databases_like("orch_demo_%"), 0);
    }
}

#[test]
fn a_demo_that_is_interrupted_while_its_service_is_dead_leaves_nothing_behind() {
    let room = tempfile::tempdir().unwrap();
    let mut child = command(&room, &["--faults", "--json"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let killed = |line: &String| line.contains("the service, while the developer works");
    assert!(lines.map_while(Result::ok).any(|line| killed(&line)));
    let pid = i32::try_from(child.id()).unwrap();
    // SAFETY: kill has no memory effects; the child was not waited for, so the pid is its own.
    unsafe { libc::kill(pid, libc::SIGINT) };
    assert_eq!(child.wait().unwrap().code(), Some(130));
    nothing_is_left(&room);
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
