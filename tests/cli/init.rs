//! `orch init`, with real repositories.

use std::path::Path;
use std::process::Command;

use super::Orch;

fn git(dir: &Path, args: &[&str]) {
    let done = Command::new("git")
        .args([
            "-c",
            "user.name=a",
            "-c",
            "user.email=a@example.org",
            "-c",
            "init.defaultBranch=main",
        ])
        .args(args)
        .current_dir(dir)
        .output()
        .unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

fn repository(orch: &Orch, name: &str) {
    let dir = orch.path().join(name);
    std::fs::create_dir(&dir).unwrap();
    git(&dir, &["init", "-q"]);
    git(&dir, &["commit", "-q", "--allow-empty", "-m", "first"]);
}

#[test]
fn a_repository_comes_under_care_and_what_to_do_next_is_said() {
    let orch = Orch::new();
    repository(&orch, "My Shop");
    let ended = orch.run(&[
        "init",
        "--repo",
        "My Shop",
        "--test",
        "make \"test\"",
        "--agent",
        "codex",
    ]);
    assert_eq!((ended.code, ended.err.as_str()), (0, ""));
    for part in [
        "my-shop",
        "MYSHOP-001",
        "delivers to main",
        "orch serve",
        "orch task add",
    ] {
        assert!(ended.out.contains(part), "{part} is missing:\n{}", ended.out);
    }
    let file = std::fs::read_to_string(orch.path().join("data/projects/my-shop.toml")).unwrap();
    let project: toml::Table = toml::from_str(&file).unwrap();
    assert_eq!(project["test_command"].as_str(), Some("make \"test\""));
    assert_eq!(project["agent"]["preset"].as_str(), Some("codex"));
    assert!(Path::new(project["repo"].as_str().unwrap()).is_absolute());
}

#[test]
fn any_program_can_be_the_agent() {
    let orch = Orch::new();
    repository(&orch, "shop");
    let ended = orch.run(&[
        "init",
        "--repo",
        "shop",
        "--json",
        "--agent-command",
        "sh",
        "-c",
        "cat; exit 0",
    ]);
    assert_eq!(ended.code, 0, "{}", ended.err);
    assert_eq!(ended.json()["project"], "shop");
    let file = std::fs::read_to_string(orch.path().join("data/projects/shop.toml")).unwrap();
    let project: toml::Table = toml::from_str(&file).unwrap();
    let argv = project["agent"]["command"].as_array().unwrap();
    assert_eq!(
        argv.iter().filter_map(|a| a.as_str()).collect::<Vec<_>>(),
        ["sh", "-c", "cat; exit 0"]
    );
}

#[test]
fn a_main_branch_that_is_called_otherwise_is_found_or_asked_for() {
    let orch = Orch::new();
    repository(&orch, "old");
    git(&orch.path().join("old"), &["branch", "-m", "master"]);
    let ended = orch.run(&["init", "--repo", "old", "--agent", "claude"]);
    assert_eq!(ended.code, 0, "{}", ended.err);
    assert!(ended.out.contains("delivers to master"));

    git(&orch.path().join("old"), &["branch", "-m", "trunk"]);
    let ended = orch.run(&["init", "--repo", "old", "--name", "other", "--agent", "claude"]);
    assert_eq!(ended.code, 1);
    assert!(
        ended.err.contains("trunk") && ended.err.contains("--main"),
        "{}",
        ended.err
    );
}

#[test]
fn an_existing_file_is_never_overwritten() {
    let orch = Orch::new();
    repository(&orch, "shop");
    let args = ["init", "--repo", "shop", "--agent", "claude"];
    assert_eq!(orch.run(&args).code, 0);
    let path = orch.path().join("data/projects/shop.toml");
    let before = std::fs::read_to_string(&path).unwrap();
    let ended = orch.run(&["init", "--repo", "shop", "--agent", "codex"]);
    assert_eq!(ended.code, 1);
    assert!(
        ended.err.contains("shop.toml") && ended.err.contains("not overwritten"),
        "{}",
        ended.err
    );
    assert_eq!(std::fs::read_to_string(&path).unwrap(), before);
}

#[test]
fn two_projects_do_not_share_a_prefix() {
    let orch = Orch::new();
    repository(&orch, "shop");
    assert_eq!(orch.run(&["init", "--repo", "shop", "--agent", "claude"]).code, 0);
    let ended = orch.run(&[
        "init", "--repo", "shop", "--name", "two", "--prefix", "SHOP", "--agent", "claude",
    ]);
    assert_eq!(ended.code, 1);
    assert!(ended.err.contains("--prefix"), "{}", ended.err);
}

#[test]
fn what_cannot_be_put_under_care_is_refused_with_what_to_do() {
    let orch = Orch::new();
    repository(&orch, "shop");
    std::fs::create_dir(orch.path().join("plain")).unwrap();
    std::fs::create_dir(orch.path().join("empty")).unwrap();
    git(&orch.path().join("empty"), &["init", "-q"]);
    for (args, code, says) in [
        (&["--repo", "plain"][..], 1, "git init"),
        (&["--repo", "empty"], 1, "no commits"),
        (&["--repo", "/no/such/folder"], 1, "does not exist"),
        (&["--repo", "shop", "--name", "My Shop"], 2, "lower-case"),
        (&["--repo", "shop", "--name", "../etc"], 2, "lower-case"),
        (&["--repo", "shop", "--prefix", "shop-1"], 2, "capital"),
        (&["--repo", "shop", "--main=-x"], 2, "branch"),
        (&["--repo", "shop", "--main", "develop"], 1, "main"),
    ] {
        let args: Vec<_> = ["init", "--agent", "claude"]
            .iter()
            .chain(args)
            .copied()
            .collect();
        let ended = orch.run(&args);
        assert_eq!(
            (ended.code, ended.out.as_str()),
            (code, ""),
            "{args:?}: {}",
            ended.err
        );
        assert!(
            ended.err.contains(says),
            "{args:?} does not say {says:?}: {}",
            ended.err
        );
    }
    let ended = orch.run(&["init", "--repo", "shop", "--agent", "clade"]);
    assert_eq!(ended.code, 2);
    assert!(ended.err.contains("claude"), "{}", ended.err);
    assert!(
        !orch.path().join("data/projects").exists(),
        "a refused init wrote something"
    );
}
