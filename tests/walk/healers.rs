//! What the healers of a running service say of themselves, and what a person may ask of them.

use serde_json::{Value, json};

use crate::support::{ONE_STAGE, Project, Repo, Setup, wait_until};

#[test]
fn the_reaper_looks_by_itself_leaves_a_live_agent_alone_and_can_be_asked() {
    let repo = Repo::new();
    let setup = Setup::new().set("reaper.interval_s", 1);
    let mut service = setup.project(Project::new("shop", &repo).then(ONE_STAGE)).start();
    wait_until("it has looked", || {
        let queue: Value = service.api().get("/queue").ok();
        queue["reaper"]["last_run_ts"].is_string()
    });
    let queue: Value = service.api().get("/queue").ok();
    let reaper = &queue["reaper"];
    assert_eq!(
        (
            &reaper["enabled"],
            &reaper["interval"],
            &reaper["reaped_total"],
            &reaper["lease_reclaimed_total"]
        ),
        (&json!(true), &json!(1), &json!(0), &json!(0)),
        "{reaper}"
    );
    let plan: Value = service.api().get("/api/v1/reap").ok();
    assert_eq!(plan, json!({ "enabled": true, "jobs": [] }));
    let done: Value = service.api().post("/api/v1/reap", &json!({})).ok();
    assert_eq!(done, json!({ "reaped": [], "trouble": [] }));
    let leases: Value = service.api().get("/api/v1/leases").ok();
    assert_eq!(leases, json!({ "held": [], "stopped": [] }));
    let wanted = json!({ "repo": "nowhere", "token": 1 });
    let refused = service.api().post("/api/v1/leases/release", &wanted);
    assert_eq!(refused.status, 404);
    let id = service.add("Say hello");
    service.wait_status(&id, "done");
    service.stop();
}

#[test]
fn a_reaper_that_is_switched_off_says_so_when_it_is_asked() {
    let repo = Repo::new();
    let setup = Setup::new().set("reaper.enabled", false);
    let service = setup.project(Project::new("shop", &repo).then(ONE_STAGE)).start();
    let refused = service.api().post("/api/v1/reap", &json!({}));
    assert_eq!(refused.status, 409);
    assert!(refused.text().contains("reaper.enabled"), "{}", refused.text());
    let plan: Value = service.api().get("/api/v1/reap").ok();
    assert_eq!(plan["enabled"], false);
}
