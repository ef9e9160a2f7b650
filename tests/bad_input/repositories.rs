//! A repository that is not one, has no commits, or lacks its main branch: at `init`, at `serve`, and for a task.

use std::fs;
use std::path::Path;
use std::process::Command;

use orch::engine::views::AddTask;

use super::{TWO_STAGES, assert_names, blocked, cli, ends};
use crate::support::{Project, Repo, Setup, TestService, git, wait_until};

/// What is wrong with a repository, and the words that say so.
const WRONG: [(&str, [&str; 2]); 4] = [
    ("absent", ["does not exist", "give the folder or the URL"]),
    ("plain", ["is not a git repository", "git init"]),
    ("empty", ["has no commits", "make a first commit on main"]),
    ("other", ["has no branch main", "it has develop"]),
];

/// One folder for each of [`WRONG`].
fn wrong_repositories(room: &Path) {
    fs::create_dir(room.join("plain")).unwrap();
    git(room, &["init", "-q", "-b", "main", "empty"]);
    git(room, &["init", "-q", "-b", "develop", "other"]);
    git(
        &room.join("other"),
        &["commit", "-q", "--allow-empty", "-m", "first"],
    );
}

/// What a person does about it.
fn mend(room: &Path) {
    git(room, &["init", "-q", "-b", "main", "absent"]);
    git(room, &["init", "-q", "-b", "main", "plain"]);
    for name in ["absent", "plain", "empty"] {
        git(
            &room.join(name),
            &["commit", "-q", "--allow-empty", "-m", "first"],
        );
    }
    git(&room.join("other"), &["branch", "main"]);
}

#[test]
fn init_refuses_what_it_could_not_work_with_and_writes_nothing() {
    let room = tempfile::tempdir().unwrap();
    wrong_repositories(room.path());
    for (name, parts) in WRONG {
        let mut init = Command::new(env!("CARGO_BIN_EXE_orch"));
        init.args(["init", "--agent", "claude", "--repo", name]);
        init.current_dir(room.path()).env_remove("ORCH_CONFIG");
        let ended = ends(init);
        // A folder that is not there may as well be a URL without a scheme: both are refused.
        assert_names(ended.line(1), &parts);
        assert!(!room.path().join("data").exists(), "{name}");
    }
}

fn add_to(service: &TestService, project: &str) -> String {
    let task = AddTask {
        project: Some(project.to_owned()),
        title: "Work".to_owned(),
        ..AddTask::default()
    };
    service.add_task(&task).id
}

#[test]
fn a_repository_that_cannot_be_used_blocks_its_own_tasks_until_it_is_mended() {
    let room = tempfile::tempdir().unwrap();
    wrong_repositories(room.path());
    let good = Repo::new();
    let mut setup = Setup::new().project(Project::new("good", &good).then(TWO_STAGES));
    for (name, _) in WRONG {
        let wrong = Project::at(name, &room.path().join(name)).top("test_command = \"true\"");
        setup = setup.project(wrong.then(TWO_STAGES));
    }
    let mut service = setup.start();
    wait_until("each is told in the log", || {
        let log = service.log();
        WRONG.iter().all(|(name, parts)| {
            let told =
                |line: &&str| line.contains(&format!("projects/{name}.toml")) && line.contains(parts[0]);
            log.lines().any(|line| told(&line))
        })
    });
    let doctor = service.cli(&["doctor"]);
    assert_eq!(doctor.status.code(), Some(1));
    let found = String::from_utf8(doctor.stdout).unwrap();
    let mut tasks = Vec::new();
    for (name, parts) in WRONG {
        assert_names(&found, &parts);
        let id = add_to(&service, name);
        let (detail, reason) = blocked(&mut service, &id);
        assert_names(&reason, &parts);
        assert_names(&reason, &[&format!("projects/{name}.toml")]);
        // Trying again would only fail again.
        assert_eq!((detail.jobs.len(), detail.jobs[0].attempts), (1, 1));
        tasks.push(id);
    }
    let other = add_to(&service, "good");
    service.wait_status(&other, "done");

    mend(room.path());
    for id in &tasks {
        assert_eq!(cli(&service, &["task", "unblock", id]).code, 0);
        service.wait_status(id, "done");
    }
}

#[test]
fn a_repository_that_goes_away_under_a_task_blocks_it_and_its_work_is_there_when_it_is_back() {
    let repo = Repo::bare();
    let agent = crate::support::Agent::diligent().role(
        "developer",
        "echo work >work.txt; here working; until_told go; commit work",
    );
    let mut service = Setup::new()
        .project(Project::new("shop", &repo).agent(&agent).then(TWO_STAGES))
        .start();
    let id = service.add("Work");
    service.wait_here("working");
    let away = repo.path.with_extension("away");
    fs::rename(&repo.path, &away).unwrap();
    service.tell("go");
    let (detail, reason) = blocked(&mut service, &id);
    assert_names(&reason, &["does not exist", "projects/shop.toml"]);
    fs::rename(&away, &repo.path).unwrap();
    let kept = super::kept(&service, "shop", &detail);
    assert!(kept.contains(&"work.txt".to_owned()), "{kept:?}");
    assert_eq!(cli(&service, &["task", "unblock", &id]).code, 0);
    service.wait_status(&id, "done");
}
