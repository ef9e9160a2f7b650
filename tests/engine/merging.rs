//! Main receives a tree only under the lease, tested as that tree, once.

use std::time::Duration;

use orch::domain::id::TaskId;
use orch::domain::job::JobStatus;
use orch::engine::run::{Driven, claim_of};
use orch::engine::{EngineError, Hint};

use super::house::{CONFIRMED, House, Plan, SHORT, empty_task};
use orch::engine::views::AddTask;

/// Another task takes the lease, as if it had been at work under it.
fn taken_by_another(house: &House, task: TaskId, expires_in: Duration) {
    let repo = &house.project.config.repo;
    let now = house.engine.now();
    let (at, until) = (now.0, (now + expires_in).0);
    house.sql(&format!(
        "INSERT INTO leases (repo, task_id, branch, instance, acquired_at, expires_at, token)
         VALUES ('{repo}', {task}, 'other', 'x', {at}, {until}, 1)
         ON CONFLICT (repo) DO UPDATE SET task_id = excluded.task_id, branch = 'other', acquired_at = {at},
         expires_at = {until}, token = token + 1",
    ));
}

fn lease_token(house: &House) -> i64 {
    house.sql_lines("SELECT CAST(token AS TEXT) AS line FROM leases")[0]
        .parse()
        .unwrap()
}

fn holders(house: &House) -> i64 {
    house.count("leases WHERE task_id IS NOT NULL")
}

async fn held(house: &House) -> TaskId {
    house
        .add_with(AddTask {
            title: "Another".to_owned(),
            hold: true,
            ..empty_task()
        })
        .await
}

// --- what main receives

#[tokio::test]
async fn a_main_that_moves_before_the_merge_is_rebased_onto_and_tested_again() {
    let house = House::short().await;
    let task = house.add("Say hello").await;
    let claim = house.run_until("deploy-finalizer", "review").await;
    let tested = house.tested().len();
    let theirs = house.commit("main", &[("other.txt", "by somebody else\n")]);
    house.drive(claim).await;
    assert_eq!(
        house.stands(task).await,
        "done done",
        "{:#?}",
        house.events(task).await
    );
    assert_eq!(house.tested().len(), tested + 1);
    assert!(house.tested().contains(&house.trees_of_main()[0]));
    assert_eq!(
        house.file("main", "other.txt").as_deref(),
        Some("by somebody else\n")
    );
    let merged = house.main();
    let log = super::house::git(&house.origin(), &["merge-base", theirs.as_str(), merged.as_str()]);
    assert_eq!(log, theirs.as_str(), "main lost a commit");
    // The review was about the same patch: nobody reviewed it again.
    assert_eq!(house.ran(), ["developer", "reviewer"]);
}

#[tokio::test]
async fn a_main_that_moves_at_the_very_last_moment_refuses_the_merge() {
    let house = House::short().await;
    let task = house.add("Say hello").await;
    let claim = house.run_until("deploy-finalizer", "review").await;
    // Between the last look and the push: a hook of the repository stands for the other one who pushes.
    let desk = house.path("desk");
    let hook = house.origin().join("hooks/pre-receive");
    let script = format!(
        "#!/bin/sh\nread old new ref\ncase $ref in refs/heads/main) ;; *) exit 0 ;; esac\n[ -e '{0}/raced' ] && exit 0\n: >'{0}/raced'\n\
         unset GIT_QUARANTINE_PATH GIT_OBJECT_DIRECTORY GIT_ALTERNATE_OBJECT_DIRECTORIES GIT_DIR\n\
         cd '{1}' && git fetch -q origin main && git switch -q --detach FETCH_HEAD && echo raced >raced.txt && git add -A && \
         git -c user.name=p -c user.email=p@x commit -qm raced && git push -q origin HEAD:refs/heads/main\nexit 0\n",
        house.path("out").display(),
        desk.display()
    );
    std::fs::write(&hook, script).unwrap();
    super::house::shell(&format!("chmod +x '{}'", hook.display()));
    house.drive(claim).await;
    assert_eq!(
        house.job(claim).await.status,
        JobStatus::Queued,
        "refused, looked at again"
    );
    assert_eq!(house.file("main", "raced.txt").as_deref(), Some("raced\n"));
    assert_eq!(house.file("main", "src/SHOP-001.txt"), None);
    house.run_all().await;
    assert_eq!(house.stands(task).await, "done done");
    assert_eq!(house.file("main", "raced.txt").as_deref(), Some("raced\n"));
    assert!(house.tested().contains(&house.trees_of_main()[0]));
    assert_eq!(
        house
            .events(task)
            .await
            .iter()
            .filter(|e| e.starts_with("merge: "))
            .count(),
        1
    );
}

#[tokio::test]
async fn every_commit_of_many_tasks_on_main_was_tested_as_that_tree() {
    let house = House::short().await;
    let mut tasks = Vec::new();
    for n in 0..4 {
        tasks.push(house.add(&format!("Task {n}")).await);
    }
    // All of them get as far as the merge on the same old main.
    loop {
        let jobs = house.claim().await;
        if jobs.is_empty() {
            break;
        }
        let drives = jobs
            .iter()
            .map(|job| Box::pin(orch::engine::run::drive(&house.engine, claim_of(job))));
        for driven in futures_util::future::join_all(drives).await {
            assert_eq!(driven.unwrap(), Driven::Over);
        }
    }
    for task in &tasks {
        assert_eq!(
            house.stands(*task).await,
            "done done",
            "{:#?}",
            house.events(*task).await
        );
        assert_eq!(
            house
                .events(*task)
                .await
                .iter()
                .filter(|e| e.starts_with("merge: "))
                .count(),
            1
        );
    }
    for n in 1..=4 {
        assert!(house.file("main", &format!("src/SHOP-00{n}.txt")).is_some());
    }
    // Each merge moved main to a tree that was tested: the tips, found where a merge said it put main.
    let tested = house.tested();
    let moved = house.sql_lines("SELECT json_extract(payload, '$.head') AS line FROM intents WHERE kind = 'merge' AND status = 'done'");
    assert_eq!(moved.len(), 4);
    for head in moved {
        let tree = super::house::git(&house.origin(), &["rev-parse", &format!("{head}^{{tree}}")]);
        assert!(tested.contains(&tree), "{head} was never tested");
        super::house::git(&house.origin(), &["merge-base", "--is-ancestor", &head, "main"]);
    }
    assert_eq!(holders(&house), 0);
    assert_eq!(house.leftovers(), [""; 0]);
}

#[tokio::test]
async fn a_candidate_that_breaks_together_with_main_goes_back_and_main_stays_green() {
    let house = Plan::new(SHORT)
        .top("test_command = 'test \"$(cat *.flag 2>/dev/null | wc -l)\" -le 1'")
        .build()
        .await;
    house.role("developer", "[ $nth -gt 1 ] && rm mine.flag || echo x >mine.flag");
    let task = house.add("Say hello").await;
    let claim = house.run_until("deploy-finalizer", "review").await;
    let theirs = house.commit("main", &[("theirs.flag", "x\n")]);
    house.drive(claim).await;
    assert_eq!(house.stands(task).await, "development active");
    assert_eq!(house.task(task).await.developer_retries, 1);
    assert_eq!(house.main(), theirs);
    assert_eq!(holders(&house), 0);
}

#[tokio::test]
async fn a_conflict_with_main_is_red_and_names_the_files() {
    let house = House::short().await;
    let task = house.add("Say hello").await;
    let claim = house.run_until("deploy-finalizer", "review").await;
    let theirs = house.commit("main", &[("src/SHOP-001.txt", "theirs\n")]);
    house.drive(claim).await;
    assert_eq!(house.stands(task).await, "development active");
    let last = house.events(task).await.pop().unwrap();
    assert!(last.contains("src/SHOP-001.txt"), "{last}");
    assert_eq!(house.main(), theirs);
    assert_eq!(house.leftovers(), [""; 0]);
}

#[tokio::test]
async fn without_the_merge_gate_orch_waits_for_a_person_without_running_in_circles() {
    let stages = SHORT.replace(", \"branch_mergeable\"", "");
    let house = Plan::new(&format!("[merge]\ngate = false\n{stages}"))
        .build()
        .await;
    let first = house.add("Say hello").await;
    let second = house.add("Say more").await;
    house.run_all().await;
    let before = house.main();
    for task in [first, second] {
        assert_eq!(house.stands(task).await, "review active");
        assert_eq!(
            house.live_job(task).await.unwrap().kind.as_str(),
            "deploy-finalizer"
        );
    }
    // A look finds nothing to do and sleeps; it wakes neither itself nor its like.
    house.later(Duration::from_secs(61));
    let jobs = house.claim().await;
    assert_eq!(jobs.len(), 2);
    for job in &jobs {
        house.drive(claim_of(job)).await;
    }
    assert_eq!(house.claim().await, []);
    assert_eq!(house.main(), before, "Orch does not merge");

    let head = house.head(house.task(first).await.branch.as_str()).unwrap();
    super::house::git(&house.origin(), &["update-ref", "refs/heads/main", head.as_str()]);
    house.later(Duration::from_secs(61));
    house.run_all().await;
    assert_eq!(house.stands(first).await, "done done");
    assert_eq!(house.stands(second).await, "review active");
}

// --- the lease

#[tokio::test]
async fn whoever_waits_for_the_lease_sleeps_and_is_woken_when_it_is_given_back() {
    let mut house = House::short().await;
    let other = held(&house).await;
    let task = house.add("Say hello").await;
    let claim = house.run_until("deploy-finalizer", "review").await;
    taken_by_another(&house, other, Duration::from_secs(300));
    house.drive(claim).await;
    let job = house.job(claim).await;
    assert_eq!((job.status, job.attempts), (JobStatus::Queued, 0));
    assert!(job.error.unwrap().starts_with("waits for the merge lease"));
    assert!(job.available_at > house.engine.now());
    assert_eq!(house.claim().await, []);

    // The other one is over: its lease goes with it.
    while house.hints.try_recv().is_ok() {}
    house.gesture(other, "cancelled").await;
    assert_eq!(house.hints.try_recv(), Ok(Hint::Jobs));
    house.run_all().await;
    assert_eq!(house.stands(task).await, "done done");
    assert_eq!(holders(&house), 0);
}

#[tokio::test]
async fn a_gate_check_waits_for_the_lease_too() {
    let house = House::confirmed().await;
    let other = held(&house).await;
    let task = house.add("Say hello").await;
    let claim = house.run_until("gate-check", "staging").await;
    taken_by_another(&house, other, Duration::from_secs(300));
    house.drive(claim).await;
    assert_eq!(house.job(claim).await.status, JobStatus::Queued);
    house.gesture(other, "cancelled").await;
    house.run_all().await;
    assert_eq!(house.stands(task).await, "deploy waiting_human");
    assert_eq!(holders(&house), 0, "no lease while a person is waited for");
}

#[tokio::test]
async fn a_lease_given_back_while_the_waiting_job_goes_to_sleep_is_not_missed() {
    let house = House::short().await;
    let other = held(&house).await;
    let task = house.add("Say hello").await;
    let claim = house.run_until("deploy-finalizer", "review").await;
    taken_by_another(&house, other, Duration::from_secs(300));
    // It opens its run, goes on once, by which it asks for the lease, and freezes. Writes keep their order.
    let opened = std::cell::Cell::new(false);
    let mut drive = house.driving(claim);
    let asked = async || opened.replace(house.run_of(claim).await.is_some());
    drive.until("it has asked for the lease", asked).await;
    house.gesture(other, "cancelled").await;
    drive.end().await.unwrap();
    house.run_all().await;
    assert_eq!(house.stands(task).await, "done done");
}

#[tokio::test]
async fn an_expired_lease_is_taken_over_with_a_greater_token() {
    let house = House::short().await;
    let other = held(&house).await;
    let task = house.add("Say hello").await;
    let claim = house.run_until("deploy-finalizer", "review").await;
    taken_by_another(&house, other, Duration::from_secs(10));
    let token = lease_token(&house);
    house.later(Duration::from_secs(11));
    house.drive(claim).await;
    assert_eq!(house.stands(task).await, "done done");
    assert_eq!(lease_token(&house), token + 1);
}

#[tokio::test]
async fn a_holder_whose_lease_was_taken_over_merges_nothing_and_asks_again() {
    let house = House::short().await;
    let other = held(&house).await;
    let task = house.add("Say hello").await;
    let claim = house.run_until("deploy-finalizer", "review").await;
    let before = house.main();
    // Right after it meant to merge, its time was over and somebody else took the lease.
    let repo = &house.project.config.repo;
    house.sql(&format!(
        "CREATE TRIGGER shave AFTER INSERT ON intents WHEN NEW.kind = 'merge' BEGIN
        UPDATE leases SET task_id = {other}, token = token + 1 WHERE repo = '{repo}'; END"
    ));
    assert_eq!(house.drive(claim).await, Driven::Over);
    house.sql("DROP TRIGGER shave");
    assert_eq!(house.main(), before);
    let job = house.job(claim).await;
    assert_eq!(
        job.status,
        JobStatus::Queued,
        "neither lost nor stuck: {:?}",
        job.error
    );
    assert_eq!(holders(&house), 1, "the other's lease is its own");
    house.gesture(other, "cancelled").await;
    house.run_all().await;
    assert_eq!(house.stands(task).await, "done done");
}

#[tokio::test]
async fn a_job_superseded_after_it_meant_to_merge_merges_nothing() {
    let house = House::short().await;
    let task = house.add("Say hello").await;
    let claim = house.run_until("deploy-finalizer", "review").await;
    let before = house.main();
    house.sql(
        "CREATE TRIGGER shave AFTER INSERT ON intents WHEN NEW.kind = 'merge' BEGIN
        UPDATE jobs SET status = 'cancelled', finished_at = 1 WHERE id = NEW.job_id;
        UPDATE tasks SET status = 'cancelled', version = version + 1 WHERE id = NEW.task_id; END",
    );
    let events = house.events(task).await;
    assert_eq!(house.drive(claim).await, Driven::Superseded);
    assert_eq!(house.main(), before);
    assert_eq!(house.events(task).await, events);
    assert_eq!(house.stands(task).await, "review cancelled");
}

#[tokio::test]
async fn a_frozen_merge_does_not_take_the_lease_of_its_successor_along() {
    let house = House::short().await;
    let task = house.add("Say hello").await;
    let claim = house.run_until("deploy-finalizer", "review").await;
    let mut frozen = house.driving(claim);
    frozen
        .until("it holds the lease", async || holders(&house) == 1)
        .await;
    let mut successor = house.driving(claim);
    let epoch = async || house.run_of(claim).await.unwrap().monitor_epoch.0;
    successor.until("it took over", async || epoch().await == 2).await;

    assert_eq!(frozen.end().await.unwrap(), Driven::Superseded);
    assert_eq!(holders(&house), 1);
    assert_eq!(house.count("intents WHERE kind = 'merge'"), 0);
    assert_eq!(successor.end().await.unwrap(), Driven::Over);
    assert_eq!(house.stands(task).await, "done done");
}

#[tokio::test]
async fn a_failed_attempt_under_the_lease_gives_it_back() {
    let house = House::short().await;
    let task = house.add("Say hello").await;
    let claim = house.run_until("deploy-finalizer", "review").await;
    let branch = house.task(task).await.branch;
    super::house::git(
        &house.origin(),
        &["update-ref", "-d", &format!("refs/heads/{branch}")],
    );
    house.drive(claim).await;
    assert_eq!(house.job(claim).await.status, JobStatus::Queued);
    assert_eq!(holders(&house), 0);
}

// --- confirm deploy

#[tokio::test]
async fn a_confirmed_candidate_is_merged_and_nothing_before_that() {
    let house = House::confirmed().await;
    let task = house.add("Say hello").await;
    house.run_all().await;
    assert_eq!(house.stands(task).await, "deploy waiting_human");
    assert_eq!(house.file("main", "src/SHOP-001.txt"), None);
    assert!(!house.gesture(task, "approved").await.applied);
    house.run_all().await;
    assert_eq!(house.file("main", "src/SHOP-001.txt"), None);
    assert!(house.gesture(task, "confirm-deploy").await.applied);
    assert!(
        !house.gesture(task, "confirm-deploy").await.applied,
        "a second one is a no-op"
    );
    house.run_all().await;
    assert_eq!(house.stands(task).await, "done done");
    assert_eq!(
        house.file("main", "src/SHOP-001.txt").as_deref(),
        Some("work 1\n")
    );
}

#[tokio::test]
async fn a_candidate_that_moved_while_a_person_thought_is_void_and_a_new_one_is_asked_for() {
    for whose in ["main", "branch"] {
        let house = House::confirmed().await;
        let task = house.add("Say hello").await;
        house.run_all().await;
        let asked = house.task(task).await.candidate.unwrap();
        let branch = house.task(task).await.branch.to_string();
        let at = if whose == "main" { "main" } else { branch.as_str() };
        house.commit(at, &[("docs/work-items/SHOP-001/note.md", "a note\n")]);
        let retries = house.task(task).await.developer_retries;
        house.gesture(task, "confirm-deploy").await;
        house.run_all().await;
        assert_eq!(
            house.stands(task).await,
            "deploy waiting_human",
            "{whose}: {:#?}",
            house.events(task).await
        );
        let now = house.task(task).await;
        assert_ne!(now.candidate.clone().unwrap(), asked);
        assert!(now.reason.unwrap().contains(now.candidate.unwrap().short()));
        assert_eq!(now.developer_retries, retries, "no retry counted");
        assert_eq!(house.file("main", "src/SHOP-001.txt"), None);
        house.gesture(task, "confirm-deploy").await;
        house.run_all().await;
        assert_eq!(house.stands(task).await, "done done");
    }
}

#[tokio::test]
async fn a_person_who_merged_by_hand_was_faster_and_there_is_no_second_merge() {
    let house = House::confirmed().await;
    let task = house.add("Say hello").await;
    house.run_all().await;
    let head = house.task(task).await.candidate.unwrap();
    super::house::git(&house.origin(), &["update-ref", "refs/heads/main", head.as_str()]);
    let later = house.commit("main", &[("more.txt", "and more\n")]);
    house.gesture(task, "confirm-deploy").await;
    house.run_all().await;
    assert_eq!(house.stands(task).await, "done done");
    assert_eq!(house.main(), later);
}

#[tokio::test]
async fn confirm_deploy_does_not_step_over_a_human_gate_of_the_merging_stage() {
    let stages = CONFIRMED.replace(
        "name = \"deploy\"\n",
        "name = \"deploy\"\ngates = [\"human_approved\"]\n",
    );
    let house = Plan::new(&stages).build().await;
    let task = house.add("Say hello").await;
    house.run_all().await;
    assert_eq!(house.stands(task).await, "deploy waiting_human");
    house.gesture(task, "confirm-deploy").await;
    house.run_all().await;
    assert_eq!(house.file("main", "src/SHOP-001.txt"), None);
    assert_eq!(house.stands(task).await, "deploy waiting_human");
    house.gesture(task, "approved").await;
    house.run_all().await;
    assert_eq!(
        house.file("main", "src/SHOP-001.txt"),
        None,
        "an approval never deploys"
    );
    house.gesture(task, "confirm-deploy").await;
    house.run_all().await;
    assert_eq!(house.stands(task).await, "done done");
}

#[tokio::test]
async fn a_deployer_works_after_the_merge_and_a_failed_deploy_goes_back_for_another_merge() {
    let stages = CONFIRMED.replace(
        "name = \"deploy\"\n",
        "name = \"deploy\"\nrole = \"deployer\"\ngates = [\"deploy_status\"]\n",
    );
    let house = Plan::new(&stages).build().await;
    house.role("deployer", "[ $nth = 1 ] && deployed FAILED || deployed SUCCESS");
    let task = house.add("Say hello").await;
    house.run_all().await;
    house.gesture(task, "confirm-deploy").await;
    house.run_all().await;
    assert_eq!(
        house.stands(task).await,
        "deploy waiting_human",
        "{:#?}",
        house.events(task).await
    );
    assert_eq!(
        house.file("main", "src/SHOP-001.txt").as_deref(),
        Some("work 1\n")
    );
    assert_eq!(house.task(task).await.developer_retries, 1);
    house.gesture(task, "confirm-deploy").await;
    house.run_all().await;
    assert_eq!(house.stands(task).await, "done done");
    assert_eq!(
        house.file("main", "src/SHOP-001.txt").as_deref(),
        Some("work 2\n")
    );
    // The fix had a pull request of its own.
    let states: Vec<_> = house
        .pull_requests()
        .await
        .iter()
        .map(|p| p.state.as_str())
        .collect();
    assert_eq!(states, ["merged", "merged"]);
    assert_eq!(
        house
            .events(task)
            .await
            .iter()
            .filter(|e| e.starts_with("merge: "))
            .count(),
        2
    );
}

// --- what comes in between

/// A hook that holds what comes to a branch of this pattern until `out/<point>.go` is there.
fn hold_pushes(house: &House, pattern: &str, point: &str) {
    let hook = house.origin().join("hooks/pre-receive");
    let out = house.path("out");
    let script = format!(
        "#!/bin/sh\nread old new ref\ncase $ref in {pattern}) ;; *) exit 0 ;; esac\n: >'{0}/{point}.reached'\n\
         while [ ! -e '{0}/{point}.go' ]; do sleep 0.02; done\n",
        out.display()
    );
    std::fs::write(&hook, script).unwrap();
    super::house::shell(&format!("chmod +x '{}'", hook.display()));
}

#[tokio::test]
async fn a_merge_that_is_under_way_cannot_be_taken_back_any_more() {
    let house = House::short().await;
    let task = house.add("Say hello").await;
    let claim = house.run_until("deploy-finalizer", "review").await;
    hold_pushes(&house, "refs/heads/main", "merge");
    let mut monitor = house.driving(claim);
    let reached = house.path("out/merge.reached");
    monitor
        .until("the push is under way", async || reached.exists())
        .await;
    for gesture in ["cancelled", "blocked", "needs-input"] {
        let refused = house.try_gesture(task, gesture).await;
        assert!(
            matches!(&refused, Err(EngineError::Conflict { what }) if what.contains("being merged")),
            "{gesture}: {refused:?}"
        );
    }
    let refused =
        orch::engine::operate::cancel_job(&house.engine, claim.job.0, "no", house.engine.now()).await;
    assert!(
        matches!(refused, Err(EngineError::Conflict { .. })),
        "{refused:?}"
    );
    house.go("merge");
    assert_eq!(monitor.end().await.unwrap(), Driven::Over);
    assert_eq!(house.stands(task).await, "done done");
}

#[tokio::test]
async fn a_merge_that_sleeps_can_be_taken_back() {
    let house = House::short().await;
    let task = house.add("Say hello").await;
    let claim = house.run_until("deploy-finalizer", "review").await;
    let hook = house.origin().join("hooks/pre-receive");
    std::fs::write(&hook, "#!/bin/sh\necho no >&2\nexit 1\n").unwrap();
    super::house::shell(&format!("chmod +x '{}'", hook.display()));
    house.drive(claim).await;
    assert_eq!(house.job(claim).await.status, JobStatus::Queued);
    // It looks again, and has not begun to merge.
    house.later(Duration::from_secs(3600));
    assert_eq!(house.claim().await.len(), 1);
    house.gesture(task, "cancelled").await;
    assert_eq!(house.stands(task).await, "review cancelled");
}

#[tokio::test]
async fn a_worktree_that_is_being_made_when_its_job_is_taken_away_does_not_stay() {
    let house = House::short().await;
    hold_pushes(&house, "refs/heads/feature/*", "branch");
    let task = house.add("Say hello").await;
    let claim = house.claim_one().await;
    let mut monitor = house.driving(claim);
    let reached = house.path("out/branch.reached");
    monitor
        .until("the branch is being made", async || reached.exists())
        .await;
    house.gesture(task, "cancelled").await;
    drop(monitor);
    let engine = house.engine.clone();
    let cleaning = tokio::spawn(async move { orch::engine::run::abandon(&engine, claim).await });
    house.go("branch");
    cleaning.await.unwrap().unwrap();
    assert_eq!(house.leftovers(), [""; 0]);
}

#[tokio::test]
async fn what_made_the_tests_red_may_be_mended_without_a_commit() {
    let outside = tempfile::tempdir().unwrap();
    let mended = outside.path().join("mended");
    let house = Plan::new(SHORT)
        .top(&format!("test_command = 'test -e {}'", mended.display()))
        .top("max_developer_retries = 0")
        .build()
        .await;
    house.role("developer", "mkdir -p src; echo work >src/it.txt");
    let task = house.add("Say hello").await;
    house.run_all().await;
    assert_eq!(house.stands(task).await, "development blocked");
    std::fs::write(&mended, "").unwrap();
    house.gesture(task, "in-progress").await;
    house.run_all().await;
    assert_eq!(
        house.stands(task).await,
        "done done",
        "{:#?}",
        house.events(task).await
    );
}

#[tokio::test]
async fn a_stage_in_which_nobody_works_may_come_first() {
    let stages = format!("[[stage]]\nname = \"triage\"\ngates = [\"human_approved\"]\n{SHORT}");
    let house = Plan::new(&stages).build().await;
    let task = house.add("Say hello").await;
    house.run_all().await;
    assert_eq!(house.stands(task).await, "triage waiting_human");
    house.gesture(task, "approved").await;
    house.run_all().await;
    assert_eq!(house.stands(task).await, "done done");
}
