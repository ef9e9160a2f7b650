//! Work that was kept is found, shown and restored, whatever became of its run, its clone or the service.

use std::fs;
use std::time::Duration;

use orch::domain::id::TaskId;
use orch::domain::run::RunStep;
use orch::engine::rescue::{self, KeptQuery};
use orch::engine::views::{KeptView, RescueView, RescueWork};
use orch::engine::{EngineError, recover};

use super::house::{House, git};

async fn kept(house: &House) -> Vec<KeptView> {
    let query = KeptQuery {
        limit: 50,
        ..KeptQuery::default()
    };
    rescue::list(&house.engine, query).await.unwrap()
}

async fn restore(house: &House, run: i64, branch: Option<&str>) -> Result<RescueView, EngineError> {
    let wanted = RescueWork {
        branch: branch.map(str::to_owned),
    };
    rescue::restore(&house.engine, run, wanted).await
}

async fn refused(house: &House, run: i64, branch: Option<&str>) -> String {
    match restore(house, run, branch).await {
        Err(e @ (EngineError::Conflict { .. } | EngineError::Invalid { .. })) => e.to_string(),
        other => panic!("{other:?}"),
    }
}

/// A house in which one run has failed and left `half.txt`.
async fn with_kept_work() -> (House, TaskId) {
    let house = House::short().await;
    house.role("developer", "echo half >half.txt; exit 3");
    let task = house.add("Say hello").await;
    let claim = house.claim_one().await;
    house.drive(claim).await;
    (house, task)
}

fn open_rescues(house: &House) -> i64 {
    house.count("intents WHERE key LIKE 'rescue:%' AND status = 'intended'")
}

async fn told(house: &House, task: TaskId) -> usize {
    let events = house.events(task).await;
    events.iter().filter(|e| e.starts_with("rescue: ")).count()
}

#[tokio::test]
async fn kept_work_is_listed_newest_first_with_the_reason_and_what_it_holds() {
    let (house, failed) = with_kept_work().await;
    house.role("developer", "echo 1 >one; echo 2 >two; hold work");
    let cancelled = house.add("Another").await;
    for job in house.claim().await {
        let claim = orch::engine::run::claim_of(&job);
        if job.task_id == cancelled {
            let mut drive = house.driving(claim);
            drive.until_step(RunStep::Running).await;
            house.reached("work").await;
            house.gesture(cancelled, "cancelled").await;
            drop(drive);
            orch::engine::run::abandon(&house.engine, claim).await.unwrap();
        }
    }
    let listed = kept(&house).await;
    let said: Vec<_> = listed
        .iter()
        .map(|k| (k.task.as_str(), k.files, k.trouble.clone()))
        .collect();
    // With the request that Orch wrote.
    assert_eq!(said, [("SHOP-002", Some(3), None), ("SHOP-001", Some(2), None)]);
    assert!(listed[0].why.starts_with("cancelled"), "{}", listed[0].why);
    assert!(listed[1].why.contains("exit code 3"), "{}", listed[1].why);
    assert_eq!(
        (listed[1].stage.as_str(), listed[1].role.as_deref()),
        ("development", Some("developer"))
    );
    assert_eq!(listed[1].project, "shop");
    let only = |task: Option<&str>, before, limit| KeptQuery {
        task: task.map(str::to_owned),
        before,
        limit,
    };
    let of_one = rescue::list(&house.engine, only(Some("SHOP-1"), None, 50))
        .await
        .unwrap();
    assert_eq!(of_one, listed[1..]);
    let first = rescue::list(&house.engine, only(None, None, 1)).await.unwrap();
    assert_eq!(first, listed[..1]);
    let next = rescue::list(&house.engine, only(None, Some(first[0].run), 1))
        .await
        .unwrap();
    assert_eq!(next, listed[1..]);
    let detail = rescue::show(&house.engine, listed[1].run).await.unwrap();
    assert!(detail.text.contains("+half\n") && !detail.cut, "{}", detail.text);
    assert_eq!(house.task(failed).await.work_item_id.as_str(), "SHOP-001");
}

#[tokio::test]
async fn restoring_makes_one_new_branch_and_asking_again_changes_nothing() {
    let (house, task) = with_kept_work().await;
    let before = house.refs();
    let found = kept(&house).await.remove(0);
    let done = restore(&house, found.run, None).await.unwrap();
    assert_eq!(done.branch, format!("rescue/SHOP-001-{}", found.run));
    assert_eq!((Some(&done.commit), done.created), (found.commit.as_ref(), true));
    assert_eq!(house.file(&done.branch, "half.txt").as_deref(), Some("half\n"));
    let made = house.refs();
    let others: Vec<_> = made.lines().filter(|line| !line.contains("/rescue/")).collect();
    assert_eq!(others.join("\n"), before);

    let again = restore(&house, found.run, None).await.unwrap();
    assert!(!again.created);
    assert_eq!(house.refs(), made);
    assert_eq!((told(&house, task).await, open_rescues(&house)), (1, 0));
    assert_eq!(house.count("intents WHERE key LIKE 'rescue:%'"), 1);
    assert_eq!(kept(&house).await[0].branch, Some(done.branch.clone()));

    // A branch that a person removed is made again for the asking.
    git(&house.origin(), &["branch", "-D", &done.branch]);
    assert!(restore(&house, found.run, None).await.unwrap().created);
    let other = restore(&house, found.run, Some("fix-login")).await.unwrap();
    assert!(other.created);
    assert_eq!(house.file("fix-login", "half.txt").as_deref(), Some("half\n"));
    assert_eq!(kept(&house).await[0].branch.as_deref(), Some("fix-login"));
}

#[tokio::test]
async fn many_who_ask_at_the_same_time_get_one_branch_and_one_line_is_told() {
    let (house, task) = with_kept_work().await;
    let run = kept(&house).await[0].run;
    let asked = (0..6).map(|_| restore(&house, run, None));
    let answers = futures_util::future::join_all(asked).await;
    let created = answers.iter().filter(|a| a.as_ref().unwrap().created).count();
    assert_eq!(created, 1, "{answers:?}");
    assert_eq!((told(&house, task).await, open_rescues(&house)), (1, 0));
}

#[tokio::test]
async fn a_branch_that_is_there_with_other_commits_is_left_alone() {
    let (house, task) = with_kept_work().await;
    let run = kept(&house).await[0].run;
    let theirs = house.commit("mine", &[("theirs.txt", "x\n")]);
    let why = refused(&house, run, Some("mine")).await;
    assert!(why.contains("--branch") && why.contains(theirs.short()), "{why}");
    assert_eq!(house.head("mine"), Some(theirs.clone()));
    // A name below it cannot be made at all.
    let why = refused(&house, run, Some("mine/too")).await;
    assert!(why.contains("--branch"), "{why}");
    assert_eq!((told(&house, task).await, open_rescues(&house)), (0, 0));
    git(&house.origin(), &["branch", "-D", "mine"]);
    assert!(restore(&house, run, Some("mine")).await.unwrap().created);
    assert_eq!((told(&house, task).await, open_rescues(&house)), (1, 0));
}

#[tokio::test]
async fn main_a_tasks_branch_and_what_is_no_branch_are_refused() {
    let (house, task) = with_kept_work().await;
    let other = house.add("Another").await;
    let run = kept(&house).await[0].run;
    let before = house.refs();
    let own = house.task(task).await.branch.to_string();
    let others = house.task(other).await.branch.to_string();
    for branch in ["main", &own, &others, "refs/heads/x", "HEAD", "-f", "a..b", ""] {
        let why = refused(&house, run, Some(branch)).await;
        assert!(!why.contains('\n'), "{why}");
    }
    assert_eq!(
        (house.refs(), house.count("intents WHERE key LIKE 'rescue:%'")),
        (before, 0)
    );
    match restore(&house, 4711, None).await {
        Err(EngineError::NotFound { what }) => assert_eq!(what, "no run 4711"),
        other => panic!("{other:?}"),
    }
    house.role("developer", "mkdir -p src; echo x >src/x");
    house.run_all().await;
    let delivered = house.runs(other).await[0].id.0;
    assert!(
        refused(&house, delivered, None)
            .await
            .contains("left no unfinished work")
    );
}

#[tokio::test]
async fn a_rescue_that_was_cut_off_is_brought_to_its_end_once() {
    // Between the push and its record.
    let (mut house, task) = with_kept_work().await;
    let run = kept(&house).await[0].run;
    house.sql(
        "CREATE TRIGGER dies BEFORE UPDATE OF status ON intents BEGIN SELECT RAISE(ABORT, 'it died here'); END",
    );
    restore(&house, run, Some("saved")).await.unwrap_err();
    assert!(house.head("saved").is_some());
    house.sql("DROP TRIGGER dies");
    assert_eq!((told(&house, task).await, open_rescues(&house)), (0, 1));
    house.restart().await;
    for _ in 0..2 {
        assert_eq!(recover::sweep(&house.engine).await.unwrap().trouble, [""; 0]);
        assert_eq!((told(&house, task).await, open_rescues(&house)), (1, 0));
    }
    // Between the intent and the push.
    house.sql(
        "UPDATE intents SET status = 'intended', payload = replace(payload, 'saved', 'later') WHERE key LIKE 'rescue:%'",
    );
    assert_eq!(recover::sweep(&house.engine).await.unwrap().trouble, [""; 0]);
    assert_eq!(house.head("later"), house.head("saved"));
    // Between the intent and the push, and somebody took the name since.
    house.commit("taken", &[("x", "x")]);
    house.sql(
        "UPDATE intents SET status = 'intended', payload = replace(payload, 'later', 'taken') WHERE key LIKE 'rescue:%'",
    );
    assert_eq!(recover::sweep(&house.engine).await.unwrap().trouble, [""; 0]);
    assert_eq!(
        house.count("intents WHERE key LIKE 'rescue:%' AND status = 'void'"),
        1
    );
}

#[tokio::test]
async fn a_repository_that_cannot_be_reached_is_told_and_nothing_is_pushed_behind_ones_back() {
    let (house, _) = with_kept_work().await;
    let run = kept(&house).await[0].run;
    let away = house.path("away");
    fs::rename(house.origin(), &away).unwrap();
    let why = refused(&house, run, None).await;
    assert!(why.contains("origin.git"), "{why}");
    fs::rename(&away, house.origin()).unwrap();
    let before = house.refs();
    assert_eq!(recover::sweep(&house.engine).await.unwrap().trouble, [""; 0]);
    assert_eq!((house.refs(), open_rescues(&house)), (before, 0));
    assert!(restore(&house, run, None).await.unwrap().created);
}

#[tokio::test]
async fn kept_work_survives_the_loss_of_the_clone_and_what_does_not_is_told() {
    let (house, _) = with_kept_work().await;
    let found = kept(&house).await;
    let clone = house.engine.settings().repos_dir.join("shop.git");
    fs::remove_dir_all(&clone).unwrap();
    assert_eq!(kept(&house).await, found);
    assert_eq!(house.kept(&house.wip()[0], "half.txt").as_deref(), Some("half\n"));

    // Somebody moved a damaged clone away, and the runs' folders are gone too.
    let old = house.path("old.git");
    fs::rename(&clone, &old).unwrap();
    fs::remove_dir_all(house.data().join("runs")).unwrap();
    let lost = kept(&house).await.remove(0);
    assert_eq!((lost.commit.clone(), lost.files), (None, None));
    let trouble = lost.trouble.unwrap();
    assert!(trouble.contains("refs/orch/*:refs/orch/*"), "{trouble}");
    assert_eq!(refused(&house, lost.run, None).await, trouble);
    match rescue::show(&house.engine, lost.run).await {
        Err(EngineError::Conflict { what }) => assert_eq!(what, trouble),
        other => panic!("{other:?}"),
    }
    // What it says helps.
    git(
        &clone,
        &["fetch", "-q", old.to_str().unwrap(), "+refs/orch/*:refs/orch/*"],
    );
    assert_eq!(kept(&house).await, found);
    assert!(restore(&house, lost.run, None).await.unwrap().created);
}

#[tokio::test]
async fn what_an_agent_that_succeeded_left_beside_its_work_is_kept_too() {
    let house = House::short().await;
    house.role(
        "developer",
        "who='git -c user.name=a -c user.email=a@example.invalid'\n\
         echo tried >tried.txt; $who stash push -q --include-untracked -- tried.txt\n\
         git checkout -q -b idea; echo idea >idea.txt; git add idea.txt; $who commit -q -m idea\n\
         git checkout -q --detach HEAD~1; mkdir -p src; echo work >src/SHOP-001.txt",
    );
    let task = house.add("Say hello").await;
    house.run_all().await;
    assert_eq!(house.stands(task).await, "done done");
    assert!(house.file("main", "src/SHOP-001.txt").is_some());
    assert!(house.file("main", "idea.txt").is_none());
    let found = kept(&house).await;
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].why, "left beside what was delivered");
    let detail = rescue::show(&house.engine, found[0].run).await.unwrap();
    assert!(detail.text.contains("+idea\n"), "{}", detail.text);
    let wip = &house.wip()[0];
    assert_eq!(
        house.kept(&format!("{wip}^2"), "idea.txt").as_deref(),
        Some("idea\n")
    );
    assert_eq!(
        house.kept(&format!("{wip}^3^3"), "tried.txt").as_deref(),
        Some("tried\n")
    );
    assert_eq!(house.leftovers(), [""; 0]);
}

#[tokio::test]
async fn an_agent_killed_in_the_middle_of_a_commit_loses_nothing() {
    let house = House::short().await;
    // Its hook runs while git holds the index and has not moved HEAD yet.
    house.role(
        "developer",
        "hooks=$(git rev-parse --git-path hooks); mkdir -p \"$hooks\"\n\
         printf '#!/bin/sh\\n: >\"%s/work.reached\"; sleep 1000\\n' \"$out\" >\"$hooks/prepare-commit-msg\"\n\
         chmod +x \"$hooks/prepare-commit-msg\"; echo half >half.txt; echo other >other.txt; git add half.txt\n\
         git -c user.name=a -c user.email=a@example.invalid commit -q -m half half.txt",
    );
    let task = house.add("Say hello").await;
    let claim = house.claim_one().await;
    let mut drive = house.driving(claim);
    drive.until_step(RunStep::Running).await;
    house.reached("work").await;
    let admin = house.engine.settings().repos_dir.join("shop.git/worktrees");
    let locked = || {
        let trees = fs::read_dir(&admin).unwrap().flatten();
        trees
            .into_iter()
            .any(|tree| tree.path().join("index.lock").exists())
    };
    assert!(locked(), "git holds the index");
    house.gesture(task, "cancelled").await;
    drop(drive);
    house.later(Duration::from_secs(1));
    orch::engine::run::abandon(&house.engine, claim).await.unwrap();
    let wip = &house.wip()[0];
    assert_eq!(house.kept(wip, "half.txt").as_deref(), Some("half\n"));
    assert_eq!(house.kept(wip, "other.txt").as_deref(), Some("other\n"));
    assert_eq!(house.leftovers(), [""; 0]);
}
