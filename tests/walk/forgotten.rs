//! A task that nobody works for any more is found and goes on to its end.

use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use serde_json::Value;

use crate::support::{Agent, Project, Repo, Setup, THREE_STAGES, wait_until};

#[test]
fn a_task_whose_job_is_gone_is_done_all_the_same_and_it_is_told() {
    let repo = Repo::new();
    let mut service = Setup::new()
        .set("reconcile.interval_s", 1)
        .set("reconcile.grace_default_s", 0)
        .project(
            Project::new("shop", &repo)
                .agent(&Agent::diligent())
                .then(THREE_STAGES),
        )
        .start();
    service.pause(true);
    let id = service.add("Forgotten");
    service.stop();
    let path = service.data().join("orch.db");
    let mut conn = SqliteConnection::establish(path.to_str().unwrap()).unwrap();
    conn.batch_execute("DELETE FROM jobs").unwrap();
    drop(conn);
    service.start();
    service.pause(false);
    service.wait_status(&id, "done");
    assert_eq!(
        (service.worked(&id, "developer"), service.worked(&id, "reviewer")),
        (1, 1)
    );
    let reconcile = || service.api().get("/queue").ok::<Value>()["reconcile"].clone();
    assert_eq!(reconcile()["enabled"], true);
    assert_eq!(reconcile()["interval"], 1);
    assert_eq!(reconcile()["unblocked_total"], 1);
    let told = format!("{id} unblocked at development (lost job)");
    assert_eq!(reconcile()["last_unblocked"], told.as_str());
    assert!(reconcile()["last_run_ts"].as_str().unwrap().ends_with('Z'));
    wait_until("the notification is delivered", || {
        service
            .log()
            .lines()
            .any(|l| l.contains(&told) && l.contains("\"notification\":\"unblocked\""))
    });
    let table = service.cli_ok(&["healed"]);
    assert!(
        table.contains("reconciler") && table.contains(&format!("{id} at development")),
        "{table}"
    );
    let json: Value = serde_json::from_str(&service.cli_ok(&["healed", "--json", "--limit", "1"])).unwrap();
    assert_eq!(json[0]["why"], "lost job");
    assert_eq!(json.as_array().unwrap().len(), 1);
}
