//! Production after a deploy, watched by the real service: over a restart, and rolled back once, whatever dies.

use std::fs;
use std::path::PathBuf;

use orch::engine::views::PostDeployView;
use serde::Deserialize;

use crate::support::{FakeService, Project, Reply, Repo, Setup, TestService, git, git_ok, wait_until};

const TWO_STAGES: &str = r#"
[[stage]]
name = "development"
role = "developer"
gates = ["tests_local"]

[[stage]]
name = "deploy"
gates = ["branch_mergeable", "deploy_status"]
rollback_to = "development"

[[stage]]
name = "done"
"#;

/// Production: a server that names the revision in a file, and fails for the one that is named in another.
struct Production {
    folder: tempfile::TempDir,
    service: FakeService,
}

impl Production {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let old = "0".repeat(40);
        fs::write(folder.path().join("revision"), &old).unwrap();
        let (runs, breaks) = (folder.path().join("revision"), folder.path().join("breaks"));
        let service = FakeService::new(move |_| {
            let revision = fs::read_to_string(&runs).unwrap_or_default();
            let broken = breaks.exists() && revision.trim() != old;
            Reply::new(if broken { 500 } else { 200 }, revision)
        });
        Self { folder, service }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn calls(&self) -> Vec<String> {
        let text = fs::read_to_string(self.path("calls")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    fn project(&self, repo: &Repo, watched: &str) -> Project {
        let hook = "production='$production'\necho \"$1\" >>\"$production/calls\"\nif [ \"$1\" = rollback ]; then\n\
                    while [ -e \"$production/hold\" ]; do sleep 0.05; done\n\
                    echo \"$ORCH_PREVIOUS\" >\"$production/revision\"\nexit 0\nfi\n\
                    echo \"$ORCH_REVISION\" >\"$production/revision\"\n";
        let folder = self.folder.path().display().to_string();
        fs::write(
            self.path("hook.sh"),
            hook.replace("'$production'", &format!("'{folder}'")),
        )
        .unwrap();
        let sections = format!(
            "[deploy]\nrequire_manual_approve = false\nhook = ['sh', '{folder}/hook.sh']\nrevision_command = 'cat {folder}/revision'\n\
             [post_deploy]\nurl = '{}/'\nexpect_revision = true\nwarm_up_s = 0\n{watched}\n",
            self.service.url
        );
        Project::new("shop", repo)
            .top("records_ref = 'refs/heads/orch-records'")
            .then(TWO_STAGES)
            .then(&sections)
    }
}

#[derive(Deserialize)]
struct Page {
    post_deploy: PostDeployView,
}

fn stands(service: &TestService) -> PostDeployView {
    service.api().get("/queue").ok::<Page>().post_deploy
}

/// The log on the records ref.
fn log(repo: &Repo, id: &str) -> String {
    let name = format!("orch-records:docs/work-items/{id}/16-post-deploy-log.md");
    wait_until("the log of the time after the deploy", || {
        git_ok(&repo.path, &["cat-file", "-e", &name])
    });
    git(&repo.path, &["show", &name])
}

/// A number in the log's front matter.
fn number(log: &str, key: &str) -> usize {
    let line = log.lines().find_map(|l| l.strip_prefix(&format!("{key}: ")));
    line.unwrap_or_default().parse().unwrap()
}

#[test]
fn production_is_watched_over_a_restart() {
    let (repo, production) = (Repo::new(), Production::new());
    // Two looks may be missing, and one late by an interval: time enough for a restart.
    let project = production.project(&repo, "probes = 10\nwindow_s = 20");
    let mut service = Setup::new().project(project).start();
    let id = service.add("Write it");
    service.wait_status(&id, "done");
    wait_until("some probes", || {
        stands(&service)
            .watching
            .first()
            .is_some_and(|w| w.probes_over >= 2)
    });
    let shown = service.cli_ok(&["queue"]);
    assert!(shown.contains("is watched until"), "{shown}");
    service.kill9();
    service.start();
    wait_until("a verdict", || stands(&service).last.is_some());
    let stands = stands(&service);
    let last = stands.last.unwrap();
    assert_eq!(
        (last.task, last.action, stands.watching.len()),
        (id.clone(), "NONE".to_owned(), 0)
    );
    assert_eq!(last.revision, repo.sha("main"));
    let log = log(&repo, &id);
    let (total, missing) = (number(&log, "checks_total"), number(&log, "checks_missing"));
    // Who dies between a look and its record looks again.
    let asked = production.service.asked().len() - 3;
    assert!(total + missing == 10 && total >= 8, "{log}");
    assert!(asked == total || asked == total + 1, "{asked} {log}");
    assert!(log.starts_with("---\npost_deploy_status: HEALTHY\n"), "{log}");
    assert_eq!(service.task(&id).task.status, "done");
}

#[test]
fn a_broken_version_is_rolled_back_once_though_the_service_dies_meanwhile() {
    let (repo, production) = (Repo::new(), Production::new());
    for name in ["breaks", "hold"] {
        fs::write(production.path(name), "").unwrap();
    }
    let project = production.project(&repo, "window_s = 6\nauto_rollback = true");
    let mut service = Setup::new().project(project).start();
    let id = service.add("Write it");
    service.wait_status(&id, "done");
    wait_until("the rollback to begin", || production.calls().len() == 2);
    service.kill9();
    service.start();
    wait_until("it to be gone on with", || {
        stands(&service).watching.first().is_some_and(|w| w.rolling_back)
    });
    let shown = service.cli_ok(&["queue"]);
    assert!(shown.contains("is being rolled back"), "{shown}");
    fs::remove_file(production.path("hold")).unwrap();
    wait_until("the rollback to end", || {
        stands(&service)
            .last
            .is_some_and(|last| last.action == "ROLLED_BACK")
    });
    assert_eq!(production.calls(), ["deploy", "rollback"]);
    let runs = fs::read_to_string(production.path("revision")).unwrap();
    assert_eq!(runs.trim(), "0".repeat(40));
    let log = log(&repo, &id);
    assert!(
        log.starts_with("---\npost_deploy_status: DEGRADED\naction_taken: ROLLED_BACK\n"),
        "{log}"
    );
    assert_eq!(service.task(&id).task.status, "done");
    assert_eq!(production.calls().len(), 2);
}
