//! A task of the built-in tracker walks to done in a project at Gitea: the real service, git over HTTP, CI and merges there.

use std::path::Path;

use orch::engine::views::TaskDetail;

use super::TOKEN;
use crate::support::fake_gitea::{FakeGitea, REPOSITORY};
use crate::support::{Project, Setup, TestService, snapshot};

/// CI's word before the review, the merge after it.
const STAGES: &str = r#"
[[stage]]
name = "development"
role = "developer"
gates = ["ci_green"]

[[stage]]
name = "review"
role = "reviewer"
gates = ["reviewer_verdict", "branch_mergeable"]
rollback_to = "development"

[[stage]]
name = "done"
"#;

fn project(fake: &FakeGitea) -> Project {
    Project::at("shop", Path::new(&fake.clone_url(REPOSITORY))).top("test_command = \"sh check.sh\"")
}

fn setup(fake: &FakeGitea, project: Project) -> Setup {
    Setup::new()
        .set("gitea.url", fake.url.clone())
        .env("ORCH_GITEA_TOKEN", TOKEN)
        .project(project)
}

fn waits_in(stage: &'static str) -> impl Fn(&TaskDetail) -> bool {
    move |d| d.task.stage == stage && d.task.status == "waiting_human"
}

/// The requests to merge that Gitea itself took.
fn merges(fake: &FakeGitea) -> usize {
    let asked = fake.seen().into_iter();
    asked
        .filter(|s| s.path.ends_with("/merge") && s.status == Some(200))
        .count()
}

/// The notices are delivered beside the walk.
fn until(service: &TestService, what: &str, condition: impl Fn() -> bool) {
    let deadline = std::time::Instant::now() + crate::support::PATIENCE;
    while !condition() {
        assert!(
            std::time::Instant::now() < deadline,
            "waited in vain until {what}\n{}",
            service.log()
        );
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

#[test]
fn a_task_walks_the_default_pipeline_with_one_pull_request_and_one_merge_of_its_candidate() {
    let fake = FakeGitea::new();
    fake.ci(Some("success"));
    let mut service = setup(&fake, project(&fake)).start();
    let id = service.add("Write it");
    service.wait_task(&id, "waits for its approval", waits_in("analysis"));
    service.cli_ok(&["task", "approve", &id]);
    let asked = service.wait_task(&id, "asks for Confirm Deploy", waits_in("deploy"));
    let candidate = asked.task.candidate.clone().unwrap();
    until(&service, "the pull request is open", || {
        fake.pulls(REPOSITORY).len() == 1
    });
    assert_eq!(merges(&fake), 0, "merged before a person confirmed it");
    service.cli_ok(&["task", "confirm-deploy", &id]);
    service.wait_status(&id, "done");
    assert_eq!(fake.head(REPOSITORY, "main").unwrap(), candidate);
    let pulls = fake.pulls(REPOSITORY);
    assert_eq!((pulls.len(), merges(&fake)), (1, 1));
    assert_eq!(
        (&pulls[0]["merged"], &pulls[0]["head"]["sha"]),
        (&true.into(), &candidate.clone().into())
    );
    let number = pulls[0]["number"].as_u64().unwrap();
    until(&service, "the merge is told", || {
        fake.comments(REPOSITORY, number).len() == 1
    });
    // Neither the files of the service, nor its log, nor what an agent saw.
    for (path, content) in snapshot(service.home()) {
        let text = String::from_utf8_lossy(&content);
        assert!(!text.contains(TOKEN), "the token is in {}", path.display());
    }
}

#[test]
fn a_gitea_of_which_every_tenth_answer_is_wrong_loses_and_doubles_nothing() {
    for seed in [7, 11] {
        let fake = FakeGitea::new();
        fake.ci(Some("success"));
        fake.failing(10, seed);
        let setup = setup(&fake, project(&fake).then(STAGES)).set("max_concurrency", 3);
        let mut service = setup.start();
        let ids: Vec<_> = (0..4).map(|n| service.add(&format!("Write {n}"))).collect();
        let candidates: Vec<_> = ids
            .iter()
            .map(|id| service.wait_status(id, "done").task.candidate.unwrap())
            .collect();
        fake.failing(0, seed);
        let pulls = fake.pulls(REPOSITORY);
        assert_eq!(pulls.len(), 4, "{pulls:#?}");
        assert!(pulls.iter().all(|p| p["merged"] == true));
        let log = fake.log(REPOSITORY);
        assert!(
            candidates.iter().all(|candidate| log.contains(candidate)),
            "{candidates:?} {log:?}"
        );
        let told = |p: &serde_json::Value| fake.comments(REPOSITORY, p["number"].as_u64().unwrap()).len();
        assert!(pulls.iter().all(|p| told(p) <= 1), "told twice");
        assert!(
            fake.failed() >= 3,
            "{} of {} went wrong",
            fake.failed(),
            fake.seen().len()
        );
    }
}

#[test]
fn the_doctor_says_what_a_repository_at_gitea_lacks() {
    let fake = FakeGitea::new();
    let mut service = setup(&fake, project(&fake))
        .env("ORCH_GITEA_WEBHOOK_SECRET", "hush")
        .prepare();
    let doctor = |service: &TestService| {
        let said = String::from_utf8(service.cli(&["doctor", "--json"]).stdout).unwrap();
        let checks: Vec<serde_json::Value> = serde_json::from_str(&said).unwrap();
        let ours = checks
            .iter()
            .filter(|c| c["check"].as_str().unwrap().contains("gitea"));
        let line = |c: &serde_json::Value| {
            format!(
                "{} {}",
                c["state"].as_str().unwrap(),
                c["found"].as_str().unwrap()
            )
        };
        ours.map(line).collect::<Vec<_>>()
    };
    let found = doctor(&service);
    assert_eq!(
        found[0],
        "ok acme/shop at version 1.25.1: may be pushed to and merged"
    );
    assert!(
        found[1].starts_with("warn there is none: add one to <Orch's address>/webhook/gitea"),
        "{found:?}"
    );
    fake.hook(REPOSITORY, "https://orch/webhook/gitea", "form", &["push"]);
    assert!(doctor(&service)[1].contains("content type is not application/json"));
    fake.hook(REPOSITORY, "https://orch/webhook/gitea", "json", &["push"]);
    assert_eq!(
        doctor(&service)[1],
        "warn it does not tell these events: pull_request, status (workflow_run, or action_run_success and action_run_failure, \
         would do for status)"
    );
    for runs in [
        &["workflow_run"][..],
        &["action_run_success", "action_run_failure"],
    ] {
        let events = [&["push", "pull_request"], runs].concat();
        fake.hook(REPOSITORY, "https://orch/webhook/gitea", "json", &events);
        assert_eq!(doctor(&service)[1], "ok tells https://orch/webhook/gitea");
    }
    fake.hook(
        REPOSITORY,
        "https://orch/webhook/gitea",
        "json",
        &["push", "pull_request", "action_run_success"],
    );
    assert!(doctor(&service)[1].starts_with("warn it does not tell these events: status"));
    fake.hook(
        REPOSITORY,
        "https://orch/webhook/gitea",
        "json",
        &["push", "pull_request", "status"],
    );
    assert_eq!(doctor(&service)[1], "ok tells https://orch/webhook/gitea");
    fake.allow_fast_forward(REPOSITORY, false);
    assert!(doctor(&service)[0].starts_with("fail acme/shop: it does not allow fast-forward only merges"));
    fake.token("reads-only", "reader", false);
    service.set_env("ORCH_GITEA_TOKEN", "reads-only");
    let found = doctor(&service);
    assert!(
        found[0].contains("may not push there") && found[1].contains("cannot be looked at"),
        "{found:?}"
    );
    service.set_env("ORCH_GITEA_TOKEN", "wrong");
    let found = doctor(&service);
    assert!(
        found.len() == 1 && found[0].starts_with("fail ") && found[0].contains("gitea.token"),
        "{found:?}"
    );
}
