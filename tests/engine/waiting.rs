//! What a task waits for is told, and what will never come is not waited for.

use std::time::Duration;

use orch::domain::job::JobStatus;
use orch::engine::run::{Driven, claim_of};
use orch::engine::views::{AddTask, MakeGesture};
use orch::engine::{EngineError, gestures, intake, operate, queries};

use super::house::{House, Plan, SHORT, empty_task};

fn task(title: &str) -> AddTask {
    AddTask {
        title: title.to_owned(),
        ..empty_task()
    }
}

fn after(title: &str, before: &str) -> AddTask {
    AddTask {
        depends_on: vec![before.to_owned()],
        ..task(title)
    }
}

/// Why each queued job waits, by its task's name.
async fn told(house: &House) -> Vec<String> {
    let queue = queries::queue(&house.engine, house.engine.now()).await.unwrap();
    let waiting = queue.live.iter().filter(|j| j.status == "queued");
    let line = |j: &orch::engine::views::JobView| {
        let why = j.held.as_deref().unwrap_or("is next");
        format!("{}: {why}", j.task)
    };
    waiting.map(line).collect()
}

#[tokio::test]
async fn a_job_that_is_held_back_says_by_what() {
    let house = Plan::new(SHORT).top("max_concurrency = 2").build().await;
    let paths = |title: &str| AddTask {
        modifies: vec!["src/shop".to_owned()],
        ..task(title)
    };
    house.add_with(paths("First")).await;
    house.claim_one().await;
    house.add_with(paths("Same paths")).await;
    house.add_with(after("Later", "SHOP-001")).await;
    house.add_with(task("Fits")).await;
    house.add_with(task("Too many")).await;
    assert_eq!(
        told(&house).await,
        [
            "SHOP-002: SHOP-001 changes the same paths",
            "SHOP-003: waits for SHOP-001",
            "SHOP-004: is next",
            "SHOP-005: its project runs as many agents as it may (max_concurrency)",
        ]
    );
    let shown = queries::task(&house.engine, "SHOP-003", house.engine.now()).await;
    assert_eq!(shown.unwrap().jobs[0].held.as_deref(), Some("waits for SHOP-001"));
    operate::set_paused(&house.engine, true, house.engine.now())
        .await
        .unwrap();
    assert!(
        told(&house)
            .await
            .iter()
            .all(|l| l.ends_with("the queue is paused"))
    );
}

#[tokio::test]
async fn whoever_depends_on_a_cancelled_task_is_told_and_goes_on_when_a_person_says_so() {
    let house = House::short().await;
    let first = house.add("First").await;
    let second = house.add_with(after("Second", "SHOP-001")).await;
    let third = house.add_with(after("Third", "SHOP-002")).await;
    // Whoever waits for an answer anyway is told too: the answer alone would let it go on without.
    let asking = house.add_with(after("Asking", "SHOP-001")).await;
    house.gesture(asking, "needs-input").await;
    house.gesture(first, "cancelled").await;
    assert_eq!(house.stands(asking).await, "development blocked");
    assert_eq!(house.stands(second).await, "development blocked");
    let reason = house.task(second).await.reason.unwrap();
    assert!(reason.contains("SHOP-001 was cancelled"), "{reason}");
    assert_eq!(house.live_job(second).await, None);
    // It may still be done, so the third one waits on.
    assert_eq!(house.stands(third).await, "development active");
    assert_eq!(house.claim().await, []);

    let refused = intake::add(&house.engine, after("Fourth", "SHOP-001"), house.engine.now()).await;
    assert!(
        matches!(&refused, Err(EngineError::Conflict { what }) if what.contains("SHOP-001 was cancelled")),
        "{refused:?}"
    );

    house.gesture(second, "in-progress").await;
    house.run_all().await;
    assert_eq!(house.stands(second).await, "done done");
    assert_eq!(house.stands(third).await, "done done");
}

#[tokio::test]
async fn an_operators_priority_holds_for_the_jobs_that_follow() {
    let house = House::short().await;
    let task = house.add("Say hello").await;
    let job = house.live_job(task).await.unwrap();
    operate::set_priority(&house.engine, job.id.0, 7, house.engine.now())
        .await
        .unwrap();
    let claim = house.claim_one().await;
    house.drive(claim).await;
    let next = house.live_job(task).await.unwrap();
    assert_eq!((next.stage.as_str(), next.priority), ("review", 7));
}

#[tokio::test]
async fn without_a_test_command_orch_merges_nothing() {
    let stages = SHORT
        .replace("\"tests_local\"", "")
        .replace(", \"branch_mergeable\"", "");
    let house = Plan::new(&stages).top("# no test_command").build().await;
    let before = house.main();
    let task = house.add("Say hello").await;
    house.run_all().await;
    assert_eq!(house.stands(task).await, "review active");
    let waiting = house.live_job(task).await.unwrap().error.unwrap();
    assert!(
        waiting.contains("no test_command in") && waiting.contains("waits for a person to merge"),
        "{waiting}"
    );
    assert_eq!(house.main(), before);
}

#[tokio::test]
async fn a_confirmation_that_means_another_candidate_is_refused() {
    let house = House::confirmed().await;
    let task = house.add("Say hello").await;
    house.run_all().await;
    assert_eq!(house.stands(task).await, "deploy waiting_human");
    let candidate = house.task(task).await.candidate.unwrap();
    let confirm = async |candidate: &str| {
        let make = MakeGesture {
            gesture: "confirm-deploy".to_owned(),
            person: None,
            comment: None,
            candidate: Some(candidate.to_owned()),
        };
        gestures::apply(&house.engine, "SHOP-001", make, house.engine.now()).await
    };
    let refused = confirm(house.main().as_str()).await;
    assert!(
        matches!(&refused, Err(EngineError::Conflict { what }) if what.contains(candidate.as_str())),
        "{refused:?}"
    );
    let unclear = confirm("abc").await;
    assert!(
        matches!(&unclear, Err(EngineError::Invalid { what }) if what.starts_with("candidate: ")),
        "{unclear:?}"
    );
    assert_eq!(house.stands(task).await, "deploy waiting_human");
    confirm(&candidate.as_str()[..10].to_uppercase()).await.unwrap();
    house.run_all().await;
    assert_eq!(house.stands(task).await, "done done");
}

/// The job alone is no confirmation: somebody may have queued it by another way.
#[tokio::test]
async fn nothing_is_merged_without_a_recorded_confirmation() {
    let house = House::confirmed().await;
    let task = house.add("Say hello").await;
    house.run_all().await;
    let before = house.main();
    house.gesture(task, "confirm-deploy").await;
    house.sql("DELETE FROM intents WHERE kind = 'confirm'");
    house.run_all().await;
    assert_eq!(house.stands(task).await, "deploy waiting_human");
    assert_eq!(house.main(), before);
    house.gesture(task, "confirm-deploy").await;
    house.run_all().await;
    assert_eq!(house.stands(task).await, "done done");
}

#[tokio::test]
async fn what_is_nobodys_fault_spends_its_own_budget_first() {
    let house = Plan::new(SHORT)
        .set("queue.max_transient_attempts = 2")
        .build()
        .await;
    let task = house.add("Say hello").await;
    // The repository takes no branch: as a forge that restarts.
    let hook = house.origin().join("hooks/pre-receive");
    std::fs::write(&hook, "#!/bin/sh\necho restarting >&2\nexit 1\n").unwrap();
    super::house::shell(&format!("chmod +x '{}'", hook.display()));
    let mut spent = Vec::new();
    for _ in 0..2 {
        house.later(Duration::from_secs(3600));
        let claim = claim_of(&house.claim().await[0]);
        assert_eq!(house.drive(claim).await, Driven::Over);
        let job = house.job(claim).await;
        assert_eq!(job.status, JobStatus::Queued, "{:?}", job.error);
        spent.push((job.attempts, job.transient_attempts));
    }
    assert_eq!(spent, [(0, 1), (0, 2)]);
    std::fs::remove_file(&hook).unwrap();
    house.later(Duration::from_secs(3600));
    house.run_all().await;
    assert_eq!(house.stands(task).await, "done done");
}
