//! What was forgotten goes on, and what waits for a person is left to that person.

use std::time::Duration;

use orch::domain::id::TaskId;
use orch::engine::EngineError;
use orch::engine::heal;
use orch::engine::reconcile::{Reconciliation, Swept, sweep};

use super::house::{House, Plan, SHORT};

const MIN: Duration = Duration::from_secs(60);
/// Longer than the grace.
const LONG: Duration = Duration::from_secs(601);

fn with_ci() -> Plan {
    Plan::new(&SHORT.replace("tests_local", "ci_green"))
}

async fn swept(house: &House) -> Swept {
    sweep(&house.engine).await.unwrap()
}

async fn quiet(house: &House) {
    let before = house.dump();
    assert_eq!(swept(house).await, Swept::default());
    assert_eq!(house.dump(), before);
}

/// The job that waits is gone, and nobody knows why.
fn lose_job(house: &House) {
    house.sql("DELETE FROM jobs WHERE status = 'queued'");
}

/// The work of a stage is done, and what should have led on never came.
async fn stuck_at(house: &House, task: TaskId, stage: &str, role: &str) {
    let name = house.task(task).await.stage;
    assert_ne!(name.as_str(), stage);
    lose_job(house);
    house.sql(&format!(
        "UPDATE tasks SET stage = '{stage}', visit = \
         (SELECT visit FROM runs WHERE task_id = tasks.id AND role = '{role}' ORDER BY id DESC LIMIT 1)"
    ));
}

async fn developed(house: &House) -> TaskId {
    let task = house.add("Say hello").await;
    let claim = house.claim_one().await;
    house.drive(claim).await;
    stuck_at(house, task, "development", "developer").await;
    task
}

#[tokio::test]
async fn a_task_whose_gates_are_green_goes_on_once_and_is_told() {
    let house = with_ci().build().await;
    let task = developed(&house).await;
    house.deliver().await;
    quiet(&house).await;
    house.later(LONG);
    let told = "SHOP-001 unblocked at development (lost webhook)".to_owned();
    assert_eq!(swept(&house).await.unblocked, std::slice::from_ref(&told));
    assert_eq!(house.stands(task).await, "review active");
    assert_eq!(house.live_job(task).await.unwrap().stage.as_str(), "review");
    let expected = Reconciliation {
        last_run: Some(house.engine.now()),
        unblocked_total: 1,
        last_unblocked: Some(told.clone()),
        failed_total: 0,
    };
    assert_eq!(house.engine.reconciliation(), expected);
    assert_eq!(house.deliver().await, [("unblocked".to_owned(), told)]);
    let events = house.events(task).await;
    let healed = "healed: lost webhook: its gates are green: goes on to review";
    assert!(events.iter().any(|e| e == healed), "{events:?}");
    let healing = heal::recent(&house.engine, 9).await.unwrap();
    let healing: Vec<_> = healing
        .iter()
        .map(|h| (h.kind.as_str(), h.subject.as_str(), h.stuck_ms))
        .collect();
    assert_eq!(
        healing,
        [("reconciler", "SHOP-001 at development", Some(601_000))]
    );
    quiet(&house).await;
    house.run_all().await;
    assert_eq!(house.stands(task).await, "done done");
}

#[tokio::test]
async fn nothing_is_sent_to_people_where_that_is_switched_off() {
    let house = with_ci().set("reconcile.notify_unblock = false").build().await;
    developed(&house).await;
    house.deliver().await;
    house.later(LONG);
    assert_eq!(swept(&house).await.unblocked.len(), 1);
    assert_eq!(house.deliver().await, []);
}

#[tokio::test]
async fn a_lost_red_of_the_ci_is_applied_once_for_its_candidate() {
    let house = with_ci().build().await;
    let task = developed(&house).await;
    house.sql("DELETE FROM evidence WHERE gate = 'ci_green'");
    house.sql("UPDATE evidence SET state = 'red', reason = 'lint' WHERE gate = ':tests'");
    house.later(LONG);
    assert_eq!(swept(&house).await.unblocked.len(), 1);
    let back = house.task(task).await;
    assert_eq!((back.stage.as_str(), back.developer_retries), ("development", 1));
    let packet = back.evidence.unwrap();
    assert!(packet.contains("ci_green") && packet.contains("lint"), "{packet}");
    assert_eq!(house.live_job(task).await.unwrap().kind.as_str(), "agent");
    // The same red once more: the developer is missing, nothing else.
    lose_job(&house);
    house.later(LONG);
    assert_eq!(
        swept(&house).await.unblocked,
        ["SHOP-001 unblocked at development (lost job)"]
    );
    assert_eq!(house.task(task).await.developer_retries, 1);
    house.run_all().await;
    assert_eq!(house.stands(task).await, "done done");
}

#[tokio::test]
async fn another_red_is_left_to_the_job_that_is_missing() {
    let house = House::short().await;
    house.role(
        "reviewer",
        "if [ $nth = 1 ]; then verdict REQUEST_CHANGES; else verdict APPROVED; fi",
    );
    let task = house.add("Say hello").await;
    let review = house.run_until("agent", "review").await;
    house.drive(review).await;
    stuck_at(&house, task, "review", "reviewer").await;
    let retries = house.task(task).await.developer_retries;
    house.later(LONG);
    assert_eq!(
        swept(&house).await.unblocked,
        ["SHOP-001 unblocked at review (lost job)"]
    );
    assert_eq!(house.stands(task).await, "review active");
    assert_eq!(house.task(task).await.developer_retries, retries);
    assert_eq!(house.live_job(task).await.unwrap().kind.as_str(), "gate-check");
    quiet(&house).await;
    house.run_all().await;
    assert_eq!(house.stands(task).await, "done done");
}

#[tokio::test]
async fn a_lost_job_is_queued_again_before_and_after_there_is_a_branch() {
    let house = House::short().await;
    let task = house.add("Say hello").await;
    for (stage, role) in [("development", "developer"), ("review", "reviewer")] {
        lose_job(&house);
        house.later(LONG);
        assert_eq!(swept(&house).await.trouble, [""; 0]);
        let job = house.live_job(task).await.unwrap();
        assert_eq!((job.stage.as_str(), job.role.unwrap().as_str()), (stage, role));
        let claim = house.claim_one().await;
        house.drive(claim).await;
    }
    house.run_all().await;
    assert_eq!(house.stands(task).await, "done done");
    assert_eq!(house.ran(), ["developer", "reviewer"]);
}

#[tokio::test]
async fn a_confirmed_deploy_whose_job_was_lost_is_made_and_an_unconfirmed_one_is_asked_for() {
    let house = House::confirmed().await;
    let task = house.add("Say hello").await;
    house.run_all().await;
    let before = house.main();
    house.gesture(task, "confirm-deploy").await;
    house.sql("DELETE FROM intents WHERE kind = 'confirm'");
    for expected in ["deploy waiting_human", "done done"] {
        lose_job(&house);
        house.later(LONG);
        assert_eq!(swept(&house).await.unblocked.len(), 1);
        house.run_all().await;
        assert_eq!(house.stands(task).await, expected);
        if expected != "done done" {
            assert_eq!(house.main(), before);
            house.gesture(task, "confirm-deploy").await;
        }
    }
}

#[tokio::test]
async fn who_waits_for_a_person_is_not_touched_asks_no_git_and_is_told_once_a_visit() {
    let house = House::confirmed().await;
    let task = house.add("Say hello").await;
    house.run_all().await;
    let approving = house.add("Approve me").await;
    house.sql(&format!(
        "UPDATE tasks SET status = 'waiting_human', stage = 'review', reason = 'analysis_approved: waits' WHERE id = {approving}"
    ));
    lose_job(&house);
    house.deliver().await;
    // No git can work here from now on.
    let clone = house.engine.settings().repos_dir.join("shop.git");
    std::fs::rename(&clone, house.path("gone.git")).unwrap();
    std::fs::rename(house.origin(), house.path("origin.gone")).unwrap();
    house.later(30 * MIN);
    quiet(&house).await;
    house.later(31 * MIN);
    assert_eq!(swept(&house).await, Swept::default());
    let told = house.deliver().await;
    let texts: Vec<_> = told
        .iter()
        .map(|(about, text)| format!("{about} {text}"))
        .collect();
    assert_eq!(texts.len(), 2, "{texts:?}");
    assert!(
        texts[0].contains("waits SHOP-001 waits at deploy for 61 min: Confirm Deploy"),
        "{texts:?}"
    );
    assert!(
        texts[1].contains("SHOP-002 waits at review for 61 min: analysis_approved"),
        "{texts:?}"
    );
    for _ in 0..3 {
        house.later(61 * MIN);
        quiet(&house).await;
    }
    assert_eq!(house.stands(task).await, "deploy waiting_human");
    assert_eq!(house.engine.reconciliation().unblocked_total, 0);
}

#[tokio::test]
async fn each_stage_has_its_own_grace() {
    let house = with_ci()
        .set("reconcile.grace_overrides_json = '{\"development\": 60, \"review\": 7200}'")
        .build()
        .await;
    let task = developed(&house).await;
    house.later(MIN - Duration::from_secs(1));
    quiet(&house).await;
    house.later(Duration::from_secs(2));
    assert_eq!(swept(&house).await.unblocked.len(), 1);
    lose_job(&house);
    house.later(100 * MIN);
    quiet(&house).await;
    assert_eq!(house.stands(task).await, "review active");
    house.later(21 * MIN);
    assert_eq!(swept(&house).await.unblocked.len(), 1);
}

#[tokio::test]
async fn what_a_job_took_is_no_part_of_the_grace() {
    let house = with_ci().build().await;
    let task = house.add("Say hello").await;
    let claim = house.claim_one().await;
    house.later(LONG);
    house.drive(claim).await;
    stuck_at(&house, task, "development", "developer").await;
    house.sql("UPDATE tasks SET stage_entered_at = created_at");
    quiet(&house).await;
    house.later(LONG);
    assert_eq!(swept(&house).await.unblocked.len(), 1);
}

#[tokio::test]
async fn what_a_job_took_is_no_part_of_the_time_that_a_person_is_waited_for() {
    let house = House::confirmed().await;
    house.add("Say hello").await;
    house.run_all().await;
    house.sql("UPDATE tasks SET stage_entered_at = stage_entered_at - 7200000000");
    house.deliver().await;
    house.later(59 * MIN);
    quiet(&house).await;
    house.later(2 * MIN);
    assert_eq!(swept(&house).await, Swept::default());
    let told = house.deliver().await;
    assert!(told.len() == 1 && told[0].1.contains("for 61 min"), "{told:?}");
}

#[tokio::test]
async fn a_task_with_a_job_and_one_that_is_parked_or_escalated_are_left_alone() {
    let house = with_ci().build().await;
    let task = developed(&house).await;
    house.later(LONG);
    for (status, reason) in [
        ("blocked", "parked by ann"),
        ("blocked", "escalated: no"),
        ("needs_input", "which one?"),
        ("cancelled", ""),
    ] {
        house.sql(&format!(
            "UPDATE tasks SET status = '{status}', reason = '{reason}'"
        ));
        quiet(&house).await;
    }
    let other = house.add("Has a job").await;
    house.later(LONG);
    quiet(&house).await;
    house.claim_one().await;
    quiet(&house).await;
    assert_eq!(house.stands(other).await, "development active");
    assert_eq!(house.stands(task).await, "development cancelled");
}

#[tokio::test]
async fn with_the_switch_off_green_gates_free_a_parked_task_and_an_escalated_one_stays() {
    let house = with_ci()
        .set("reconcile.skip_blocked_enabled = false")
        .build()
        .await;
    let task = developed(&house).await;
    house.later(LONG);
    house.sql("UPDATE tasks SET status = 'blocked', reason = 'escalated: ci_green is red'");
    quiet(&house).await;
    house.sql("UPDATE tasks SET reason = 'parked by ann'");
    assert_eq!(swept(&house).await.unblocked.len(), 1);
    assert_eq!(house.stands(task).await, "review active");
}

#[tokio::test]
async fn one_bad_task_stops_no_other_and_is_said_once() {
    let house = with_ci().build().await;
    let bad = developed(&house).await;
    house.sql("UPDATE tasks SET stage = 'nowhere'");
    house.add("Broken row").await;
    lose_job(&house);
    house.sql("UPDATE tasks SET modifies = 'no json' WHERE work_item_id = 'SHOP-002'");
    let good = house.add("Good").await;
    lose_job(&house);
    house.later(LONG);
    let first = swept(&house).await;
    assert_eq!(first.unblocked, ["SHOP-003 unblocked at development (lost job)"]);
    assert_eq!(first.trouble.len(), 2, "{:?}", first.trouble);
    assert!(
        first.trouble[0].contains("SHOP-001 cannot be looked at: stage \"nowhere\""),
        "{first:?}"
    );
    assert!(
        first.trouble[1].contains("cannot be read") && first.trouble[1].contains("modifies"),
        "{first:?}"
    );
    quiet(&house).await;
    assert_eq!(house.engine.reconciliation().failed_total, 4);
    // Another cause is said again.
    house.sql(&format!("UPDATE tasks SET stage = 'elsewhere' WHERE id = {bad}"));
    assert_eq!(swept(&house).await.trouble.len(), 1);
    assert!(house.live_job(good).await.is_some());
}

#[tokio::test]
async fn a_branch_that_is_gone_is_said_and_healed_when_it_is_back() {
    let house = with_ci().build().await;
    let task = developed(&house).await;
    let branch = house.task(task).await.branch.to_string();
    let head = house.head(&branch).unwrap();
    super::house::git(
        &house.origin(),
        &["update-ref", "-d", &format!("refs/heads/{branch}")],
    );
    house.later(LONG);
    let trouble = swept(&house).await.trouble;
    assert!(
        trouble.len() == 1 && trouble[0].contains("is not in the project's repository"),
        "{trouble:?}"
    );
    quiet(&house).await;
    super::house::git(
        &house.origin(),
        &["update-ref", &format!("refs/heads/{branch}"), head.as_str()],
    );
    assert_eq!(swept(&house).await.unblocked.len(), 1);
}

#[tokio::test]
async fn switched_off_it_does_nothing() {
    let house = with_ci().set("reconcile.enabled = false").build().await;
    developed(&house).await;
    house.later(LONG);
    quiet(&house).await;
    assert_eq!(house.engine.reconciliation(), Reconciliation::default());
}

#[tokio::test]
async fn of_two_sweeps_at_once_one_leads_on() {
    let house = with_ci().build().await;
    let task = developed(&house).await;
    let before = house.task(task).await;
    house.later(LONG);
    let (one, other) = tokio::join!(sweep(&house.engine), sweep(&house.engine));
    let (one, other): (Result<Swept, EngineError>, _) = (one, other);
    let (one, other) = (one.unwrap(), other.unwrap());
    assert_eq!(one.unblocked.len() + other.unblocked.len(), 1);
    assert_eq!((one.trouble, other.trouble), (vec![], vec![]));
    let after = house.task(task).await;
    assert_eq!(
        (after.version.0, after.visit.0),
        (before.version.0 + 1, before.visit.0 + 1)
    );
    assert_eq!(house.count("jobs WHERE status = 'queued'"), 1);
    assert_eq!(house.engine.reconciliation().unblocked_total, 1);
}

#[tokio::test]
async fn a_sweep_writes_nothing_while_all_is_in_sync() {
    let house = House::confirmed().await;
    house.add("Done").await;
    house.run_all().await;
    house.add("Works").await;
    house.claim_one().await;
    house.add("Waits").await;
    house.later(LONG);
    quiet(&house).await;
}

#[tokio::test]
async fn what_was_green_before_a_visit_proves_nothing_about_it() {
    let house = with_ci().build().await;
    let task = house.add("Say hello").await;
    let claim = house.claim_one().await;
    house.drive(claim).await;
    house.gesture(task, "rejected").await;
    assert_eq!(house.stands(task).await, "development active");
    lose_job(&house);
    house.later(LONG);
    swept(&house).await;
    assert_eq!(house.stands(task).await, "development active");
    assert_eq!(house.live_job(task).await.unwrap().kind.as_str(), "agent");
}
