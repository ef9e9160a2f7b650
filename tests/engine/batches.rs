//! Batches: submitted whole or not at all, worked in their order, their failures counted for themselves.

use std::time::Duration;

use orch::domain::batch::BatchMode;
use orch::domain::id::TaskId;
use orch::engine::batches::{self, Submitted};
use orch::engine::repair::operate;
use orch::engine::run::claim_of;
use orch::engine::views::{AddTask, BatchDetail, SubmitBatch};
use orch::engine::{EngineError, Hint};

use super::house::{Backend, House, Plan, SHORT, empty_task, on_both};

on_both!(
    a_batch_is_submitted_once_however_often_it_is_given,
    of_a_batch_with_one_bad_task_nothing_is_written,
    members_wait_for_each_other_in_their_order_and_a_blocked_one_holds_those_after_it,
    a_cancelled_batch_ends_its_agents_and_leaves_what_is_done,
);

fn titled(title: &str) -> AddTask {
    AddTask {
        title: title.to_owned(),
        ..empty_task()
    }
}

fn batch(name: &str, mode: BatchMode, titles: &[&str]) -> SubmitBatch {
    SubmitBatch {
        name: name.to_owned(),
        project: None,
        mode,
        tasks: titles.iter().map(|title| titled(title)).collect(),
    }
}

async fn submit(house: &House, batch: SubmitBatch) -> Result<Submitted, EngineError> {
    batches::submit(&house.engine, batch, house.engine.now()).await
}

fn members(batch: &BatchDetail) -> Vec<(&str, &str)> {
    batch
        .tasks
        .iter()
        .map(|t| (t.title.as_str(), t.status.as_str()))
        .collect()
}

async fn shown(house: &House, name: &str) -> BatchDetail {
    batches::show(&house.engine, name).await.unwrap()
}

async fn a_batch_is_submitted_once_however_often_it_is_given(backend: Backend) {
    let house = backend.short().await;
    let wanted = batch("spring", BatchMode::Parallel, &["One", "Two"]);
    let (first, beside) = tokio::join!(submit(&house, wanted.clone()), submit(&house, wanted.clone()));
    let (first, beside) = (first.unwrap(), beside.unwrap());
    assert_eq!(
        u8::from(first.created) + u8::from(beside.created),
        1,
        "both at the same time"
    );
    assert_eq!(first.batch, beside.batch);
    assert_eq!(members(&first.batch), [("One", "active"), ("Two", "active")]);
    let before = house.dump();
    // A project that is named instead of being the only one is no other content.
    let named = SubmitBatch {
        project: Some("shop".to_owned()),
        ..wanted.clone()
    };
    assert!(!submit(&house, named).await.unwrap().created);

    let others = [
        batch("spring", BatchMode::Sequential, &["One", "Two"]),
        batch("spring", BatchMode::Parallel, &["Two", "One"]),
        batch("spring", BatchMode::Parallel, &["One"]),
    ];
    for other in others {
        let refused = submit(&house, other).await.unwrap_err();
        assert!(
            matches!(&refused, EngineError::Conflict { what } if what.contains("a batch spring with other content")),
            "{refused}"
        );
    }
    assert_eq!(house.dump(), before);
}

async fn of_a_batch_with_one_bad_task_nothing_is_written(backend: Backend) {
    let house = backend.short().await;
    let known = house.add("Known").await;
    let name = house.task(known).await.work_item_id.to_string();
    house.gesture(known, "cancelled").await;
    let before = house.dump();
    let bad = |bad: AddTask| {
        let mut batch = batch("spring", BatchMode::Sequential, &["One", "Two"]);
        batch.tasks.push(bad);
        batch
    };
    let cases = [
        (titled("\u{7}"), "task 3: title: give one line"),
        (
            AddTask {
                id: Some(name.clone()),
                ..titled("Three")
            },
            "exists already in this project",
        ),
        (
            AddTask {
                depends_on: vec!["NONE-7".to_owned()],
                ..titled("Three")
            },
            "task 3: depends_on: no task NONE-7 in project shop; nothing was added",
        ),
        (
            AddTask {
                depends_on: vec![name.clone()],
                ..titled("Three")
            },
            "was cancelled and will never be done",
        ),
        (
            AddTask {
                project: Some("other".to_owned()),
                ..titled("Three")
            },
            "task 3: a batch is of one project, shop",
        ),
    ];
    for (task, says) in cases {
        let refused = submit(&house, bad(task)).await.unwrap_err().to_string();
        assert!(refused.contains(says), "{refused}");
        assert_eq!(house.dump(), before, "{says}");
    }
    for name in ["../x", "a/b", "-x", "a\nb", "a\u{1b}b", "", "a..b"] {
        let refused = submit(&house, batch(name, BatchMode::Parallel, &["One"])).await;
        assert!(
            matches!(refused, Err(EngineError::Invalid { .. })),
            "{name:?}: {refused:?}"
        );
    }
    let none = submit(&house, batch("spring", BatchMode::Parallel, &[])).await;
    assert!(matches!(none, Err(EngineError::Invalid { .. })), "{none:?}");
    assert_eq!(house.dump(), before);
    // A member may name one before it.
    let mut batch = batch("spring", BatchMode::Parallel, &["One", "Two"]);
    batch.tasks[0].id = Some("SPRING-1".to_owned());
    batch.tasks[1].depends_on = vec!["SPRING-1".to_owned()];
    assert!(submit(&house, batch).await.unwrap().created);
    assert_eq!(house.claim().await.len(), 1);
}

async fn members_wait_for_each_other_in_their_order_and_a_blocked_one_holds_those_after_it(backend: Backend) {
    let house = backend.plan(SHORT).set("queue.max_attempts = 1").build().await;
    house.role(
        "developer",
        "[ $nth -ne 2 ] || { echo broken; exit 1; }; echo x >\"$ORCH_WORK_ITEM.txt\"",
    );
    submit(
        &house,
        batch("spring", BatchMode::Sequential, &["One", "Two", "Three"]),
    )
    .await
    .unwrap();
    house.run_all().await;
    assert_eq!(
        members(&shown(&house, "spring").await),
        [("One", "done"), ("Two", "blocked"), ("Three", "active")]
    );
    assert_eq!(shown(&house, "spring").await.failures, 1, "counted for the batch");
    assert!(house.claim().await.is_empty(), "the third waits for the second");

    let resumed = batches::resume(
        &house.engine,
        "spring",
        Some("ann".to_owned()),
        house.engine.now(),
    )
    .await
    .unwrap();
    assert_eq!((resumed.changed.len(), resumed.unchanged.len()), (1, 0));
    assert_eq!(resumed.batch.failures, 0);
    house.run_all().await;
    assert_eq!(
        members(&shown(&house, "spring").await),
        [("One", "done"), ("Two", "done"), ("Three", "done")]
    );
    let again = batches::resume(&house.engine, "spring", None, house.engine.now())
        .await
        .unwrap();
    assert_eq!((again.changed.len(), again.unchanged.len()), (0, 0));
}

async fn a_cancelled_batch_ends_its_agents_and_leaves_what_is_done(backend: Backend) {
    let mut house = backend.short().await;
    submit(
        &house,
        batch("spring", BatchMode::Sequential, &["One", "Two", "Three"]),
    )
    .await
    .unwrap();
    while shown(&house, "spring").await.tasks[0].status != "done" {
        let claim = house.claim_one().await;
        house.drive(claim).await;
    }
    let second = house.claim_one().await;
    let cancelled = batches::cancel(&house.engine, "spring", None, house.engine.now())
        .await
        .unwrap();
    assert_eq!(cancelled.changed.len(), 2, "{cancelled:?}");
    assert_eq!(
        members(&cancelled.batch),
        [("One", "done"), ("Two", "cancelled"), ("Three", "cancelled")]
    );
    let stopped = std::iter::from_fn(|| house.hints.try_recv().ok()).any(|hint| hint == Hint::Stop(second));
    assert!(stopped, "the agent at work is ended");
    let told = house.waiting().await;
    assert!(!told.iter().any(|cause| cause.contains("blocked")), "{told:?}");
    assert!(house.claim().await.is_empty());
    for name in ["nowhere", "../x"] {
        let missing = batches::cancel(&house.engine, name, None, house.engine.now()).await;
        assert!(missing.is_err(), "{name}");
    }
}

/// Everything fails whose work item is of the batch.
const BATCH_FAILS: &str =
    "case $ORCH_WORK_ITEM in B-*) echo \"$nth\" | tr 0-9 a-j; exit 1;; esac; echo x >\"$ORCH_WORK_ITEM.txt\"";

async fn failing(house: &House, count: usize) {
    let titles: Vec<String> = (0..count).map(|n| format!("Member {n}")).collect();
    let titles: Vec<&str> = titles.iter().map(String::as_str).collect();
    let mut batch = batch("spring", BatchMode::Parallel, &titles);
    for (n, task) in batch.tasks.iter_mut().enumerate() {
        task.id = Some(format!("B-{n}"));
        // Before all others.
        task.priority = 5;
    }
    submit(house, batch).await.unwrap();
    house.role("developer", BATCH_FAILS);
}

#[tokio::test]
async fn the_breaker_of_a_batch_stops_the_batch_and_nothing_else_of_its_project() {
    let settings = ["queue.max_attempts = 1", "breaker.failures = 3"];
    let plan = settings
        .iter()
        .fold(Plan::new(SHORT), |plan, line| plan.set(line));
    let house = plan.build().await;
    failing(&house, 5).await;
    for job in house.claim().await {
        house.drive(claim_of(&job)).await;
    }
    let others: [TaskId; 2] = [house.add("Other one").await, house.add("Other two").await];
    let breakers = operate::breakers(&house.engine).await.unwrap();
    let stands: Vec<_> = breakers
        .iter()
        .map(|b| (b.scope.as_str(), b.stands.as_str()))
        .collect();
    assert_eq!(stands, [("batch:spring", "open")]);
    assert_eq!(shown(&house, "spring").await.breaker, "open");

    // The others walk to their ends, and their success closes nothing of the batch.
    house.run_all().await;
    for other in others {
        assert_eq!(house.stands(other).await, "done done");
    }
    assert_eq!(shown(&house, "spring").await.breaker, "open");

    // Half open: one of the batch, as a trial; of the project as many as there are.
    house.add("Other three").await;
    house.later(Duration::from_secs(1800));
    let claimed = house.claim().await;
    let mut names = Vec::new();
    for job in &claimed {
        names.push(house.task(job.task_id).await.title);
    }
    assert_eq!(names.len(), 2, "{names:?}");
    assert_eq!(names[1], "Other three");
    assert!(names[0].starts_with("Member"), "{names:?}");
    // A reset lets the others of it go, too.
    operate::reset(&house.engine, "batch:spring").await.unwrap();
    assert!(!house.claim().await.is_empty());
}

#[tokio::test]
async fn the_retries_of_a_batch_are_counted_over_its_whole_life_and_those_of_a_project_over_a_day() {
    for (of_batch, runs) in [(true, 2), (false, 3)] {
        let settings = [
            "queue.max_attempts = 9",
            "retry.scope_limit = 1",
            "breaker.failures = 99",
        ];
        let plan = settings
            .iter()
            .fold(Plan::new(SHORT), |plan, line| plan.set(line));
        let house = plan.build().await;
        failing(&house, 1).await;
        if !of_batch {
            house.sql("UPDATE tasks SET batch = NULL");
        }
        for _ in 0..2 {
            let claim = house.claim_one().await;
            house.drive(claim).await;
            house.later(Duration::from_secs(86_401));
        }
        for job in house.claim().await {
            house.drive(claim_of(&job)).await;
        }
        assert_eq!(house.ran().len(), runs, "of a batch: {of_batch}");
        let last = &operate::recent(&house.engine, 1).await.unwrap()[0];
        let reason = if of_batch {
            "global_retry_limit_reached"
        } else {
            "under_retry_limit"
        };
        assert_eq!(last.decision, reason);
    }
}
