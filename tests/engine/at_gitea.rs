//! A project whose repository is at Gitea: CI and reviews are asked there, pull requests opened through the outbox, and main
//! moved by Gitea alone, once, to exactly what was tested.

use std::time::Duration;

use orch::domain::id::TaskId;
use orch::engine::deliver;
use orch::store::pull_requests;

use super::house::{House, Plan, SHORT, git};
use crate::support::fake_gitea::{FakeGitea, REPOSITORY};

/// CI's word is asked for before anybody reviews.
const WITH_CI: &str = r#"
[[stage]]
name = "development"
role = "developer"
gates = ["tests_local", "ci_green"]
rollback_to = "development"

[[stage]]
name = "review"
role = "reviewer"
gates = ["reviewer_verdict", "branch_mergeable"]
rollback_to = "development"

[[stage]]
name = "done"
"#;

/// A person reviews at the forge.
const WITH_REVIEW: &str = r#"
[[stage]]
name = "development"
role = "developer"
gates = ["tests_local"]
rollback_to = "development"

[[stage]]
name = "review"
gates = ["review_approved", "branch_mergeable"]
rollback_to = "development"

[[stage]]
name = "done"
"#;

/// Longer than a job waits before it looks again.
const LATER: Duration = Duration::from_secs(3600);

async fn house(stages: &str) -> (FakeGitea, House) {
    let fake = FakeGitea::new();
    let house = Plan::new(stages).forge(&fake).build().await;
    (fake, house)
}

/// Of the one pull request that there is.
fn number(fake: &FakeGitea) -> u64 {
    let pulls = fake.pulls(REPOSITORY);
    assert_eq!(pulls.len(), 1, "{pulls:?}");
    pulls[0]["number"].as_u64().unwrap()
}

fn merges(fake: &FakeGitea) -> usize {
    let asked = fake.seen().into_iter();
    asked.filter(|s| s.path.ends_with("/merge")).count()
}

async fn reason(house: &House, task: TaskId) -> String {
    house.task(task).await.reason.unwrap_or_default()
}

/// Why its job waits.
async fn waits_for(house: &House) -> String {
    house
        .sql_lines("SELECT coalesce(error, '') AS line FROM jobs WHERE status = 'queued'")
        .join("; ")
}

#[actix_rt::test]
async fn a_task_is_delivered_with_one_pull_request_and_one_merge_of_exactly_its_head() {
    let (fake, house) = house(WITH_CI).await;
    fake.ci(Some("success"));
    let task = house.add("Say hello").await;
    let claim = house.run_until("deploy-finalizer", "review").await;
    house.deliver().await;
    let pull = fake.pulls(REPOSITORY).remove(0);
    assert_eq!(
        (&pull["title"], &pull["state"]),
        (&"SHOP-001: Say hello".into(), &"open".into())
    );
    let head = house.head(pull["head"]["ref"].as_str().unwrap()).unwrap();
    house.drive(claim).await;
    assert_eq!(
        house.stands(task).await,
        "done done",
        "{:#?}",
        house.events(task).await
    );
    assert_eq!(house.main(), head);
    house.deliver().await;
    assert_eq!(
        (number(&fake), merges(&fake)),
        (pull["number"].as_u64().unwrap(), 1)
    );
    assert_eq!(fake.pulls(REPOSITORY)[0]["merged"], true);
    let comments = fake.comments(REPOSITORY, number(&fake));
    assert!(
        comments.len() == 1 && comments[0].contains("merged into main"),
        "{comments:?}"
    );
    assert_eq!(deliver::list(&house.engine).await.unwrap(), []);
}

#[actix_rt::test]
async fn what_ci_says_of_the_head_leads_on_back_or_is_waited_for() {
    let (fake, house) = house(WITH_CI).await;
    let task = house.add("Say hello").await;
    house.run_all().await;
    assert_eq!(house.stands(task).await, "development active");
    assert!(
        reason(&house, task).await.contains("CI has reported nothing"),
        "{}",
        reason(&house, task).await
    );

    // Nobody knows is neither yes nor no.
    house.later(LATER);
    fake.fail_next(1, 503);
    house.run_all().await;
    let why = waits_for(&house).await;
    assert!(why.contains("HTTP 503"), "{why}");
    assert_eq!(
        (house.ran(), house.stands(task).await),
        (vec!["developer".to_owned()], "development active".to_owned())
    );

    let branch = house.task(task).await.branch.to_string();
    let head = house.head(&branch).unwrap();
    fake.status(REPOSITORY, head.as_str(), "ci/test", "pending");
    house.later(LATER);
    house.run_all().await;
    assert!(waits_for(&house).await.contains("CI still runs: ci/test"));

    fake.status(REPOSITORY, head.as_str(), "ci/test", "failure");
    fake.ci(Some("success"));
    house.later(LATER);
    house.run_all().await;
    assert_eq!(house.ran()[..2], ["developer", "developer"], "red sends it back");
    assert_eq!(house.task(task).await.developer_retries, 1);
    assert!(waits_for(&house).await.contains("not open at Gitea yet"));
    house.deliver().await;
    house.later(LATER);
    house.run_all().await;
    assert_eq!(
        house.stands(task).await,
        "done done",
        "{:#?}",
        house.events(task).await
    );
}

#[actix_rt::test]
async fn a_persons_review_of_the_head_at_the_forge_leads_on_or_back() {
    let (fake, house) = house(WITH_REVIEW).await;
    let task = house.add("Say hello").await;
    house.run_all().await;
    house.deliver().await;
    house.later(LATER);
    house.run_all().await;
    assert_eq!(house.stands(task).await, "review active");
    fake.review(REPOSITORY, number(&fake), "ada", "REQUEST_CHANGES");
    house.later(LATER);
    house.run_all().await;
    assert_eq!(house.ran().len(), 2, "sent back to the developer");
    // The old review is about another commit.
    assert_eq!(house.stands(task).await, "review active");
    fake.review(REPOSITORY, number(&fake), "ada", "APPROVED");
    house.later(LATER);
    house.run_all().await;
    assert_eq!(
        house.stands(task).await,
        "done done",
        "{:#?}",
        house.events(task).await
    );
    assert_eq!(merges(&fake), 1);
}

#[actix_rt::test]
async fn a_gitea_that_is_down_delays_no_agent_and_its_pull_request_is_opened_later_once() {
    let (fake, house) = house(SHORT).await;
    let task = house.add("Say hello").await;
    fake.drop_connection(50);
    let claim = house.run_until("deploy-finalizer", "review").await;
    assert_eq!(house.ran(), ["developer", "reviewer"]);
    let (_, trouble) = house.delivered().await;
    assert_eq!(trouble.len(), 1, "{trouble:?}");
    house.drive(claim).await;
    let why = waits_for(&house).await;
    assert!(why.contains("/branches/main"), "{why}");
    let mut last = fake.seen().len();
    for _ in 0..60 {
        house.later(LATER);
        house.deliver().await;
        house.run_all().await;
        let seen = fake.seen();
        assert!(seen.len() - last < 20, "asked again and again");
        last = seen.len();
        if house.stands(task).await == "done done" {
            break;
        }
    }
    assert_eq!(
        house.stands(task).await,
        "done done",
        "{:#?}",
        house.events(task).await
    );
    house.deliver().await;
    assert_eq!((number(&fake) > 0, merges(&fake) >= 1), (true, true));
    assert_eq!(deliver::list(&house.engine).await.unwrap(), []);
}

#[actix_rt::test]
async fn who_died_after_a_pull_request_was_opened_asks_before_it_opens_another() {
    let (fake, mut house) = house(SHORT).await;
    house.add("Say hello").await;
    house.run_until("deploy-finalizer", "review").await;
    let before = ["pulls", "branches/feature", "branches/main", "compare"].len();
    fake.slow(before, Duration::ZERO);
    fake.drop_answer(1);
    let (_, trouble) = house.delivered().await;
    assert_eq!(trouble.len(), 1, "{trouble:?}");
    assert_eq!(fake.pulls(REPOSITORY).len(), 1, "opened, and nobody heard of it");
    house.restart().await;
    house.later(LATER);
    fake.take_seen();
    house.deliver().await;
    assert_eq!(fake.take_seen(), ["GET pulls 200"]);
    let project = house.project.id;
    let read = house
        .engine
        .store()
        .read(move |tx| pull_requests::of_project(tx, project));
    let rows = read.await.unwrap();
    let known: Vec<_> = rows.iter().map(|row| row.forge_number).collect();
    assert_eq!(known, [i64::try_from(number(&fake)).ok()]);
}

#[actix_rt::test]
async fn a_merge_that_was_not_answered_is_asked_about_and_never_done_twice() {
    // How often the answer is lost, of the merge and of the question after it.
    for lost in [1, 2] {
        let (fake, house) = house(SHORT).await;
        let task = house.add("Say hello").await;
        let claim = house.run_until("deploy-finalizer", "review").await;
        house.deliver().await;
        // What is asked before the merge: whether a person was faster, main, what it contains, and the pull request.
        let before = ["pulls/3", "branches/main", "compare", "pulls/3"].len();
        fake.slow(before, Duration::ZERO);
        fake.drop_answer(lost);
        house.drive(claim).await;
        house.later(LATER);
        house.run_all().await;
        assert_eq!(
            house.stands(task).await,
            "done done",
            "{:#?}",
            house.events(task).await
        );
        assert_eq!(merges(&fake), 1, "{:#?}", fake.take_seen());
        let told = house.events(task).await;
        assert_eq!(told.iter().filter(|e| e.starts_with("merge: ")).count(), 1);
    }
}

#[actix_rt::test]
async fn who_died_after_a_merge_was_sent_finds_it_done() {
    let (fake, mut house) = house(SHORT).await;
    let task = house.add("Say hello").await;
    let claim = house.run_until("deploy-finalizer", "review").await;
    house.deliver().await;
    let main = house.main();
    let mut driving = house.driving(claim);
    driving
        .until("main has moved", async || house.main() != main)
        .await;
    drop(driving);
    house.restart().await;
    house.drive(claim).await;
    assert_eq!(
        house.stands(task).await,
        "done done",
        "{:#?}",
        house.events(task).await
    );
    assert_eq!(merges(&fake), 1);
}

#[actix_rt::test]
async fn a_merge_that_gitea_puts_off_is_waited_for_and_counts_nothing() {
    let (fake, house) = house(SHORT).await;
    let task = house.add("Say hello").await;
    let claim = house.run_until("deploy-finalizer", "review").await;
    house.deliver().await;
    fake.checking(REPOSITORY, 2);
    house.drive(claim).await;
    assert_eq!(waits_for(&house).await, "Please try again later");
    for _ in 0..2 {
        house.later(LATER);
        house.run_all().await;
    }
    assert_eq!(house.stands(task).await, "done done");
    assert_eq!((merges(&fake), house.task(task).await.developer_retries), (3, 0));
}

#[actix_rt::test]
async fn a_pull_request_that_a_person_closes_sends_the_task_back_and_the_next_one_is_another() {
    let (fake, house) = house(SHORT).await;
    let task = house.add("Say hello").await;
    let claim = house.run_until("deploy-finalizer", "review").await;
    house.deliver().await;
    let first = number(&fake);
    fake.close(REPOSITORY, first);
    house.drive(claim).await;
    assert_eq!(
        house.stands(task).await,
        "development active",
        "{:#?}",
        house.events(task).await
    );
    assert_eq!((merges(&fake), house.task(task).await.developer_retries), (0, 1));
    house.run_until("deploy-finalizer", "review").await;
    house.deliver().await;
    let open: Vec<_> = fake
        .pulls(REPOSITORY)
        .iter()
        .map(|p| p["state"].clone())
        .collect();
    assert_eq!(open, ["closed", "open"]);
}

#[actix_rt::test]
async fn what_a_person_merged_in_another_way_is_not_merged_again() {
    let (fake, house) = house(SHORT).await;
    let task = house.add("Say hello").await;
    let claim = house.run_until("deploy-finalizer", "review").await;
    house.deliver().await;
    fake.squash(REPOSITORY, number(&fake));
    let main = house.main();
    house.drive(claim).await;
    assert_eq!(
        house.stands(task).await,
        "done done",
        "{:#?}",
        house.events(task).await
    );
    assert_eq!((merges(&fake), house.main()), (0, main));
}

#[actix_rt::test]
async fn what_is_in_main_before_its_pull_request_was_opened_needs_none() {
    let (fake, house) = house(SHORT).await;
    let task = house.add("Say hello").await;
    let claim = house.run_until("deploy-finalizer", "review").await;
    let head = house.head(house.task(task).await.branch.as_str()).unwrap();
    crate::support::git(&house.origin(), &["update-ref", "refs/heads/main", head.as_str()]);
    house.drive(claim).await;
    assert_eq!(
        house.stands(task).await,
        "done done",
        "{:#?}",
        house.events(task).await
    );
    let (_, trouble) = house.delivered().await;
    assert_eq!(
        (fake.pulls(REPOSITORY).len(), merges(&fake), trouble.len()),
        (0, 0, 0),
        "{trouble:?}"
    );
}

#[actix_rt::test]
async fn where_a_person_merges_it_is_seen_however_that_was_done() {
    let fake = FakeGitea::new();
    let plan = Plan::new(&SHORT.replace(", \"branch_mergeable\"", ""));
    let house = plan.set("merge.gate_enabled = false").forge(&fake).build().await;
    let task = house.add("Say hello").await;
    house.run_all().await;
    house.deliver().await;
    assert_eq!(house.stands(task).await, "review active");
    fake.squash(REPOSITORY, number(&fake));
    house.later(LATER);
    house.run_all().await;
    assert_eq!(
        house.stands(task).await,
        "done done",
        "{:#?}",
        house.events(task).await
    );
    assert_eq!(merges(&fake), 0);
}

#[actix_rt::test]
async fn a_main_that_moved_is_rebased_onto_tested_and_merged_as_that_head() {
    let (fake, house) = house(SHORT).await;
    let task = house.add("Say hello").await;
    let claim = house.run_until("deploy-finalizer", "review").await;
    house.deliver().await;
    house.commit("main", &[("other.txt", "by somebody else\n")]);
    house.drive(claim).await;
    house.later(LATER);
    house.run_all().await;
    assert_eq!(
        house.stands(task).await,
        "done done",
        "{:#?}",
        house.events(task).await
    );
    assert!(
        house.tested().contains(&house.trees_of_main()[0]),
        "main has a tree that nobody tested"
    );
    assert_eq!(
        house.file("main", "other.txt").as_deref(),
        Some("by somebody else\n")
    );
    assert_eq!((number(&fake) > 0, merges(&fake)), (true, 1));
}

#[actix_rt::test]
async fn who_lost_the_lease_while_gitea_was_asked_sends_no_merge() {
    let (fake, house) = house(SHORT).await;
    let task = house.add("Say hello").await;
    let claim = house.run_until("deploy-finalizer", "review").await;
    house.deliver().await;
    let main = house.main();
    fake.take_seen();
    // The last question before the merge is answered late enough for another to take the lease.
    let before = ["pulls/3", "branches/main", "compare"].len();
    fake.slow(before, Duration::ZERO);
    fake.slow(1, Duration::from_secs(1));
    let mut driving = house.driving(claim);
    driving
        .until("the last question is asked", async || fake.seen().len() == before)
        .await;
    house.sql("UPDATE leases SET task_id = task_id + 1000, token = token + 1");
    let driven = driving.end().await;
    assert_eq!((merges(&fake), house.main()), (0, main), "{driven:?}");
    assert_eq!(house.stands(task).await, "review active");
}

#[actix_rt::test]
async fn a_repository_that_cannot_be_reached_spends_no_attempt_of_whoever_waits_for_it() {
    let (fake, house) = house(WITH_CI).await;
    let task = house.add("Say hello").await;
    // Once before an agent has begun, and then while CI is waited for.
    for _ in 0..2 {
        fake.fail_git(1000, 503);
        house.later(LATER);
        house.run_all().await;
        let job = house.live_job(task).await.unwrap();
        assert_eq!((job.attempts, job.transient_attempts), (0, 0));
        assert_eq!(
            house.stands(task).await,
            "development active",
            "{:#?}",
            house.events(task).await
        );
        assert!(
            waits_for(&house).await.contains("cannot be reached"),
            "{}",
            waits_for(&house).await
        );
        fake.fail_git(0, 503);
        house.later(LATER);
        house.run_all().await;
    }
    assert_eq!(house.ran(), ["developer"]);
    fake.status(
        REPOSITORY,
        house
            .head(house.task(task).await.branch.as_str())
            .unwrap()
            .as_str(),
        "ci",
        "success",
    );
    house.later(LATER);
    house.run_all().await;
    house.deliver().await;
    house.later(LATER);
    house.run_all().await;
    assert_eq!(
        house.stands(task).await,
        "done done",
        "{:#?}",
        house.events(task).await
    );
}

/// Lets time go by, and everything happen, until the task is done.
async fn until_done(house: &House, task: TaskId) {
    for _ in 0..20 {
        house.later(LATER);
        house.run_all().await;
        house.deliver().await;
        if house.stands(task).await == "done done" {
            return;
        }
    }
    let (told, waits) = (house.events(task).await, waits_for(house).await);
    unreachable!("it waits for \"{waits}\": {told:#?}");
}

#[actix_rt::test]
async fn what_a_person_merged_before_the_rework_is_not_taken_for_the_rework() {
    let (fake, house) = house(SHORT).await;
    house.role(
        "reviewer",
        "if [ \"$nth\" = 1 ]; then verdict REQUEST_CHANGES; else verdict APPROVED; fi",
    );
    let task = house.add("Say hello").await;
    let claim = house.run_until("agent", "review").await;
    house.deliver().await;
    let first = number(&fake);
    fake.squash(REPOSITORY, first);
    house.drive(claim).await;
    until_done(&house, task).await;
    let pulls = fake.pulls(REPOSITORY);
    let branch = house.task(task).await.branch;
    let head = house.head(branch.as_str()).unwrap();
    assert_eq!(
        (pulls.len(), merges(&fake)),
        (2, 1),
        "{:#?}",
        house.events(task).await
    );
    assert_eq!(house.main(), head, "main has the rework");
    assert_eq!(
        house.file("main", "src/SHOP-001.txt").as_deref(),
        Some("work 2\n")
    );
    assert_eq!(
        house.task(task).await.developer_retries,
        1,
        "the reviewer's alone"
    );
    assert!(
        house.tested().contains(&house.trees_of_main()[0]),
        "main has a tree that nobody tested"
    );
}

#[actix_rt::test]
async fn what_was_merged_as_it_was_before_or_into_another_branch_is_followed_by_another_pull_request() {
    for elsewhere in [false, true] {
        let (fake, house) = house(SHORT).await;
        let task = house.add("Say hello").await;
        let claim = house.run_until("agent", "review").await;
        house.deliver().await;
        if elsewhere {
            // At its last head even, but nowhere near main.
            house.drive(claim).await;
            let claim = house.run_until("deploy-finalizer", "review").await;
            fake.commit(REPOSITORY, "develop", &[("other.txt", "1\n")]);
            fake.retarget(REPOSITORY, number(&fake), "develop");
            fake.squash(REPOSITORY, number(&fake));
            house.drive(claim).await;
        } else {
            fake.squash(REPOSITORY, number(&fake));
            house.drive(claim).await;
        }
        until_done(&house, task).await;
        let head = house.head(house.task(task).await.branch.as_str()).unwrap();
        assert_eq!(house.main(), head, "{:#?}", house.events(task).await);
        assert_eq!((fake.pulls(REPOSITORY).len(), merges(&fake)), (2, 1));
        assert_eq!(house.ran(), ["developer", "reviewer"], "nobody is sent back");
        assert_eq!(house.task(task).await.developer_retries, 0);
    }
}

#[actix_rt::test]
async fn a_pull_request_that_a_person_has_go_elsewhere_is_not_merged_there() {
    let (fake, house) = house(SHORT).await;
    let task = house.add("Say hello").await;
    let claim = house.run_until("deploy-finalizer", "review").await;
    house.deliver().await;
    let develop = fake.commit(REPOSITORY, "develop", &[("other.txt", "1\n")]);
    fake.retarget(REPOSITORY, number(&fake), "develop");
    house.drive(claim).await;
    until_done(&house, task).await;
    let bases: Vec<_> = fake
        .pulls(REPOSITORY)
        .iter()
        .map(|p| p["base"]["ref"].clone())
        .collect();
    assert_eq!(bases, ["develop", "main"]);
    assert_eq!(fake.head(REPOSITORY, "develop"), Some(develop));
    let head = house.head(house.task(task).await.branch.as_str()).unwrap();
    assert_eq!((house.main(), merges(&fake)), (head, 1));
}

#[actix_rt::test]
async fn a_pull_request_that_had_nothing_to_merge_or_was_refused_is_opened_once_there_is_something() {
    for refused in [false, true] {
        let (fake, house) = house(SHORT).await;
        let task = house.add("Say hello").await;
        let claim = house.run_until("agent", "review").await;
        if !refused {
            let head = house.head(house.task(task).await.branch.as_str()).unwrap();
            git(&house.origin(), &["update-ref", "refs/heads/main", head.as_str()]);
        }
        if refused {
            let before = ["pulls", "branches/feature", "branches/main", "compare"].len();
            fake.slow(before, Duration::ZERO);
            fake.fail_next(1, 422);
        }
        house.delivered().await;
        assert_eq!(fake.pulls(REPOSITORY).len(), 0);
        house.drive(claim).await;
        until_done(&house, task).await;
        assert_eq!((number(&fake) > 0, merges(&fake)), (true, 1));
    }
}

#[actix_rt::test]
async fn a_pull_request_that_was_given_up_is_tried_again_where_the_merge_waits() {
    let (fake, house) = house(SHORT).await;
    let task = house.add("Say hello").await;
    let claim = house.run_until("deploy-finalizer", "review").await;
    house.sql("UPDATE outbox SET status = 'dead' WHERE kind = 'pull_request'");
    house.deliver().await;
    assert_eq!(fake.pulls(REPOSITORY).len(), 0);
    house.drive(claim).await;
    until_done(&house, task).await;
    assert_eq!((number(&fake) > 0, merges(&fake)), (true, 1));
}

#[actix_rt::test]
async fn the_review_of_who_may_not_write_neither_leads_on_nor_back() {
    for officials in [true, false] {
        let (fake, house) = house(WITH_REVIEW).await;
        fake.stranger("mallory");
        if !officials {
            fake.without_officials();
        }
        let task = house.add("Say hello").await;
        house.run_all().await;
        house.deliver().await;
        for said in ["APPROVED", "REQUEST_CHANGES", "APPROVED"] {
            fake.review(REPOSITORY, number(&fake), "mallory", said);
            house.later(LATER);
            house.run_all().await;
            assert_eq!(house.stands(task).await, "review active", "{said}");
            assert_eq!(house.ran(), ["developer"], "{said}");
        }
        fake.review(REPOSITORY, number(&fake), "ada", "APPROVED");
        until_done(&house, task).await;
    }
}

#[actix_rt::test]
async fn a_merge_without_an_answer_whose_pull_request_a_person_closed_sends_the_task_back() {
    let (fake, house) = house(SHORT).await;
    let task = house.add("Say hello").await;
    let claim = house.run_until("deploy-finalizer", "review").await;
    house.deliver().await;
    let main = house.main();
    // The merge never comes there, and the question after it is not answered either.
    let before = ["pulls/3", "branches/main", "compare", "pulls/3"].len();
    fake.slow(before, Duration::ZERO);
    fake.drop_connection(2);
    house.drive(claim).await;
    assert_eq!(merges(&fake), 1);
    assert_eq!(house.stands(task).await, "review active");
    fake.close(REPOSITORY, number(&fake));
    house.later(LATER);
    let job = house.claim_one().await;
    house.drive(job).await;
    assert_eq!(
        house.stands(task).await,
        "development active",
        "{:#?}",
        house.events(task).await
    );
    assert_eq!((merges(&fake), house.main()), (1, main));
    assert_eq!(house.task(task).await.developer_retries, 1);
}

#[actix_rt::test]
async fn whether_it_is_merged_already_decides_what_is_sent() {
    // What Gitea says of the pull request, whether it is asked to merge then, and where that leaves the task.
    for (case, sent, stands) in [
        ("merged", 0, "done done"),
        ("in main", 0, "done done"),
        ("open", 1, "done done"),
        ("none", 0, "review active"),
        ("no answer", 0, "review active"),
        ("half an answer", 0, "review active"),
        ("500", 0, "review active"),
        ("404", 0, "review active"),
        ("403", 0, "review active"),
    ] {
        let (fake, house) = house(SHORT).await;
        let task = house.add("Say hello").await;
        let claim = house.run_until("deploy-finalizer", "review").await;
        if case != "none" {
            house.deliver().await;
        }
        match case {
            "merged" => fake.squash(REPOSITORY, number(&fake)),
            "in main" => {
                let head = house.head(house.task(task).await.branch.as_str()).unwrap();
                git(&house.origin(), &["update-ref", "refs/heads/main", head.as_str()]);
            }
            "no answer" => fake.drop_connection(50),
            "half an answer" => fake.half_answer(50),
            "500" | "404" | "403" => fake.fail_next(50, case.parse().unwrap()),
            _ => {}
        }
        let main = house.main();
        house.drive(claim).await;
        assert_eq!(
            house.stands(task).await,
            stands,
            "{case}: {:#?}",
            house.events(task).await
        );
        assert_eq!(merges(&fake), sent, "{case}");
        if stands == "done done" {
            continue;
        }
        assert_eq!(house.main(), main, "{case}");
        let job = house.live_job(task).await.unwrap();
        assert!(
            job.error.is_some_and(|why| !why.is_empty()),
            "{case}: nobody is told why it waits"
        );
        fake.calm();
        until_done(&house, task).await;
        assert_eq!(merges(&fake), 1, "{case}");
    }
}
