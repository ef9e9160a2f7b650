//! What happens to the database while the service runs, a full disk and another program's lock: writes are refused
//! with what to do, reading goes on, and it passes without anything lost.

use orch::engine::views::AddTask;
use serde_json::{Value, json};

use super::database::{elsewhere, open};
use super::mounted::{Mount, not_run};
use super::{TWO_STAGES, add, assert_names, cli};
use crate::support::{Agent, Project, Repo, Setup, wait_until};

#[test]
fn a_full_disk_is_named_at_the_start_and_while_it_runs_and_passes_when_there_is_room() {
    let Some(mount) = Mount::tmpfs("3m") else {
        return not_run("a database on a full disk", "nothing may be mounted here");
    };
    let repo = Repo::new();
    let project = Project::new("shop", &repo).then(TWO_STAGES);
    let mut service = elsewhere(mount.path()).project(project).prepare();
    mount.fill();
    for command in ["serve", "migrate"] {
        assert_names(
            cli(&service, &[command]).line(1),
            &["orch.db", "the disk is full"],
        );
    }
    mount.empty();
    service.start();
    add(&service, "KEPT");
    service.wait_status("KEPT", "done");

    mount.fill();
    // Small writes may still fit into what SQLite has already; a large one does not.
    let large = |id: &str| AddTask {
        id: Some(id.to_owned()),
        title: "Large".to_owned(),
        description: "x".repeat(60_000),
        hold: true,
        ..AddTask::default()
    };
    let mut added = Vec::new();
    let refused = (0..60).find_map(|n| {
        let id = format!("LARGE-{n}");
        let answer = service
            .api()
            .post("/api/v1/tasks", &serde_json::to_value(large(&id)).unwrap());
        if answer.status == 201 {
            added.push(id);
            return None;
        }
        Some((id, answer))
    });
    let (refused, answer) = refused.unwrap();
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert_names(&answer.text(), &["nothing was changed", "try again"]);
    assert_eq!(service.api().get("/health").status, 200);
    assert_eq!(service.api().get(&format!("/api/v1/tasks/{refused}")).status, 404);
    assert!(service.log().contains("the disk is full"));

    mount.empty();
    wait_until("it takes writes again", || {
        service.api().get("/ready").status == 200
    });
    service.add_task(&large(&refused));
    added.push(refused);
    for id in &added {
        assert_eq!(service.task(id).description.len(), 60_000);
    }
    super::others_go_on(&mut service, "OTHER");
    service.restart();
    assert_eq!(service.task("KEPT").task.status, "done");
    assert_eq!(service.task(&added[0]).description.len(), 60_000);
}

#[test]
fn a_lock_that_another_program_takes_meanwhile_delays_what_runs_and_loses_nothing() {
    let repo = Repo::new();
    let agent = Agent::new().role("developer", "here working; until_told go; echo work >work.txt");
    let project = Project::new("shop", &repo).agent(&agent).then(TWO_STAGES);
    let mut service = Setup::new().project(project).start();
    add(&service, "RUNS");
    service.wait_here("working");

    let lock = open(&service.data().join("orch.db"), "BEGIN EXCLUSIVE");
    service.tell("go");
    // Several at once: nobody waits for the others' waiting.
    let api = service.api();
    let askers: Vec<_> = (0..8)
        .map(|n| {
            let api = api.clone();
            let began = std::time::Instant::now();
            std::thread::spawn(move || {
                let body = json!({ "title": "Refused", "id": format!("NO-{n}") });
                (api.post("/api/v1/tasks", &body), began.elapsed())
            })
        })
        .collect();
    // Reading goes on meanwhile.
    assert_eq!(service.task("RUNS").task.status, "active");
    assert_eq!(api.get("/health").status, 200);
    for asker in askers {
        let (answer, took) = asker.join().unwrap();
        assert_eq!(answer.status, 503, "{}", answer.text());
        assert_names(
            &answer.text(),
            &["problem", "nothing was changed", "try again"].map(|part| {
                if part == "problem" {
                    "Service Unavailable"
                } else {
                    part
                }
            }),
        );
        assert!(!answer.text().contains("orch.db"), "the cause goes to the log");
        assert!(took.as_secs() < 25, "{took:?}");
    }
    let ready = api.get("/ready");
    assert_eq!(
        (ready.status, ready.text().contains("does not take writes")),
        (503, true)
    );
    let ended = cli(&service, &["task", "add", "Refused too"]);
    assert_names(
        ended.line(1),
        &["the database does not take this now", "try again"],
    );
    let patient = |log: &str| log.matches("tried again soon").count();
    wait_until("the run's end was tried more than once", || {
        patient(&service.log()) > 1
    });
    assert_names(&service.log(), &["orch.db is locked by another process"]);

    drop(lock);
    wait_until("it takes writes again", || {
        service.api().get("/ready").status == 200
    });
    let done = service.wait_status("RUNS", "done");
    assert_eq!((done.runs.len(), repo.show("work.txt").as_str()), (2, "work"));
    assert!(!service.log().contains("actor died"), "waiting is not dying");
    let tasks: Vec<Value> = service.api().get("/api/v1/tasks?all=true").ok();
    assert_eq!(tasks.len(), 1, "what was refused is not there: {tasks:?}");
    super::others_go_on(&mut service, "OTHER");
}
