//! A disk that fills up under a working service: people are told, work waits, and goes on when there is room.

use serde_json::Value;

use super::mounted::{Mount, not_run};
use super::{TWO_STAGES, add};
use crate::support::{Project, Repo, Setup, wait_until};

#[test]
fn work_waits_while_the_disk_of_the_clones_is_full_and_goes_on_when_there_is_room() {
    let Some(mount) = Mount::tmpfs("32m") else {
        return not_run("work on a full disk", "nothing may be mounted here");
    };
    let repo = Repo::new();
    let repos = mount.path().join("repos");
    let setup = Setup::new()
        .set("repos_dir", repos.display().to_string())
        .set("host.interval_s", 1);
    let mut service = setup
        .project(Project::new("shop", &repo).then(TWO_STAGES))
        .start();
    add(&service, "FIRST");
    service.wait_status("FIRST", "done");

    mount.fill();
    let told = "nothing is claimed until there is room";
    wait_until("it is told", || service.log().contains(told));
    add(&service, "WAITS");
    let held = || service.queue().live.first().and_then(|job| job.held.clone());
    wait_until("it says why the job waits", || {
        held().is_some_and(|why| why.contains("host.disk_stop_percent"))
    });
    let doctor = service.cli(&["--json", "doctor"]);
    let checks: Vec<Value> = serde_json::from_slice(&doctor.stdout).unwrap();
    let disk = checks
        .iter()
        .find(|c| c["check"] == "disk" && c["state"] == "fail")
        .unwrap();
    assert!(disk["found"].as_str().unwrap().contains("orch prune"), "{disk}");

    mount.empty();
    service.wait_status("WAITS", "done");
    assert!(service.cli_ok(&["healed"]).contains("claims go on"));
}
