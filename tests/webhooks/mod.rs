//! Deliveries over a real socket: who is let in, what is kept, and that it is kept once and not lost.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Instant;

use orch::engine::views::{DeliveryDetail, DeliveryView};
use serde_json::{Value, json};

use crate::support::{PATIENCE, Post, Postgres, SECRET, Setup, TestService, sign};

const HEAD: &str = "d555a5dd07f4d0148a58d4686ec381502ae6a2d4";

fn setup() -> Setup {
    Setup::new()
        .env("ORCH_PLANE_WEBHOOK_SECRET", SECRET)
        .env("ORCH_GITEA_WEBHOOK_SECRET", SECRET)
}

fn issue(id: &str) -> Vec<u8> {
    json!({
        "event": "issue", "action": "updated",
        "data": {"id": id, "name": "Fix it", "project": "p-1", "state": {"id": "s", "name": "In Progress"}},
        "activity": {"field": "state", "actor": {"display_name": "dev"}}
    })
    .to_string()
    .into_bytes()
}

fn listed(service: &TestService) -> Vec<DeliveryView> {
    service.api().get("/api/v1/inbox").ok()
}

/// Waits until nothing is to be applied any more.
fn settled(service: &TestService, count: usize) -> Vec<DeliveryView> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let found = listed(service);
        if found.len() == count && found.iter().all(|d| d.status != "pending") {
            return found;
        }
        assert!(Instant::now() < deadline, "{found:?}");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}

#[test]
fn a_signed_delivery_is_kept_answered_with_its_number_and_applied() {
    let service = setup().start();
    let answer = Post::plane("d-1", &issue("i-1")).send(&service);
    assert_eq!(answer.status, 202, "{}", answer.text());
    let said: Value = answer.json();
    assert_eq!(said["duplicate"], false);
    let found = settled(&service, 1);
    assert_eq!(said["id"], found[0].id);
    assert_eq!(
        (found[0].source.as_str(), found[0].status.as_str()),
        ("plane", "ignored")
    );
    assert_eq!(
        found[0].outcome.as_deref(),
        Some("no project here has the Plane project p-1")
    );
    let path = format!("/api/v1/inbox/{}", found[0].id);
    let whole: DeliveryDetail = service.api().get(&path).ok();
    assert_eq!(whole.body.as_bytes(), issue("i-1"));
    let body = json!({"sha": HEAD, "repository": {"full_name": "team/app"}}).to_string();
    assert_eq!(
        Post::forge("d-1", "status", body.as_bytes())
            .send(&service)
            .status,
        202
    );
    let found = settled(&service, 2);
    assert_eq!(
        found[0].outcome.as_deref(),
        Some("no project here has the repository team/app")
    );
}

#[test]
fn who_has_no_right_signature_is_refused_and_nothing_is_kept() {
    let service = setup().start();
    let body = issue("i-1");
    let good = sign(&body);
    let mut flipped = body.clone();
    *flipped.last_mut().unwrap() ^= 1;
    let wrong: [(&str, Option<String>); 9] = [
        ("missing", None),
        ("empty", Some(String::new())),
        ("another", Some(sign(b"something else"))),
        ("upper case", Some(good.to_uppercase())),
        ("prefixed", Some(format!("sha256={good}"))),
        ("short", Some(good[..62].to_owned())),
        ("long", Some(format!("{good}00"))),
        ("no hex", Some("g".repeat(64))),
        ("of one byte that was flipped", Some(sign(&flipped))),
    ];
    for (what, signature) in wrong {
        let post = Post::plane("d-1", &body).header("X-Plane-Signature", signature.clone());
        assert_eq!(post.send(&service).status, 401, "plane: {what}");
        let post = Post::forge("d-1", "push", &body).header("X-Gitea-Signature", signature);
        assert_eq!(post.send(&service).status, 401, "gitea: {what}");
    }
    assert_eq!(listed(&service), []);
    assert_eq!(Post::plane("d-1", &body).send(&service).status, 202);
    // Forgejo's own header, too.
    let body = json!({"ref": "refs/tags/v1", "after": HEAD})
        .to_string()
        .into_bytes();
    let post = Post::forge("d-1", "push", &body)
        .header("X-Gitea-Signature", None)
        .header("X-Forgejo-Signature", Some(sign(&body)));
    assert_eq!(post.send(&service).status, 202);
}

#[test]
fn without_a_secret_nothing_is_let_in() {
    let service = Setup::new().start();
    let body = issue("i-1");
    assert_eq!(Post::plane("d-1", &body).send(&service).status, 401);
    assert_eq!(Post::forge("d-1", "push", &body).send(&service).status, 401);
    assert_eq!(listed(&service), []);
}

#[test]
fn what_is_no_json_or_too_large_is_refused_and_says_what_to_do() {
    let service = setup().start();
    let lone = br#"{"event": "issue", "action": "x\ud800"}"#.to_vec();
    let large = |n: usize| [b"\"".as_slice(), &vec![b'x'; n - 2], b"\""].concat();
    let limit = 1024 * 1024;
    let table: [(&str, Vec<u8>, u16); 8] = [
        ("nothing", Vec::new(), 400),
        ("a form", b"payload=%7B%7D".to_vec(), 400),
        ("half of it", b"{\"event\": ".to_vec(), 400),
        ("no UTF-8", b"\"\xff\"".to_vec(), 400),
        ("deep", [vec![b'['; 100_000], vec![b']'; 100_000]].concat(), 202),
        ("half a character", lone, 202),
        ("as large as may be", large(limit), 202),
        ("one byte more", large(limit + 1), 413),
    ];
    for (what, body, status) in table {
        let answer = Post::plane(what, &body).send(&service);
        assert_eq!(answer.status, status, "{what}: {}", answer.text());
    }
    let found = settled(&service, 3);
    // JSON, but nothing that Plane sends: kept, and told.
    for parked in [&found[0], &found[2]] {
        assert_eq!(parked.status, "parked", "{found:?}");
        assert!(
            parked.outcome.as_deref().unwrap().contains("expected"),
            "{found:?}"
        );
    }
    assert_eq!(found[1].status, "ignored");
}

#[test]
fn a_delivery_that_is_repeated_under_its_name_or_with_its_body_is_kept_once() {
    let service = setup().start();
    let first: Value = Post::plane("d-1", &issue("i-1")).send(&service).ok();
    for again in [
        Post::plane("d-1", &issue("i-1")),
        // As Plane tries again: another name, the same body.
        Post::plane("d-2", &issue("i-1")),
        Post::plane("d-1", &issue("i-2")),
    ] {
        let said: Value = again.send(&service).ok();
        assert_eq!((&said["id"], &said["duplicate"]), (&first["id"], &json!(true)));
    }
    // The other sender's names are its own.
    let other: Value = Post::forge("d-1", "issues", &issue("i-1")).send(&service).ok();
    assert_eq!(other["duplicate"], false);
    assert_eq!(settled(&service, 2).len(), 2);
}

fn a_parked_delivery_is_tried_again(service: &TestService) {
    let body = br#"{"event": "issue", "action": "updated", "data": 7}"#;
    let first: Value = Post::plane("d-1", body).send(service).ok();
    let parked = settled(service, 1);
    assert_eq!((parked[0].status.as_str(), parked[0].attempts), ("parked", 1));
    let why = parked[0].outcome.clone().unwrap();
    assert!(why.starts_with("field `data`: "), "{why}");
    let said: Value = Post::plane("d-2", body).send(service).ok();
    assert_eq!((&said["id"], &said["duplicate"]), (&first["id"], &json!(true)));
    // It is to be applied until it was: parked again.
    assert_eq!(said["again"], true);
    assert_eq!(settled(service, 1)[0].status, "parked");
    let path = format!("/api/v1/inbox/{}/replay", parked[0].id);
    let replayed: DeliveryView = service.api().post(&path, &json!({})).ok();
    assert_eq!((replayed.id, replayed.status.as_str()), (parked[0].id, "pending"));
    assert_eq!(settled(service, 1)[0].status, "parked");
    let refused = service.api().post("/api/v1/inbox/999/replay", &json!({}));
    assert_eq!(refused.status, 404, "{}", refused.text());
    Post::plane("d-3", &issue("i-1")).send(service);
    let ignored = settled(service, 2);
    let path = format!("/api/v1/inbox/{}/replay", ignored[0].id);
    let refused = service.api().post(&path, &json!({}));
    assert_eq!(refused.status, 409, "{}", refused.text());
    assert!(
        refused.text().contains("is ignored, not parked"),
        "{}",
        refused.text()
    );
}

#[test]
fn a_parked_delivery_is_tried_again_when_it_comes_again_or_somebody_asks_on_sqlite() {
    a_parked_delivery_is_tried_again(&setup().start());
}

#[test]
fn a_parked_delivery_is_tried_again_when_it_comes_again_or_somebody_asks_on_postgresql() {
    let Some(database) = Postgres::fresh() else {
        return;
    };
    a_parked_delivery_is_tried_again(&setup().set("database.url", database.url()).start());
}

#[test]
fn what_was_answered_outlives_a_kill_and_is_applied_after_the_next_start() {
    // Off: nothing is applied, all is kept.
    let mut service = setup().set("inbox.enabled", false).start();
    for n in 0..20 {
        let answer = Post::plane(&format!("d-{n}"), &issue(&format!("i-{n}"))).send(&service);
        assert_eq!(answer.status, 202);
    }
    service.kill9();
    service.start();
    let waiting = listed(&service);
    assert_eq!(waiting.iter().filter(|d| d.status == "pending").count(), 20);
    service.stop();
    service.set_env("ORCH_INBOX_ENABLED", "true");
    service.start();
    let settled = settled(&service, 20);
    assert!(
        settled.iter().all(|d| d.status == "ignored" && d.attempts == 1),
        "{settled:?}"
    );
}

/// Resident memory in MiB.
fn memory(pid: i32) -> usize {
    let statm = std::fs::read_to_string(format!("/proc/{pid}/statm")).unwrap();
    let pages: usize = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096 / (1 << 20)
}

#[test]
fn a_flood_of_strangers_takes_no_memory_and_keeps_nobody_else_out() {
    const SENDERS: usize = 8;
    const EACH: usize = 500;
    let service = setup().start();
    // Some without a signature, the others with that of something else, which has to be read to be found wrong.
    let body = json!({ "event": "issue", "padding": "x".repeat(64 * 1024) }).to_string();
    let stranger = |n: usize| {
        let signature = (!n.is_multiple_of(4)).then(|| sign(b"something else"));
        let post = Post::plane("d-0", body.as_bytes()).header("X-Plane-Signature", signature);
        // Refused before all of it was sent, the connection may be closed.
        match post.try_send(&service) {
            Ok(answer) => assert_eq!(answer.status, 401),
            Err(e) => assert!(n.is_multiple_of(4), "{e}"),
        }
    };
    (0..200).for_each(stranger);
    let before = memory(service.pid());
    std::thread::scope(|scope| {
        for _ in 0..SENDERS {
            scope.spawn(|| (0..EACH).for_each(stranger));
        }
        for n in 0..20 {
            let answer = Post::plane(&format!("d-{n}"), &issue(&format!("i-{n}"))).send(&service);
            assert_eq!(answer.status, 202);
        }
    });
    let after = memory(service.pid());
    let sent = SENDERS * EACH * body.len() / (1 << 20);
    assert!(
        after < before + 24,
        "{before} MiB before {sent} MiB were sent, {after} MiB after"
    );
    assert_eq!(settled(&service, 20).len(), 20);
}
