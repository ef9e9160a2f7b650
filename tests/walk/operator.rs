//! What an operator can do: pause, order, hold, choose who works.

use std::os::unix::fs::PermissionsExt;

use orch::engine::views::{AddTask, JobView, TaskView};
use serde_json::{Value, json};

use crate::support::{Agent, ONE_STAGE, Project, Repo, Setup, TestService};

fn start(repo: &Repo) -> TestService {
    let developer = r#"echo "$ORCH_WORK_ITEM" >>"$out/order"; echo x >"$ORCH_WORK_ITEM.txt"; commit it"#;
    let agent = Agent::new().role("developer", developer);
    Setup::new()
        .project(Project::new("shop", repo).agent(&agent).then(ONE_STAGE))
        .start()
}

#[test]
fn a_paused_queue_starts_no_agent_even_after_a_restart_until_it_is_resumed() {
    let repo = Repo::new();
    let mut service = start(&repo);
    service.cli_ok(&["queue", "pause"]);
    let id = service.add("Waits");
    service.restart();
    let queue = service.queue();
    assert!(queue.paused);
    let waiting = service.task(&id);
    assert_eq!(
        (waiting.jobs[0].status.as_str(), waiting.jobs[0].attempts),
        ("queued", 0)
    );
    assert!(waiting.runs.is_empty());
    service.cli_ok(&["queue", "resume"]);
    service.wait_status(&id, "done");
}

#[test]
fn the_highest_priority_goes_first_and_an_operator_can_change_it() {
    let repo = Repo::new();
    let mut service = start(&repo);
    service.pause(true);
    let low = service.add("Low");
    let raised = service.add("Raised");
    let urgent = service.cli_ok(&["--json", "task", "add", "Urgent", "--priority", "5"]);
    let urgent: TaskView = serde_json::from_str(&urgent).unwrap();
    let job = service.task(&raised).jobs[0].id.to_string();
    let changed = service.cli_ok(&["--json", "job", "prioritise", &job, "9"]);
    let changed: JobView = serde_json::from_str(&changed).unwrap();
    assert_eq!(changed.priority, 9);
    service.pause(false);
    for id in [&low, &raised, &urgent.id] {
        service.wait_status(id, "done");
    }
    let order: Vec<String> = service.told("order").lines().map(str::to_owned).collect();
    assert_eq!(order, [raised, urgent.id, low]);
}

#[test]
fn a_task_can_be_given_to_another_agent() {
    let repo = Repo::new();
    let programs = tempfile::tempdir().unwrap();
    let program = programs.path().join("gemini");
    let script = "#!/bin/sh\ncat >/dev/null\necho by gemini >gemini.txt\ngit add -A\n\
                  git -c user.name=g -c user.email=g@example.invalid commit -qm work\n";
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", programs.path().display(), std::env::var("PATH").unwrap());
    let mut service = Setup::new()
        .env("PATH", &path)
        .project(
            Project::new("shop", &repo)
                .agent(&Agent::diligent())
                .then(ONE_STAGE),
        )
        .start();
    let task = AddTask {
        title: "By another".into(),
        executor: Some("gemini".into()),
        ..AddTask::default()
    };
    let id = service.add_task(&task).id;
    let done = service.wait_status(&id, "done");
    assert_eq!(repo.show("gemini.txt"), "by gemini");
    assert_eq!(
        service.worked(&id, "developer"),
        0,
        "the project's own agent did nothing"
    );
    assert!(done.runs.iter().any(|r| r.agent == "gemini"), "{:?}", done.runs);
}

#[test]
fn a_held_task_begins_when_it_is_started() {
    let repo = Repo::new();
    let mut service = start(&repo);
    let held = service.cli_ok(&["--json", "task", "add", "Later", "--hold"]);
    let held: TaskView = serde_json::from_str(&held).unwrap();
    let other = service.add("Now");
    service.wait_status(&other, "done");
    let still = service.task(&held.id);
    assert_eq!((still.task.stage.as_str(), still.jobs.len()), ("created", 0));
    service.cli_ok(&["task", "start", &held.id]);
    service.wait_status(&held.id, "done");
}

#[test]
fn the_same_external_id_adds_one_task_however_many_ask_at_once() {
    let repo = Repo::new();
    let mut service = start(&repo);
    let add = || -> TaskView {
        let said = service.cli_ok(&["--json", "task", "add", "Once", "--external-id", "mail-17"]);
        serde_json::from_str(&said).unwrap()
    };
    assert_eq!(add().id, add().id);

    let api = service.api();
    let answers: Vec<(u16, String)> = std::thread::scope(|scope| {
        let ask = || {
            let answer = api.post(
                "/api/v1/tasks",
                &json!({"title": "At once", "external_id": "mail-18"}),
            );
            (
                answer.status,
                answer.json::<Value>()["id"].as_str().unwrap().to_owned(),
            )
        };
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(ask)).collect();
        threads.into_iter().map(|t| t.join().unwrap()).collect()
    });
    assert_eq!(
        answers.iter().filter(|(status, _)| *status == 201).count(),
        1,
        "{answers:?}"
    );
    assert!(
        answers
            .iter()
            .all(|(status, id)| [200, 201].contains(status) && *id == answers[0].1),
        "{answers:?}"
    );
    let all: Vec<TaskView> = service.api().get("/api/v1/tasks?all=true").ok();
    assert_eq!(all.len(), 2);
    for task in all {
        service.wait_status(&task.id, "done");
    }
}
