//! Agents on a node that is reached by a real ssh, with the whole service around them.

use std::fs;
use std::path::{Path, PathBuf};

use orch::engine::views::NodeView;
use serde_json::Value;

use crate::support::{
    Agent, Project, Repo, Setup, Sshd, THREE_STAGES, TestService, processes_below, wait_until,
};

/// A service whose agents work on the node `far`, and on its own machine once that is given back. None where there is no
/// sshd.
fn start(repo: &Repo, developer: &str, root: &Path) -> Option<(Sshd, TestService)> {
    let sshd = Sshd::start()?;
    let mut setup = Setup::new()
        .set("nodes.far.orch", env!("CARGO_BIN_EXE_orch"))
        .set("nodes.far.offline_s", 20);
    for line in sshd.node("far", root) {
        let (key, value) = line.split_once(" = ").unwrap();
        let parsed: toml::Table = format!("value = {value}").parse().unwrap();
        setup = setup.set(key, parsed["value"].clone());
    }
    let agent = Agent::diligent().role("developer", developer);
    let service = setup
        .project(Project::new("shop", repo).agent(&agent).then(THREE_STAGES))
        .start();
    service.cli_ok(&[
        "node",
        "blacklist",
        "local",
        "--for",
        "1h",
        "--reason",
        "new disk",
    ]);
    Some((sshd, service))
}

fn room() -> (tempfile::TempDir, PathBuf) {
    let room = tempfile::Builder::new().prefix("orch far ").tempdir().unwrap();
    let root = room.path().canonicalize().unwrap();
    (room, root)
}

fn node(service: &TestService, name: &str) -> NodeView {
    let nodes: Vec<NodeView> = serde_json::from_str(&service.cli_ok(&["--json", "node", "list"])).unwrap();
    nodes.into_iter().find(|n| n.node == name).unwrap()
}

const WRITES: &str = "mkdir -p src; pwd -P >src/where.txt; here at; until_told go; commit 'write it'";

#[test]
fn a_service_that_is_killed_and_started_again_goes_on_with_an_agent_on_its_node() {
    let (repo, (_room, root)) = (Repo::new(), room());
    let Some((_sshd, mut service)) = start(&repo, WRITES, &root) else {
        return;
    };
    let id = service.add("Say hello");
    let (_, at) = service.wait_here("at");
    assert!(at.starts_with(&root), "{}", at.display());
    assert_eq!(node(&service, "far").taken, 1);
    service.kill9();
    service.start();
    service.tell("go");
    service.wait_status(&id, "done");
    assert_eq!(service.worked(&id, "developer"), 1, "nothing was begun again");
    let written = repo.show("src/where.txt");
    assert!(Path::new(written.trim()).starts_with(&root), "{written}");
    let left = |folder: &str| fs::read_dir(root.join(folder)).unwrap().count();
    wait_until("nothing is left on the node", || {
        left("runs") + left("worktrees") == 0
    });
}

#[test]
fn a_node_that_does_not_return_is_given_up_and_its_job_goes_elsewhere() {
    let (repo, (_room, root)) = (Repo::new(), room());
    let Some((mut sshd, mut service)) = start(&repo, WRITES, &root) else {
        return;
    };
    let id = service.add("Say hello");
    service.wait_here("at");
    sshd.stop();
    service.cli_ok(&["node", "clear", "local"]);
    fs::remove_file(service.out().join("at")).unwrap();
    let said: Value = serde_json::from_str(&service.cli_ok(&["--json", "node", "give-up", "far"])).unwrap();
    assert_eq!(said["jobs"].as_array().unwrap().len(), 1, "{said}");
    assert_eq!(node(&service, "far").stands, "blacklisted");
    let (_, at) = service.wait_here("at");
    assert!(!at.starts_with(&root), "{}", at.display());
    service.tell("go");
    let detail = service.wait_status(&id, "done");
    let attempts: Vec<_> = detail.jobs.iter().map(|job| job.attempts).collect();
    assert!(
        attempts.iter().all(|n| *n == 1),
        "what was given up cost none: {attempts:?}"
    );
    let written = repo.show("src/where.txt");
    assert!(!Path::new(written.trim()).starts_with(&root), "{written}");
    wait_until("what works there has ended", || processes_below(&root).is_empty());
}
