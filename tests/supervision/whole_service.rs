//! A monitor that panics every time, in the whole service: one poisonous run takes nothing else down.

use std::fs;

use orch::actors::fault::{DEMO_MARK, MONITOR_PANIC};
use orch::engine::views::HealingView;
use serde_json::Value;

use crate::support::{Agent, ONE_STAGE, Project, Repo, Setup, TestService, lives, wait_until};

fn prepare(repo: &Repo) -> TestService {
    let developer = r#"
if [ "$ORCH_WORK_ITEM" = SHOP-001 ]; then echo half >half.txt; here "poisonous$nth"; until_told never; fi
echo x >"$ORCH_WORK_ITEM.txt"; commit it
"#;
    let agent = Agent::new().role("developer", developer);
    Setup::new()
        .set("max_concurrency", 2)
        .set("queue.max_attempts", 2)
        .env(MONITOR_PANIC, "SHOP-001 development 1000")
        .project(Project::new("shop", repo).agent(&agent).then(ONE_STAGE))
        .prepare()
}

fn healed(service: &TestService) -> Vec<HealingView> {
    let status: Value = service.api().get("/status").ok();
    serde_json::from_value(status["healed"].clone()).unwrap()
}

#[test]
fn a_monitor_that_panics_every_time_costs_its_own_job_and_nothing_else() {
    let repo = Repo::new();
    let mut service = prepare(&repo);
    fs::write(service.data().join(DEMO_MARK), "").unwrap();
    service.start();
    let born = service.pid();
    let poisonous = service.add("Poisonous");
    let others: Vec<_> = (0..4).map(|n| service.add(&format!("Healthy {n}"))).collect();

    let blocked = service.wait_status(&poisonous, "blocked");
    let job = &blocked.jobs[0];
    assert_eq!((job.status.as_str(), job.attempts), ("failed", 2));
    let why = job.error.clone().unwrap();
    assert!(
        why.contains("its monitor died 6 times") && why.contains(MONITOR_PANIC),
        "{why}"
    );
    for id in &others {
        let done = service.wait_status(id, "done");
        assert_eq!(done.jobs.iter().find(|j| j.kind == "agent").unwrap().attempts, 1);
    }
    assert!(
        service.exited().is_none() && service.pid() == born,
        "the service stayed up"
    );
    service.wait_idle();

    // Its agents are gone, their work is kept, and each was started once for its attempt.
    assert_eq!(service.worked(&poisonous, "developer"), 2);
    for nth in 1..3 {
        let (pid, cwd) = service.wait_here(&format!("poisonous{nth}"));
        wait_until("its agent is gone", || !lives(pid) && !cwd.exists());
    }
    assert!(service.runs(&poisonous).iter().all(|r| r.wip_ref.is_some()));
    // Five successors for each attempt, each of which was told.
    let told: Vec<_> = healed(&service)
        .into_iter()
        .filter(|h| h.kind == "supervisor")
        .collect();
    assert_eq!(told.len(), 10, "{told:#?}");
    assert!(
        told.iter()
            .all(|h| h.stuck_ms.is_some() && h.why.contains("panicked"))
    );
}

#[test]
fn a_fault_is_provoked_in_no_home_but_the_demos() {
    let repo = Repo::new();
    let mut service = prepare(&repo);
    service.spawn();
    wait_until("it refuses to start", || service.exited().is_some());
    assert_eq!(service.exited().unwrap().code(), Some(1));
    assert!(
        service.log().contains("is for `orch demo --faults` alone"),
        "{}",
        service.log()
    );
}
