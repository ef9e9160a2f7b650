//! A project's own commands run under the same guarantees.

use std::fs;
use std::path::Path;
use std::time::Duration;

use orch::domain::run::StopCause;
use orch::process::check::{self, CheckSpec};
use orch::process::{ProcessError, read_shim};
use tempfile::TempDir;

use super::support::{PATIENCE, orch_exe, processes_in, state, wait_until};

fn check_in(dir: &TempDir, script: &str) -> CheckSpec {
    let work = dir.path().join("work");
    fs::create_dir_all(&work).unwrap();
    CheckSpec {
        argv: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(),
        cwd: work,
        env: vec![("PATH".into(), "/usr/bin:/bin".into())],
        timeout: PATIENCE,
        kill_grace: Duration::from_millis(200),
        lease: None,
        log_cap_bytes: 1 << 20,
        tail_bytes: 64,
        run_dir: dir.path().join("check"),
    }
}

fn ups(work: &Path) -> usize {
    fs::read_to_string(work.join("ups"))
        .unwrap_or_default()
        .lines()
        .count()
}

#[tokio::test]
async fn a_check_returns_its_exit_and_the_end_of_its_output() {
    let dir = tempfile::tempdir().unwrap();
    let check = check_in(&dir, "seq 1000; echo '3 tests failed'; exit 1");
    let result = check::run(orch_exe(), &check).await.unwrap();
    assert_eq!(result.exit.code, Some(1));
    assert!(result.output_tail.ends_with("\n1000\n3 tests failed\n"));
    assert!(result.output_tail.len() <= 64);
}

#[tokio::test]
async fn a_check_that_takes_too_long_is_ended_with_its_tree() {
    let dir = tempfile::tempdir().unwrap();
    let mut check = check_in(&dir, "setsid sleep 1000 & sleep 1000");
    check.timeout = Duration::from_millis(300);
    let result = check::run(orch_exe(), &check).await.unwrap();
    assert_eq!(result.exit.cause, Some(StopCause::Timeout { after_s: 1 }));
    assert!(processes_in(&check.cwd).is_empty());
}

#[tokio::test]
async fn a_check_nobody_waits_for_any_more_is_stopped_and_collected() {
    let dir = tempfile::tempdir().unwrap();
    let check = check_in(&dir, "echo up >> ups; sleep 1000");
    let running = check::run(orch_exe(), &check);
    let started = async {
        while ups(&check.cwd) == 0 || read_shim(&check.run_dir).unwrap().is_none() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        _ = running => panic!("the check ended"),
        () = started => {}
    }
    let shim = read_shim(&check.run_dir).unwrap().unwrap().shim;
    tokio::time::timeout(PATIENCE, async {
        while state(shim.pid).is_some() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .expect("the shim ends and is collected");
    assert!(processes_in(&check.cwd).is_empty());
}

#[tokio::test]
async fn a_check_that_was_under_way_when_the_service_died_is_watched_on_and_not_run_twice() {
    let dir = tempfile::tempdir().unwrap();
    let script = "echo up >> ups; while [ ! -e go ]; do sleep 0.02; done; echo ok";
    let check = check_in(&dir, script);
    // What a predecessor left: a launch, and nobody who waits for it.
    let abandoned = tokio::spawn({
        let check = check.clone();
        async move { check::run(orch_exe(), &check).await }
    });
    while ups(&check.cwd) == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    fs::write(check.cwd.join("go"), "").unwrap();
    let again = check::run(orch_exe(), &check).await.unwrap();
    assert!(again.exit.succeeded());
    assert_eq!((again.output_tail.as_str(), ups(&check.cwd)), ("ok\n", 1));
    assert_eq!(abandoned.await.unwrap().unwrap(), again);
}

#[tokio::test]
async fn another_check_in_a_used_run_directory_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let check = check_in(&dir, "true");
    check::run(orch_exe(), &check).await.unwrap();
    let other = check_in(&dir, "false");
    let refused = check::run(orch_exe(), &other).await;
    assert!(matches!(refused, Err(ProcessError::AlreadyLaunched { .. })));
}

#[tokio::test]
async fn a_check_without_a_program_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let mut check = check_in(&dir, "");
    check.argv.clear();
    let result = check::run(orch_exe(), &check).await.unwrap();
    assert!(!result.exit.succeeded());
    wait_until("nothing is left", || processes_in(&check.cwd).is_empty());
}
