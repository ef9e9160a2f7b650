use std::fs;

use orch::domain::id::{RunId, WorkItemId};
use orch::git::{Repository, WipName, WipRef};

use super::repo::{SampleRepo, git, main, orch, snapshot, succeeds, write};

fn name(run: i64) -> WipName {
    WipName::new(&WorkItemId::trusted("ORCH-1"), RunId(run))
}

fn at_work() -> (SampleRepo, Repository) {
    let repo = SampleRepo::new();
    repo.commit(
        &[
            (".gitignore", "target\n"),
            ("a", "one\n"),
            ("b", "b\n"),
            ("c", "c\n"),
        ],
        "files",
    );
    let clone = repo.clone();
    let start = clone.remote_head(&main()).unwrap().unwrap();
    clone.prepare_worktree(&repo.path("w"), &start).unwrap();
    (repo, clone)
}

#[test]
fn untracked_changed_and_deleted_files_are_kept_without_touching_what_the_agent_has() {
    let (repo, clone) = at_work();
    let path = repo.path("w");
    let admin = clone.bare().join("worktrees/w");
    write(
        &path,
        &[
            ("a", "two\n"),
            ("new/deep", "x"),
            ("target", "ignored"),
            ("staged", "x"),
        ],
    );
    fs::remove_file(path.join("b")).unwrap();
    git(&path, &["add", "staged"]);
    fs::write(admin.join("index.lock"), "held").unwrap();
    let before = (snapshot(&path), snapshot(&admin));
    let wip = clone
        .save_wip(&path, &name(7), "Unfinished", &orch())
        .unwrap()
        .unwrap();
    assert_eq!((snapshot(&path), snapshot(&admin)), before);
    let files = git(clone.bare(), &["ls-tree", "-r", "--name-only", wip.sha.as_str()]);
    assert_eq!(files, ".gitignore\nREADME.md\na\nc\nnew/deep\nstaged");
    assert_eq!(git(clone.bare(), &["show", &format!("{}:a", wip.sha)]), "two");
    assert_eq!(clone.list_wip().unwrap().first(), Some(&wip));
    clone.remove_worktree(&path).unwrap();
    clone.maintain().unwrap();
    let other = WipRef {
        sha: clone.remote_head(&main()).unwrap().unwrap(),
        ..wip.clone()
    };
    assert!(clone.delete_wip(&other).is_err(), "not as it was seen");
    assert_eq!(clone.list_wip().unwrap().first(), Some(&wip));
    clone.delete_wip(&wip).unwrap();
    assert!(clone.list_wip().unwrap().is_empty());
}

#[test]
fn commits_that_origin_has_not_seen_are_kept_and_nothing_is_kept_of_nothing() {
    let (repo, clone) = at_work();
    let path = repo.path("w");
    assert_eq!(clone.save_wip(&path, &name(1), "x", &orch()).unwrap(), None);
    git(&path, &["commit", "-q", "--allow-empty", "-m", "mine"]);
    let head = clone.head_of(&path).unwrap().unwrap();
    let wip = clone.save_wip(&path, &name(1), "x", &orch()).unwrap().unwrap();
    assert_eq!(wip.sha, head);
    write(&path, &[("target", "ignored only")]);
    assert_eq!(
        clone
            .save_wip(&path, &name(1), "x", &orch())
            .unwrap()
            .unwrap()
            .sha,
        head
    );
    write(&path, &[("a", "and more\n")]);
    let more = clone.save_wip(&path, &name(1), "x", &orch()).unwrap().unwrap();
    assert_eq!(
        git(clone.bare(), &["rev-parse", &format!("{}^", more.sha)]),
        head.as_str()
    );
    assert_eq!(clone.list_wip().unwrap(), [more]);
}

#[test]
fn work_is_kept_out_of_a_conflict_a_broken_index_and_a_missing_dot_git() {
    let (repo, clone) = at_work();
    let path = repo.path("w");
    write(&path, &[("a", "ours\n")]);
    clone.commit_all(&path, "ours", &orch()).unwrap();
    repo.commit(&[("a", "theirs\n")], "theirs");
    clone.fetch().unwrap();
    assert!(!succeeds(&path, &["merge", "origin/main"]));
    let kept = clone.save_wip(&path, &name(1), "x", &orch()).unwrap().unwrap();
    assert!(git(clone.bare(), &["show", &format!("{}:a", kept.sha)]).contains("<<<<<<<"));
    fs::write(
        clone.bare().join("worktrees/w/index"),
        "garbage that is no index at all",
    )
    .unwrap();
    fs::remove_file(path.join(".git")).unwrap();
    write(&path, &[("fresh", "x")]);
    let kept = clone.save_wip(&path, &name(2), "x", &orch()).unwrap().unwrap();
    assert_eq!(git(clone.bare(), &["show", &format!("{}:fresh", kept.sha)]), "x");
    assert_eq!(clone.list_wip().unwrap().len(), 2);
}

#[test]
fn the_files_of_a_generated_repository_are_kept() {
    let (repo, clone) = at_work();
    let path = repo.path("w");
    git(&path, &["init", "-q", "app"]);
    write(&path, &[("app/main", "x")]);
    let kept = clone.save_wip(&path, &name(1), "x", &orch()).unwrap().unwrap();
    assert_eq!(
        git(clone.bare(), &["show", &format!("{}:app/main", kept.sha)]),
        "x"
    );
    assert!(path.join("app/.git").is_dir());
}

#[test]
fn a_name_is_read_back_and_nothing_else_is_taken_for_one() {
    assert_eq!(WipName::parse(name(3).as_str()), Some(name(3)));
    for other in [
        "refs/heads/main",
        "refs/orch/wip/x",
        "refs/orch/wip/-x/1",
        "refs/orch/wip/x/y",
    ] {
        assert_eq!(WipName::parse(other), None, "{other}");
    }
}
