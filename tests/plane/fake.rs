//! The fake Plane, held against what the real one was seen to answer and to send.

use orch::domain::webhook::Said;
use orch::domain::webhook::plane::{IssueChange, parse};
use serde_json::Value;

use crate::support::courier::Repeated as _;
use crate::support::fake_plane::{FakePlane, Mail, PROJECT, Post, Version, unreliable};

/// What a delivery shows: the state's id, or its name, and since when.
fn shows(mail: &Mail) -> String {
    match parse(&mail.body).unwrap() {
        Said::Event(event) => match event.what {
            IssueChange::Stands(issue) => issue.state_id.unwrap(),
            IssueChange::Gone => "gone".into(),
        },
        other => format!("{other:?}"),
    }
}

#[test]
fn a_move_by_hand_is_told_once_and_the_same_state_again_is_not() {
    for version in [Version::First, Version::Second] {
        let plane = FakePlane::new();
        plane.webhooks(version, "hush");
        let issue = plane.issue(PROJECT, "Search");
        plane.drag(&issue, "In Progress", "dev");
        plane.drag(&issue, "In Progress", "dev");
        let mail = plane.mail();
        let todo = plane.state_id(PROJECT, "Todo");
        let progress = plane.state_id(PROJECT, "In Progress");
        assert_eq!(
            mail.iter().map(shows).collect::<Vec<_>>(),
            [todo, progress],
            "{version:?}"
        );
        assert_eq!(plane.mail(), [], "told once");
    }
}

#[test]
fn a_further_attempt_has_the_identical_body_and_another_name() {
    let plane = FakePlane::new();
    plane.issue(PROJECT, "Search");
    let mail = plane.mail().remove(0);
    let again = mail.again();
    assert_eq!((&mail.body, &mail.signature), (&again.body, &again.signature));
    assert_ne!(mail.delivery, again.delivery);
    let body: Value = serde_json::from_slice(&mail.body).unwrap();
    for key in [
        "event",
        "action",
        "webhook_id",
        "workspace_id",
        "data",
        "activity",
    ] {
        assert!(body.get(key).is_some(), "{key}");
    }
}

#[test]
fn a_post_that_may_not_be_trusted_does_the_same_for_the_same_seed() {
    let plane = FakePlane::new();
    for n in 0..40 {
        plane.issue(PROJECT, &format!("n{n}"));
    }
    let mail = plane.mail();
    let post = |lose, repeat, delay, shuffle| Post {
        lose,
        repeat,
        delay,
        shuffle,
    };
    let of = |post, seed| unreliable(mail.clone(), post, seed);
    assert_eq!(of(Post::default(), 1), mail);
    assert!(of(post(30, 0, 0, false), 1).len() < 40);
    assert!(of(post(0, 30, 0, false), 1).len() > 40);
    for shaken in [post(0, 0, 50, false), post(0, 0, 0, true)] {
        let arrived = of(shaken, 7);
        assert_ne!(arrived, mail);
        assert_eq!(arrived.len(), 40);
        assert_eq!(arrived, of(shaken, 7));
        assert_ne!(arrived, of(shaken, 8));
    }
}
