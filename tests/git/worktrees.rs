use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use orch::domain::id::Sha;
use orch::git::GitError;

use super::repo::{SampleRepo, git, main};

#[test]
fn a_worktree_is_prepared_detached_listed_and_removed() {
    let repo = SampleRepo::new();
    let clone = repo.clone();
    let tip = clone.remote_head(&main()).unwrap().unwrap();
    let path = repo.path("runs/ORCH-1/-rf");
    clone.prepare_worktree(&path, &tip).unwrap();
    assert_eq!(fs::read_to_string(path.join("README.md")).unwrap(), "hello\n");
    assert_eq!(git(&path, &["branch", "--show-current"]), "");
    assert_eq!(clone.head_of(&path).unwrap(), Some(tip.clone()));
    let listed = clone.list_worktrees().unwrap();
    assert_eq!(
        (listed.len(), &listed[0].path, &listed[0].head),
        (1, &path, &Some(tip))
    );
    clone.remove_worktree(&path).unwrap();
    clone.remove_worktree(&path).unwrap();
    assert!(!path.exists());
    assert!(clone.list_worktrees().unwrap().is_empty());
}

#[test]
fn a_stale_worktree_of_the_same_path_is_replaced_whatever_became_of_it() {
    let repo = SampleRepo::new();
    let clone = repo.clone();
    let tip = clone.remote_head(&main()).unwrap().unwrap();
    let path = repo.path("w");
    let damages: [&dyn Fn(); 6] = [
        &|| fs::write(path.join("junk"), "x").unwrap(),
        &|| fs::remove_file(path.join(".git")).unwrap(),
        &|| fs::remove_dir_all(&path).unwrap(),
        &|| fs::remove_dir_all(clone.bare().join("worktrees")).unwrap(),
        &|| drop(git(clone.bare(), &["worktree", "lock", path.to_str().unwrap()])),
        &|| {
            fs::create_dir_all(path.join("cache/mod")).unwrap();
            fs::write(path.join("cache/mod/f"), "x").unwrap();
            fs::set_permissions(path.join("cache/mod"), fs::Permissions::from_mode(0o555)).unwrap();
        },
    ];
    clone.prepare_worktree(&path, &tip).unwrap();
    for damage in damages {
        damage();
        clone.prepare_worktree(&path, &tip).unwrap();
        assert_eq!(fs::read_dir(&path).unwrap().count(), 2);
        assert_eq!(clone.head_of(&path).unwrap(), Some(tip.clone()));
    }
    assert_eq!(clone.list_worktrees().unwrap().len(), 1);
}

#[test]
fn two_worktrees_whose_folders_have_one_name_are_told_apart() {
    let repo = SampleRepo::new();
    let first = repo.clone().remote_head(&main()).unwrap().unwrap();
    let second = repo.commit(&[("a", "a")], "second");
    let clone = repo.clone();
    clone.fetch().unwrap();
    clone.prepare_worktree(&repo.path("1/tree"), &first).unwrap();
    clone.prepare_worktree(&repo.path("2/tree"), &second).unwrap();
    assert_eq!(clone.head_of(&repo.path("1/tree")).unwrap(), Some(first));
    clone.remove_worktree(&repo.path("1/tree")).unwrap();
    assert_eq!(clone.head_of(&repo.path("2/tree")).unwrap(), Some(second));
}

#[test]
fn a_worktree_reached_through_a_link_is_found() {
    let repo = SampleRepo::new();
    let clone = repo.clone();
    let tip = clone.remote_head(&main()).unwrap().unwrap();
    fs::create_dir(repo.path("real")).unwrap();
    std::os::unix::fs::symlink(repo.path("real"), repo.path("link")).unwrap();
    clone.prepare_worktree(&repo.path("link/w"), &tip).unwrap();
    assert_eq!(clone.head_of(&repo.path("link/w")).unwrap(), Some(tip));
    clone.remove_worktree(&repo.path("link/w")).unwrap();
    assert!(clone.list_worktrees().unwrap().is_empty());
}

#[test]
fn a_folder_that_holds_a_repository_is_never_removed() {
    let repo = SampleRepo::new();
    let clone = repo.clone();
    for path in [repo.room.path(), clone.bare(), &repo.origin] {
        assert!(matches!(
            clone.remove_worktree(path),
            Err(GitError::Forbidden { .. })
        ));
    }
    assert!(clone.bare().exists() && repo.origin.exists());
}

#[test]
fn a_commit_that_nobody_has_gives_no_worktree_and_leaves_none() {
    let repo = SampleRepo::new();
    let clone = repo.clone();
    let nobody = Sha::trusted("1".repeat(40));
    let error = clone.prepare_worktree(&repo.path("w"), &nobody).unwrap_err();
    assert!(matches!(error, GitError::UnknownCommit { .. }), "{error}");
    assert!(!repo.path("w").exists() && clone.list_worktrees().unwrap().is_empty());
    assert!(matches!(
        clone.head_of(&repo.path("w")),
        Err(GitError::WorktreeLost { .. })
    ));
}

#[test]
fn a_branch_that_an_earlier_agent_made_is_not_in_the_way_of_the_next_one() {
    let repo = SampleRepo::new();
    let clone = repo.clone();
    let tip = clone.remote_head(&main()).unwrap().unwrap();
    let (one, two) = (repo.path("1"), repo.path("2"));
    clone.prepare_worktree(&one, &tip).unwrap();
    clone.prepare_worktree(&two, &tip).unwrap();
    git(&one, &["checkout", "-q", "-b", "feature/x"]);
    git(&one, &["commit", "-q", "--allow-empty", "-m", "kept"]);
    let kept = clone.head_of(&one).unwrap().unwrap();
    git(&two, &["checkout", "-q", "-b", "feature/live"]);
    git(clone.bare(), &["pack-refs", "--all"]);
    clone.prepare_worktree(&one, &tip).unwrap();
    git(&one, &["checkout", "-q", "-b", "feature/x"]);
    assert_eq!(clone.head_of(&one).unwrap(), Some(tip));
    assert_eq!(git(&two, &["branch", "--show-current"]), "feature/live");
    assert_eq!(
        git(clone.bare(), &["rev-parse", "refs/orch/stray/feature%x"]),
        kept.as_str()
    );
}
