//! Whoever drives a run may die at any moment: the next start brings it to the same end, once.

use orch::domain::id::TaskId;
use orch::domain::run::RunStep;
use orch::engine::recover;
use orch::engine::run::{Driven, claim_of};

use super::house::{House, Plan, SHORT};

/// Everything that can be told apart afterwards, without what differs from one walk to the next.
async fn outcome(house: &House, task: TaskId) -> String {
    let mut lines = vec![house.stands(task).await];
    lines.extend(house.job_words(task).await);
    for run in house.runs(task).await {
        lines.push(format!("run of {:?} {:?} {:?}", run.role, run.step, run.error));
    }
    lines.extend(house.events(task).await);
    let told = "SELECT kind || ' ' || cause AS line FROM outbox ORDER BY id";
    lines.extend(house.sql_lines(told));
    let proved = "SELECT gate || ' ' || state || ' ' || reason AS line FROM evidence ORDER BY id";
    lines.extend(house.sql_lines(proved));
    lines.extend(house.sql_lines("SELECT kind || ' ' || status AS line FROM intents ORDER BY id"));
    for pr in house.pull_requests().await {
        lines.push(format!("pull request {:?}", pr.state));
    }
    lines.push(format!("{} commits on main", house.trees_of_main().len()));
    lines.push(format!(
        "leases: {}",
        house.count("leases WHERE task_id IS NOT NULL")
    ));
    lines.extend(house.leftovers());
    lines.extend(house.ran());
    // Commits differ by the second in which they were made.
    let is_hex = |w: &&str| w.len() >= 7 && w.chars().all(|c| c.is_ascii_hexdigit());
    let mut text = lines.join("\n");
    for sha in text
        .clone()
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter(is_hex)
    {
        text = text.replace(sha, "<sha>");
    }
    text
}

async fn undisturbed() -> String {
    let house = House::short().await;
    let task = house.add("Say hello").await;
    house.run_all().await;
    outcome(&house, task).await
}

/// The next start: what ran is driven on, and then all the rest.
async fn resume(house: &mut House) {
    house.restart().await;
    let found = recover::running(&house.engine).await.unwrap();
    assert_eq!(found.broken, []);
    let swept = recover::sweep(&house.engine).await.unwrap();
    assert_eq!(swept.trouble, [""; 0]);
    for job in &found.jobs {
        assert_eq!(house.drive(claim_of(job)).await, Driven::Over);
    }
    house.run_all().await;
}

#[tokio::test]
async fn a_run_whose_monitor_dies_after_any_recorded_step_ends_as_if_it_had_not() {
    let expected = undisturbed().await;
    for stage in ["development", "review"] {
        for step in RunStep::ALL.into_iter().filter(|s| *s <= RunStep::PrOpened) {
            let mut house = House::short().await;
            let task = house.add("Say hello").await;
            let claim = house.run_until("agent", stage).await;
            let mut monitor = house.driving(claim);
            monitor.until_step(step).await;
            drop(monitor);
            resume(&mut house).await;
            assert_eq!(outcome(&house, task).await, expected, "{stage}: {step:?}");
        }
    }
}

/// From now on nothing of this kind can be recorded; as if the service died before it came to that.
fn unrecordable(house: &House, what: &str) {
    house.sql(&format!(
        "CREATE TRIGGER dies BEFORE UPDATE OF {what} BEGIN SELECT RAISE(ABORT, 'it died here'); END"
    ));
}

fn recordable(house: &House) {
    house.sql("DROP TRIGGER dies");
}

#[tokio::test]
async fn a_deed_that_was_done_and_not_recorded_is_not_done_again() {
    let expected = undisturbed().await;
    for step in [
        RunStep::Prepared,
        RunStep::Running,
        RunStep::Exited,
        RunStep::Committed,
        RunStep::Pushed,
        RunStep::PrOpened,
        RunStep::Evaluated,
        RunStep::Finalised,
    ] {
        let mut house = House::short().await;
        let task = house.add("Say hello").await;
        let claim = house.claim_one().await;
        let word = step.as_str();
        unrecordable(&house, &format!("step ON runs WHEN NEW.step = '{word}'"));
        let name = format!("{}-{}", claim.job, claim.epoch);
        let (worktree, run) = (
            house.data().join("worktrees").join(&name),
            house.data().join("runs").join(&name),
        );
        let branch = house.task(task).await.branch.to_string();
        let before = house.main();
        let clone = house.engine.settings().repos_dir.join("shop.git");
        let committed = || {
            let admin = clone.join("worktrees").join(&name).join("HEAD");
            std::fs::read_to_string(admin).is_ok_and(|head| head.trim() != before.as_str())
        };
        let mut monitor = house.driving(claim);
        let done = async || match step {
            RunStep::Prepared => worktree.join("docs").exists(),
            RunStep::Running => run.join("shim.json").exists(),
            RunStep::Exited => run.join("exit.json").exists(),
            RunStep::Committed => committed(),
            RunStep::Pushed => house.head(&branch).is_some_and(|h| h != before),
            // One transaction each, so there is no deed without its record: any moment after the last step will do.
            RunStep::PrOpened => {
                let run = house.run_of(claim).await;
                run.is_some_and(|r| r.step == RunStep::Pushed)
            }
            RunStep::Evaluated => !house.tested().is_empty(),
            RunStep::Finalised => house.stands(task).await == "review active" && !worktree.exists(),
            RunStep::Claimed | RunStep::Abandoned => panic!("no deed"),
        };
        monitor
            .until(&format!("the deed before {word} is done"), done)
            .await;
        drop(monitor);
        recordable(&house);
        resume(&mut house).await;
        let mut got = outcome(&house, task).await;
        if step == RunStep::Evaluated {
            // The check that ran when the service died may have to run again: its verdict stands once.
            got = got.replace(
                "\n:tests green the test command passed\n:tests green",
                "\n:tests green",
            );
        }
        assert_eq!(got, expected, "{step:?}");
    }
}

#[tokio::test]
async fn an_agent_that_was_started_and_not_recorded_is_adopted_and_not_started_again() {
    let mut house = House::short().await;
    house.role(
        "developer",
        "hold work; mkdir -p src; echo work >src/SHOP-001.txt",
    );
    let task = house.add("Say hello").await;
    let claim = house.claim_one().await;
    unrecordable(&house, "step ON runs WHEN NEW.step = 'running'");
    let mut monitor = house.driving(claim);
    let reached = house.path("out/work.reached");
    monitor.until("the agent works", async || reached.exists()).await;
    drop(monitor);
    recordable(&house);
    house.go("work");
    resume(&mut house).await;
    assert_eq!(house.stands(task).await, "done done");
    assert_eq!(house.ran(), ["developer", "reviewer"]);
}

#[tokio::test]
async fn an_exit_while_nobody_watched_is_known_at_the_next_start() {
    let mut house = House::short().await;
    house.role("developer", "hold work; echo x >code.txt");
    let task = house.add("Say hello").await;
    let claim = house.claim_one().await;
    let mut monitor = house.driving(claim);
    monitor.until_step(RunStep::Running).await;
    house.reached("work").await;
    drop(monitor);
    house.go("work");
    let exit = house
        .data()
        .join("runs")
        .join(format!("{}-{}", claim.job, claim.epoch))
        .join("exit.json");
    house.until("the exit is recorded", || exit.exists()).await;
    resume(&mut house).await;
    assert_eq!(house.stands(task).await, "done done");
    assert_eq!(house.ran(), ["developer", "reviewer"]);
}

// --- the merge

#[tokio::test]
async fn a_merge_that_was_cut_off_anywhere_happens_once_and_is_told_once() {
    let expected = undisturbed().await;
    // What cannot be recorded, and what is seen by then.
    let cuts = [
        ("lease", "expires_at ON leases"),
        ("intent", "status ON intents WHEN NEW.kind = 'merge'"),
        ("merged", "status ON intents WHEN NEW.kind = 'merge'"),
        ("recorded", "stage ON tasks WHEN NEW.stage = 'done'"),
        ("advanced", "step ON runs WHEN NEW.step = 'finalised'"),
    ];
    for (name, cut) in cuts {
        let mut house = House::short().await;
        let task = house.add("Say hello").await;
        let claim = house.run_until("deploy-finalizer", "review").await;
        unrecordable(&house, cut);
        let before = house.main();
        let mut monitor = house.driving(claim);
        let seen = async || match name {
            "lease" => house.run_of(claim).await.is_some(),
            "intent" => house.count("intents WHERE kind = 'merge'") > 0,
            "merged" => house.main() != before,
            "recorded" => house.count("intents WHERE kind = 'merge' AND status = 'done'") > 0,
            "advanced" => house.stands(task).await == "done done",
            _ => panic!("no such cut"),
        };
        monitor.until(name, seen).await;
        drop(monitor);
        recordable(&house);
        resume(&mut house).await;
        assert_eq!(outcome(&house, task).await, expected, "{name}");
        let told = house.deliver().await;
        assert_eq!(told.iter().filter(|(about, _)| about == "done").count(), 1);
    }
}

#[tokio::test]
async fn a_rebase_that_was_pushed_and_not_recorded_is_gone_on_from() {
    let mut house = House::confirmed().await;
    let task = house.add("Say hello").await;
    let claim = house.run_until("gate-check", "staging").await;
    house.commit("main", &[("other.txt", "by somebody else\n")]);
    unrecordable(&house, "status ON intents WHEN NEW.kind = 'rebase'");
    let branch = house.task(task).await.branch.to_string();
    let old = house.head(&branch);
    let mut monitor = house.driving(claim);
    monitor
        .until("the rebase is pushed", async || house.head(&branch) != old)
        .await;
    let rebased = house.head(&branch);
    drop(monitor);
    recordable(&house);
    resume(&mut house).await;
    assert_eq!(house.stands(task).await, "deploy waiting_human");
    assert_eq!(house.head(&branch), rebased, "rebased a second time");
    assert_eq!(house.task(task).await.candidate, rebased);
    assert_eq!(house.leftovers(), [""; 0]);
}

#[tokio::test]
async fn tests_that_ran_when_the_service_died_are_run_again() {
    let out = tempfile::tempdir().unwrap();
    let gate = out.path().join("go");
    let tests = format!(
        "test_command = 'echo run >>{0}/runs; while [ ! -e {0}/go ]; do sleep 0.02; done'",
        out.path().display()
    );
    let mut house = Plan::new(SHORT).top(&tests).build().await;
    let task = house.add("Say hello").await;
    let claim = house.claim_one().await;
    let mut monitor = house.driving(claim);
    let runs = out.path().join("runs");
    monitor.until("the tests run", async || runs.exists()).await;
    drop(monitor);
    std::fs::write(gate, "").unwrap();
    resume(&mut house).await;
    assert_eq!(house.stands(task).await, "done done");
    assert_eq!(house.leftovers(), [""; 0]);
    assert_eq!(house.ran(), ["developer", "reviewer"]);
}

#[tokio::test]
async fn a_job_whose_claim_was_all_that_happened_is_driven_at_the_next_start() {
    let mut house = House::short().await;
    let task = house.add("Say hello").await;
    house.claim_one().await;
    resume(&mut house).await;
    assert_eq!(house.stands(task).await, "done done");
    let jobs = house.jobs(task).await;
    assert_eq!(jobs[0].attempts, 1);
}
