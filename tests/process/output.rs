//! Output is kept within its cap, and trouble with the log never troubles the agent.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::time::Duration;

use orch::process::output_tail;

use super::support::Run;

#[tokio::test]
async fn bytes_that_are_no_text_are_kept_as_they_are() {
    let run = Run::sh(r"printf '\377\376 caf\351\n\000'");
    assert!(run.exit().await.succeeded());
    assert_eq!(run.output_bytes(), b"\xff\xfe caf\xe9\n\0");
    assert!(output_tail(&run.run_dir(), 1000).unwrap().contains("\u{fffd}"));
}

#[tokio::test]
async fn of_a_flood_the_beginning_and_the_end_are_kept() {
    let run =
        Run::sh("echo first; yes 0123456789abcdef0123456789abcde | head -c 300000000; echo '{\"usage\":1}'")
            .with(|s| s.log_cap_bytes = 256 * 1024);
    let exit = run.exit().await;
    assert!(exit.succeeded());
    let log = run.output();
    let lines: Vec<_> = log.lines().collect();
    assert_eq!((lines[0], lines[lines.len() - 1]), ("first", "{\"usage\":1}"));
    assert!(lines.contains(&format!("[orch] {} bytes not kept", exit.dropped_bytes).as_str()));
    assert!(
        lines
            .iter()
            .filter(|l| l.starts_with("0123"))
            .all(|l| l.len() == 31)
    );
    assert_eq!(exit.output_bytes, 300_000_000 + 6 + 12);
    assert!(log.len() <= 256 * 1024 + 100 && log.len() > 128 * 1024);
    assert_eq!(exit.log_error, None);
    assert_eq!(output_tail(&run.run_dir(), 20).unwrap(), "{\"usage\":1}\n");
}

#[tokio::test]
async fn an_endless_flood_does_not_keep_a_timeout_from_coming() {
    let run = Run::of(&["yes"]).with(|s| {
        s.timeout = Some(Duration::from_millis(500));
        s.log_cap_bytes = 8192;
    });
    assert_eq!(
        orch::process::exit_text(&run.exit().await),
        "exit code 143 SIGTERM (timeout after 1s)"
    );
}

#[tokio::test]
async fn a_full_disk_costs_output_but_not_the_run() {
    let run = Run::sh("seq 100000; echo done >&2; exit 5");
    fs::create_dir(run.run_dir()).unwrap();
    symlink("/dev/full", run.run_dir().join("output.log")).unwrap();
    let exit = run.exit().await;
    assert_eq!(exit.code, Some(5));
    assert_eq!(exit.log_error.as_deref(), Some("No space left on device"));
    assert_eq!(
        (exit.output_bytes, exit.dropped_bytes),
        (588_895 + 5, 588_895 + 5)
    );
}

#[tokio::test]
async fn a_limit_on_file_sizes_costs_output_but_neither_the_run_nor_its_record() {
    let mut run = Run::sh("seq 100000; exit 5");
    let limited = run.work().join("limited-orch");
    let script = format!("#!/bin/sh\nulimit -f 16\nexec {} \"$@\"\n", run.exe.display());
    fs::write(&limited, script).unwrap();
    fs::set_permissions(&limited, fs::Permissions::from_mode(0o755)).unwrap();
    run.exe = limited;
    let exit = run.exit().await;
    assert_eq!(exit.code, Some(5));
    assert_eq!(exit.log_error.as_deref(), Some("File too large"));
    assert_eq!(exit.dropped_bytes + run.output_bytes().len() as u64, 588_895);
}

#[tokio::test]
async fn a_log_that_cannot_be_made_is_told_and_ends_nothing() {
    let run = Run::sh("echo hello");
    fs::create_dir_all(run.run_dir().join("output.log")).unwrap();
    let exit = run.exit().await;
    assert_eq!((exit.code, exit.dropped_bytes), (Some(0), 6));
    assert_eq!(exit.log_error.as_deref(), Some("Is a directory"));
}

#[tokio::test]
async fn a_reader_can_follow_while_the_run_goes_on() {
    let run = Run::sh("echo step one; while [ ! -e go ]; do sleep 0.02; done; echo step two");
    let shim = run.launched();
    run.printed("step one\n");
    fs::write(run.work().join("go"), "").unwrap();
    assert!(run.end_of(&shim).await.succeeded());
    assert_eq!(run.output(), "step one\nstep two\n");
}

#[tokio::test]
async fn the_prompt_file_is_its_input_and_without_one_input_is_empty() {
    let run = Run::of(&["cat"]);
    assert!(run.exit().await.succeeded());
    assert_eq!(run.output(), "");

    let mut run = Run::of(&["cat"]);
    let prompt = run.work().join("prompt.md");
    fs::write(&prompt, "do it\n").unwrap();
    run.spec.stdin = Some(prompt);
    assert!(run.exit().await.succeeded());
    assert_eq!(run.output(), "do it\n");
}
