//! Failures answered by what they are: rules, budgets, breakers and nodes, with real agents that fail.

use std::fs;
use std::time::Duration;

use orch::domain::job::{Claim, JobStatus};
use orch::domain::task::TaskStatus;
use orch::engine::repair::{Reload, audit, operate, reload};
use orch::engine::views::RepairView;
use orch::engine::{EngineError, nodes};

use super::house::{House, Plan, SHORT, shell};

/// A house in which the developer does this.
async fn house(settings: &[&str], developer: &str) -> House {
    let plan = settings
        .iter()
        .fold(Plan::new(SHORT), |plan, line| plan.set(line));
    let house = plan.build().await;
    house.role("developer", developer);
    house
}

async fn strategies(house: &House) -> Vec<(String, Option<String>)> {
    let found = operate::recent(&house.engine, 100).await.unwrap();
    found.into_iter().rev().map(|i| (i.strategy, i.outcome)).collect()
}

fn pairs(expected: &[(&str, Option<&str>)]) -> Vec<(String, Option<String>)> {
    expected
        .iter()
        .map(|(strategy, outcome)| ((*strategy).to_owned(), outcome.map(str::to_owned)))
        .collect()
}

/// The time limit that every agent here runs into that does not end by itself.
const SOON: &str = "agent.timeout_s = 1";

/// What an attempt may take from now on, however slow the machine is: the limit that is half as long again as this.
async fn with_time(house: &mut House) {
    let path = house.path("orch.toml");
    let settings = fs::read_to_string(&path).unwrap();
    assert!(settings.contains(SOON));
    fs::write(&path, settings.replace(SOON, "agent.timeout_s = 1000")).unwrap();
    house.restart().await;
}

/// The time limit under which the agent of a claim was started, seconds.
fn limit_of(house: &House, claim: Claim) -> u64 {
    let dir = orch::engine::run::run_dir(&house.engine, claim);
    let launch = fs::read_to_string(dir.join("launch.json")).unwrap();
    let launch: serde_json::Value = serde_json::from_str(&launch).unwrap();
    launch["timeout"]["secs"].as_u64().unwrap()
}

#[tokio::test]
async fn an_agent_that_was_ended_too_early_gets_half_as_long_again_and_that_is_seen_to_help() {
    let mut house = house(
        &[SOON, "queue.max_attempts = 3"],
        "echo x >code.txt; [ $nth -ge 2 ] || exec sleep 1000",
    )
    .await;
    let task = house.add("Say hello").await;
    let first = house.claim_one().await;
    house.drive(first).await;
    let job = house.job(first).await;
    assert_eq!((job.status, job.timeout_percent), (JobStatus::Queued, 150));
    assert_eq!(strategies(&house).await, pairs(&[("overran", None)]));

    with_time(&mut house).await;
    let second = house.claim_one().await;
    house.drive(second).await;
    assert_eq!(limit_of(&house, second), 1500);
    house.run_all().await;
    assert_eq!(house.stands(task).await, "done done");
    assert_eq!(strategies(&house).await, pairs(&[("overran", Some("helped"))]));
    let stats = operate::stats(&house.engine, Duration::from_secs(3600))
        .await
        .unwrap();
    let killed = stats.iter().find(|s| s.strategy == "overran").unwrap();
    assert_eq!((killed.matched, killed.helped, killed.failed_again), (1, 1, 0));
    let said = house.events(task).await;
    let line = "REPAIR: matched 'overran' → fix=increase_timeout, diagnosis=the agent ran into one of its time limits";
    assert!(said.iter().any(|text| text.contains(line)), "{said:?}");
}

#[tokio::test]
async fn a_limit_of_the_projects_own_file_is_the_one_that_grows() {
    let settings = ["agent.timeout_s = 1000", "agent.timeout_cap_s = 1100"];
    let plan = settings
        .iter()
        .fold(Plan::new(SHORT), |plan, line| plan.set(line));
    let house = plan.agent_with("timeout_s = 2").build().await;
    house.role("developer", "exec sleep 1000");
    house.add("Say hello").await;
    let claim = house.claim_one().await;
    house.drive(claim).await;
    assert_eq!(house.job(claim).await.timeout_percent, 150, "far from the cap");
}

#[tokio::test]
async fn the_last_node_cools_down_and_the_job_waits_without_an_attempt() {
    let house = house(
        &["repair.node_cool_s = 300"],
        "[ $nth -ge 2 ] || exit 127; echo x >code.txt",
    )
    .await;
    let task = house.add("Say hello").await;
    let first = house.claim_one().await;
    house.drive(first).await;
    let job = house.job(first).await;
    assert_eq!(
        (job.status, job.attempts, job.transient_attempts),
        (JobStatus::Queued, 0, 1)
    );
    let nodes = nodes::list(&house.engine).await.unwrap();
    assert_eq!(nodes[0].stands, "cooled");
    assert_eq!(
        nodes[0].reason.as_deref(),
        Some("no_cli: a program that the agent needs is not installed on this node")
    );
    assert!(house.claim().await.is_empty(), "nothing is claimed on it");
    house.later(Duration::from_secs(299));
    assert!(house.claim().await.is_empty());
    house.later(Duration::from_secs(2));
    house.run_all().await;
    assert_eq!(house.stands(task).await, "done done");
}

#[tokio::test]
async fn a_node_that_cools_down_is_lifted_by_hand_and_a_restart_in_between_keeps_it() {
    let mut house = house(
        &["repair.node_cool_s = 300"],
        "[ $nth -ge 2 ] || exit 127; echo x >code.txt",
    )
    .await;
    let task = house.add("Say hello").await;
    let first = house.claim_one().await;
    house.drive(first).await;
    house.restart().await;
    assert!(house.claim().await.is_empty());
    nodes::clear(&house.engine, "local").await.unwrap();
    let again = nodes::clear(&house.engine, "local").await;
    assert!(matches!(again, Err(EngineError::NotFound { .. })), "{again:?}");
    house.run_all().await;
    assert_eq!(house.stands(task).await, "done done");
}

#[tokio::test]
async fn memory_costs_a_slot_for_a_while() {
    let house = house(&[], "[ $nth -ge 2 ] || exit 137; echo x >code.txt").await;
    house.add("Say hello").await;
    let first = house.claim_one().await;
    house.drive(first).await;
    let nodes = nodes::list(&house.engine).await.unwrap();
    assert_eq!((nodes[0].stands.as_str(), nodes[0].slots_fewer), ("usable", 1));
    for n in 0..9 {
        house.add(&format!("More {n}")).await;
    }
    assert_eq!(house.claim().await.len(), 7, "one of eight slots is gone");
}

#[tokio::test]
async fn a_quota_parks_the_job_until_it_is_reset_and_costs_nothing() {
    let says = "[ $nth -ge 4 ] || { echo 'usage limit reached. Try again in 2 hours 10 minutes'; exit 1; }; echo x >code.txt";
    let house = house(&[], says).await;
    let task = house.add("Say hello").await;
    for _ in 0..3 {
        let claim = house.claim_one().await;
        house.drive(claim).await;
        let job = house.job(claim).await;
        assert_eq!(
            (job.status, job.attempts, job.transient_attempts),
            (JobStatus::Queued, 0, 0)
        );
        assert_eq!(
            job.available_at.since(house.engine.now()),
            Duration::from_secs(7_800)
        );
        assert!(house.claim().await.is_empty(), "it holds no slot and waits");
        house.later(Duration::from_secs(7_800));
    }
    house.run_all().await;
    assert_eq!(house.stands(task).await, "done done");
}

#[tokio::test]
async fn a_quota_that_is_reset_soon_or_was_costs_nothing_either_whoever_agreed_to_retries() {
    let table = [
        ("Try again in 90 seconds", 90, true),
        ("Try again in 90 seconds", 90, false),
        ("Try again in 0 seconds", 30, true),
        ("Try again in 0 seconds", 30, false),
    ];
    for (words, pause, enabled) in table {
        let says =
            format!("[ $nth -ge 8 ] || {{ echo 'usage limit reached. {words}'; exit 1; }}; echo x >code.txt");
        let switch = format!("retry.enabled = {enabled}");
        let house = house(&[&switch], &says).await;
        let task = house.add("Say hello").await;
        // More often than there are attempts of any kind.
        for before in 0..7 {
            let claim = house.claim_one().await;
            house.drive(claim).await;
            let job = house.job(claim).await;
            let spent = (job.status, job.attempts, job.transient_attempts);
            assert_eq!(spent, (JobStatus::Queued, 0, 0), "{words}, {switch}");
            assert!(house.claim().await.is_empty(), "it holds no slot and waits");
            let waits = job.available_at.since(house.engine.now()).as_secs();
            assert_eq!(waits, pause.max(30 << before.min(6)), "{words}, {switch}");
            house.later(Duration::from_secs(waits));
        }
        house.run_all().await;
        assert_eq!(house.stands(task).await, "done done");
        assert_eq!(house.count("retry_audit WHERE event <> 'transient'"), 0);
    }
}

#[tokio::test]
async fn a_quota_that_the_agent_reports_counts_however_much_is_printed_after_it() {
    let stages = format!("preset = 'claude'\n{SHORT}");
    let house = Plan::new(&stages).build().await;
    let says = r#"echo '{"type":"result","is_error":true,"session_id":"s","result":"usage limit reached. Try again in 2 hours"}'"#;
    house.role("developer", &format!("{says}; yes bye | head -n 2000; exit 1"));
    house.add("Say hello").await;
    let claim = house.claim_one().await;
    house.drive(claim).await;
    let job = house.job(claim).await;
    let waits = job.available_at.since(house.engine.now()).as_secs();
    assert_eq!((job.status, job.attempts, waits), (JobStatus::Queued, 0, 7200));
}

#[tokio::test]
async fn what_a_person_has_to_look_at_blocks_at_once_and_is_told_once() {
    let house = house(
        &["queue.max_attempts = 5"],
        "echo 'CONFLICT (content): Merge conflict in a.rs'; exit 1",
    )
    .await;
    let task = house.add("Say hello").await;
    house.run_all().await;
    assert_eq!(house.ran().len(), 1);
    let blocked = house.task(task).await;
    assert_eq!(blocked.status, TaskStatus::Blocked);
    assert_eq!(
        blocked.reason.as_deref(),
        Some("exit code 1: commits conflict with each other")
    );
    assert_eq!(house.deliver().await.len(), 1);
}

#[tokio::test]
async fn a_program_that_only_this_node_could_have_fails_at_once_and_holds_up_nobody() {
    let plan = Plan::new(SHORT)
        .set("repair.node_cool_s = 300")
        .agent("/nowhere/agent");
    let house = plan.build().await;
    let task = house.add("Say hello").await;
    house.run_all().await;
    let reason = house.task(task).await.reason.unwrap();
    assert!(
        reason.contains("install it, or correct [agent] command"),
        "{reason}"
    );
    assert_eq!(nodes::list(&house.engine).await.unwrap()[0].stands, "usable");
}

#[tokio::test]
async fn a_program_that_another_node_may_have_is_waited_for_while_that_node_is_off() {
    let plan = Plan::new(SHORT)
        .set("repair.node_cool_s = 300")
        .set("node_labels = ['gpu']")
        .set("nodes.far.host = 'nowhere.invalid'")
        .set("nodes.far.labels = ['gpu', 'big']")
        .agent("/nowhere/agent");
    let house = plan.agent_with("labels = ['gpu']").build().await;
    let hour = Duration::from_secs(3600);
    nodes::blacklist(&house.engine, "far", hour, "new disk")
        .await
        .unwrap();
    let task = house.add("Say hello").await;
    let claim = house.claim_one().await;
    house.drive(claim).await;
    let job = house.job(claim).await;
    assert_eq!((job.status, job.attempts), (JobStatus::Queued, 0), "not dead");
    let stands = async || {
        let nodes = nodes::list(&house.engine).await.unwrap();
        let stands = nodes.into_iter().map(|n| (n.node, n.stands));
        stands.collect::<Vec<_>>()
    };
    let are = |far: &str, own: &str| {
        [("far", far), ("local", own)].map(|(node, stands)| (node.to_owned(), stands.to_owned()))
    };
    assert_eq!(stands().await, are("blacklisted", "cooled"));
    house.later(Duration::from_secs(301));
    assert_eq!(house.claim().await.len(), 1, "tried again here");
    assert_eq!(house.stands(task).await, "development active");
}

#[tokio::test]
async fn a_program_that_no_node_with_the_labels_has_is_not_waited_for() {
    let plan = Plan::new(SHORT)
        .set("node_labels = ['gpu']")
        .set("nodes.far.host = 'nowhere.invalid'")
        .set("nodes.far.labels = ['big']")
        .agent("/nowhere/agent");
    let house = plan.agent_with("labels = ['gpu']").build().await;
    let task = house.add("Say hello").await;
    house.run_all().await;
    assert_eq!(house.stands(task).await, "development blocked");
    assert_eq!(nodes::list(&house.engine).await.unwrap()[1].stands, "usable");
}

#[tokio::test]
async fn the_same_failure_three_times_without_a_commit_stops_the_task() {
    let settings = [
        "queue.max_attempts = 9",
        "retry.task_limit = 9",
        "breaker.failures = 99",
    ];
    let house = house(&settings, "echo \"at 0x$nth: it is broken\"; exit 1").await;
    let task = house.add("Say hello").await;
    house.run_all().await;
    assert_eq!(house.ran().len(), 3);
    let reason = house.task(task).await.reason.unwrap();
    assert!(
        reason.contains("the same failure 3 times without a new commit"),
        "{reason}"
    );
    // A person who lets it go on lets it begin anew.
    house.gesture(task, "in-progress").await;
    house.run_all().await;
    assert_eq!(house.ran().len(), 6);
}

#[tokio::test]
async fn a_person_who_retries_a_job_gives_its_task_the_retries_of_its_visit_back() {
    let house = house(
        &["queue.max_attempts = 9", "retry.task_limit = 1"],
        "echo \"broken $nth\"; exit 1",
    )
    .await;
    house.add("Say hello").await;
    let first = house.claim_one().await;
    let job = first.job;
    house.drive(first).await;
    house.run_all().await;
    assert_eq!(
        (house.ran().len(), house.count("jobs WHERE status = 'failed'")),
        (2, 1)
    );
    orch::engine::operate::retry_job(&house.engine, job.0, house.engine.now())
        .await
        .unwrap();
    house.run_all().await;
    assert_eq!(
        (house.ran().len(), house.count("jobs WHERE status = 'failed'")),
        (4, 2)
    );
    assert_eq!(
        house.count("retry_audit WHERE event = 'retry'"),
        2,
        "they still count in the scope"
    );
}

#[tokio::test]
async fn a_person_need_not_wait_for_a_quota_that_parks_a_job() {
    let house = house(
        &[],
        "[ $nth -ge 2 ] || { echo 'usage limit reached. Try again in 5 days'; exit 1; }; echo x >code.txt",
    )
    .await;
    let task = house.add("Say hello").await;
    let claim = house.claim_one().await;
    house.drive(claim).await;
    let retry = async || {
        let now = house.engine.now();
        orch::engine::operate::retry_job(&house.engine, claim.job.0, now).await
    };
    assert!(house.claim().await.is_empty(), "it is parked");
    assert_eq!(retry().await.unwrap().id, claim.job.0);
    let again = retry().await.unwrap_err().to_string();
    assert!(again.contains("did not fail"), "it waits no longer: {again}");
    let said = house.events(task).await;
    assert!(
        said.iter().any(|text| text.contains("waits no longer")),
        "{said:?}"
    );
    house.run_all().await;
    assert_eq!(house.stands(task).await, "done done");
}

#[tokio::test]
async fn retries_end_with_the_limits_of_task_and_scope_and_with_consent() {
    let table = [
        ("retry.task_limit = 1", 2, "max_retries_reached"),
        ("retry.scope_limit = 1", 2, "global_retry_limit_reached"),
        ("retry.enabled = false", 1, "consent_not_given"),
    ];
    for (line, attempts, reason) in table {
        let house = house(
            &["queue.max_attempts = 9", line],
            "echo \"$nth\" | tr 0-9 a-j; exit 1",
        )
        .await;
        let task = house.add("Say hello").await;
        house.run_all().await;
        assert_eq!(house.ran().len(), attempts, "{line}");
        assert_eq!(house.task(task).await.status, TaskStatus::Blocked);
        let last = &operate::recent(&house.engine, 1).await.unwrap()[0];
        assert_eq!(last.decision, reason, "{line}");
    }
}

#[tokio::test]
async fn a_breaker_opens_is_told_once_lets_one_through_and_closes_with_a_success() {
    let settings = ["queue.max_attempts = 1", "breaker.failures = 3"];
    let house = house(
        &settings,
        "[ -e \"$out/mended\" ] || { echo \"$ORCH_WORK_ITEM\"; exit 1; }; echo x >\"$ORCH_WORK_ITEM.txt\"",
    )
    .await;
    for n in 0..3 {
        house.add(&format!("Task {n}")).await;
        let claim = house.claim_one().await;
        house.drive(claim).await;
    }
    house.add("Two more").await;
    house.add("One more").await;
    // The third failure opened it; its own job stays queued and costs nothing.
    assert!(house.claim().await.is_empty());
    let breaker = &operate::breakers(&house.engine).await.unwrap()[0];
    assert_eq!(
        (breaker.scope.as_str(), breaker.stands.as_str(), breaker.failures),
        ("project:shop", "open", 3)
    );
    let told = house.deliver().await;
    assert_eq!(
        told.iter()
            .filter(|(_, text)| text.contains("failures in a row"))
            .count(),
        1,
        "{told:?}"
    );

    // One goes through as a trial, and no second one while it runs.
    house.later(Duration::from_secs(1800));
    let trial = house.claim_one().await;
    assert!(house.claim().await.is_empty());
    house.drive(trial).await;
    assert!(house.claim().await.is_empty(), "it failed: half an hour more");
    house.later(Duration::from_secs(1799));
    assert!(house.claim().await.is_empty());
    assert!(
        !house
            .deliver()
            .await
            .iter()
            .any(|(_, text)| text.contains("failures in a row")),
        "told once"
    );

    house.later(Duration::from_secs(1));
    fs::write(house.path("out/mended"), "").unwrap();
    let trial = house.claim_one().await;
    house.drive(trial).await;
    assert_eq!(operate::breakers(&house.engine).await.unwrap(), []);
    assert!(house.claim().await.len() > 1);
}

#[tokio::test]
async fn a_breaker_is_reset_by_hand_by_a_name_that_exists() {
    let settings = ["queue.max_attempts = 1", "breaker.failures = 1"];
    let house = house(&settings, "exit 1").await;
    house.add("Say hello").await;
    let claim = house.claim_one().await;
    house.drive(claim).await;
    assert!(house.claim().await.is_empty());
    for (scope, says) in [
        ("project:nowhere", "no project is called nowhere"),
        ("project:../x", "project name \"../x\" is not usable"),
        ("batch:nowhere", "no batch is called nowhere"),
        ("batch:../x", "batch \"../x\" is not usable"),
        ("shop", "a scope is project:<name> or batch:<name>"),
    ] {
        let error = operate::reset(&house.engine, scope)
            .await
            .unwrap_err()
            .to_string();
        assert!(error.contains(says), "{scope}: {error}");
    }
    operate::reset(&house.engine, "project:shop").await.unwrap();
    assert_eq!(house.claim().await.len(), 1);
}

#[tokio::test]
async fn the_audit_is_kept_in_a_file_per_scope_and_a_broken_one_is_set_aside_and_written_anew() {
    let mut house = house(
        &["queue.max_attempts = 2"],
        "printf 'line one\\nline two'; exit 1",
    )
    .await;
    let task = house.add("Say hello").await;
    house.run_all().await;
    audit::write(&house.engine).await.unwrap();
    let path = house.data().join("audit/project-shop.jsonl");
    let text = fs::read_to_string(&path).unwrap();
    let lines: Vec<serde_json::Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 2, "{text}");
    assert_eq!(lines[0]["event_type"], "retry");
    assert_eq!(
        (lines[1]["event_type"].as_str(), lines[1]["reason"].as_str()),
        (Some("refused"), Some("max_retries_reached"))
    );
    assert_eq!(lines[1]["task"], house.task(task).await.work_item_id.as_str());
    assert_eq!(
        (lines[1]["retry_count"].as_i64(), lines[1]["total"].as_i64()),
        (Some(1), Some(1))
    );

    // Nothing new: nothing is written, also by the next boot.
    house.restart().await;
    assert_eq!(audit::write(&house.engine).await.unwrap().lines, 0);

    // Changed by somebody, also where it looks torn after that.
    for changed in [
        format!("{text}{{\"id\": 3, mine}}\n"),
        format!("{text}nothing of ours\n{{\"id\":"),
        "no line at all".to_owned(),
    ] {
        fs::write(&path, changed).unwrap();
        house.restart().await;
        let written = audit::write(&house.engine).await.unwrap();
        assert_eq!((written.lines, written.set_aside.len()), (2, 1), "{written:?}");
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }
    let aside = |n: u32| house.data().join(format!("audit/project-shop.jsonl.broken-{n}"));
    assert!(aside(1).exists() && aside(3).exists() && !aside(4).exists());
}

#[tokio::test]
async fn a_line_that_a_crash_tore_is_cut_off_and_written_anew_and_what_was_whole_stays() {
    let mut house = house(&[], "true").await;
    house.add("Say hello").await;
    entry(&house, 1, "project:1");
    entry(&house, 2, "project:1");
    audit::write(&house.engine).await.unwrap();
    let path = house.data().join("audit/project-shop.jsonl");
    let text = fs::read_to_string(&path).unwrap();
    let first = text.find('\n').unwrap() + 1;
    // The first line, the second, and a third that is in the table alone; cut anywhere.
    for (row, whole, ends) in [
        (3, 0, vec![1, first - 1]),
        (4, first, vec![first + 1, text.len() - 1]),
    ] {
        entry(&house, row, "project:1");
        for end in ends {
            fs::write(&path, &text[..end]).unwrap();
            house.restart().await;
            let written = audit::write(&house.engine).await.unwrap();
            assert_eq!(written.mended, [path.display().to_string()], "cut at {end}");
            assert_eq!(written.set_aside, [""; 0]);
            let now = fs::read_to_string(&path).unwrap();
            assert!(now.starts_with(&text[..whole]) && now.ends_with('\n'), "{now}");
            assert_eq!(
                audited(&house, "project-shop.jsonl"),
                (1..=row).collect::<Vec<_>>()
            );
        }
    }
    house.restart().await;
    let again = audit::write(&house.engine).await.unwrap();
    assert_eq!(again, audit::Written::default(), "told once");
    assert!(!house.data().join("audit/project-shop.jsonl.broken-1").exists());
}

#[tokio::test]
async fn an_error_of_many_lines_is_one_line_wherever_it_is_kept_or_told() {
    let rules = r#"{"strategies": {"odd": {"pattern": "broke", "fix": "retry", "diagnosis": "first\nsecond\u001b[2J"}}}"#;
    let stages = format!("preset = 'claude'\n{SHORT}");
    let plan = Plan::new(&stages).set("repair.rules_file = 'rules.json'");
    let house = plan.build().await;
    fs::write(house.path("rules.json"), rules).unwrap();
    assert_eq!(reload(&house.engine).await.unwrap(), Reload::Taken(1));
    // As the agent reports it: line ends of every kind, control characters, and more than anybody reads.
    let report = serde_json::json!({
        "type": "result", "subtype": "error_during_execution", "is_error": true, "session_id": "s",
        "result": format!("it\nbroke\r\nat\rline\u{7}\u{0}\u{85}two\u{2028}three\u{202e}{}", " x\ny".repeat(50_000)),
    });
    fs::write(house.path("out/report"), format!("{report}\n")).unwrap();
    house.role("developer", "cat \"$out/report\"; exit 1");
    let task = house.add("Say hello").await;
    let claim = house.claim_one().await;
    house.drive(claim).await;
    audit::write(&house.engine).await.unwrap();

    let is_line = |text: &str| !text.contains(|c: char| c.is_control() || "\u{2028}\u{202e}".contains(c));
    let text = fs::read_to_string(house.data().join("audit/project-shop.jsonl")).unwrap();
    assert!(
        text.ends_with('\n') && is_line(text.trim_end_matches('\n')),
        "{text}"
    );
    let line: serde_json::Value = serde_json::from_str(&text).unwrap();
    let error = line["error"].as_str().unwrap();
    assert!(
        error.starts_with(
            "exit code 1, but the agent reports: claude: error_during_execution: it broke at line"
        ),
        "{error}"
    );
    assert!(is_line(error) && error.chars().count() <= 300, "{error}");
    let incident = &operate::recent(&house.engine, 1).await.unwrap()[0];
    assert_eq!(
        (incident.error.as_str(), incident.diagnosis.as_str()),
        (error, "first second")
    );
    // What is told of it is the line of the log, too.
    let told = house.events(task).await;
    assert!(
        told.iter().any(|line| line.contains("REPAIR: matched 'odd'")),
        "{told:?}"
    );
    assert!(told.iter().all(|line| is_line(line)), "{told:?}");
    assert!(house.deliver().await.iter().all(|(_, text)| is_line(text)));
}

/// The rows that the lines of a file of the audit are of.
fn audited(house: &House, file: &str) -> Vec<i64> {
    let text = fs::read_to_string(house.data().join("audit").join(file)).unwrap_or_default();
    let id = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["id"].as_i64();
    text.lines().filter_map(id).collect()
}

fn entry(house: &House, id: i64, scope: &str) {
    house.sql(&format!(
        "INSERT INTO retry_audit (id, at, event, scope, task_id) VALUES ({id}, 1, 'reset', '{scope}', 1)"
    ));
}

#[tokio::test]
async fn a_death_between_the_lines_of_the_audit_and_their_mark_neither_misses_nor_doubles_one() {
    let mut house = house(&[], "true").await;
    house.add("Say hello").await;
    // A row that cannot be read names no task, and keeps no line back.
    house.sql("UPDATE tasks SET modifies = 'no'");
    for (id, scope) in [(1, "project:1"), (2, "batch:b"), (3, "project:1"), (4, "batch:b")] {
        entry(&house, id, scope);
    }
    assert_eq!(audit::write(&house.engine).await.unwrap().lines, 4);
    let both = |house: &House| {
        [
            audited(house, "project-shop.jsonl"),
            audited(house, "batch-b.jsonl"),
        ]
    };
    assert_eq!(both(&house), [vec![1, 3], vec![2, 4]]);

    // It died when one file had its line and the other had not, before either was marked.
    let batch = house.data().join("audit/batch-b.jsonl");
    let before = fs::read_to_string(&batch).unwrap();
    entry(&house, 5, "batch:b");
    entry(&house, 6, "project:1");
    let mark = house.data().join("audit/written");
    let marked = fs::read_to_string(&mark).unwrap();
    audit::write(&house.engine).await.unwrap();
    fs::write(&batch, before).unwrap();
    fs::write(&mark, marked).unwrap();
    house.restart().await;
    assert_eq!(audit::write(&house.engine).await.unwrap().lines, 1);
    assert_eq!(both(&house), [vec![1, 3, 6], vec![2, 4, 5]]);

    // Without a mark everything is looked at again, and nothing is written twice.
    for text in ["", "no number"] {
        fs::write(&mark, text).unwrap();
        house.restart().await;
        assert_eq!(
            audit::write(&house.engine).await.unwrap(),
            audit::Written::default()
        );
    }
    // Of two files one is set aside: only its own lines are written anew.
    fs::write(&batch, "nothing of ours\n").unwrap();
    house.restart().await;
    let written = audit::write(&house.engine).await.unwrap();
    assert_eq!((written.lines, written.set_aside.len()), (3, 1), "{written:?}");
    assert_eq!(both(&house), [vec![1, 3, 6], vec![2, 4, 5]]);
}

#[tokio::test]
async fn a_disk_that_takes_no_line_is_asked_again_and_gets_each_line_once() {
    let house = house(&[], "true").await;
    house.add("Say hello").await;
    assert_eq!(audit::write(&house.engine).await.unwrap().lines, 0);
    entry(&house, 1, "project:1");
    entry(&house, 2, "batch:b");
    let wall = house.data().join("audit/project-shop.jsonl");
    fs::create_dir_all(&wall).unwrap();
    assert!(audit::write(&house.engine).await.is_err());
    assert_eq!(audited(&house, "batch-b.jsonl"), [2]);
    fs::remove_dir(&wall).unwrap();
    assert_eq!(audit::write(&house.engine).await.unwrap().lines, 1);
    assert_eq!(audited(&house, "project-shop.jsonl"), [1]);
    assert_eq!(audited(&house, "batch-b.jsonl"), [2]);
}

#[tokio::test]
async fn what_is_not_in_order_is_shown_with_the_queue_and_nothing_else_is() {
    let settings = ["queue.max_attempts = 1", "breaker.failures = 2"];
    let house = house(&settings, "exit $((nth == 1 ? 137 : 9))").await;
    let calm = operate::stands_now(&house.engine).await.unwrap();
    assert_eq!(
        calm,
        RepairView {
            enabled: true,
            source: "built in".to_owned(),
            ..RepairView::default()
        }
    );
    for n in 0..2 {
        house.add(&format!("Task {n}")).await;
        let claim = house.claim_one().await;
        house.drive(claim).await;
    }
    let shown = operate::stands_now(&house.engine).await.unwrap();
    let last = shown.last_match.unwrap();
    // What no rule knows is not counted.
    assert_eq!((shown.matched_total, last.strategy.as_str()), (1, "oom"));
    assert_eq!(
        (last.task.as_str(), last.fix.as_str()),
        ("SHOP-001", "reduce_slots")
    );
    let nodes: Vec<_> = shown
        .nodes
        .iter()
        .map(|n| (n.node.as_str(), n.slots_fewer))
        .collect();
    assert_eq!(nodes, [("local", 1)]);
    let breakers: Vec<_> = shown
        .breakers
        .iter()
        .map(|b| (b.scope.as_str(), b.stands.as_str()))
        .collect();
    assert_eq!(breakers, [("project:shop", "open")]);

    nodes::clear(&house.engine, "local").await.unwrap();
    operate::reset(&house.engine, "project:shop").await.unwrap();
    let shown = operate::stands_now(&house.engine).await.unwrap();
    assert_eq!(
        (shown.nodes, shown.breakers, shown.hanging),
        (vec![], vec![], vec![])
    );
    assert_eq!(shown.matched_total, 1);
}

#[tokio::test]
async fn rules_are_read_again_when_they_change_and_the_last_good_ones_stay() {
    let house = house(&["repair.rules_file = 'rules.json'"], "echo lemons; exit 1").await;
    let path = house.path("rules.json");
    let strategy = async || {
        operate::check(&house.engine, "exit code 1\nlemons".into(), None)
            .await
            .unwrap()
            .strategy
    };
    assert!(
        matches!(reload(&house.engine).await.unwrap(), Reload::Refused(why) if why.contains("rules.json"))
    );
    assert_eq!(strategy().await, "none", "the built-in rules");
    let shown = operate::stands_now(&house.engine).await.unwrap();
    assert_eq!((shown.source.as_str(), shown.since), ("built in", None));
    assert!(shown.problem.is_some_and(|why| why.contains("rules.json")));

    fs::write(
        &path,
        r#"{"strategies": {"sour": {"pattern": "lemons", "fix": "manual"}}}"#,
    )
    .unwrap();
    assert_eq!(reload(&house.engine).await.unwrap(), Reload::Taken(1));
    assert_eq!(reload(&house.engine).await.unwrap(), Reload::Unchanged(None));
    assert_eq!(strategy().await, "sour");
    let taken = operate::stands_now(&house.engine).await.unwrap();
    assert_eq!((taken.source, taken.problem), (path.display().to_string(), None));
    assert_eq!(taken.since, Some(house.engine.now().to_string()));

    house.later(Duration::from_secs(60));
    fs::write(
        &path,
        r#"{"strategies": {"sour": {"pattern": "lem(ons", "fix": "manual"}}}"#,
    )
    .unwrap();
    let Reload::Refused(why) = reload(&house.engine).await.unwrap() else {
        panic!("it was taken");
    };
    assert!(why.contains("strategy \"sour\": pattern:"), "{why}");
    assert_eq!(strategy().await, "sour", "the last good rules");
    let told = operate::reload_now(&house.engine).await.unwrap();
    assert_eq!(
        (&told.problem, told.strategies),
        (&Some(why), vec!["sour".to_owned()])
    );
    let told_problem = told.problem;

    let shown = operate::stands_now(&house.engine).await.unwrap();
    assert_eq!(
        (shown.problem, shown.since),
        (told_problem, taken.since),
        "the old ones stay"
    );

    // One that cannot be read at all says so too, once, and changes nothing.
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    let told = reload(&house.engine).await.unwrap();
    assert!(
        matches!(&told, Reload::Refused(why) if why.contains("is no file")),
        "{told:?}"
    );
    assert!(matches!(
        reload(&house.engine).await.unwrap(),
        Reload::Unchanged(Some(_))
    ));
    assert_eq!(strategy().await, "sour", "the last good rules");
}

#[tokio::test]
async fn switched_off_every_failure_is_tried_again_as_it_is() {
    let house = house(&["repair.enabled = false"], "exit 137").await;
    house.add("Say hello").await;
    house.run_all().await;
    assert_eq!(house.ran().len(), 2);
    assert_eq!(strategies(&house).await, []);
    assert_eq!(nodes::list(&house.engine).await.unwrap()[0].slots_fewer, 0);
}

#[tokio::test]
async fn what_failed_while_its_breaker_is_open_is_tried_as_its_rule_says_and_not_blindly() {
    let settings = [SOON, "queue.max_attempts = 1", "breaker.failures = 1"];
    let mut house = house(&settings, "echo x >code.txt; [ $nth -ge 2 ] || exec sleep 1000").await;
    let task = house.add("Say hello").await;
    let first = house.claim_one().await;
    house.drive(first).await;
    let job = house.job(first).await;
    assert_eq!(
        (job.status, job.attempts, job.timeout_percent),
        (JobStatus::Queued, 0, 150)
    );
    assert!(house.claim().await.is_empty());
    house.later(Duration::from_secs(1800));
    with_time(&mut house).await;
    house.run_all().await;
    assert_eq!(house.stands(task).await, "done done");
}

#[tokio::test]
async fn what_cannot_be_a_file_of_rules_leaves_the_rules_that_were_in_force() {
    let house = house(&["repair.rules_file = 'rules.json'"], "exit 1").await;
    let path = house.path("rules.json");
    let refused = async |says: &str| {
        let answer = reload(&house.engine).await.unwrap();
        assert!(
            matches!(&answer, Reload::Refused(why) if why.contains(says)),
            "{says}: {answer:?}"
        );
        let text = "exit code 137 SIGKILL (Killed)".to_owned();
        assert_eq!(
            operate::check(&house.engine, text, None).await.unwrap().strategy,
            "oom"
        );
    };
    fs::create_dir(&path).unwrap();
    refused("is no file").await;
    fs::remove_dir(&path).unwrap();
    refused("No such file").await;
    // Nobody writes into it: whoever opened it would wait for ever.
    shell(&format!("mkfifo '{}'", path.display()));
    refused("is no file").await;
    fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink("/dev/zero", &path).unwrap();
    assert_eq!(
        reload(&house.engine).await.unwrap(),
        Reload::Unchanged(Some(format!("repair.rules_file {}: is no file", path.display()))),
        "the same is told once"
    );
    fs::remove_file(&path).unwrap();
    fs::write(&path, " ".repeat(2 << 20)).unwrap();
    refused("larger than 1048576 bytes").await;
    fs::write(&path, b"\xff\xfe{}").unwrap();
    refused("UTF-8").await;
    fs::write(&path, "[1").unwrap();
    refused("rules.json").await;
}

#[tokio::test]
async fn no_secret_is_kept_with_an_incident_or_in_the_audit() {
    let plan = Plan::new(SHORT)
        .set("gitea.token = 's3cr3t-t0ken'")
        .agent("/nowhere/s3cr3t-t0ken/agent");
    let house = plan.build().await;
    house.add("Say hello").await;
    house.run_all().await;
    audit::write(&house.engine).await.unwrap();
    let incident = &operate::recent(&house.engine, 1).await.unwrap()[0];
    assert!(incident.error.contains("/nowhere/***/agent"), "{incident:?}");
    let written = fs::read_to_string(house.data().join("audit/project-shop.jsonl")).unwrap();
    assert!(
        written.contains("/nowhere/***/agent") && !written.contains("s3cr3t"),
        "{written}"
    );
}
