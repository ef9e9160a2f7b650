//! One run directory, one program, with nothing it was not given.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use orch::process::{ProcessError, RunState, look, stop};

use super::support::{Run, wait_until};

#[tokio::test]
async fn the_environment_is_exactly_the_one_given() {
    // The test's own environment is full of what must not get through.
    assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some());
    let run = Run::of(&["env"]).with(|s| s.env.push(("ROLE".into(), "tester".into())));
    assert!(run.exit().await.succeeded());
    let output = run.output();
    let mut lines: Vec<_> = output.lines().collect();
    lines.sort_unstable();
    let mark = format!("ORCH_RUN_DIR={}", run.run_dir().canonicalize().unwrap().display());
    assert_eq!(
        lines,
        [mark.as_str(), "PATH=/usr/local/bin:/usr/bin:/bin", "ROLE=tester"]
    );
}

#[tokio::test]
async fn the_program_inherits_no_open_file() {
    let _ours = fs::File::open("/proc/self/exe").unwrap();
    let run =
        Run::sh("for n in 0 1 2 3 4 5 6 7 8 9 10 11 12; do [ -e /proc/$$/fd/$n ] && echo $n; done; true");
    assert!(run.exit().await.succeeded());
    assert_eq!(run.output(), "0\n1\n2\n");
}

#[tokio::test]
async fn a_second_launch_is_refused_while_the_first_runs_and_after_it_ended() {
    let run = Run::sh("echo up >> ups; echo up; exec sleep 1000");
    let shim = run.launched();
    assert!(matches!(run.launch(), Err(ProcessError::AlreadyLaunched { .. })));
    run.printed("up");
    assert!(matches!(run.launch(), Err(ProcessError::AlreadyLaunched { .. })));
    assert_eq!(by_hand(&run), Some(75));

    stop(&shim).unwrap();
    let exit = run.end_of(&shim).await;
    assert!(matches!(run.launch(), Err(ProcessError::AlreadyLaunched { .. })));
    assert_eq!(by_hand(&run), Some(75));
    assert_eq!(look(&run.run_dir(), None).unwrap(), RunState::Ended(exit));
    assert_eq!(fs::read_to_string(run.work().join("ups")).unwrap(), "up\n");
}

#[tokio::test]
async fn of_launches_at_the_same_time_one_wins() {
    let run = Run::sh("echo up >> ups; exec sleep 1000");
    let won: Vec<_> = thread::scope(|scope| {
        let racers: Vec<_> = (0..8).map(|_| scope.spawn(|| run.launch())).collect();
        racers
            .into_iter()
            .filter_map(|r| r.join().unwrap().ok())
            .collect()
    });
    assert_eq!(won.len(), 1);
    wait_until("the program is up", || run.work().join("ups").exists());
    stop(&won[0].identity).unwrap();
    run.end_of(&won[0].identity).await;
    assert_eq!(fs::read_to_string(run.work().join("ups")).unwrap(), "up\n");
}

#[tokio::test]
async fn a_run_whose_shim_was_killed_is_lost_and_not_started_again() {
    let run = Run::sh("echo up; exec sleep 1000");
    let shim = run.launched();
    assert_eq!(
        look(&run.run_dir(), Some(&shim)).unwrap(),
        RunState::Running(shim.clone())
    );
    run.agent_pid();
    Command::new("kill")
        .args(["-KILL", &shim.pid.to_string()])
        .status()
        .unwrap();
    wait_until("the shim is gone", || {
        look(&run.run_dir(), None).unwrap() == RunState::Lost(shim.clone())
    });
    assert!(matches!(run.launch(), Err(ProcessError::AlreadyLaunched { .. })));
}

#[tokio::test]
async fn a_binary_that_cannot_be_started_is_an_error_and_leaves_the_directory_usable() {
    let mut run = Run::sh("true");
    let exe = std::mem::replace(&mut run.exe, "/nonexistent/orch".into());
    assert!(matches!(run.launch(), Err(ProcessError::Shim { .. })));
    assert_eq!(look(&run.run_dir(), None).unwrap(), RunState::NotLaunched);
    run.exe = exe;
    assert!(run.exit().await.succeeded());
}

/// A child that another thread is starting holds a copy of every open file until it has become its program.
#[test]
fn a_launch_that_failed_leaves_nothing_locked_while_other_processes_are_started() {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    Command::new("true").status().unwrap();
                }
            });
        }
        let mut run = Run::sh("true");
        run.exe = "/nonexistent/orch".into();
        let refused = (0..2_000).find_map(|_| match run.launch() {
            Err(ProcessError::Shim { .. }) => None,
            other => Some(other),
        });
        done.store(true, Ordering::Relaxed);
        assert!(refused.is_none(), "{refused:?}");
    });
}

#[tokio::test]
async fn what_a_run_directory_holds_is_for_its_owner_only() {
    let run = Run::sh("echo secret");
    run.exit().await;
    for entry in fs::read_dir(run.run_dir()).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{:?}", entry.path());
    }
}

#[test]
fn the_values_of_an_environment_are_not_shown() {
    let run = Run::sh("true").with(|s| s.env.push(("API_KEY".into(), "s3cr3t".into())));
    let shown = format!("{:?}", run.spec);
    assert!(shown.contains("API_KEY") && !shown.contains("s3cr3t"));
}

/// Starts a shim as a second one would be, without the check that comes before it.
fn by_hand(run: &Run) -> Option<i32> {
    Command::new(&run.exe)
        .arg("shim")
        .arg(run.run_dir())
        .status()
        .unwrap()
        .code()
}

/// The machine went down before what the shim had written of itself reached the disk.
#[tokio::test]
async fn a_damaged_record_of_a_shim_that_is_gone_tells_that_the_run_is_over() {
    let run = Run::sh("true");
    let shim = run.launched();
    run.end_of(&shim).await;
    let dir = run.run_dir();
    std::fs::write(dir.join("shim.json"), "").unwrap();
    std::fs::write(dir.join("exit.json"), "{\"co").unwrap();
    assert_eq!(look(&dir, None).unwrap(), RunState::Elsewhere(None));
    assert_eq!(look(&dir, Some(&shim)).unwrap(), RunState::Lost(shim));
}

#[tokio::test]
async fn a_damaged_record_of_a_shim_that_lives_is_no_reason_to_give_it_up() {
    let run = Run::sh("echo up; exec sleep 1000");
    run.launched();
    run.printed("up");
    let record = run.run_dir().join("shim.json");
    let whole = std::fs::read(&record).unwrap();
    std::fs::write(&record, "").unwrap();
    let looked = look(&run.run_dir(), None);
    std::fs::write(&record, whole).unwrap();
    assert!(matches!(looked, Err(ProcessError::Damaged { .. })), "{looked:?}");
}
