//! What agents may cost: held before a claim, watched while they print, with real agents that print real streams.

use std::time::Duration;

use orch::domain::job::JobStatus;
use orch::engine::run::Driven;
use orch::engine::{budget, queue};
use orch::process;

use super::house::{Backend, House, SHORT, on_both};

/// Words for agents that print as claude does: `spent ID` is a message that cost 5 USD, `said N` a result of N USD.
const WORDS: &str = r#"
spent() { echo '{"type":"assistant","message":{"id":"'$1'","model":"claude-opus-4-5-20251101","usage":{"input_tokens":1000000,"output_tokens":0}}}'; }
said() { echo '{"type":"result","subtype":"success","session_id":"s","total_cost_usd":'$1',"usage":{"input_tokens":10,"output_tokens":1}}'; }
"#;

async fn house(backend: Backend, settings: &[&str], developer: &str) -> House {
    let stages = format!("preset = 'claude'\n{SHORT}");
    let plan = settings
        .iter()
        .fold(backend.plan(&stages), |plan, line| plan.set(line));
    let house = plan.build().await;
    house.role("developer", &format!("{WORDS}{developer}"));
    house.role("reviewer", &format!("{WORDS}said 0.25; verdict APPROVED"));
    house
}

/// What is counted: of each run, of each task, of each project and day.
fn counted(house: &House) -> [Vec<String>; 3] {
    let column = |query: &str| house.sql_lines(query);
    [
        column("SELECT CAST(charged_micro_usd AS TEXT) AS line FROM runs WHERE agent <> 'orch' ORDER BY id"),
        column("SELECT CAST(micro_usd AS TEXT) AS line FROM task_spend ORDER BY task_id"),
        column("SELECT CAST(micro_usd AS TEXT) AS line FROM project_spend ORDER BY day"),
    ]
}

async fn told(house: &House, words: &str) -> usize {
    let told = house.deliver().await;
    told.iter().filter(|(_, text)| text.contains(words)).count()
}

const DEAR: &str = "echo x >code.txt; if [ $nth -ge 2 ]; then said 1.5; else spent m1; exec sleep 1000; fi";

async fn a_run_that_goes_beyond_its_tasks_budget_is_stopped_and_the_task_parked_once(backend: Backend) {
    let house = house(backend, &["budget.task_usd = '4'"], DEAR).await;
    let task = house.add("Say hello").await;
    let claim = house.claim_one().await;
    house.drive(claim).await;
    assert_eq!(house.stands(task).await, "development blocked");
    assert_eq!(house.job(claim).await.status, JobStatus::Cancelled);
    assert_eq!(house.kept(&house.wip()[0], "code.txt").as_deref(), Some("x\n"));
    assert_eq!(house.count("incidents"), 0, "no rule is asked about it");
    assert_eq!(
        counted(&house),
        [["5000000"], ["5000000"], ["5000000"]].map(|l| l.map(str::to_owned).to_vec())
    );
    let reason = house.task(task).await.reason.unwrap();
    assert!(
        reason.starts_with("the task has spent $5.00 of $4.00 (budget.task_usd)"),
        "{reason}"
    );
    assert!(house.claim().await.is_empty());
    assert_eq!(told(&house, "the task has spent $5.00 of $4.00").await, 1);
    let shown = budget::show(&house.engine).await.unwrap();
    let shown: Vec<_> = shown
        .tasks
        .iter()
        .map(|t| (t.spent_micro_usd, t.limit_micro_usd))
        .collect();
    assert_eq!(shown, [(5_000_000, Some(4_000_000))]);

    house.gesture(task, "in-progress").await;
    house.run_all().await;
    assert_eq!(house.stands(task).await, "done done");
    assert_eq!(counted(&house)[1], ["6750000"]);
    assert_eq!(told(&house, "has spent").await, 0);
}

#[tokio::test]
async fn a_service_that_dies_after_it_stopped_a_run_parks_its_task_when_it_is_back() {
    let mut house = house(Backend::Sqlite, &["budget.task_usd = '4'"], DEAR).await;
    let task = house.add("Say hello").await;
    let claim = house.claim_one().await;
    let dir = orch::engine::run::run_dir(&house.engine, claim);
    let ended = house.until("the run was ended", || {
        process::read_exit(&dir).is_ok_and(|exit| exit.is_some())
    });
    tokio::select! {
        biased;
        () = ended => {}
        _ = house.drive(claim) => {}
    }
    house.restart().await;
    let again = orch::engine::run::drive(&house.engine, claim);
    assert!(matches!(
        Box::pin(again).await.unwrap(),
        Driven::Over | Driven::Superseded
    ));
    house.claim().await;
    assert_eq!(house.stands(task).await, "development blocked");
    assert_eq!(counted(&house)[0], ["5000000"]);
    assert_eq!(told(&house, "the task has spent $5.00 of $4.00").await, 1);
}

async fn what_a_project_spent_today_holds_its_jobs_until_tomorrow_and_is_told_once(backend: Backend) {
    let settings = ["budget.project_day_usd = '4'"];
    let house = house(backend, &settings, "echo $nth >code.txt; said 5").await;
    let task = house.add("Say hello").await;
    let claim = house.claim_one().await;
    house.drive(claim).await;
    for _ in 0..3 {
        assert!(house.claim().await.is_empty(), "the reviewer waits");
    }
    assert_eq!(house.stands(task).await, "review active");
    let next = queue::claim(&house.engine).await.unwrap().next_at.unwrap();
    assert!(next > house.engine.now(), "the queue looks again by itself");
    assert_eq!(
        told(&house, "shop: the project has spent $5.00 of $4.00 today").await,
        1
    );
    house.later(next.since(house.engine.now()));
    house.run_all().await;
    assert_eq!(house.stands(task).await, "done done");
    assert_eq!(counted(&house)[2], ["5000000", "250000"]);
    assert_eq!(told(&house, "has spent").await, 0);
}

async fn a_run_that_goes_beyond_its_projects_day_is_stopped_and_goes_on_tomorrow(backend: Backend) {
    let house = house(backend, &["budget.project_day_usd = '4'"], DEAR).await;
    let task = house.add("Say hello").await;
    let claim = house.claim_one().await;
    house.drive(claim).await;
    let job = house.job(claim).await;
    assert_eq!((job.status, job.attempts), (JobStatus::Queued, 0));
    assert_eq!(house.stands(task).await, "development active");
    assert!(house.claim().await.is_empty());
    assert_eq!(
        told(&house, "the project has spent $5.00 of $4.00 today").await,
        1
    );
    house.later(Duration::from_secs(24 * 3600));
    house.run_all().await;
    assert_eq!(house.stands(task).await, "done done");
}

/// More than half of the smallest log.
const NOISE: &str = "yes noise | head -c 3000000";

#[tokio::test]
async fn what_a_run_costs_is_counted_however_much_it_prints() {
    let settings = [
        "budget.task_usd = '4'",
        "agent.log_cap_mib = 1",
        "agent.timeout_s = 50",
    ];
    let dear = format!("{NOISE}; spent m1; exec sleep 1000");
    let house = house(Backend::Sqlite, &settings, &dear).await;
    let task = house.add("Say hello").await;
    let claim = house.claim_one().await;
    house.drive(claim).await;
    let reason = house.task(task).await.reason.unwrap();
    assert!(
        reason.starts_with("the task has spent $5.00 of $4.00 (budget.task_usd)"),
        "{reason}"
    );
}

#[tokio::test]
async fn what_was_counted_counts_on_when_the_log_does_not_hold_it_any_more() {
    let settings = ["budget.task_usd = '9'", "agent.log_cap_mib = 1"];
    let says = format!("echo x >code.txt; {NOISE}; spent m1; hold here; {NOISE}");
    let house = house(Backend::Sqlite, &settings, &says).await;
    house.add("Say hello").await;
    let claim = house.claim_one().await;
    let mut driving = house.driving(claim);
    let spent = async || counted(&house)[0] == ["5000000"];
    driving.until("it is counted", spent).await;
    house.go("here");
    driving.end().await.unwrap();
    let log = orch::engine::run::run_dir(&house.engine, claim);
    let log = std::fs::read_to_string(process::output_path(&log)).unwrap();
    assert!(!log.contains("m1"), "it is cut out of the log");
    assert_eq!(counted(&house)[0][0], "5000000");
}

async fn agents_are_not_begun_beyond_what_is_reserved(backend: Backend) {
    let settings = ["budget.project_day_usd = '2'", "budget.reserve_usd = '1'"];
    let house = house(backend, &settings, "echo $nth >code.txt; said 0.1").await;
    for n in 0..4 {
        house.add(&format!("Task {n}")).await;
    }
    let first = house.claim().await;
    assert_eq!(first.len(), 2, "two reservations are all there is");
    assert!(house.claim().await.is_empty());
    assert_eq!(told(&house, "has spent").await, 0, "nothing is spent yet");
    let shown = budget::show(&house.engine).await.unwrap();
    let day = &shown.projects[0];
    assert_eq!(
        (day.spent_micro_usd, day.reserved_micro_usd, day.limit_micro_usd),
        (0, 2_000_000, Some(2_000_000))
    );
    for job in &first {
        house.drive(orch::engine::run::claim_of(job)).await;
    }
    assert_eq!(
        counted(&house)[2],
        ["200000"],
        "what they cost stands in the place of what was reserved"
    );
    assert_eq!(house.claim().await.len(), 2);
}

async fn a_run_of_which_nobody_knows_the_cost_counts_what_was_reserved(backend: Backend) {
    let settings = ["budget.task_usd = '3'", "budget.reserve_usd = '1.25'"];
    let house = house(backend, &settings, "[ $nth -ge 2 ] || exit 7; echo x >code.txt").await;
    let task = house.add("Say hello").await;
    house.run_all().await;
    assert_eq!(house.stands(task).await, "done done");
    assert_eq!(counted(&house)[0], ["1250000", "1250000", "250000"]);
}

on_both!(
    a_run_that_goes_beyond_its_tasks_budget_is_stopped_and_the_task_parked_once,
    what_a_project_spent_today_holds_its_jobs_until_tomorrow_and_is_told_once,
    a_run_that_goes_beyond_its_projects_day_is_stopped_and_goes_on_tomorrow,
    agents_are_not_begun_beyond_what_is_reserved,
    a_run_of_which_nobody_knows_the_cost_counts_what_was_reserved,
);
