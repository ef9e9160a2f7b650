//! The service as PID 1 of a container: it ends its agents when it ends, and is what every other process there falls to.

use crate::support::{
    Agent, ONE_STAGE, Project, Repo, Setup, TestService, children_of, is_shim, lives, wait_until,
};

/// As an operator has it, but with a single attempt: one that is spent shows at once.
fn start(repo: &Repo, developer: &str) -> Option<TestService> {
    let agent = Agent::new().role("developer", developer);
    let mut service = Setup::new()
        .set("shutdown", "leave")
        .set("queue.max_attempts", 1)
        .project(Project::new("shop", repo).agent(&agent).then(ONE_STAGE))
        .prepare();
    service.contain().then(|| {
        service.start();
        service
    })
}

fn signal(pid: i32, signal: i32) {
    // SAFETY: kill has no memory effects; the process is the first of a namespace that this test made and still holds.
    assert_eq!(unsafe { libc::kill(pid, signal) }, 0);
}

fn wait_exit(service: &mut TestService) -> std::process::ExitStatus {
    wait_until("the container has ended", || service.exited().is_some());
    service.exited().unwrap()
}

/// Done by so many agents, without a spent attempt.
fn done_at_the_first_attempt(service: &mut TestService, id: &str, agents: u32) {
    let done = service.wait_status(id, "done");
    assert_eq!(service.worked(id, "developer"), agents);
    let jobs = done.jobs.iter().filter(|j| j.kind == "agent");
    assert_eq!(
        jobs.map(|j| j.attempts).collect::<Vec<_>>(),
        [1],
        "{}",
        service.explain(&done)
    );
}

#[test]
fn a_container_that_is_asked_to_stop_drains_instead_of_leaving_agents_that_would_die() {
    let repo = Repo::new();
    let developer = r#"here dev; until_told go; echo x >"$ORCH_WORK_ITEM.txt"; commit it"#;
    let Some(mut service) = start(&repo, developer) else {
        return;
    };
    let id = service.add("Write it");
    service.wait_here("dev");
    signal(service.first_process().unwrap(), libc::SIGTERM);
    wait_until("it stops", || service.log().contains("\"stopping\""));
    let late = service.add("Comes too late");
    assert_eq!(service.task(&late).jobs[0].status, "queued");
    assert!(service.exited().is_none(), "it waits for its agent");

    service.tell("go");
    assert!(wait_exit(&mut service).success());
    assert_eq!(service.processes(), Vec::<i32>::new());
    service.start();
    done_at_the_first_attempt(&mut service, &id, 1);
    done_at_the_first_attempt(&mut service, &late, 1);
}

/// Several times: a namespace that has ended may leave its number to a later one.
#[test]
fn agents_that_died_with_their_container_cost_no_attempt() {
    let repo = Repo::new();
    let developer = r#"
if [ "$nth" -lt 4 ]; then echo half >half.txt; here "dev$nth"; until_told never; fi
echo x >"$ORCH_WORK_ITEM.txt"; commit it
"#;
    let Some(mut service) = start(&repo, developer) else {
        return;
    };
    let id = service.add("Write it");
    for nth in 1..4 {
        service.wait_here(&format!("dev{nth}"));
        let first = service.first_process().unwrap();
        signal(first, libc::SIGKILL);
        assert!(!wait_exit(&mut service).success());
        wait_until("all of the container is gone", || service.processes().is_empty());
        service.start();
    }
    done_at_the_first_attempt(&mut service, &id, 4);
    let kept = service.runs(&id).iter().filter(|r| r.wip_ref.is_some()).count();
    assert_eq!(kept, 3, "what the agents had begun is kept");
}

#[test]
fn what_a_killed_shim_leaves_behind_is_collected() {
    let repo = Repo::new();
    let developer = "setsid sleep 1000 & setsid sleep 1000 & here dev; until_told never";
    let Some(mut service) = start(&repo, developer) else {
        return;
    };
    let id = service.add("Loses its shim");
    service.wait_here("dev");
    let first = service.first_process().unwrap();
    let shim = service.processes().into_iter().find(|pid| is_shim(*pid)).unwrap();
    signal(shim, libc::SIGKILL);
    service.wait_status(&id, "blocked");
    // git may be there, which the service keeps to read with.
    let well = |pid: &i32| lives(*pid) && !is_shim(*pid);
    wait_until("nothing but the service is left, and no zombie", || {
        let children = children_of(first);
        children.len() == 1 && well(&children[0]) && children_of(children[0]).iter().all(well)
    });
}

#[test]
fn a_container_that_is_asked_to_stop_while_it_starts_does() {
    let repo = Repo::new();
    let Some(mut service) = start(&repo, "commit nothing") else {
        return;
    };
    service.stop();
    service.spawn();
    let mut first = None;
    wait_until("it has begun to start", || {
        first = service
            .first_process()
            .filter(|pid| !children_of(*pid).is_empty());
        first.is_some()
    });
    signal(first.unwrap(), libc::SIGTERM);
    wait_exit(&mut service);
}
