//! Whatever is wrong outside gets one clear line, loses nothing, and leaves the service and other tasks going on.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod agents;
mod api;
mod api_access;
mod api_answers;
mod artifacts;
mod checkouts;
mod database;
mod database_in_use;
mod full_disk;
mod mounted;
mod names;
mod other_names;
mod places;
mod projects;
mod repositories;
mod settings;

use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use orch::engine::views::{AddTask, TaskDetail};

use crate::support::{PATIENCE, TestService};

/// One stage in which a developer works, then the merge: nobody waits for a person.
pub const TWO_STAGES: &str = r#"
[deploy]
require_manual_approve = false

[[stage]]
name = "development"
role = "developer"

[[stage]]
name = "ship"
gates = ["branch_mergeable"]
rollback_to = "development"

[[stage]]
name = "done"
"#;

/// How a program ended, and what it said on stderr.
pub struct Ended {
    pub code: i32,
    pub said: String,
}

impl Ended {
    /// Its only line; it must have ended with this code.
    pub fn line(&self, code: i32) -> &str {
        assert_eq!(self.code, code, "{}", self.said);
        assert_eq!(self.said.lines().count(), 1, "{}", self.said);
        let line = self.said.trim_end();
        line.strip_prefix("orch: ")
            .unwrap_or_else(|| panic!("no line of orch: {line}"))
    }
}

/// Starts the service, which must refuse to come up.
pub fn refuses(service: &TestService) -> Ended {
    ends(service.cli_command(&["serve"]))
}

/// Runs the command line to its end.
pub fn cli(service: &TestService, args: &[&str]) -> Ended {
    ends(service.cli_command(args))
}

pub fn ends(mut command: Command) -> Ended {
    let mut child = command
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + PATIENCE;
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > deadline {
            child.kill().unwrap();
            let said = told(&child.wait_with_output().unwrap());
            panic!("{command:?} does not end\n{said}");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let output = child.wait_with_output().unwrap();
    Ended {
        code: output.status.code().unwrap_or(-1),
        said: told(&output),
    }
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// True when all of these stand in the text; says which one is missing.
pub fn assert_names(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is missing in: {text}");
    }
}

/// Adds a task under a name of its own.
pub fn add(service: &TestService, id: &str) {
    service.add_task(&AddTask {
        id: Some(id.to_owned()),
        title: format!("Do {id}"),
        ..AddTask::default()
    });
}

/// The reason of a task that is blocked.
pub fn blocked(service: &mut TestService, id: &str) -> (TaskDetail, String) {
    let detail = service.wait_status(id, "blocked");
    let reason = detail.task.reason.clone().unwrap_or_default();
    assert!(
        !reason.is_empty() && !reason.contains('\n'),
        "{}",
        service.explain(&detail)
    );
    (detail, reason)
}

/// The service is well: it answers, and a task that has nothing to do with the trouble is done.
pub fn others_go_on(service: &mut TestService, id: &str) {
    add(service, id);
    service.wait_status(id, "done");
    assert_eq!(service.api().get("/health").status, 200);
    assert_eq!(service.api().get("/ready").status, 200);
}

/// What an agent's kept work holds: files that differ from the branch's beginning.
pub fn kept(service: &TestService, project: &str, detail: &TaskDetail) -> Vec<String> {
    let bare = service.data().join(format!("repos/{project}.git"));
    let refs: Vec<&str> = detail.runs.iter().filter_map(|r| r.wip_ref.as_deref()).collect();
    let mut files = Vec::new();
    for name in refs {
        let listed = crate::support::git(&bare, &["ls-tree", "-r", "--name-only", name]);
        files.extend(listed.lines().map(str::to_owned));
    }
    files.sort();
    files.dedup();
    files
}
