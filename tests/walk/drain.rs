//! `shutdown = "drain"`: what runs comes to its end first, nothing new begins, and the wait has an end.

use std::process::ExitStatus;

use crate::support::{Agent, ONE_STAGE, Project, Repo, Setup, TestService, lives, wait_until};

fn ask_to_stop(service: &TestService) {
    // SAFETY: kill has no memory effects; the service was not waited for, so the pid is its own.
    unsafe { libc::kill(service.pid(), libc::SIGTERM) };
    wait_until("it stops", || service.log().contains("\"stopping\""));
}

fn wait_exit(service: &mut TestService) -> ExitStatus {
    let mut status = None;
    wait_until("the service has ended", || {
        status = service.exited();
        status.is_some()
    });
    status.unwrap()
}

fn claims(service: &TestService) -> usize {
    service.log().matches("\"msg\":\"claimed\"").count()
}

#[test]
fn a_service_that_drains_brings_what_runs_to_its_end_and_begins_nothing_new() {
    let repo = Repo::new();
    let agent = Agent::new().role(
        "developer",
        "here \"$ORCH_WORK_ITEM\"; until_told go; echo x >\"$ORCH_WORK_ITEM.txt\"; commit it",
    );
    let mut service = Setup::new()
        .set("shutdown", "drain")
        .set("max_concurrency", 2)
        .project(Project::new("shop", &repo).agent(&agent).then(ONE_STAGE))
        .start();
    let runs = service.add("Runs");
    let (pid, _) = service.wait_here(&runs);
    let job = service.task(&runs).jobs[0].id;
    ask_to_stop(&service);

    // It still answers; there is a slot for what is added, and nobody takes it.
    let added = service.add("Comes too late");
    assert_eq!(service.task(&added).jobs[0].status, "queued");
    assert_eq!(service.api().get("/health").status, 200);
    assert!(service.exited().is_none() && lives(pid));

    service.tell("go");
    assert!(wait_exit(&mut service).success());
    assert!(!lives(pid));
    let over = |line: &str| line.contains("\"job is over\"") && line.contains(&format!("\"job\":{job}"));
    assert!(
        service.log().lines().any(over),
        "its job was not brought to its end"
    );
    assert_eq!(claims(&service), 1, "something was begun");
    assert_eq!(service.worked(&added, "developer"), 0);
    assert_eq!(service.processes(), Vec::<i32>::new());

    service.start();
    for id in [&runs, &added] {
        let done = service.wait_status(id, "done");
        assert_eq!(service.worked(id, "developer"), 1);
        assert!(
            done.jobs.iter().all(|j| j.attempts <= 1),
            "{}",
            service.explain(&done)
        );
    }
    // With nothing to wait for it ends at once.
    ask_to_stop(&service);
    assert!(wait_exit(&mut service).success());
}

#[test]
fn a_service_that_drained_for_long_enough_leaves_the_rest_to_the_next_start() {
    let repo = Repo::new();
    // Its time is over before the service's patience; that it does not go is what the grace is for.
    let agent = Agent::new().role(
        "developer",
        "trap '' TERM; echo half >half.txt; here dev; until_told go; echo whole >whole.txt; commit it",
    );
    let mut service = Setup::new()
        .set("shutdown", "drain")
        .set("queue.max_attempts", 1)
        .set("agent.timeout_s", 4)
        .set("agent.timeout_cap_s", 4)
        .set("agent.kill_grace_s", 300)
        .project(Project::new("shop", &repo).agent(&agent).then(ONE_STAGE))
        .start();
    let id = service.add("Does not end");
    let (pid, _) = service.wait_here("dev");
    ask_to_stop(&service);
    assert!(wait_exit(&mut service).success());
    assert!(lives(pid), "it was killed instead of left");

    service.start();
    assert!(lives(pid));
    let seen = service.task(&id);
    assert_eq!(
        (seen.jobs.len(), seen.jobs[0].status.as_str()),
        (1, "running"),
        "it was not adopted: {}",
        service.explain(&seen)
    );
    service.tell("go");
    wait_until("the agent has ended", || !lives(pid));
    let ended = service.wait_task(&id, "has its run put away", |d| {
        d.runs.iter().all(|r| r.finished_at.is_some())
    });
    assert_eq!(service.worked(&id, "developer"), 1);
    let clone = service.data().join("repos/shop.git");
    let kept = |name: &str| {
        let delivered = repo.git(&["ls-tree", "--name-only", "main"]);
        let wip = ended.runs.iter().filter_map(|r| r.wip_ref.as_deref());
        let mut wip = wip.map(|wip| crate::support::git(&clone, &["ls-tree", "--name-only", wip]));
        delivered.contains(name) || wip.any(|files| files.contains(name))
    };
    assert!(
        kept("half.txt") && kept("whole.txt"),
        "{}",
        service.explain(&ended)
    );
}
