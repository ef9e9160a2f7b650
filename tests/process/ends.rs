//! However a program ends, the record says how.

use std::fs;
use std::time::Duration;

use orch::domain::run::StopCause;
use orch::process::{Liveness, exit_text, stop};

use super::support::{PATIENCE, Run};

const SHORT: Option<Duration> = Some(Duration::from_millis(300));

#[tokio::test]
async fn an_exit_code_is_recorded_with_what_the_program_used() {
    let run = Run::sh("echo hello; echo trouble >&2; exit 42");
    let exit = run.exit().await;
    assert_eq!(exit_text(&exit), "exit code 42");
    assert_eq!(
        (exit.code, exit.signal, exit.cause.clone()),
        (Some(42), None, None)
    );
    assert_eq!(
        (exit.output_bytes, exit.dropped_bytes, exit.leftover_processes),
        (14, 0, 0)
    );
    assert!(exit.peak_memory_bytes > 0 && exit.finished_at.0 > 0);
    assert!(run.output().contains("hello\n") && run.output().contains("trouble\n"));
}

#[tokio::test]
async fn success_is_zero_and_nothing_else() {
    assert!(Run::sh("exit 0").exit().await.succeeded());
    assert!(!Run::sh("exit 1").exit().await.succeeded());
}

#[tokio::test]
async fn a_program_killed_by_a_signal_says_so_as_a_shell_would() {
    let exit = Run::sh("kill -KILL $$").exit().await;
    assert_eq!((exit.code, exit.signal), (None, Some(9)));
    assert_eq!(exit_text(&exit), "exit code 137 SIGKILL");
}

#[tokio::test]
async fn cpu_time_of_grandchildren_is_counted() {
    let exit = Run::sh("(i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done); true")
        .exit()
        .await;
    assert!(exit.cpu_us > 10_000, "{} us", exit.cpu_us);
}

#[tokio::test]
async fn a_timeout_names_itself_and_its_limit() {
    let run =
        Run::sh("while :; do echo on; sleep 0.05; done").with(|s| s.timeout = Some(Duration::from_secs(1)));
    assert_eq!(
        exit_text(&run.exit().await),
        "exit code 143 SIGTERM (timeout after 1s)"
    );
}

#[tokio::test]
async fn a_program_that_ignores_term_is_killed_after_the_grace() {
    let run = Run::sh("trap '' TERM; echo deaf; while :; do sleep 0.05; done").with(|s| {
        s.startup = Some(PATIENCE);
        s.stall = SHORT;
    });
    assert_eq!(
        exit_text(&run.exit().await),
        "exit code 137 SIGKILL (stall: no output for 1s)"
    );
}

#[tokio::test]
async fn a_program_that_says_goodbye_is_heard_and_still_overdue() {
    let run = Run::sh("trap 'echo bye; exit 0' TERM; echo hi; while :; do sleep 0.02; done").with(|s| {
        s.startup = Some(PATIENCE);
        s.stall = SHORT;
        s.kill_grace = PATIENCE;
    });
    let exit = run.exit().await;
    assert_eq!(exit_text(&exit), "exit code 0 (stall: no output for 1s)");
    assert!(!exit.succeeded());
    assert!(run.output().contains("bye\n"), "{}", run.output());
}

#[tokio::test]
async fn silence_from_the_start_is_a_startup_timeout() {
    let run = Run::sh("exec sleep 100").with(|s| {
        s.startup = SHORT;
        s.stall = SHORT;
    });
    let text = exit_text(&run.exit().await);
    assert_eq!(text, "exit code 143 SIGTERM (startup: no output within 1s)");
}

#[tokio::test]
async fn silence_after_output_is_a_stall() {
    let run = Run::sh("echo begun; exec sleep 100").with(|s| {
        s.startup = Some(PATIENCE);
        s.stall = SHORT;
    });
    let text = exit_text(&run.exit().await);
    assert_eq!(text, "exit code 143 SIGTERM (stall: no output for 1s)");
}

#[tokio::test]
async fn a_request_to_stop_is_recorded_as_such() {
    let run = Run::sh("echo up; exec sleep 100");
    let shim = run.launched();
    run.printed("up");
    assert_eq!(stop(&shim).unwrap(), Liveness::Alive);
    let exit = run.end_of(&shim).await;
    assert_eq!(exit.cause, Some(StopCause::Stopped));
    assert_eq!(exit_text(&exit), "exit code 143 SIGTERM (stopped)");
    assert_eq!(stop(&shim).unwrap(), Liveness::Gone);
}

#[tokio::test]
async fn a_closed_terminal_ends_no_run() {
    let run = Run::sh("echo up; while [ ! -e go ]; do sleep 0.02; done; exit 7");
    let shim = run.launched();
    run.printed("up");
    std::process::Command::new("kill")
        .args(["-HUP", &shim.pid.to_string()])
        .status()
        .unwrap();
    fs::write(run.work().join("go"), "").unwrap();
    assert_eq!(exit_text(&run.end_of(&shim).await), "exit code 7");
}

#[tokio::test]
async fn a_program_that_does_not_exist_is_127_with_its_name() {
    let exit = Run::of(&["no-such-agent", "-p"]).exit().await;
    assert_eq!(
        exit_text(&exit),
        "exit code 127 (No such file or directory: no-such-agent)"
    );
    assert!(!exit.succeeded());
}

#[tokio::test]
async fn a_file_that_is_no_program_is_126_with_the_reason() {
    let run = Run::of(&["./notes.txt"]);
    fs::write(run.work().join("notes.txt"), "not a program").unwrap();
    assert_eq!(
        exit_text(&run.exit().await),
        "exit code 126 (Permission denied: ./notes.txt)"
    );

    assert_eq!(
        exit_text(&Run::of(&["/"]).exit().await),
        "exit code 126 (Permission denied: /)"
    );
}

#[tokio::test]
async fn a_missing_directory_or_input_is_not_mistaken_for_a_missing_program() {
    let run = Run::sh("true").with(|s| s.cwd = "/nonexistent/place".into());
    assert_eq!(
        exit_text(&run.exit().await),
        "exit code 126 (not a directory: /nonexistent/place)"
    );

    let run = Run::sh("true").with(|s| s.stdin = Some("/nonexistent/prompt".into()));
    let text = exit_text(&run.exit().await);
    assert_eq!(
        text,
        "exit code 126 (No such file or directory: /nonexistent/prompt)"
    );
}

#[tokio::test]
async fn a_damaged_launch_file_is_recorded_as_the_reason() {
    let run = Run::sh("true");
    fs::create_dir(run.run_dir()).unwrap();
    fs::write(run.run_dir().join("launch.json"), "{").unwrap();
    let shim = std::process::Command::new(&run.exe)
        .arg("shim")
        .arg(run.run_dir())
        .status()
        .unwrap();
    assert!(shim.success());
    let exit = orch::process::read_exit(&run.run_dir()).unwrap().unwrap();
    assert!(
        exit_text(&exit).starts_with("exit code 126 ("),
        "{}",
        exit_text(&exit)
    );
}
