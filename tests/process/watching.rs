//! The end of a shim is seen, whoever started it.

use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use orch::domain::run::ProcessIdentity;
use orch::process::{Liveness, ProcessWatch, is_alive, read_shim, stop};

use super::support::{PATIENCE, Run, state, wait_until};

#[tokio::test]
async fn a_watch_waits_while_the_shim_lives_and_leaves_no_zombie() {
    let run = Run::sh("echo up; while [ ! -e go ]; do sleep 0.02; done");
    let shim = run.launched();
    let watch = ProcessWatch::open(&shim);
    run.printed("up");
    let early = tokio::time::timeout(Duration::from_millis(50), watch.wait()).await;
    assert!(early.is_err(), "the watch ended before the shim");
    fs::write(run.work().join("go"), "").unwrap();
    tokio::time::timeout(PATIENCE, watch.wait()).await.unwrap();
    watch.wait().await;
    assert_eq!(state(shim.pid), None);
}

#[tokio::test]
async fn looking_at_an_ended_child_collects_it() {
    let run = Run::sh("true");
    let shim = run.launched();
    wait_until("the shim is gone", || is_alive(&shim) == Liveness::Gone);
    assert_eq!(state(shim.pid), None);
    ProcessWatch::open(&shim).wait().await;
}

#[tokio::test]
async fn the_end_of_a_shim_that_somebody_else_started_is_seen() {
    let run = Run::sh("echo up; exec sleep 1000");
    fs::create_dir(run.run_dir()).unwrap();
    let spec = serde_json::to_vec(&run.spec).unwrap();
    fs::write(run.run_dir().join("launch.json"), spec).unwrap();
    // A service that starts a shim and is gone at once.
    let service = Command::new("/bin/sh")
        .args(["-c", "\"$0\" shim \"$1\" & exit 0"])
        .arg(&run.exe)
        .arg(run.run_dir())
        .stdin(Stdio::null())
        .status();
    assert!(service.unwrap().success());
    run.agent_pid();
    let shim = read_shim(&run.run_dir()).unwrap().unwrap().shim;

    let watch = ProcessWatch::open(&shim);
    stop(&shim).unwrap();
    tokio::time::timeout(PATIENCE, watch.wait()).await.unwrap();
    assert_eq!(is_alive(&shim), Liveness::Gone);
    assert_eq!(run.end_of(&shim).await.signal, Some(15));
}

#[tokio::test]
async fn a_reused_pid_is_neither_alive_nor_waited_for_nor_signalled() {
    let run = Run::sh("echo up; exec sleep 1000");
    let shim = run.launched();
    run.printed("up");
    let predecessor = ProcessIdentity {
        start_time: shim.start_time - 1,
        ..shim.clone()
    };
    assert_eq!(is_alive(&predecessor), Liveness::Gone);
    assert_eq!(stop(&predecessor).unwrap(), Liveness::Gone);
    ProcessWatch::open(&predecessor).wait().await;
    assert_eq!(is_alive(&shim), Liveness::Alive);

    let elsewhere = ProcessIdentity {
        boot_id: "another boot".into(),
        ..shim.clone()
    };
    assert_eq!(stop(&elsewhere).unwrap(), Liveness::Elsewhere);
    assert_eq!(is_alive(&shim), Liveness::Alive);
    stop(&shim).unwrap();
    run.end_of(&shim).await;
}
