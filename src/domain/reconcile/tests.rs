//! What heals a forgotten task, as tables.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use super::super::gate::Verdict;
use super::super::id::*;
use super::super::pipeline::{DefaultPipeline, GateSpec, Pipeline};
use super::super::task::TrackerKind;
use super::*;

const NOW: Timestamp = Timestamp(10_000_000_000);

fn stage<'a>(pipeline: &'a Pipeline, name: &str) -> &'a Stage {
    pipeline.stage(&StageName::trusted(name)).expect("a stage")
}

fn task(status: TaskStatus, minutes: u64, reason: Option<&str>) -> Task {
    let entered = NOW - Duration::from_secs(60 * minutes);
    Task {
        id: TaskId(1),
        project_id: ProjectId(1),
        work_item_id: WorkItemId::trusted("ORCH-1"),
        tracker: TrackerKind::Local,
        external_id: "1".into(),
        title: String::new(),
        description: String::new(),
        branch: BranchName::trusted("feature/ORCH-1"),
        stage: StageName::trusted("review"),
        status,
        version: TaskVersion(1),
        visit: Visit(1),
        stage_entered_at: entered,
        developer_retries: 0,
        reason: reason.map(str::to_owned),
        candidate: None,
        code_tree: None,
        evidence: None,
        priority: 0,
        executor: None,
        modifies: Vec::new(),
        created_at: entered,
        updated_at: entered,
        finished_at: None,
    }
}

#[test]
fn what_a_task_without_a_job_is_at_first_sight() {
    use TaskStatus::*;
    let pipeline = DefaultPipeline::default().build();
    let (escalated, parked) = (Some("escalated: no"), Some("parked by ann"));
    // stage, status, minutes in it, reason, blocked ones passed over → what it is
    let table = [
        ("review", Active, 11, None, true, Sight::Forgotten),
        ("review", Active, 10, None, true, Sight::Forgotten),
        ("review", Active, 9, None, true, Sight::Fine),
        ("deploy-staging", Active, 11, None, true, Sight::Forgotten),
        ("deploy", Active, 11, None, true, Sight::Forgotten),
        ("created", Active, 11, None, true, Sight::Fine),
        ("analysis", WaitingHuman, 11, None, true, Sight::WaitsForPerson),
        ("deploy", WaitingHuman, 11, None, true, Sight::WaitsForPerson),
        ("review", Blocked, 11, parked, true, Sight::Fine),
        ("review", NeedsInput, 11, None, true, Sight::Fine),
        ("review", Blocked, 11, parked, false, Sight::Forgotten),
        ("review", NeedsInput, 11, None, false, Sight::Forgotten),
        ("review", Blocked, 11, escalated, false, Sight::Fine),
        ("done", Done, 11, None, false, Sight::Fine),
        ("review", Cancelled, 11, None, false, Sight::Fine),
    ];
    for (name, status, minutes, reason, skip_parked, expected) in table {
        let policy = Policy {
            grace: Duration::from_secs(600),
            skip_parked,
            now: NOW,
        };
        let task = task(status, minutes, reason);
        let got = sight(&task, stage(&pipeline, name), idle_since(&task, None), &policy);
        assert_eq!(
            got, expected,
            "{name} {status} for {minutes} min, {reason:?}, {skip_parked}"
        );
    }
}

/// What a job would do, by a short name.
fn onward(name: &str) -> Onward {
    let answer = |gate: &str, verdict| Answer {
        gate: GateSpec::named(gate).expect("a gate"),
        verdict,
        void_stage: None,
    };
    let red = |gate: &str| answer(gate, Verdict::red("no"));
    let to = StageName::trusted("development");
    match name {
        "green" => Onward::Advance(to),
        "merge" => Onward::Merge,
        "confirm" => Onward::AskConfirm,
        "ci red" => Onward::RollBack(to, red("ci_green")),
        "review red" => Onward::RollBack(to, red("review_approved")),
        "ci red again" => Onward::Retry(red("ci_green")),
        "ci red too often" => Onward::Escalate(red("ci_green")),
        "verdict red" => Onward::RollBack(to, red("reviewer_verdict")),
        "verdict red too often" => Onward::Escalate(red("tests_passed")),
        "stale" => Onward::Restage(red("staging_image_fresh")),
        "person" => Onward::WaitHuman(answer("analysis_approved", Verdict::pending("you"))),
        "pending" => Onward::AskAgain(answer("ci_green", Verdict::pending("runs"))),
        "unknown" => Onward::AskAgain(answer("ci_green", Verdict::unknown("no answer"))),
        other => unreachable!("{other}"),
    }
}

/// Worked in this visit, judged before, red applied before: each as its letter.
fn healed(name: &str, status: TaskStatus, facts: &str, words: &str) -> Heal {
    let pipeline = DefaultPipeline::default().build();
    heal(&Found {
        status,
        stage: stage(&pipeline, name),
        worked: facts.contains('w'),
        judged_before: facts.contains('j'),
        red_applied: facts.contains('r'),
        onward: &onward(words),
    })
}

const LOOK: Heal = Heal::Queue(JobKind::GateCheck, None);
const MERGE: Heal = Heal::Queue(JobKind::DeployFinalizer, None);
const fn work(role: Role) -> Heal {
    Heal::Queue(JobKind::Agent, Some(role))
}

#[test]
fn what_heals_a_forgotten_task() {
    let developer = work(Role::Developer);
    let table = [
        // Green leads on, once somebody worked here or the branch moved.
        ("development", "wj", "green", Heal::GoOn),
        ("development", "w", "green", Heal::GoOn),
        ("development", "", "green", Heal::GoOn),
        ("development", "j", "green", developer),
        ("deploy-staging", "j", "green", Heal::GoOn),
        ("deploy", "j", "merge", Heal::GoOn),
        // A lost red, once.
        ("development", "w", "ci red", Heal::GoOn),
        ("development", "w", "review red", Heal::GoOn),
        ("development", "w", "ci red again", Heal::GoOn),
        ("development", "w", "ci red too often", Heal::GoOn),
        ("development", "wjr", "ci red", LOOK),
        ("development", "jr", "ci red", developer),
        ("development", "j", "ci red", developer),
        // Another red is never applied from here: the job that is missing says it again.
        ("review", "wj", "verdict red", LOOK),
        ("review", "j", "verdict red", work(Role::Reviewer)),
        ("testing", "wj", "verdict red too often", LOOK),
        // Not answered yet.
        ("development", "wj", "pending", LOOK),
        ("development", "wj", "unknown", LOOK),
        ("development", "j", "pending", developer),
        ("deploy-staging", "j", "pending", LOOK),
        ("deploy", "j", "pending", MERGE),
        // Counted by the job that asks, and by nobody else.
        ("deploy-staging", "j", "stale", LOOK),
        // People are asked, and nothing is decided for them.
        ("analysis", "w", "person", Heal::GoOn),
        ("analysis", "j", "person", work(Role::Analyst)),
        ("deploy", "j", "confirm", MERGE),
    ];
    for (name, facts, words, expected) in table {
        let got = healed(name, TaskStatus::Active, facts, words);
        assert_eq!(got, expected, "{name} {facts:?} {words}");
    }
}

#[test]
fn of_a_parked_task_only_green_is_heard() {
    for status in [TaskStatus::Blocked, TaskStatus::NeedsInput] {
        assert_eq!(healed("development", status, "w", "green"), Heal::GoOn);
        for words in [
            "merge",
            "confirm",
            "ci red",
            "verdict red",
            "stale",
            "person",
            "pending",
        ] {
            assert_eq!(healed("development", status, "w", words), Heal::Leave, "{words}");
        }
        assert_eq!(healed("development", status, "j", "green"), Heal::Leave);
    }
    for status in [TaskStatus::WaitingHuman, TaskStatus::Done, TaskStatus::Cancelled] {
        assert_eq!(healed("development", status, "w", "green"), Heal::Leave);
    }
}

#[test]
fn a_task_is_idle_since_it_entered_its_stage_or_since_the_last_job_ended_there() {
    let task = task(TaskStatus::Active, 60, None);
    let at = |minutes: u64| NOW - Duration::from_secs(60 * minutes);
    let table = [
        (None, at(60)),
        // Of an earlier stage.
        (Some(at(61)), at(60)),
        (Some(at(20)), at(20)),
    ];
    for (last_end, since) in table {
        assert_eq!(idle_since(&task, last_end), since, "{last_end:?}");
    }
}
