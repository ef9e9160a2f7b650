//! A run that was superseded can write nothing any more: no status, no stage, no push, no pull request, no event.

use std::time::Duration;

use orch::domain::id::TaskId;
use orch::domain::job::JobStatus;
use orch::domain::run::RunStep;
use orch::engine::recover;
use orch::engine::run::Driven;

use super::house::House;

/// The steps that an agent's run records one by one.
const STEPS: [RunStep; 6] = [
    RunStep::Prepared,
    RunStep::Running,
    RunStep::Exited,
    RunStep::Committed,
    RunStep::Pushed,
    RunStep::PrOpened,
];

/// In the very transaction that records a step of a run, something else happens to its job: there is no closer shave.
fn at_step(house: &House, step: RunStep, happens: &str) {
    house.sql(&format!(
        "CREATE TRIGGER shave AFTER UPDATE OF step ON runs WHEN NEW.step = '{step}' BEGIN {happens}; END",
        step = step.as_str()
    ));
}

fn no_more_shaves(house: &House) {
    house.sql("DROP TRIGGER shave");
}

const CANCEL: &str = "UPDATE jobs SET status = 'cancelled', finished_at = 1 WHERE id = NEW.job_id;
    UPDATE tasks SET status = 'cancelled', version = version + 1 WHERE id = NEW.task_id";

const REQUEUE: &str =
    "UPDATE jobs SET status = 'queued', attempts = 0, available_at = 0 WHERE id = NEW.job_id";

/// The rows without those of the run itself, which says of itself that it was abandoned, where its work is, and what it
/// cost.
fn rows_beside_runs(house: &House) -> Vec<String> {
    let mut rows = house.dump();
    let of_the_run = ["runs ", "task_spend ", "project_spend "];
    rows.retain(|r| !of_the_run.iter().any(|table| r.starts_with(table)));
    rows
}

#[tokio::test]
async fn a_job_cancelled_right_after_any_step_does_nothing_more() {
    for step in STEPS {
        let house = House::short().await;
        let task = house.add("Say hello").await;
        let claim = house.claim_one().await;
        at_step(&house, step, CANCEL);
        let before = (house.events(task).await, house.waiting().await);

        assert_eq!(house.drive(claim).await, Driven::Superseded, "{step:?}");

        assert_eq!(house.engine.refused_total(), 1, "{step:?}: counted");
        assert_eq!(house.stands(task).await, "development cancelled");
        assert_eq!(house.job(claim).await.status, JobStatus::Cancelled);
        assert_eq!(
            (house.events(task).await, house.waiting().await),
            before,
            "{step:?}"
        );
        let branch = house.task(task).await.branch.to_string();
        let pushed = step >= RunStep::Pushed;
        assert_eq!(house.head(&branch).is_some(), pushed, "{step:?}");
        let opened = usize::from(step >= RunStep::PrOpened);
        assert_eq!(house.pull_requests().await.len(), opened, "{step:?}");
        assert_eq!(house.count("intents WHERE kind = 'push'") > 0, pushed, "{step:?}");
        let run = house.run_of(claim).await.unwrap();
        assert_eq!(run.step, RunStep::Abandoned, "{step:?}");
        assert_eq!(house.leftovers(), [""; 0], "{step:?}");
        // What was not at origin yet is kept, and nothing else is.
        let worked = step >= RunStep::Running && !pushed;
        assert_eq!(house.wip().len(), usize::from(worked), "{step:?}");
        if worked {
            let kept = house.kept(&house.wip()[0], "src/SHOP-001.txt");
            assert_eq!(kept.as_deref(), Some("work 1\n"), "{step:?}");
            assert_eq!(run.wip_ref.as_ref(), house.wip().first());
        }
    }
}

#[tokio::test]
async fn a_job_requeued_right_after_any_step_is_done_once_by_its_successor() {
    for step in STEPS {
        let house = House::short().await;
        house.role("developer", "mkdir -p src; echo work >src/SHOP-001.txt");
        let task = house.add("Say hello").await;
        let old = house.claim_one().await;
        at_step(&house, step, REQUEUE);
        assert_eq!(house.drive(old).await, Driven::Superseded, "{step:?}");
        no_more_shaves(&house);
        house.run_all().await;
        delivered_once(&house, task).await;
    }
}

async fn delivered_once(house: &House, task: TaskId) {
    assert_eq!(house.stands(task).await, "done done");
    let events = house.events(task).await;
    let of = |kind: &str| events.iter().filter(|e| e.starts_with(kind)).count();
    // Into development, review and done: each once.
    assert_eq!(of("stage: started: "), 1, "{events:#?}");
    assert_eq!(of("stage: development → review"), 1, "{events:#?}");
    assert_eq!(of("merge: "), 1, "{events:#?}");
    assert_eq!(house.pull_requests().await.len(), 1);
    assert_eq!(house.trees_of_main().len(), 1 + commits_of_one_task(house));
    assert_eq!(house.leftovers(), [""; 0]);
}

/// The developer's and the reviewer's commit.
fn commits_of_one_task(house: &House) -> usize {
    usize::from(house.file("main", "src/SHOP-001.txt").is_some())
        + usize::from(
            house
                .file("main", "docs/work-items/SHOP-001/12-review.md")
                .is_some(),
        )
}

#[tokio::test]
async fn a_monitor_that_thaws_after_its_successor_has_finished_writes_nothing() {
    for step in STEPS {
        let house = House::short().await;
        let task = house.add("Say hello").await;
        let claim = house.claim_one().await;
        let mut frozen = house.driving(claim);
        frozen.until_step(step).await;

        house.drive(claim).await;
        assert_eq!(house.stands(task).await, "review active", "{step:?}");
        let before = (house.dump(), house.refs());

        assert_eq!(frozen.end().await.unwrap(), Driven::Superseded, "{step:?}");
        assert_eq!((house.dump(), house.refs()), before, "{step:?}");
        house.run_all().await;
        delivered_once(&house, task).await;
    }
}

#[tokio::test]
async fn a_monitor_that_thaws_leaves_the_agent_of_its_successor_alone() {
    let house = House::short().await;
    house.role("developer", "hold work; echo x >code.txt");
    let task = house.add("Say hello").await;
    let claim = house.claim_one().await;
    let mut frozen = house.driving(claim);
    frozen.until_step(RunStep::Prepared).await;

    let mut successor = house.driving(claim);
    successor.until_step(RunStep::Running).await;
    house.reached("work").await;
    let before = (house.dump(), house.refs());
    assert_eq!(frozen.end().await.unwrap(), Driven::Superseded);
    assert_eq!((house.dump(), house.refs()), before);

    house.go("work");
    assert_eq!(successor.end().await.unwrap(), Driven::Over);
    assert_eq!(house.stands(task).await, "review active");
    assert_eq!(house.ran(), ["developer"]);
}

#[tokio::test]
async fn a_cancel_while_the_agent_works_ends_it_and_keeps_its_work() {
    let house = House::short().await;
    house.role(
        "developer",
        "echo half >half.txt; hold work; echo whole >half.txt",
    );
    let task = house.add("Say hello").await;
    let claim = house.claim_one().await;
    let mut drive = house.driving(claim);
    drive.until_step(RunStep::Running).await;
    house.reached("work").await;

    assert!(house.gesture(task, "cancelled").await.applied);
    let before = rows_beside_runs(&house);
    // What its monitor does when it is told.
    drop(drive);
    orch::engine::run::abandon(&house.engine, claim).await.unwrap();

    assert_eq!(rows_beside_runs(&house), before);
    assert_eq!(house.kept(&house.wip()[0], "half.txt").as_deref(), Some("half\n"));
    assert_eq!(house.leftovers(), [""; 0]);
    let again = house.try_gesture(task, "cancelled").await.unwrap();
    assert!(!again.applied, "{again:?}");
}

#[tokio::test]
async fn a_cancel_after_the_run_was_evaluated_comes_too_late_for_it() {
    let house = House::short().await;
    let task = house.add("Say hello").await;
    let claim = house.claim_one().await;
    house.drive(claim).await;
    let job = house.job(claim).await;
    let refused =
        orch::engine::operate::cancel_job(&house.engine, job.id.0, "late", house.engine.now()).await;
    assert!(refused.unwrap_err().to_string().contains("already finished"));
    assert_eq!(house.stands(task).await, "review active");
}

#[tokio::test]
async fn a_task_that_moved_on_under_a_running_job_is_not_advanced_and_its_job_does_not_stay_stuck() {
    for step in [
        RunStep::Prepared,
        RunStep::Running,
        RunStep::Exited,
        RunStep::PrOpened,
    ] {
        let house = House::short().await;
        let task = house.add("Say hello").await;
        let claim = house.claim_one().await;
        let moved = "UPDATE tasks SET version = version + 1 WHERE id = NEW.task_id";
        at_step(&house, step, moved);
        assert_eq!(house.drive(claim).await, Driven::Over, "{step:?}");
        assert_eq!(house.job(claim).await.status, JobStatus::Done, "{step:?}");
        assert_eq!(house.stands(task).await, "development active", "{step:?}");
        assert_eq!(house.run_of(claim).await.unwrap().step, RunStep::Finalised);
        assert_eq!(house.leftovers(), [""; 0], "{step:?}");
    }
}

#[tokio::test]
async fn a_job_made_for_an_earlier_version_does_not_even_start_its_agent() {
    let house = House::short().await;
    let task = house.add("Say hello").await;
    let claim = house.claim_one().await;
    house.sql("UPDATE tasks SET version = version + 1");
    assert_eq!(house.drive(claim).await, Driven::Over);
    assert_eq!(house.job(claim).await.status, JobStatus::Done);
    assert_eq!(house.stands(task).await, "development active");
    assert_eq!(house.ran(), [""; 0]);
    assert!(house.events(task).await.last().unwrap().contains("already past"));
}

#[tokio::test]
async fn an_agent_whose_task_moved_on_is_ended_before_its_worktree_goes() {
    let house = House::short().await;
    house.role("developer", "echo half >half.txt; hold work");
    let task = house.add("Say hello").await;
    let claim = house.claim_one().await;
    let mut died = house.driving(claim);
    died.until_step(RunStep::Running).await;
    house.reached("work").await;
    drop(died);
    house.sql("UPDATE tasks SET version = version + 1");

    assert_eq!(house.drive(claim).await, Driven::Over);
    assert_eq!(house.job(claim).await.status, JobStatus::Done);
    assert_eq!(house.stands(task).await, "development active");
    assert_eq!(house.kept(&house.wip()[0], "half.txt").as_deref(), Some("half\n"));
    let shim = house.run_of(claim).await.unwrap().shim.unwrap();
    assert_ne!(orch::process::is_alive(&shim), orch::process::Liveness::Alive);
}

/// Nothing kills a live agent within its time: not a second monitor, not recovery, not a claim.
#[tokio::test]
async fn a_live_agent_within_its_time_is_never_touched() {
    let mut house = House::short().await;
    house.role("developer", "hold work; echo x >code.txt");
    let task = house.add("Say hello").await;
    let claim = house.claim_one().await;
    let mut first = house.driving(claim);
    first.until_step(RunStep::Running).await;
    house.reached("work").await;
    drop(first);
    for _ in 0..3 {
        house.later(Duration::from_secs(3600));
        house.restart().await;
        let found = recover::running(&house.engine).await.unwrap();
        assert_eq!((found.jobs.len(), found.broken.len()), (1, 0));
        let swept = recover::sweep(&house.engine).await.unwrap();
        assert_eq!((swept.runs, swept.trouble.len()), (0, 0));
        assert_eq!(house.claim().await, []);
        orch::engine::run::abandon(&house.engine, claim).await.unwrap();
        let mut next = house.driving(claim);
        // It watches and does nothing else.
        let engine = house.engine.clone();
        next.until("it watches", async || {
            let epoch = engine
                .store()
                .read(move |tx| orch::store::runs::of_claim(tx, claim))
                .await;
            epoch.unwrap().unwrap().monitor_epoch.0 > 1
        })
        .await;
    }
    house.go("work");
    house.drive(claim).await;
    assert_eq!(house.stands(task).await, "review active");
    assert_eq!(house.ran(), ["developer"]);
}
