//! Other ways into main than a fast-forward: what main gets is the tested tree all the same, once.

use orch::domain::id::TaskId;
use orch::engine::lease::stop as merge_stop;

use super::house::{Backend, House, Plan, SHORT, git, on_both};
use crate::support::fake_gitea::{FakeGitea, REPOSITORY};

fn with(style: &str) -> String {
    format!("[merge]\nstyle = \"{style}\"\n{SHORT}")
}

fn parents(house: &House) -> usize {
    let line = git(&house.origin(), &["log", "-1", "--format=%P", "main"]);
    line.split_whitespace().count()
}

fn subject(house: &House) -> String {
    git(&house.origin(), &["log", "-1", "--format=%s", "main"])
}

/// Main has the tested tree on top of where it was, by one commit or by the candidate itself.
async fn is_merged(house: &House, task: TaskId, before: &str, style: &str) {
    assert_eq!(
        house.stands(task).await,
        "done done",
        "{:#?}",
        house.events(task).await
    );
    let head = house.head(house.task(task).await.branch.as_str()).unwrap();
    let tree = |rev: &str| git(&house.origin(), &["rev-parse", &format!("{rev}^{{tree}}")]);
    assert_eq!(
        tree("main"),
        tree(head.as_str()),
        "{style}: main has another tree"
    );
    assert!(house.tested().contains(&tree("main")));
    assert_eq!(git(&house.origin(), &["merge-base", before, "main"]), before);
    let first = git(
        &house.origin(),
        &[
            "rev-list",
            "--first-parent",
            "--count",
            &format!("{before}..main"),
        ],
    );
    match style {
        "merge" => {
            assert_eq!((parents(house), first.as_str()), (2, "1"));
            assert_eq!(git(&house.origin(), &["rev-parse", "main^2"]), head.as_str());
        }
        "squash" => {
            assert_eq!((parents(house), first.as_str()), (1, "1"));
            assert_ne!(house.main(), head);
        }
        _ => assert_eq!(house.main(), head, "{style}"),
    }
    let told = house.events(task).await;
    assert_eq!(
        told.iter().filter(|e| e.starts_with("merge: ")).count(),
        1,
        "{told:#?}"
    );
}

async fn main_gets_the_tested_tree_in_whatever_style(backend: Backend) {
    for style in ["merge", "squash", "rebase", "fast-forward"] {
        let house = backend.plan(&with(style)).build().await;
        let first = house.add("Say hello").await;
        let claim = house.run_until("deploy-finalizer", "review").await;
        let before = house.commit("main", &[("other.txt", "by somebody else\n")]);
        house.drive(claim).await;
        is_merged(&house, first, before.as_str(), style).await;
        match style {
            "merge" => assert_eq!(subject(&house), "Merge SHOP-001: Say hello"),
            "squash" => assert_eq!(subject(&house), "SHOP-001: Say hello"),
            _ => {}
        }
        let before = house.main();
        let second = house.add("Say more").await;
        house.run_all().await;
        is_merged(&house, second, before.as_str(), style).await;
    }
}

async fn who_died_after_main_was_moved_finds_its_own_commit_there(backend: Backend) {
    for style in ["merge", "squash"] {
        let mut house = backend.plan(&with(style)).build().await;
        let task = house.add("Say hello").await;
        let claim = house.run_until("deploy-finalizer", "review").await;
        let before = house.main();
        let mut driving = house.driving(claim);
        driving
            .until("main has moved", async || house.main() != before)
            .await;
        drop(driving);
        let moved = house.main();
        let on_top = house.commit("main", &[("later.txt", "pushed meanwhile\n")]);
        house.sql("UPDATE instances SET stopped_at = 1");
        house.restart().await;
        house.drive(claim).await;
        assert_eq!(
            house.stands(task).await,
            "done done",
            "{:#?}",
            house.events(task).await
        );
        assert_eq!(house.main(), on_top, "{style}: merged twice");
        let told = house.events(task).await;
        assert_eq!(told.iter().filter(|e| e.starts_with("merge: ")).count(), 1);
        assert_eq!(git(&house.origin(), &["rev-parse", "main^"]), moved.as_str());
    }
}

async fn a_person_who_was_faster_with_the_candidate_itself_leaves_nothing_to_join(backend: Backend) {
    for style in ["merge", "squash"] {
        let house = backend.plan(&with(style)).build().await;
        let task = house.add("Say hello").await;
        let claim = house.run_until("deploy-finalizer", "review").await;
        let head = house.head(house.task(task).await.branch.as_str()).unwrap();
        git(&house.origin(), &["update-ref", "refs/heads/main", head.as_str()]);
        house.drive(claim).await;
        assert_eq!(
            house.stands(task).await,
            "done done",
            "{:#?}",
            house.events(task).await
        );
        assert_eq!(house.main(), head);
    }
}

on_both!(
    main_gets_the_tested_tree_in_whatever_style,
    who_died_after_main_was_moved_finds_its_own_commit_there,
    a_person_who_was_faster_with_the_candidate_itself_leaves_nothing_to_join,
);

fn merges(fake: &FakeGitea) -> usize {
    let asked = fake.seen().into_iter();
    asked.filter(|s| s.path.ends_with("/merge")).count()
}

#[actix_rt::test]
async fn gitea_is_asked_for_the_style_with_the_expected_head_and_once() {
    for (style, word) in [("merge", "merge"), ("squash", "squash"), ("rebase", "rebase")] {
        for lost in [0, 1, 2] {
            let fake = FakeGitea::new();
            let house = Plan::new(&with(style)).forge(&fake).build().await;
            let task = house.add("Say hello").await;
            let claim = house.run_until("deploy-finalizer", "review").await;
            house.deliver().await;
            let before = house.main();
            let asked = ["pulls/3", "branches/main", "compare", "pulls/3"].len();
            fake.slow(asked, std::time::Duration::ZERO);
            fake.drop_answer(lost);
            house.drive(claim).await;
            house.later(std::time::Duration::from_secs(3600));
            house.run_all().await;
            is_merged(&house, task, before.as_str(), style).await;
            assert_eq!(
                merges(&fake),
                1,
                "{style}, {lost} answers lost: {:#?}",
                fake.take_seen()
            );
            let seen = fake.seen();
            let body = &seen.iter().find(|s| s.path.ends_with("/merge")).unwrap().body;
            let head = house.head(house.task(task).await.branch.as_str()).unwrap();
            assert_eq!(
                (&body["Do"], &body["head_commit_id"]),
                (&word.into(), &head.as_str().into())
            );
        }
    }
}

#[actix_rt::test]
async fn main_that_moved_while_gitea_merged_is_found_afterwards_and_stops_the_merges() {
    for style in ["merge", "squash", "rebase"] {
        for lost in [false, true] {
            let fake = FakeGitea::new();
            let house = Plan::new(&with(style)).forge(&fake).build().await;
            let task = house.add("Say hello").await;
            let claim = house.run_until("deploy-finalizer", "review").await;
            house.deliver().await;
            fake.push_first(REPOSITORY, &[("other.txt", "by a person\n")]);
            if lost {
                fake.slow(4, std::time::Duration::ZERO);
                fake.drop_answer(2);
            }
            house.drive(claim).await;
            house.later(std::time::Duration::from_secs(3600));
            house.run_all().await;
            assert_eq!(
                house.stands(task).await,
                "review blocked",
                "{style} {lost}: {:#?}",
                house.events(task).await
            );
            assert_eq!(merge_stop::list(&house.engine).await.unwrap().len(), 1);
            assert_eq!(merges(&fake), 1);
        }
    }
}
