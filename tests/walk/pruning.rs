//! `orch prune` against a running service.

use std::fs;
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection as _;
use diesel::{Connection as _, SqliteConnection};
use orch::engine::views::PruneReport;

use crate::support::{ONE_STAGE, Project, Repo, Setup, wait_until};

#[test]
fn orch_prune_says_what_would_go_and_removes_what_is_old() {
    let repo = Repo::new();
    let project = Project::new("shop", &repo)
        .top("prune_command = \"echo made room\"")
        .then(ONE_STAGE);
    let mut service = Setup::new().project(project).start();
    let old = service.add("Say hello");
    service.wait_status(&old, "done");
    service.wait_idle();
    let young = service.add("Say good bye");
    service.wait_status(&young, "done");
    service.wait_idle();
    let nothing = service.cli_ok(&["prune", "--dry-run"]);
    assert!(nothing.contains("Nothing would be pruned."), "{nothing}");
    assert!(nothing.contains("`echo made room` would be run"), "{nothing}");

    let file = service.data().join("orch.db");
    let mut conn = SqliteConnection::establish(file.to_str().unwrap()).unwrap();
    conn.batch_execute(
        "PRAGMA busy_timeout = 20000; \
         UPDATE tasks SET finished_at = finished_at - 8640000000000 WHERE id = 1; \
         UPDATE runs SET finished_at = finished_at - 8640000000000 WHERE task_id = 1",
    )
    .unwrap();
    drop(conn);
    let folders = || fs::read_dir(service.data().join("runs")).unwrap().count();
    let before = folders();
    let planned: PruneReport =
        serde_json::from_str(&service.cli_ok(&["--json", "prune", "--dry-run"])).unwrap();
    assert!(
        planned.dry_run && planned.tasks == 1 && planned.folders > 0,
        "{planned:?}"
    );
    assert_eq!(folders(), before);

    let said = service.cli_ok(&["prune"]);
    assert!(
        said.contains("histories of finished tasks") && said.contains("MiB freed"),
        "{said}"
    );
    assert!(said.contains("made room"), "{said}");
    assert_eq!(folders(), before - usize::try_from(planned.folders).unwrap());
    assert!(service.runs(&old).is_empty());
    assert!(!service.runs(&young).is_empty());
    assert_eq!(service.task(&old).task.status, "done");
    assert!(
        service
            .cli_ok(&["prune"])
            .contains("Nothing was kept for long enough")
    );
}

#[test]
fn a_service_prunes_by_itself_once_it_is_ready_unless_that_is_switched_off() {
    let repo = Repo::new();
    let marked = |enabled| {
        let project = Project::new("shop", &repo)
            .top("prune_command = \"touch pruned\"")
            .then(ONE_STAGE);
        let setup = Setup::new()
            .set("host.interval_s", 1)
            .set("retention.enabled", enabled);
        let mut service = setup.project(project).start();
        let id = service.add("Say hello");
        service.wait_status(&id, "done");
        let mark = service.data().join("repos/shop.git/pruned");
        if enabled {
            wait_until("it pruned", || mark.exists());
        } else {
            // Nothing tells of what is not done: three times as long as one that is switched on needs.
            let ready = Instant::now();
            wait_until("it had its chances", || ready.elapsed() > Duration::from_secs(3));
            service.stop();
        }
        mark.exists()
    };
    assert!(marked(true));
    assert!(!marked(false));
}
