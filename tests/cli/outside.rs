//! What `orch init` sets up at Gitea and for Plane, and what `orch doctor` finds there.

use serde_json::{Value, json};

use super::Orch;
use crate::support::fake_gitea::{self, FakeGitea};
use crate::support::fake_plane::{FakePlane, KEY, PROJECT, WORKSPACE};

fn orch(plane: &FakePlane, gitea: &FakeGitea) -> Orch {
    Orch::new()
        .env("ORCH_PLANE_URL", &plane.url)
        .env("ORCH_PLANE_API_TOKEN", KEY)
        .env("ORCH_PLANE_WORKSPACE", WORKSPACE)
        .env("ORCH_GITEA_URL", &gitea.url)
        .env("ORCH_GITEA_TOKEN", fake_gitea::TOKEN)
        .env("ORCH_GITEA_WEBHOOK_SECRET", "of-the-webhook")
}

const INIT: [&str; 7] = [
    "init",
    "--gitea",
    "acme/shop",
    "--plane",
    PROJECT,
    "--webhook-to",
    "https://orch.example.org/",
];

fn init(orch: &Orch, more: &[&str]) -> super::Ended {
    orch.run(&[&INIT[..], &["--test", "true"], more, &["--agent-command", "true"]].concat())
}

fn made(gitea: &FakeGitea) -> Vec<Value> {
    let asked = gitea.seen().into_iter();
    asked
        .filter(|s| s.method == "POST" && s.path.ends_with("/hooks"))
        .map(|s| s.body)
        .collect()
}

/// What `doctor` says of this, one line each.
fn doctor(orch: &Orch, about: &str) -> Vec<String> {
    let checks = orch.run(&["doctor", "--json"]).json();
    let all = checks.as_array().unwrap().iter();
    let ours = all.filter(|c| c["check"].as_str().unwrap().contains(about));
    ours.map(|c| {
        format!(
            "{}: {}",
            c["state"].as_str().unwrap(),
            c["found"].as_str().unwrap()
        )
    })
    .collect()
}

#[test]
fn a_project_is_set_up_at_gitea_and_in_plane_and_its_webhook_is_made_once() {
    let (plane, gitea) = (FakePlane::new(), FakeGitea::new());
    let orch = orch(&plane, &gitea);
    let ended = init(&orch, &[]);
    assert_eq!((ended.code, ended.err.as_str()), (0, ""));
    assert!(ended.out.contains("is told what happens there"), "{}", ended.out);
    let file = std::fs::read_to_string(orch.path().join("data/projects/shop.toml")).unwrap();
    let project: toml::Table = toml::from_str(&file).unwrap();
    assert_eq!(project["plane_project"].as_str(), Some(PROJECT));
    assert_eq!(
        project["repo"].as_str(),
        Some(format!("{}/acme/shop.git", gitea.url).as_str())
    );
    let hooks = made(&gitea);
    assert_eq!(
        hooks[0]["config"],
        json!({"url": "https://orch.example.org/webhook/gitea", "content_type": "json", "secret": "of-the-webhook"})
    );
    for event in ["push", "pull_request", "status"] {
        assert!(
            hooks[0]["events"].as_array().unwrap().contains(&json!(event)),
            "{event}"
        );
    }
    let again = init(&orch, &["--name", "other"]);
    assert!(
        again
            .out
            .contains("there is one to https://orch.example.org/webhook/gitea already"),
        "{}",
        again.out
    );
    assert_eq!(made(&gitea).len(), 1);
    assert!(!again.out.contains("of-the-webhook") && !file.contains("of-the-webhook"));
}

#[test]
fn what_cannot_be_set_up_is_said_before_anything_is() {
    let (plane, gitea) = (FakePlane::new(), FakeGitea::new());
    let whole = || orch(&plane, &gitea);
    let table = [
        (whole().env("ORCH_GITEA_URL", ""), &[][..], "gitea.url"),
        (
            whole().env("ORCH_GITEA_WEBHOOK_SECRET", ""),
            &[],
            "gitea.webhook_secret",
        ),
        (whole().env("ORCH_PLANE_WORKSPACE", ""), &[], "plane.workspace"),
        (whole(), &["--plane", "shop"], "plane_project"),
        (whole(), &["--webhook-to", "orch.example.org"], "--webhook-to"),
    ];
    for (orch, more, says) in table {
        let args: Vec<&str> = match more {
            [option, value] => INIT
                .iter()
                .enumerate()
                .map(|(n, word)| {
                    if n > 0 && INIT[n - 1] == *option {
                        *value
                    } else {
                        *word
                    }
                })
                .collect(),
            _ => INIT.to_vec(),
        };
        let ended = orch.run(&[&args[..], &["--agent-command", "true"]].concat());
        assert_eq!((ended.code, ended.out.as_str()), (2, ""), "{says}: {}", ended.err);
        assert!(
            ended.err.contains(says) && ended.err.trim_end().lines().count() == 1,
            "{}",
            ended.err
        );
        assert!(!orch.path().join("data/projects/shop.toml").exists());
    }
    assert_eq!(made(&gitea), [Value::Null; 0]);
}

#[test]
fn a_webhook_that_gitea_refuses_is_told_and_the_project_is_there() {
    let (plane, gitea) = (FakePlane::new(), FakeGitea::new());
    gitea.token("of-a-guest", "guest", true);
    let orch = orch(&plane, &gitea).env("ORCH_GITEA_TOKEN", "of-a-guest");
    let ended = init(&orch, &[]);
    assert_ne!(ended.code, 0);
    assert!(
        ended.err.contains("its webhook was not made") && ended.err.contains("gitea.token"),
        "{}",
        ended.err
    );
    assert!(orch.path().join("data/projects/shop.toml").exists());
}

#[test]
fn doctor_says_what_a_board_lacks_and_what_does_not_work_without_it() {
    let (plane, gitea) = (FakePlane::new(), FakeGitea::new());
    let mut orch = orch(&plane, &gitea).env("ORCH_PLANE_WEBHOOK_SECRET", "s");
    init(&orch, &[]);
    assert_eq!(
        doctor(&orch, "plane"),
        [
            "ok: its board has all 10 states",
            "ok: see that the workspace has a webhook for issues to <Orch's address>/webhook/plane, and that Plane may reach \
             it (WEBHOOK_ALLOWED_HOSTS): its API does not tell"
        ]
    );
    plane.rename_state(PROJECT, "Confirm Deploy", "Ship it");
    let found = doctor(&orch, "plane");
    assert!(
        found[0].starts_with(
            "warn: its board has no state \"Confirm Deploy\": nobody can confirm a deploy from the board"
        ),
        "{found:?}"
    );
    orch = orch
        .env("ORCH_PLANE_TOKEN_REVIEWER", "wrong")
        .env("ORCH_PLANE_WEBHOOK_SECRET", "");
    let found = doctor(&orch, "plane");
    assert!(
        found[0].starts_with("fail: ") && found[0].contains("plane.token_reviewer"),
        "{found:?}"
    );
    assert!(
        found[2].starts_with("warn: plane.webhook_secret is not set"),
        "{found:?}"
    );
    orch = orch.env("ORCH_PLANE_API_TOKEN", "also-wrong");
    let found = doctor(&orch, "plane");
    assert!(
        found.len() == 1 && found[0].contains("plane.api_token") && !found[0].contains("also-wrong"),
        "{found:?}"
    );
}
