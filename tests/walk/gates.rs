//! A project's own programs as gates, and what is run how often.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use crate::support::{ONE_STAGE, Project, Repo, Setup, THREE_STAGES, TestService};

/// A program outside of everything that says what `says` holds and exits with `exits`.
struct Audit(TempDir);

impl Audit {
    fn new() -> Self {
        let audit = Self(tempfile::tempdir().unwrap());
        let path = audit.path("audit.sh");
        let script =
            "d=$(dirname \"$0\")\necho asked >>\"$d/asked\"\ncat \"$d/says\"\nexit \"$(cat \"$d/exits\")\"\n";
        fs::write(path, script).unwrap();
        audit
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join(name)
    }

    fn answers(&self, exits: u8, says: &str) {
        fs::write(self.path("says"), format!("{says}\n")).unwrap();
        fs::write(self.path("exits"), exits.to_string()).unwrap();
    }

    fn start(&self, repo: &Repo) -> TestService {
        let gate = format!(
            "{{ name = \"audit\", command = [\"sh\", \"{}\"] }}",
            self.path("audit.sh").display()
        );
        let stages = THREE_STAGES.replacen("\"tests_local\"", &gate, 1);
        let stages = stages.replacen(
            "role = \"developer\"",
            "role = \"developer\"\nrollback_to = \"development\"",
            1,
        );
        Setup::new()
            .project(
                Project::new("shop", repo)
                    .top("max_developer_retries = 1")
                    .then(&stages),
            )
            .start()
    }
}

fn lines(path: &Path) -> usize {
    fs::read_to_string(path).unwrap_or_default().lines().count()
}

#[test]
fn a_command_gate_that_is_red_sends_the_work_back_with_what_it_said() {
    let (repo, audit) = (Repo::new(), Audit::new());
    audit.answers(1, "a password in src/key.txt");
    let mut service = audit.start(&repo);
    let id = service.add("Write it");
    let blocked = service.wait_status(&id, "blocked");
    assert!(blocked.task.reason.unwrap().contains("a password in src/key.txt"));
    assert!(
        service
            .prompt(&id, "developer", 2)
            .contains("a password in src/key.txt")
    );
    let gate = blocked.gates.iter().find(|g| g.gate == "audit").unwrap();
    assert_eq!(
        (gate.state.as_str(), gate.reason.as_str()),
        ("red", "a password in src/key.txt")
    );

    audit.answers(0, "nothing found");
    service.cli_ok(&["task", "unblock", &id]);
    let done = service.wait_status(&id, "done");
    let gate = done.gates.iter().find(|g| g.gate == "audit").unwrap();
    assert_eq!(
        (gate.state.as_str(), gate.reason.as_str()),
        ("green", "nothing found")
    );
}

#[test]
fn a_command_gate_that_cannot_tell_neither_advances_nor_sends_back() {
    let (repo, audit) = (Repo::new(), Audit::new());
    audit.answers(7, "no network");
    let mut service = audit.start(&repo);
    let id = service.add("Write it");
    let waiting = service.wait_task(&id, "waits for the gate", |d| {
        d.task.reason.as_deref().is_some_and(|r| r.contains("no network"))
    });
    assert_eq!(
        (waiting.task.stage.as_str(), waiting.task.status.as_str()),
        ("development", "active")
    );
    assert!(waiting.task.reason.unwrap().contains("unknown"));
    assert_eq!(
        (waiting.task.developer_retries, service.worked(&id, "developer")),
        (0, 1)
    );

    // Whoever does not want to wait lets it be asked now.
    audit.answers(0, "nothing found");
    service.cli_ok(&["task", "approve", &id]);
    service.wait_status(&id, "done");
    assert_eq!(service.worked(&id, "developer"), 1);
}

#[test]
fn the_test_command_runs_once_for_one_tree() {
    let repo = Repo::new();
    let mark = tempfile::tempdir().unwrap();
    let log = mark.path().join("tests.log");
    let stages = THREE_STAGES
        .replacen("[\"tests_local\"]", "[\"ci_green\", \"tests_local\"]", 1)
        .replace(
            ", \"branch_mergeable\"",
            ", { name = \"look\", command = [\"true\"] }",
        );
    let tests = format!("test_command = 'echo once >>{}; sh check.sh'", log.display());
    let mut service = Setup::new()
        .project(Project::new("shop", &repo).top(&tests).then(&stages))
        .start();
    let id = service.add("Write it");
    service.wait_stage(&id, "review");
    assert_eq!(lines(&log), 1, "ci_green and tests_local are about the same tree");
    service.wait_status(&id, "done");
    // Before the merge it is tested as the very commit that goes in; nothing else ran it.
    assert_eq!(lines(&log), 2);
}

#[test]
fn a_task_that_changes_no_code_does_not_pass_ci() {
    let repo = Repo::new();
    let agent = crate::support::Agent::new().role("developer", "echo idle");
    let stages = ONE_STAGE.replace("\"branch_mergeable\"", "\"ci_green\", \"branch_mergeable\"");
    let project = Project::new("shop", &repo).agent(&agent).then(&stages);
    let mut service = Setup::new().project(project).start();
    let id = service.add("Nothing");
    let blocked = service.wait_status(&id, "blocked");
    assert!(blocked.task.reason.unwrap().contains("no code was changed"));
    assert_eq!(blocked.jobs[0].attempts, 2);
}
