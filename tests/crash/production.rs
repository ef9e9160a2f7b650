//! The way to production: staging and its checks, Confirm Deploy, the hook, and the watch, which finds the new version sick and
//! has the one before brought back. Each call of the hook is made once.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use orch::engine::views::TaskView;
use serde_json::json;

use super::play::Person;
use super::scene::Room;
use crate::support::{Agent, FakeService, Reply, Repo};

/// The place of the staging gates, and that of the merge.
pub const STAGES: &str = r#"
[[stage]]
name = "development"
role = "developer"
gates = ["tests_local"]

[[stage]]
name = "staging"
gates = ["branch_mergeable", "staging_status", "staging_image_fresh"]
rollback_to = "development"

[[stage]]
name = "deploy"
gates = ["deploy_status"]
rollback_to = "development"
confirm = true

[[stage]]
name = "done"
"#;

/// What production runs at first.
const FIRST: &str = "0000000000000000000000000000000000000000";

pub fn agent() -> Agent {
    Agent::new().role(
        "developer",
        "mkdir -p src; echo \"$nth\" >\"src/$ORCH_WORK_ITEM.txt\"; commit 'write it'",
    )
}

fn folder(repo: &Repo) -> PathBuf {
    repo.path.join(".git/production")
}

fn runs(folder: &Path) -> String {
    fs::read_to_string(folder.join("revision"))
        .unwrap_or_default()
        .trim()
        .to_owned()
}

/// Production's health: good as long as it runs what it ran at first.
pub fn health(repo: &Repo) -> FakeService {
    let folder = folder(repo);
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("revision"), FIRST).unwrap();
    FakeService::new(move |_| match runs(&folder) == FIRST {
        true => Reply::new(200, "good"),
        false => Reply::new(500, "sick"),
    })
}

/// The sections of the project's file.
pub fn sections(repo: &Repo, health: &FakeService) -> String {
    let folder = folder(repo).display().to_string();
    let hook = format!(
        "echo \"$1 $ORCH_ATTEMPT\" >>\"{folder}/calls\"; case $1 in deploy) to=$ORCH_REVISION ;; *) to=$ORCH_PREVIOUS ;; esac; \
         echo \"$to\" >\"{folder}/revision\""
    );
    format!(
        "records_ref = 'refs/heads/orch-records'\n[staging]\ndeploy_command = 'true'\n\
         check_command = '''echo '{{\"name\":\"login\",\"class\":\"real\",\"critical\":true,\"ok\":true}}' '''\n\
         revision_command = 'git rev-parse HEAD'\n\n\
         [deploy]\nhook = ['sh', '-c', '''{hook}''', 'hook']\nrevision_command = 'cat {folder}/revision'\n\n\
         [post_deploy]\nurl = '{}'\nprobes = 10\nwindow_s = 10\nwarm_up_s = 0\nauto_rollback = true\n",
        health.url
    )
}

impl Person {
    /// Confirms, and waits until production runs again what it ran before. True when all is over.
    pub(super) fn sees_it_deployed(&mut self, room: &Room, task: &TaskView) -> io::Result<bool> {
        match (task.status.as_str(), task.stage.as_str()) {
            ("waiting_human", "deploy") => {
                let body = json!({ "gesture": "confirm-deploy", "person": "tester" });
                let path = format!("/api/v1/tasks/{}/gestures", task.id);
                room.service.api().try_ask("POST", &path, Some(&body))?;
                Ok(false)
            }
            ("active", _) => Ok(false),
            ("done", _) => {
                let back = "SELECT count(*) FROM deploys WHERE action = 'ROLLED_BACK'";
                Ok(room.rows.number(back) == 1 && self.nothing_left(room)?)
            }
            (status, stage) => panic!(
                "{status} at {stage}: {}",
                room.service.explain(&room.service.task(&task.id))
            ),
        }
    }
}

/// What holds at every end: one call of the hook for each attempt and action.
pub fn holds(repo: &Repo) {
    let folder = folder(repo);
    let calls = fs::read_to_string(folder.join("calls")).unwrap();
    assert_eq!(calls, "deploy 1\nrollback 1\n");
    assert_eq!(runs(&folder), FIRST);
    for name in ["14-deploy-log.md", "16-post-deploy-log.md"] {
        repo.git(&[
            "cat-file",
            "-e",
            &format!("orch-records:docs/work-items/SHOP-001/{name}"),
        ]);
    }
}
