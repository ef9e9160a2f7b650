//! A person gets at what an agent left unfinished.

use std::fs;

use orch::engine::views::{KeptView, RescueView};

use crate::support::{Agent, ONE_STAGE, Project, Repo, Setup, TestService, git, wait_until};

fn start(repo: &Repo) -> TestService {
    let agent = Agent::new().role("developer", "echo half >half.txt; here first; until_told never");
    Setup::new()
        .project(Project::new("shop", repo).agent(&agent).then(ONE_STAGE))
        .start()
}

fn cancelled(service: &mut TestService) -> i64 {
    let id = service.add("Cancelled");
    service.wait_here("first");
    service.cli_ok(&["task", "cancel", &id, "--comment", "no longer wanted"]);
    let detail = service.wait_task(&id, "has its run put away", |d| {
        d.runs.last().is_some_and(|r| r.finished_at.is_some())
    });
    detail.runs[0].id
}

#[test]
fn kept_work_is_listed_shown_restored_and_then_a_person_goes_on_with_it() {
    let repo = Repo::new();
    let mut service = start(&repo);
    assert!(service.cli_ok(&["run", "rescue"]).contains("Nothing is kept"));
    let run = cancelled(&mut service).to_string();
    let list = service.cli_ok(&["run", "rescue"]);
    assert!(
        list.contains("SHOP-001") && list.contains("cancelled by operator"),
        "{list}"
    );
    let listed: Vec<KeptView> =
        serde_json::from_str(&service.cli_ok(&["run", "rescue", "--task", "SHOP-1", "--json"])).unwrap();
    assert_eq!((listed.len(), listed[0].run.to_string()), (1, run.clone()));
    let shown = service.cli_ok(&["run", "rescue", &run, "--show"]);
    assert!(
        shown.contains("+half\n") && shown.contains("2 files changed"),
        "{shown}"
    );
    assert!(service.cli_ok(&["run", "show", &run]).contains("orch run rescue"));

    let before = (
        repo.sha("main"),
        repo.git(&["status", "--porcelain=v2", "--branch"]),
    );
    let done = service.cli_ok(&["run", "rescue", &run]);
    let branch = format!("rescue/SHOP-001-{run}");
    assert!(done.contains(&format!("is now on branch {branch}")), "{done}");
    assert_eq!(
        (
            repo.sha("main"),
            repo.git(&["status", "--porcelain=v2", "--branch"])
        ),
        before
    );
    let again: RescueView =
        serde_json::from_str(&service.cli_ok(&["run", "rescue", &run, "--json"])).unwrap();
    assert!(!again.created);
    // What it says to type next.
    let (home, line) = done.split_once("In ").unwrap().1.split_once(":\n").unwrap();
    assert_eq!(
        fs::canonicalize(home).unwrap(),
        fs::canonicalize(&repo.path).unwrap()
    );
    let args: Vec<&str> = line.trim().strip_prefix("git ").unwrap().split(' ').collect();
    git(&repo.path, &args);
    assert_eq!(fs::read_to_string(repo.path.join("half.txt")).unwrap(), "half\n");

    let taken = service.cli(&["run", "rescue", &run, "--branch", "main"]);
    assert_eq!(taken.status.code(), Some(1));
    assert_eq!(service.cli(&["run", "rescue", "4711"]).status.code(), Some(4));
    assert_eq!(
        service.cli(&["run", "rescue", "--branch", "x"]).status.code(),
        Some(2)
    );
}

#[test]
fn what_to_type_next_works_where_people_push_to_a_bare_repository() {
    let repo = Repo::bare();
    let mut service = start(&repo);
    let run = cancelled(&mut service).to_string();
    let done = service.cli_ok(&["run", "rescue", &run, "--branch", "went/on"]);
    let lines = done.lines().filter_map(|line| line.trim().strip_prefix("git "));
    let lines: Vec<&str> = lines.collect();
    assert_eq!(lines.len(), 2, "{done}");
    for line in lines {
        git(&repo.desk, &line.split(' ').collect::<Vec<_>>());
    }
    assert_eq!(fs::read_to_string(repo.desk.join("half.txt")).unwrap(), "half\n");
}

#[test]
fn work_of_a_project_whose_file_was_removed_waits_until_it_is_back() {
    let repo = Repo::new();
    let mut service = start(&repo);
    let id = service.add("Removed");
    let (pid, cwd) = service.wait_here("first");
    service.kill9();
    let file = service.data().join("projects/shop.toml");
    let aside = service.home().join("shop.toml.aside");
    fs::rename(&file, &aside).unwrap();
    service.start();
    service.wait_status(&id, "blocked");
    wait_until("the agent is ended", || !crate::support::lives(pid));
    assert_eq!(fs::read_to_string(cwd.join("half.txt")).unwrap(), "half\n");
    fs::rename(&aside, &file).unwrap();
    service.restart();
    wait_until("its worktree is put away", || !cwd.exists());
    let listed: Vec<KeptView> = serde_json::from_str(&service.cli_ok(&["run", "rescue", "--json"])).unwrap();
    assert_eq!(listed.len(), 1, "{listed:?}");
    let clone = service.data().join("repos/shop.git");
    assert_eq!(
        git(&clone, &["show", &format!("{}:half.txt", listed[0].wip_ref)]),
        "half"
    );
}
