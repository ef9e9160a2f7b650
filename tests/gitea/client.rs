//! The client against the fake Gitea.

use std::net::TcpListener;
use std::time::Duration;

use orch::domain::forge::{self, MergeStyle, PullState};
use orch::domain::id::Sha;
use orch::git::{Origin, Repository};
use orch::integrations::forge::gitea::{Ensured, Gitea, GiteaError, Merging, NewComment, NewPull, Sent};

use super::{NOW, branch, client, client_with, sha};
use crate::support::fake_gitea::{FakeGitea, REPOSITORY, TOKEN};

/// A branch with one commit on top of main, and a pull request for it.
struct Ready {
    fake: FakeGitea,
    gitea: Gitea,
    main: Sha,
    head: Sha,
    number: i64,
}

async fn ensure(gitea: &Gitea) -> Result<Ensured, GiteaError> {
    let new = NewPull {
        branch: &branch("feature/x"),
        base: &branch("main"),
        title: "SHOP-1: Search",
        body: "By Orch",
    };
    gitea.ensure_pull(&new, NOW).await
}

fn opened(ensured: Ensured) -> i64 {
    match ensured {
        Ensured::Open(number) => number,
        Ensured::NothingToMerge => unreachable!("nothing to merge"),
    }
}

async fn before(ready: &Ready) -> Merging {
    let heads = (&ready.head, &ready.main);
    let (gitea, main) = (&ready.gitea, branch("main"));
    gitea.before_merge(ready.number, &main, heads, NOW).await.unwrap()
}

async fn ready() -> Ready {
    let fake = FakeGitea::new();
    let main = sha(&fake.head(REPOSITORY, "main").unwrap());
    let head = sha(&fake.commit(REPOSITORY, "feature/x", &[("a", "1\n")]));
    let gitea = client(&fake);
    let number = opened(ensure(&gitea).await.unwrap());
    fake.take_seen();
    Ready {
        fake,
        gitea,
        main,
        head,
        number,
    }
}

#[actix_rt::test]
async fn a_pull_request_is_opened_once_however_often_and_whatever_became_of_the_answers() {
    let fake = FakeGitea::new();
    fake.commit(REPOSITORY, "feature/x", &[("a", "1\n")]);
    fake.commit(REPOSITORY, "feature/y", &[("a", "2\n")]);
    fake.open_pull(REPOSITORY, "feature/y");
    let gitea = client(&fake);
    fake.slow(4, Duration::ZERO);
    fake.drop_answer(1);
    let gone = ensure(&gitea).await;
    assert!(matches!(gone, Err(GiteaError::Unanswered { .. })), "{gone:?}");
    let number = opened(ensure(&gitea).await.unwrap());
    assert_eq!(ensure(&gitea).await, Ok(Ensured::Open(number)));
    let seen = fake.take_seen();
    assert_eq!(
        seen[4..],
        ["POST pulls -", "GET pulls 200", "GET pulls 200"],
        "{seen:?}"
    );
    assert_eq!(fake.pulls(REPOSITORY).len(), 2);
    // What was closed does not count.
    fake.close(REPOSITORY, u64::try_from(number).unwrap());
    assert_ne!(ensure(&gitea).await, Ok(Ensured::Open(number)));
}

#[actix_rt::test]
async fn all_pages_are_read_by_their_headers_and_not_by_their_length() {
    let fake = FakeGitea::new();
    fake.pages_of(3);
    let head = fake.commit(REPOSITORY, "feature/b0", &[("a", "1\n")]);
    for n in 0..8 {
        fake.commit(REPOSITORY, &format!("feature/b{n}"), &[("b", &format!("{n}\n"))]);
        fake.open_pull(REPOSITORY, &format!("feature/b{n}"));
        fake.status(REPOSITORY, &head, &format!("ci/{n}"), "success");
    }
    let gitea = client(&fake);
    fake.take_seen();
    let open = gitea
        .open_pull(&branch("feature/b0"), &branch("main"), NOW)
        .await
        .unwrap();
    assert_eq!(open.unwrap().state, PullState::Open);
    assert_eq!(
        fake.take_seen().len(),
        3,
        "newest first: the oldest is on the third page"
    );
    let none = gitea
        .open_pull(&branch("feature/none"), &branch("main"), NOW)
        .await
        .unwrap();
    assert_eq!((none, fake.take_seen().len()), (None, 3));
    let statuses = gitea.statuses(&sha(&head), NOW).await.unwrap();
    assert_eq!(statuses.len(), 8);
    // What is missing may be what failed.
    fake.lose(1);
    let statuses = gitea.statuses(&sha(&head), NOW).await;
    let why = statuses.unwrap_err().to_string();
    assert!(why.contains("a list that stops after 8 of its entries"), "{why}");
    // A review that its author has not sent yet is counted and not shown.
    let number = fake.pulls(REPOSITORY)[0]["number"].as_i64().unwrap();
    assert_eq!(gitea.reviews(number, &sha(&head), NOW).await, Ok(vec![]));
}

#[actix_rt::test]
async fn statuses_and_reviews_are_told_for_the_head() {
    let ready = ready().await;
    let said = async |head: &Sha| {
        let statuses = ready.gitea.statuses(head, NOW).await.unwrap();
        forge::checks(&statuses).state.as_str()
    };
    assert_eq!(said(&ready.head).await, "pending", "no list at all");
    ready
        .fake
        .status(REPOSITORY, ready.head.as_str(), "ci/a", "pending");
    ready
        .fake
        .status(REPOSITORY, ready.head.as_str(), "ci/b", "success");
    assert_eq!(said(&ready.head).await, "pending");
    ready
        .fake
        .status(REPOSITORY, ready.head.as_str(), "ci/a", "success");
    assert_eq!(said(&ready.head).await, "green");
    assert_eq!(said(&ready.main).await, "pending");
    let number = u64::try_from(ready.number).unwrap();
    ready.fake.review(REPOSITORY, number, "ada", "APPROVED");
    let reviewed = async |gitea: &Gitea| {
        let reviews = gitea.reviews(ready.number, &ready.head, NOW).await.unwrap();
        forge::reviews(&reviews, &ready.head).state.as_str()
    };
    assert_eq!(reviewed(&ready.gitea).await, "green");
    ready.fake.stranger("mallory");
    ready
        .fake
        .review(REPOSITORY, number, "mallory", "REQUEST_CHANGES");
    assert_eq!(reviewed(&ready.gitea).await, "green", "she may not write");
    // Who administers nothing may not ask what others may: they count only where the forge itself says so.
    ready.fake.token("plain", "orch-2", true);
    assert_eq!(reviewed(&client_with(&ready.fake, "plain")).await, "green");
    ready.fake.without_officials();
    ready.fake.review(REPOSITORY, number, "bob", "REQUEST_CHANGES");
    assert_eq!(reviewed(&client_with(&ready.fake, "plain")).await, "green");
    assert_eq!(reviewed(&ready.gitea).await, "red");
}

#[actix_rt::test]
async fn a_comment_is_left_once_however_often_and_whatever_became_of_the_answers() {
    let ready = ready().await;
    let comment = async |cause: &str| {
        let new = NewComment {
            number: ready.number,
            cause,
            author: "orch",
            body: "merged into main",
        };
        ready.gitea.comment(&new, NOW).await
    };
    comment("c-1").await.unwrap();
    comment("c-1").await.unwrap();
    ready.fake.slow(1, Duration::ZERO);
    ready.fake.drop_answer(1);
    assert!(comment("c-2").await.is_err());
    comment("c-2").await.unwrap();
    ready.fake.slow(1, Duration::ZERO);
    ready.fake.half_answer(1);
    drop(comment("c-3").await);
    comment("c-3").await.unwrap();
    let left = ready
        .fake
        .comments(REPOSITORY, u64::try_from(ready.number).unwrap());
    assert_eq!(left.len(), 3, "{left:?}");
    assert!(left[1].starts_with("<!-- orch c-2 -->\n**orch**\n"), "{left:?}");
}

#[actix_rt::test]
async fn a_merge_moves_main_to_exactly_the_head_and_is_asked_for_once() {
    let ready = ready().await;
    let number = ready.number;
    assert_eq!(before(&ready).await, Merging::Ready);
    let sent = ready
        .gitea
        .merge(number, (&ready.head, MergeStyle::FastForward), NOW)
        .await;
    assert!(
        matches!(&sent, Ok(Sent::Merged(pull)) if pull.merged.as_ref() == Some(&ready.head)),
        "{sent:?}"
    );
    assert_eq!(ready.fake.head(REPOSITORY, "main").unwrap(), ready.head.as_str());
    assert_eq!(before(&ready).await, Merging::Already);
    let body = ready
        .fake
        .seen()
        .iter()
        .find(|s| s.path.ends_with("/merge"))
        .unwrap()
        .body
        .to_string();
    assert!(
        body.contains("fast-forward-only") && body.contains(ready.head.as_str()),
        "{body}"
    );
    // What is merged needs no other one.
    assert_eq!(ensure(&ready.gitea).await, Ok(Ensured::NothingToMerge));
    // Asked again all the same, it is known by the pull request and not by the refusal.
    let sent = ready
        .gitea
        .merge(number, (&ready.head, MergeStyle::FastForward), NOW)
        .await;
    assert!(
        matches!(&sent, Ok(Sent::Merged(pull)) if pull.merged.as_ref() == Some(&ready.head)),
        "{sent:?}"
    );
}

#[actix_rt::test]
async fn a_merge_without_an_answer_is_asked_about_before_it_is_sent_again() {
    for done in [true, false] {
        let ready = ready().await;
        match done {
            true => ready.fake.drop_answer(1),
            false => ready.fake.drop_connection(1),
        }
        let sent = ready
            .gitea
            .merge(ready.number, (&ready.head, MergeStyle::FastForward), NOW)
            .await
            .unwrap();
        let n = ready.number;
        assert_eq!(
            ready.fake.take_seen(),
            [format!("POST pulls/{n}/merge -"), format!("GET pulls/{n} 200")]
        );
        match done {
            true => assert!(matches!(sent, Sent::Merged(_)), "{sent:?}"),
            false => assert!(
                matches!(&sent, Sent::NotNow { why } if why.contains("/merge")),
                "{sent:?}"
            ),
        }
    }
}

#[actix_rt::test]
async fn every_documented_refusal_of_a_merge_means_something_of_its_own() {
    let words = |sent: Sent| match sent {
        Sent::NotNow { why } => format!("not now: {why}"),
        Sent::Stale { why } => format!("stale: {why}"),
        Sent::Closed => "closed".to_owned(),
        Sent::Merged(_) => "merged".to_owned(),
    };
    let number = |ready: &Ready| u64::try_from(ready.number).unwrap();
    let ask = async |ready: &Ready, head: &Sha| {
        let sent = ready
            .gitea
            .merge(ready.number, (head, MergeStyle::FastForward), NOW)
            .await;
        sent.map_or_else(|e| format!("error: {e}"), words)
    };
    let r = ready().await;
    r.fake.checking(REPOSITORY, 1);
    assert_eq!(ask(&r, &r.head).await, "not now: Please try again later");
    r.fake.rename_pull(REPOSITORY, number(&r), "WIP: Search");
    assert_eq!(
        ask(&r, &r.head).await,
        "not now: Work in progress PRs cannot be merged"
    );
    r.fake.rename_pull(REPOSITORY, number(&r), "Search");
    r.fake.allow_fast_forward(REPOSITORY, false);
    assert_eq!(
        ask(&r, &r.head).await,
        "not now: fast-forward-only is not allowed an allowed merge style for this repository"
    );
    r.fake.allow_fast_forward(REPOSITORY, true);
    r.fake.archive(REPOSITORY, true);
    assert_eq!(ask(&r, &r.head).await, "not now: the repository is archived");
    r.fake.archive(REPOSITORY, false);
    r.fake.fail_next(1, 500);
    assert_eq!(ask(&r, &r.head).await, "not now: trouble");
    r.fake.fail_next(1, 201);
    assert_eq!(
        ask(&r, &r.head).await,
        "not now: Gitea put the merge off until all checks have passed"
    );
    assert_eq!(ask(&r, &r.main).await, "stale: head out of date");
    r.fake.revoke(TOKEN);
    assert!(ask(&r, &r.head).await.contains("gitea.token"));
    assert_eq!(
        r.fake.head(REPOSITORY, "main").unwrap(),
        r.main.as_str(),
        "nothing was changed"
    );

    let r = ready().await;
    r.fake.commit(REPOSITORY, "main", &[("other", "1\n")]);
    assert_eq!(
        ask(&r, &r.head).await,
        "stale: fatal: Not possible to fast-forward, aborting."
    );
    assert!(matches!(before(&r).await, Merging::Stale { found: Some(_) }));

    let r = ready().await;
    r.fake.close(REPOSITORY, number(&r));
    assert_eq!(ask(&r, &r.head).await, "closed");
    assert_eq!(before(&r).await, Merging::Closed);

    let r = ready().await;
    r.fake.retarget(REPOSITORY, number(&r), "develop");
    assert!(matches!(before(&r).await, Merging::Elsewhere { base } if base == "develop"));

    // As one commit of its own: main has the change, and not the head.
    let r = ready().await;
    r.fake.squash(REPOSITORY, number(&r));
    let squashed = sha(&r.fake.head(REPOSITORY, "main").unwrap());
    // The branch goes on: Gitea tells of that, and only git of what was merged.
    let later = sha(&r.fake.commit(REPOSITORY, "feature/x", &[("a", "2\n")]));
    match before(&r).await {
        Merging::Merged(pull) => assert_eq!((pull.head, pull.merged), (Some(later), Some(squashed))),
        other => unreachable!("{other:?}"),
    }
    let room = tempfile::tempdir().unwrap();
    let origin = Origin::of(
        &r.fake.clone_url(REPOSITORY),
        &super::settings(&r.fake.url, TOKEN),
    );
    let clone =
        Repository::open_or_clone(&room.path().join("clone.git"), origin.unwrap(), &branch("main")).unwrap();
    assert_eq!(clone.pull_head(r.number).unwrap(), Some(r.head));
    assert_eq!(clone.pull_head(r.number + 1).unwrap(), None);
}

#[actix_rt::test]
async fn an_error_says_where_what_and_which_setting_and_never_the_token() {
    let fake = FakeGitea::new();
    let missing = branch("feature/none");
    let path = format!("{}/api/v1/repos/acme/shop", fake.url);
    let said = async |gitea: &Gitea| gitea.about(NOW).await.unwrap_err().to_string();
    let wrong = client_with(&fake, "a-wrong-token");
    assert_eq!(
        said(&wrong).await,
        format!(
            "{path} answered HTTP 401: the access token in gitea.token is wrong or has no right to this; set another one \
             (invalid username, password or token)"
        )
    );
    assert!(!format!("{wrong:?}").contains("a-wrong-token"));
    let gitea = client(&fake);
    assert_eq!(gitea.branch_head(&missing, NOW).await.unwrap(), None);
    fake.fail_next(1, 502);
    assert_eq!(said(&gitea).await, format!("{path} answered HTTP 502: trouble"));
    fake.half_answer(1);
    let half = gitea.about(NOW).await;
    assert!(matches!(half, Err(GiteaError::Unanswered { .. })), "{half:?}");
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let name = orch::domain::forge::RepositoryName::of(&fake.url, &fake.clone_url(REPOSITORY)).unwrap();
    let nobody = super::settings(&format!("http://{free}"), TOKEN);
    let nobody = Gitea::of(&nobody, &name).unwrap();
    assert!(said(&nobody).await.contains("cannot be reached"));
    let elsewhere = FakeGitea::new();
    elsewhere.repository("acme/other");
    let other = orch::domain::forge::RepositoryName::of(&elsewhere.url, &elsewhere.clone_url("acme/none"));
    let other = Gitea::of(&super::settings(&elsewhere.url, TOKEN), &other.unwrap()).unwrap();
    assert!(said(&other).await.contains("check the project's repo"));
}

#[actix_rt::test]
async fn an_ancestor_is_told_from_what_is_not() {
    let ready = ready().await;
    let contains = async |of: &Sha, commit: &Sha| ready.gitea.contains(of, commit, NOW).await.unwrap();
    assert!(contains(&ready.head, &ready.main).await);
    assert!(contains(&ready.main, &ready.main).await);
    assert!(!contains(&ready.main, &ready.head).await);
}

#[actix_rt::test]
async fn a_branch_of_the_same_name_in_a_fork_is_not_taken_for_ours() {
    let fake = FakeGitea::new();
    fake.commit(REPOSITORY, "feature/x", &[("a", "1\n")]);
    let theirs = fake.open_pull_from_fork(REPOSITORY, "feature/x");
    let ours = opened(ensure(&client(&fake)).await.unwrap());
    assert_ne!(u64::try_from(ours).unwrap(), theirs);
}

#[actix_rt::test]
async fn a_list_that_does_not_end_is_an_error_and_no_answer() {
    let ready = ready().await;
    ready.fake.pages_of(1);
    for n in 0..=100 {
        let context = format!("ci/{n}");
        ready
            .fake
            .status(REPOSITORY, ready.head.as_str(), &context, "success");
    }
    ready.fake.take_seen();
    let said = ready.gitea.statuses(&ready.head, NOW).await;
    let why = said.unwrap_err().to_string();
    assert!(why.contains("stops after 100 of its entries"), "{why}");
    assert_eq!(ready.fake.take_seen().len(), 100);
}
