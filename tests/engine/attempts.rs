//! What an attempt costs, what is tried again, and what is kept of work that did not arrive.

use std::time::Duration;

use orch::domain::job::JobStatus;
use orch::domain::run::RunStep;
use orch::engine::run::Driven;
use orch::engine::{operate, recover};

use super::house::{CONFIRMED, House, Plan, SHORT};

#[tokio::test]
async fn a_failed_run_keeps_its_work_costs_an_attempt_and_is_tried_again() {
    let house = House::short().await;
    house.role("developer", "echo half >half.txt; [ $nth = 2 ]");
    let task = house.add("Say hello").await;
    let first = house.claim_one().await;
    house.drive(first).await;

    let job = house.job(first).await;
    assert_eq!((job.status, job.attempts), (JobStatus::Queued, 1));
    assert_eq!(house.stands(task).await, "development active");
    let run = house.run_of(first).await.unwrap();
    assert_eq!(run.error.as_deref(), Some("exit code 1"));
    assert_eq!(house.wip(), [run.wip_ref.unwrap()]);
    assert_eq!(house.kept(&house.wip()[0], "half.txt").as_deref(), Some("half\n"));
    assert_eq!(house.leftovers(), [""; 0]);

    house.run_all().await;
    assert_eq!(house.stands(task).await, "done done");
    assert_eq!(house.jobs(task).await[0].attempts, 2);
}

#[tokio::test]
async fn attempts_that_are_spent_block_the_task_in_the_same_breath_and_are_told_once() {
    let house = House::short().await;
    house.role("developer", "exit 3");
    let task = house.add("Say hello").await;
    house.run_all().await;
    assert_eq!(house.ran().len(), 2);
    assert_eq!(house.job_words(task).await, ["developer failed"]);
    assert_eq!(house.stands(task).await, "development blocked");
    assert_eq!(house.task(task).await.reason.as_deref(), Some("exit code 3"));
    let told = house.deliver().await;
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(house.live_job(task).await, None);

    // A person unblocks it: a fresh job with all its attempts.
    house.role("developer", "echo x >code.txt");
    house.gesture(task, "in-progress").await;
    house.run_all().await;
    assert_eq!(house.stands(task).await, "done done");
}

#[tokio::test]
async fn what_orch_itself_stopped_costs_no_attempt() {
    let house = House::short().await;
    house.role("developer", "echo half >half.txt; hold first; echo x >code.txt");
    let task = house.add("Say hello").await;
    let claim = house.claim_one().await;
    let mut drive = house.driving(claim);
    drive.until_step(RunStep::Running).await;
    house.reached("first").await;
    let shim = house.run_of(claim).await.unwrap().shim.unwrap();
    orch::process::stop(&shim).unwrap();
    assert_eq!(drive.end().await.unwrap(), Driven::Over);
    let job = house.job(claim).await;
    assert_eq!((job.status, job.attempts), (JobStatus::Queued, 0));
    assert_eq!(house.kept(&house.wip()[0], "half.txt").as_deref(), Some("half\n"));
    house.go("first");
    house.run_all().await;
    assert_eq!(house.stands(task).await, "done done");
}

#[tokio::test]
async fn an_agent_that_went_down_with_its_machine_costs_no_attempt_and_one_that_vanished_does() {
    for (what, attempts) in [("boot_id", 0), ("start_time", 1)] {
        let house = House::short().await;
        house.role("developer", "echo half >half.txt; hold work");
        house.add("Say hello").await;
        let claim = house.claim_one().await;
        let mut died = house.driving(claim);
        died.until_step(RunStep::Running).await;
        house.reached("work").await;
        drop(died);
        let shim = house.run_of(claim).await.unwrap().shim.unwrap();
        orch::process::kill_tree(&shim, Duration::from_secs(30))
            .await
            .unwrap();
        let run = house
            .data()
            .join("runs")
            .join(format!("{}-{}", claim.job, claim.epoch));
        std::fs::remove_file(run.join("exit.json")).unwrap();
        let other = if what == "boot_id" { "'another'" } else { "1" };
        house.sql(&format!(
            "UPDATE runs SET shim = json_set(shim, '$.{what}', {other})"
        ));
        house.drive(claim).await;
        let job = house.job(claim).await;
        assert_eq!(
            (job.status, job.attempts),
            (JobStatus::Queued, attempts),
            "{what}"
        );
        assert_eq!(house.kept(&house.wip()[0], "half.txt").as_deref(), Some("half\n"));
    }
}

#[tokio::test]
async fn a_timeout_ends_the_agent_and_keeps_its_work() {
    let plan = Plan::new(SHORT).set("agent.timeout_s = 1");
    let house = plan.build().await;
    house.role("developer", "echo half >half.txt; sleep 1000");
    house.add("Say hello").await;
    let claim = house.claim_one().await;
    house.drive(claim).await;
    let run = house.run_of(claim).await.unwrap();
    assert_eq!(
        run.error.as_deref(),
        Some("exit code 143 SIGTERM (timeout after 1s)")
    );
    assert_eq!(house.kept(&house.wip()[0], "half.txt").as_deref(), Some("half\n"));
}

#[tokio::test]
async fn rewritten_history_is_kept_and_blocks_at_once() {
    let house = House::short().await;
    house.role(
        "developer",
        "git checkout -q --orphan other; echo x >x.txt; git add -A; git -c user.name=a -c user.email=a@x commit -qm other",
    );
    let task = house.add("Say hello").await;
    house.run_all().await;
    assert_eq!(house.stands(task).await, "development blocked");
    assert_eq!(house.ran().len(), 1);
    assert_eq!(house.kept(&house.wip()[0], "x.txt").as_deref(), Some("x\n"));
    let branch = house.task(task).await.branch.to_string();
    assert_eq!(house.head(&branch), None, "nothing was pushed");
}

#[tokio::test]
async fn a_branch_that_moved_meanwhile_gets_the_work_on_top_and_one_that_conflicts_keeps_it() {
    for (file, ends) in [
        ("other.txt", "done done"),
        ("src/SHOP-001.txt", "development blocked"),
    ] {
        let house = House::short().await;
        house.role(
            "developer",
            "hold work; mkdir -p src; echo mine >src/SHOP-001.txt",
        );
        let task = house.add("Say hello").await;
        let claim = house.claim_one().await;
        let mut drive = house.driving(claim);
        drive.until_step(RunStep::Running).await;
        house.reached("work").await;
        let branch = house.task(task).await.branch.to_string();
        let theirs = house.commit(&branch, &[(file, "theirs\n")]);
        house.go("work");
        drive.end().await.unwrap();
        house.run_all().await;
        assert_eq!(house.stands(task).await, ends, "{file}");
        assert_eq!(house.ran().iter().filter(|r| *r == "developer").count(), 1);
        if ends == "done done" {
            assert_eq!(house.file("main", file).as_deref(), Some("theirs\n"));
            assert_eq!(house.file("main", "src/SHOP-001.txt").as_deref(), Some("mine\n"));
            assert_eq!(house.count("intents WHERE kind = 'push' AND status <> 'done'"), 0);
        } else {
            assert_eq!(house.head(&branch), Some(theirs), "their commit stands");
            assert_eq!(house.kept(&house.wip()[0], file).as_deref(), Some("mine\n"));
        }
        assert_eq!(house.leftovers(), [""; 0]);
    }
}

#[tokio::test]
async fn work_that_could_not_be_kept_now_stays_in_its_worktree_until_it_can() {
    let house = House::short().await;
    house.role("developer", "echo half >half.txt; exit 1");
    house.add("Say hello").await;
    let claim = house.claim_one().await;
    let mut drive = house.driving(claim);
    drive.until_step(RunStep::Exited).await;
    // No ref can be written: as with a full disk.
    let clone = house.engine.settings().repos_dir.join("shop.git");
    std::fs::create_dir_all(clone.join("refs")).unwrap();
    std::fs::write(clone.join("refs/orch"), "in the way").unwrap();
    assert!(drive.end().await.is_err());
    assert_eq!(house.job(claim).await.status, JobStatus::Queued);
    std::fs::remove_file(clone.join("refs/orch")).unwrap();
    let swept = recover::sweep(&house.engine).await.unwrap();
    assert_eq!((swept.runs, swept.trouble.len()), (1, 0));
    assert_eq!(house.kept(&house.wip()[0], "half.txt").as_deref(), Some("half\n"));
    assert_eq!(house.leftovers(), [""; 0]);
}

#[tokio::test]
async fn kept_work_is_not_replaced_by_what_a_half_removed_worktree_still_holds() {
    let house = House::short().await;
    house.role("developer", "echo half >half.txt; hold work");
    let task = house.add("Say hello").await;
    let claim = house.claim_one().await;
    let mut drive = house.driving(claim);
    drive.until_step(RunStep::Running).await;
    house.reached("work").await;
    house.gesture(task, "cancelled").await;
    drop(drive);
    // It dies after the work was kept, in the middle of removing the worktree.
    let worktree = house
        .data()
        .join("worktrees")
        .join(format!("{}-{}", claim.job, claim.epoch));
    let admin = house.engine.settings().repos_dir.join("shop.git/worktrees");
    std::fs::create_dir_all(worktree.join("kept/below")).unwrap();
    std::fs::write(worktree.join("kept/below/file"), "x").unwrap();
    let copy = house.path("copy");
    super::house::shell(&format!(
        "cp -a '{}' '{}'; cp -a '{}' '{}.admin'",
        worktree.display(),
        copy.display(),
        admin.display(),
        copy.display()
    ));
    orch::engine::run::abandon(&house.engine, claim).await.unwrap();
    let wip = house.wip()[0].clone();
    super::house::shell(&format!(
        "rm -rf '{0}'; cp -a '{1}' '{0}'; rm -rf '{2}'; cp -a '{1}.admin' '{2}'; rm '{0}/half.txt'",
        worktree.display(),
        copy.display(),
        admin.display()
    ));
    house.sql("UPDATE runs SET step = 'running', finished_at = NULL");
    orch::engine::run::abandon(&house.engine, claim).await.unwrap();
    assert_eq!(house.kept(&wip, "half.txt").as_deref(), Some("half\n"));
    assert_eq!(house.leftovers(), [""; 0]);
}

#[tokio::test]
async fn of_a_run_that_ended_well_a_half_removed_worktree_is_no_work() {
    let house = House::short().await;
    house.add("Say hello").await;
    let claim = house.claim_one().await;
    let mut drive = house.driving(claim);
    drive.until_step(RunStep::Pushed).await;
    let name = format!("{}-{}", claim.job, claim.epoch);
    let worktree = house.data().join("worktrees").join(&name);
    let admin = house
        .engine
        .settings()
        .repos_dir
        .join("shop.git/worktrees")
        .join(&name);
    let (copy, kept) = (worktree.display(), house.path("copy"));
    super::house::shell(&format!(
        "cp -a '{copy}' '{0}'; cp -a '{1}' '{0}.admin'",
        kept.display(),
        admin.display()
    ));
    drive.end().await.unwrap();
    // It dies in the middle of removing the worktree.
    super::house::shell(&format!(
        "cp -a '{0}' '{copy}'; cp -a '{0}.admin' '{1}'; rm '{copy}/README.md'",
        kept.display(),
        admin.display()
    ));
    house.sql("UPDATE runs SET step = 'evaluated', finished_at = NULL");
    orch::engine::run::abandon(&house.engine, claim).await.unwrap();
    assert_eq!(house.wip(), [""; 0]);
    assert_eq!(house.leftovers(), [""; 0]);
}

// --- red gates

#[tokio::test]
async fn a_red_gate_of_the_analysis_spends_attempts_and_then_blocks_with_one_notification() {
    let house = Plan::new("").build().await;
    house.role("analyst", "echo only one >\"$ORCH_ARTIFACTS_DIR/01-brd.md\"");
    let task = house.add("Say hello").await;
    house.run_all().await;
    assert_eq!(house.ran(), ["analyst", "analyst"]);
    assert_eq!(house.stands(task).await, "analysis blocked");
    assert_eq!(house.task(task).await.developer_retries, 0);
    let told = house.deliver().await;
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].1.contains("04-test-plan.yaml"), "{told:?}");
}

#[tokio::test]
async fn a_red_review_goes_back_with_its_evidence_is_counted_and_escalates_in_the_end() {
    let house = Plan::new(CONFIRMED)
        .set("max_developer_retries = 2")
        .build()
        .await;
    house.role(
        "reviewer",
        "printf -- '---\\nverdict: REQUEST_CHANGES\\nfindings: [mend the thing]\\n---\\n' >\"$ORCH_ARTIFACTS_DIR/12-review.md\"",
    );
    house.role(
        "developer",
        "echo \"$nth\" >code.txt; cp \"$ORCH_PROMPT_FILE\" \"$out/prompt.$nth\"",
    );
    let task = house.add("Say hello").await;
    house.run_all().await;
    assert_eq!(house.ran().iter().filter(|r| *r == "developer").count(), 3);
    assert_eq!(house.stands(task).await, "review blocked");
    assert_eq!(house.task(task).await.developer_retries, 2);
    let prompt = std::fs::read_to_string(house.path("out/prompt.2")).unwrap();
    assert!(
        prompt.contains("reviewer_verdict") && prompt.contains("mend the thing"),
        "{prompt}"
    );
    let told = house.deliver().await;
    assert_eq!(
        told.iter().filter(|(about, _)| about == "blocked").count(),
        1,
        "{told:?}"
    );

    // A person's rejection counts nothing.
    house.gesture(task, "rejected").await;
    assert_eq!(house.task(task).await.developer_retries, 2);
    // A person's unblocking begins anew.
    house.gesture(task, "blocked").await;
    house.gesture(task, "in-progress").await;
    assert_eq!(house.task(task).await.developer_retries, 0);
    assert_eq!(house.job_words(task).await.last().unwrap(), "developer queued");
}

#[tokio::test]
async fn a_check_that_cannot_answer_is_asked_again_and_costs_neither_an_attempt_nor_the_work() {
    let stages = SHORT.replace(
        "gates = [\"tests_local\"]",
        "gates = [{ name = \"audit\", command = [\"sh\", \"-c\", \"test -e answer && exit 0; echo no service; exit 2\"] }]",
    );
    let house = Plan::new(&stages).set("gate_alert_s = 3600").build().await;
    let task = house.add("Say hello").await;
    house.run_all().await;
    assert_eq!(house.stands(task).await, "development active");
    assert_eq!(
        house.job_words(task).await,
        ["developer done", "gate-check queued"]
    );
    assert_eq!(house.ran(), ["developer"]);
    house.deliver().await;

    // While nothing changes, looking again adds no rows and tells nobody; past the alert it is told once.
    let rows = |house: &House| house.dump().len();
    house.later(Duration::from_secs(120));
    house.run_all().await;
    let before = rows(&house);
    for _ in 0..5 {
        house.later(Duration::from_secs(120));
        house.run_all().await;
    }
    assert_eq!(rows(&house), before, "{:#?}", house.dump());
    assert_eq!(house.deliver().await, []);
    for _ in 0..3 {
        house.later(Duration::from_secs(3600));
        house.run_all().await;
    }
    let told = house.deliver().await;
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(
        told[0].1.contains("audit") && told[0].1.contains("no service"),
        "{told:?}"
    );

    let branch = house.task(task).await.branch.to_string();
    house.commit(&branch, &[("answer", "")]);
    house.later(Duration::from_secs(120));
    house.run_all().await;
    assert_eq!(house.stands(task).await, "done done");
}

// --- what an operator does

#[tokio::test]
async fn a_job_that_did_not_fail_cannot_be_tried_again_and_asking_for_it_changes_nothing() {
    let house = House::short().await;
    let task = house.add("Say hello").await;
    let claim = house.claim_one().await;
    assert_eq!(house.stands(task).await, "development active");
    let before = house.dump();
    let refused = operate::retry_job(&house.engine, claim.job.0, house.engine.now()).await;
    assert!(refused.unwrap_err().to_string().contains("did not fail"));
    assert_eq!(house.dump(), before);
}

#[tokio::test]
async fn a_failed_job_is_tried_again_and_its_task_goes_on() {
    let house = House::short().await;
    house.role("developer", "exit 3");
    let task = house.add("Say hello").await;
    house.run_all().await;
    house.role("developer", "echo x >code.txt");
    let failed = house.jobs(task).await[0].id.0;
    operate::retry_job(&house.engine, failed, house.engine.now())
        .await
        .unwrap();
    assert_eq!(house.stands(task).await, "development active");
    let twice = operate::retry_job(&house.engine, failed, house.engine.now()).await;
    assert!(twice.is_err());
    house.run_all().await;
    assert_eq!(house.stands(task).await, "done done");
}

#[tokio::test]
async fn a_link_in_the_branch_does_not_lead_orch_out_of_the_worktree() {
    let house = House::short().await;
    let outside = house.path("outside");
    std::fs::create_dir(&outside).unwrap();
    for (n, link) in ["docs", "docs/work-items", "docs/work-items/SHOP-003"]
        .iter()
        .enumerate()
    {
        house.role(
            "developer",
            &format!(
                "rm -rf '{link}'; mkdir -p \"$(dirname '{link}')\"; ln -s '{}' '{link}'",
                outside.display()
            ),
        );
        let task = house.add("Say hello").await;
        house.run_all().await;
        assert_eq!(house.stands(task).await, "review blocked", "{n}");
        let reason = house.task(task).await.reason.unwrap();
        assert!(
            reason.starts_with(&format!("{link} is a link in the branch")),
            "{reason}"
        );
        assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 0, "{link}");
    }
    assert_eq!(house.leftovers(), [""; 0]);
}
