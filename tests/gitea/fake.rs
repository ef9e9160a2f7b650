//! The fake Gitea, held against what the real one is documented to answer and to send.

use std::path::Path;
use std::process::{Command, Output};

use orch::domain::webhook::Said;
use orch::domain::webhook::forge::{Happened, PullRequestChange, parse};
use serde_json::{Value, json};

use crate::support::courier::{Post, Repeated as _, signature, unreliable};
use crate::support::fake_gitea::{FakeGitea, Flavour, Mail, REPOSITORY, TOKEN};

/// git as a person runs it, with a password or without.
fn git(dir: &Path, header: &str, args: &[&str]) -> Output {
    Command::new("git")
        .args([
            "-c",
            "credential.helper=",
            "-c",
            &format!("http.extraHeader={header}"),
        ])
        .args(["-c", "user.name=p", "-c", "user.email=p@example.invalid"])
        .arg("-C")
        .arg(dir)
        .args(args)
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .output()
        .unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// What a delivery says, by the eyes of the service.
fn shows(mail: &Mail) -> String {
    let headers = mail.headers();
    let of = |name| headers.iter().find(|(n, _)| *n == name).unwrap().1.clone();
    match parse(&of("X-Gitea-Event"), &of("X-Gitea-Event-Type"), &mail.body).unwrap() {
        Said::Event(event) => match event.what {
            Happened::Pushed { branch, head } => {
                format!(
                    "{branch} at {}",
                    head.map_or("-".into(), |h| h.short().to_owned())
                )
            }
            Happened::PullRequest { number, change, .. } => format!("#{number} {change:?}"),
            Happened::Checked { head, .. } => format!("checked {}", head.short()),
        },
        other => format!("{other:?}"),
    }
}

#[test]
fn git_is_served_over_http_to_whoever_has_a_token() {
    let gitea = FakeGitea::new();
    let room = tempfile::tempdir().unwrap();
    let url = gitea.clone_url(REPOSITORY);
    let header = format!("Authorization: token {TOKEN}");
    let cloned = git(room.path(), &header, &["clone", "-q", &url, "c"]);
    assert!(cloned.status.success(), "{}", said(&cloned));
    let clone = room.path().join("c");
    // More than git sends in one piece: it comes in chunks, after an answer that asks for them.
    std::fs::write(clone.join("big"), incompressible(3 << 20)).unwrap();
    for args in [
        &["add", "."][..],
        &["commit", "-qm", "big"],
        &["push", "-q", "origin", "HEAD:refs/heads/feature/x"],
    ] {
        let done = git(&clone, &header, args);
        assert!(done.status.success(), "{args:?}: {}", said(&done));
    }
    let head = gitea.head(REPOSITORY, "feature/x").unwrap();
    assert_eq!(
        gitea.mail().iter().map(shows).collect::<Vec<_>>(),
        [format!("feature/x at {}", &head[..10])]
    );

    for header in ["Authorization: token wrong", "X-Nothing: x"] {
        let refused = git(&clone, header, &["fetch", "-q"]);
        assert!(
            said(&refused).contains("could not read Username"),
            "{}",
            said(&refused)
        );
    }
    gitea.token("reads-only", "reader", false);
    let refused = git(
        &clone,
        "Authorization: token reads-only",
        &["push", "-q", "origin", "HEAD:main"],
    );
    assert!(said(&refused).contains("403"), "{}", said(&refused));
    assert!(
        git(&clone, "Authorization: token reads-only", &["fetch", "-q"])
            .status
            .success()
    );
}

fn incompressible(bytes: usize) -> Vec<u8> {
    let mut dice = crate::support::courier::Dice::new(7);
    (0..bytes)
        .map(|_| u8::try_from(dice.below(256)).unwrap())
        .collect()
}

#[test]
fn what_happens_is_told_in_order_and_signed() {
    for flavour in [Flavour::Gitea, Flavour::Gitea123, Flavour::Forgejo] {
        let gitea = FakeGitea::new();
        gitea.webhooks(flavour, "hush");
        let first = gitea.commit(REPOSITORY, "feature/x", &[("a", "1\n")]);
        let number = gitea.open_pull(REPOSITORY, "feature/x");
        let second = gitea.commit(REPOSITORY, "feature/x", &[("a", "2\n")]);
        gitea.status(REPOSITORY, &second, "ci/test", "success");
        gitea.workflow_run(REPOSITORY, "feature/x", "failure");
        gitea.review(REPOSITORY, number, "ada", "APPROVED");
        gitea.close(REPOSITORY, number);
        let mail = gitea.mail();
        let short = |sha: &str| sha[..10].to_owned();
        assert_eq!(
            mail.iter().map(shows).collect::<Vec<_>>(),
            [
                format!("feature/x at {}", short(&first)),
                format!("#{number} {:?}", PullRequestChange::Opened),
                format!("feature/x at {}", short(&second)),
                format!("#{number} {:?}", PullRequestChange::Synchronized),
                format!("checked {}", short(&second)),
                format!("checked {}", short(&second)),
                format!("#{number} {:?}", PullRequestChange::Reviewed),
                format!("#{number} {:?}", PullRequestChange::Closed),
            ],
            "{flavour:?}"
        );
        assert!(mail.iter().all(|m| m.signature == signature("hush", &m.body)));
        assert_eq!(gitea.mail(), [], "told once");
        let again = mail[0].again();
        assert_eq!(
            (&again.body, &again.signature),
            (&mail[0].body, &mail[0].signature)
        );
        assert_ne!(again.delivery, mail[0].delivery);
        let shaken = unreliable(
            mail.clone(),
            Post {
                shuffle: true,
                ..Post::default()
            },
            3,
        );
        assert_ne!(shaken, mail);
    }
}

#[test]
fn a_status_has_another_name_in_a_list_than_in_a_webhook() {
    let gitea = FakeGitea::new();
    let head = gitea.commit(REPOSITORY, "feature/x", &[("a", "1\n")]);
    gitea.mail();
    gitea.status(REPOSITORY, &head, "ci/test", "failure");
    let body: Value = serde_json::from_slice(&gitea.mail()[0].body).unwrap();
    assert_eq!(
        (&body["state"], &body["status"]),
        (&json!("failure"), &Value::Null)
    );
}
