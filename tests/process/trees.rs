//! Nothing of a run outlives it.

use std::process::Command;
use std::time::Duration;

use orch::domain::run::StopCause;
use orch::process::{Liveness, TreeEnd, exit_text, is_alive, kill_tree, read_exit, stop};

use super::support::{PATIENCE, Run, state, wait_until};

/// A child that ignores TERM, one in a session of its own, one that also lost its parent, and a grandchild.
const FAMILY: &str = "trap '' TERM
    (trap '' TERM; while :; do sleep 0.1; done) &
    setsid sh -c 'trap \"\" TERM; while :; do sleep 0.1; done' &
    (setsid sh -c '(while :; do sleep 0.1; done) & exec sleep 1000' &)
    (sh -c 'sh -c \"sleep 1000; true\"; true' &)
    echo up; ";

#[tokio::test]
async fn after_a_timeout_no_escapee_is_alive() {
    let run = Run::sh(&format!("{FAMILY} while :; do sleep 0.1; done"))
        .with(|s| s.timeout = Some(Duration::from_secs(1)));
    let exit = run.exit().await;
    assert_eq!(exit_text(&exit), "exit code 137 SIGKILL (timeout after 1s)");
    assert!(run.output().contains("up"));
    assert!(run.survivors().is_empty(), "{:?}", run.survivors());
}

#[tokio::test]
async fn after_a_stop_no_escapee_is_alive() {
    let run = Run::sh(&format!("{FAMILY} while :; do sleep 0.1; done"));
    let shim = run.launched();
    run.printed("up");
    stop(&shim).unwrap();
    assert_eq!(run.end_of(&shim).await.cause, Some(StopCause::Stopped));
    assert!(run.survivors().is_empty(), "{:?}", run.survivors());
}

#[tokio::test]
async fn what_a_program_leaves_behind_is_ended_and_counted_and_its_exit_stays_its_own() {
    let run = Run::sh(&format!("{FAMILY} exit 3"));
    let exit = run.exit().await;
    assert_eq!(exit_text(&exit), "exit code 3");
    assert!(
        exit.leftover_processes >= 5,
        "{} leftovers",
        exit.leftover_processes
    );
    assert!(run.survivors().is_empty(), "{:?}", run.survivors());
}

#[tokio::test]
async fn a_daemon_that_holds_the_pipe_does_not_hold_the_run() {
    let run = Run::sh("setsid sh -c 'echo daemon; exec sleep 1000' & exit 0");
    let exit = run.exit().await;
    assert!(exit.succeeded());
    assert_eq!(exit.leftover_processes, 1);
}

#[tokio::test]
async fn what_ends_by_itself_shortly_after_its_program_is_no_leftover() {
    let run = Run::sh("(sleep 0.2; echo late) & exit 0").with(|s| s.kill_grace = Duration::from_secs(2));
    let exit = run.exit().await;
    assert!(exit.succeeded());
    assert_eq!((exit.leftover_processes, run.output().as_str()), (0, "late\n"));
}

#[tokio::test]
async fn a_chain_that_only_forks_and_exits_cannot_outrun_the_kill() {
    let script = "echo up; chain() { trap '' TERM; (chain &) ; exit; }; (chain &); sleep 1000";
    let run = Run::sh(script);
    let shim = run.launched();
    run.printed("up");
    stop(&shim).unwrap();
    assert_eq!(run.end_of(&shim).await.cause, Some(StopCause::Stopped));
    assert!(run.survivors().is_empty(), "{:?}", run.survivors());
}

#[tokio::test]
async fn a_stopped_process_is_ended_too() {
    let run = Run::sh("echo up; kill -STOP $$; sleep 1000");
    let shim = run.launched();
    let agent = run.agent_pid();
    wait_until("the agent is stopped", || state(agent) == Some('T'));
    stop(&shim).unwrap();
    assert_eq!(
        exit_text(&run.end_of(&shim).await),
        "exit code 143 SIGTERM (stopped)"
    );
}

#[tokio::test]
async fn kill_tree_lets_a_shim_that_answers_do_its_work() {
    let run = Run::sh("echo up; exec sleep 1000");
    let shim = run.launched();
    run.printed("up");
    assert_eq!(kill_tree(&shim, PATIENCE).await.unwrap(), TreeEnd::Stopped);
    assert!(run.survivors().is_empty(), "{:?}", run.survivors());
    assert!(read_exit(&run.run_dir()).unwrap().is_some());
    assert_eq!(kill_tree(&shim, PATIENCE).await.unwrap(), TreeEnd::WasGone);
}

#[tokio::test]
async fn kill_tree_ends_a_frozen_shim_and_all_below_it() {
    let run = Run::sh(&format!("{FAMILY} while :; do sleep 0.1; done"));
    let shim = run.launched();
    run.printed("up");
    send("STOP", shim.pid);
    assert_eq!(
        kill_tree(&shim, Duration::from_millis(200)).await.unwrap(),
        TreeEnd::Killed
    );
    assert_eq!(is_alive(&shim), Liveness::Gone);
    assert!(run.survivors().is_empty(), "{:?}", run.survivors());
}

#[tokio::test]
async fn the_program_dies_with_a_shim_that_is_killed() {
    let run = Run::sh("trap '' TERM; echo up; exec sleep 1000");
    let shim = run.launched();
    run.printed("up");
    let agent = run.agent_pid();
    assert!(state(agent).is_some());
    send("KILL", shim.pid);
    wait_until("the agent dies", || state(agent).is_none_or(|s| s == 'Z'));
    assert_eq!(read_exit(&run.run_dir()).unwrap(), None);
    assert_eq!(is_alive(&shim), Liveness::Gone);
}

#[tokio::test]
async fn the_shim_leads_a_session_of_its_own_and_the_program_a_group() {
    let run = Run::sh("cut -d' ' -f5,6 /proc/$$/stat; echo $$");
    let shim = run.launched();
    run.end_of(&shim).await;
    let output = run.output();
    let words: Vec<i32> = output.split_whitespace().map(|w| w.parse().unwrap()).collect();
    let [group, session, pid] = words[..] else {
        panic!("{output}")
    };
    assert_eq!((group, session), (pid, shim.pid));
}

fn send(signal: &str, pid: i32) {
    let sent = Command::new("kill")
        .args([&format!("-{signal}"), &pid.to_string()])
        .status();
    assert!(sent.unwrap().success());
    if signal == "STOP" {
        wait_until("it is stopped", || state(pid) == Some('T'));
    }
}

/// What the program had started is nobody's child any more: it is found by the mark of its run, and nothing else is.
#[tokio::test]
async fn what_outlives_a_killed_shim_is_found_by_its_mark_and_ended() {
    let other = Run::sh("echo up; sleep 1000 & exec sleep 1000");
    let bystander = other.launched();
    other.printed("up");
    let run = Run::sh(
        "setsid sh -c 'trap \"\" TERM; echo $$ >&2; while :; do sleep 1; done' & echo up; exec sleep 1000",
    );
    let shim = run.launched();
    run.printed("up");
    wait_until("the grandchild says who it is", || {
        run.output().lines().count() == 2
    });
    let output = run.output();
    let grandchild: i32 = output.lines().find_map(|l| l.parse().ok()).unwrap();
    send("KILL", shim.pid);
    wait_until("the shim dies", || is_alive(&shim) == Liveness::Gone);
    assert!(
        state(grandchild).is_some_and(|s| s != 'Z'),
        "nothing is left to be ended"
    );
    assert!(orch::process::end_orphans(&run.run_dir()).await.unwrap() > 0);
    assert!(state(grandchild).is_none_or(|s| s == 'Z'));
    assert_eq!(is_alive(&bystander), Liveness::Alive);
    assert!(state(other.agent_pid()).is_some_and(|s| s != 'Z'));
    assert_eq!(orch::process::end_orphans(&run.run_dir()).await.unwrap(), 0);
}
