//! Pruning: folders, refs and rows go when they are old, and nothing of a task that is not over.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::time::Duration;

use orch::domain::id::TaskId;
use orch::domain::job::Claim;
use orch::engine::views::PruneReport;
use orch::engine::{EngineError, prune};

use super::house::{House, Plan, SHORT};

fn days(n: u64) -> Duration {
    Duration::from_secs(n * 86_400)
}

fn folder(house: &House, claim: Claim) -> PathBuf {
    house
        .data()
        .join("runs")
        .join(format!("{}-{}", claim.job, claim.epoch))
}

/// Its first run has failed and left work; the second one delivered.
async fn finished(house: &House) -> (TaskId, Claim) {
    house.role("developer", "echo half >half.txt; exit 3");
    let task = house.add("Say hello").await;
    let failed = house.claim_one().await;
    house.drive(failed).await;
    house.role("developer", "echo whole >whole.txt");
    house.run_all().await;
    assert_eq!(house.stands(task).await, "done done");
    (task, failed)
}

async fn sweep(house: &House) -> PruneReport {
    let before = house.dump();
    let planned = prune::plan(&house.engine).await.unwrap();
    assert_eq!(house.dump(), before, "a plan writes nothing");
    let done = prune::sweep(&house.engine).await.unwrap();
    assert_eq!(done.trouble, [""; 0]);
    assert!(planned.dry_run);
    assert_eq!(planned.wip_refs, done.wip_refs);
    assert_eq!(planned.tasks, done.tasks);
    assert_eq!(planned.notices, done.notices);
    done
}

#[tokio::test]
async fn everything_of_a_finished_task_goes_in_its_time_and_a_sweep_with_nothing_to_do_writes_nothing() {
    let house = House::short().await;
    let (task, failed) = finished(&house).await;
    let path = folder(&house, failed);
    let copy = path.join("wip.bundle");
    let idle = house.dump();
    assert!(!sweep(&house).await.removed_something());
    assert_eq!(house.dump(), idle);

    house.later(days(15));
    let first = sweep(&house).await;
    assert!(first.folders >= 2 && first.bytes > 0, "{first:?}");
    assert_eq!((first.wip_refs, first.tasks), (0, 0));
    assert_eq!(house.wip().len(), 1, "work is kept for longer than logs");
    let left: Vec<_> = fs::read_dir(&path).unwrap().map(|e| e.unwrap().path()).collect();
    assert_eq!(left, [copy], "the copy of kept work goes with the work");
    assert!(!sweep(&house).await.removed_something());

    house.later(days(16));
    let second = sweep(&house).await;
    assert_eq!((second.wip_refs, second.folders), (1, 1));
    assert_eq!(house.wip(), [""; 0]);
    assert!(!path.exists());
    assert_eq!(house.count("runs WHERE wip_ref IS NOT NULL"), 0);

    house.later(days(60));
    let third = sweep(&house).await;
    assert_eq!(third.tasks, 1);
    assert_eq!(
        (house.count("jobs"), house.count("runs"), house.count("events")),
        (0, 0, 0)
    );
    assert_eq!(house.stands(task).await, "done done");
    assert!(house.head("main").is_some());
}

#[tokio::test]
async fn nothing_of_a_task_that_is_not_over_is_touched_however_old_it_is() {
    let house = House::short().await;
    house.role("developer", "echo half >half.txt; exit 3");
    house.add("Say hello").await;
    let failed = house.claim_one().await;
    house.drive(failed).await;
    let before = house.dump();
    house.later(days(4000));
    assert!(!sweep(&house).await.removed_something());
    assert_eq!(house.dump(), before);
    assert_eq!(house.wip().len(), 1);
    assert!(folder(&house, failed).join("output.log").exists());
}

#[tokio::test]
async fn only_folders_of_runs_go_and_no_link_is_followed() {
    let house = House::short().await;
    let runs = house.data().join("runs");
    let treasure = house.path("treasure");
    fs::create_dir_all(runs.join("901-1")).unwrap();
    fs::create_dir_all(runs.join("notes")).unwrap();
    fs::create_dir_all(&treasure).unwrap();
    fs::write(treasure.join("gold"), "x").unwrap();
    symlink(&treasure, runs.join("902-1")).unwrap();
    symlink(&treasure, runs.join("901-1/inside")).unwrap();
    house.later(days(4000));
    assert_eq!(sweep(&house).await.folders, 1);
    assert!(!runs.join("901-1").exists());
    assert!(runs.join("notes").exists() && runs.join("902-1").is_symlink());
    assert!(treasure.join("gold").exists());
}

#[tokio::test]
async fn a_ref_that_holds_something_else_by_now_is_told_and_stays() {
    let house = House::short().await;
    finished(&house).await;
    house.later(days(31));
    let clone = house.engine.settings().repos_dir.join("shop.git");
    // Held by somebody: git may not change it.
    let name = house.wip()[0].clone();
    fs::write(clone.join(format!("{name}.lock")), "").unwrap();
    let done = prune::sweep(&house.engine).await.unwrap();
    assert_eq!(done.wip_refs, 0);
    assert_eq!(done.trouble.len(), 1, "{:?}", done.trouble);
    assert_eq!(house.count("runs WHERE wip_ref IS NOT NULL"), 1);
    fs::remove_file(clone.join(format!("{name}.lock"))).unwrap();
    assert_eq!(sweep(&house).await.wip_refs, 1);
}

#[tokio::test]
async fn what_is_switched_off_is_kept_for_ever() {
    let off = ["jobs", "logs", "wip", "outbox", "healing"];
    let house = off.iter().fold(Plan::new(SHORT), |plan, what| {
        plan.set(&format!("retention.{what}_days = 0"))
    });
    let house = house.build().await;
    finished(&house).await;
    house.later(days(36_000));
    let before = house.dump();
    assert!(!sweep(&house).await.removed_something());
    assert_eq!(house.dump(), before);
}

#[tokio::test]
async fn a_project_makes_room_by_its_own_command_and_its_failure_stops_nothing() {
    let house = Plan::new(SHORT)
        .top("prune_command = 'echo \"$ORCH_PROJECT\" >>pruned; pwd -P >>pruned; echo no room; exit 3'")
        .build()
        .await;
    finished(&house).await;
    house.later(days(15));
    let planned = prune::plan(&house.engine).await.unwrap();
    assert_eq!(planned.commands[0].succeeded, None);
    let done = prune::sweep(&house.engine).await.unwrap();
    assert!(done.folders > 0, "{done:?}");
    let told = &done.commands[0];
    assert_eq!((told.project.as_str(), told.succeeded), ("shop", Some(false)));
    let outcome = told.outcome.as_deref().unwrap();
    assert!(outcome.contains('3') && outcome.contains("no room"), "{outcome}");
    prune::sweep(&house.engine).await.unwrap();
    let clone = fs::canonicalize(house.engine.settings().repos_dir.join("shop.git")).unwrap();
    let once = format!("shop\n{}\n", clone.display());
    assert_eq!(fs::read_to_string(clone.join("pruned")).unwrap(), once.repeat(2));
}

#[tokio::test]
async fn two_sweeps_at_once_are_refused() {
    let house = Plan::new(SHORT)
        .top("prune_command = 'touch reached; while [ ! -e go ]; do sleep 0.02; done'")
        .build()
        .await;
    let first = prune::sweep(&house.engine);
    tokio::pin!(first);
    tokio::select! {
        biased;
        _ = &mut first => panic!("it did not wait"),
        second = async { tokio::task::yield_now().await; prune::sweep(&house.engine).await } => {
            let Err(EngineError::Conflict { what }) = second else { panic!("{second:?}") };
            assert!(what.contains("under way"), "{what}");
        }
    }
    let clone = house.engine.settings().repos_dir.join("shop.git");
    let go = async {
        house
            .until("the command runs", || clone.join("reached").exists())
            .await;
        fs::write(clone.join("go"), "").unwrap();
    };
    let (done, ()) = tokio::join!(first, go);
    assert_eq!(done.unwrap().commands[0].succeeded, Some(true));
}
