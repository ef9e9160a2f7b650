use std::fs;
use std::path::Path;

use orch::domain::id::{RunId, Sha, WorkItemId};
use orch::git::{GitError, WipName};

use super::repo::{SampleRepo, branch, git, main, orch, write};

fn name() -> WipName {
    WipName::new(&WorkItemId::trusted("ORCH-1"), RunId(1))
}

/// Removes a loose object, as `git prune` of an agent does with what it believes unused.
fn lose(bare: &Path, object: &Sha) {
    let (folder, file) = object.as_str().split_at(2);
    let path = bare.join("objects").join(folder).join(file);
    fs::remove_file(path).unwrap();
}

#[test]
fn a_commit_that_was_pruned_behind_a_remembered_head_is_fetched_again() {
    let repo = SampleRepo::new();
    let clone = repo.clone();
    let work = repo.commit_on("feature/x", &[("x", "1")], "Work");
    clone.fetch().unwrap();
    lose(clone.bare(), &work);
    clone.ensure_commits(&[&work]).unwrap();
    assert_eq!(git(clone.bare(), &["show", &format!("{work}:x")]), "1");
}

#[test]
fn a_fetch_goes_on_when_a_remembered_head_lost_its_commit() {
    let repo = SampleRepo::new();
    let clone = repo.clone();
    let work = repo.commit_on("feature/x", &[("x", "1")], "Work");
    clone.fetch().unwrap();
    lose(clone.bare(), &work);
    let tip = repo.commit(&[("y", "1")], "More on main");
    let refs = clone.fetch().unwrap();
    assert_eq!(refs.get(&main()), Some(&tip));
    assert_eq!(refs.get(&branch("feature/x")), Some(&work));
    clone.ensure_commits(&[&work, &tip]).unwrap();
}

#[test]
fn a_remembered_head_that_holds_rubbish_is_put_right() {
    let repo = SampleRepo::new();
    let clone = repo.clone();
    clone.fetch().unwrap();
    let remembered = clone.bare().join("refs/remotes/origin/main");
    fs::create_dir_all(remembered.parent().unwrap()).unwrap();
    fs::write(&remembered, "rubbish\n").unwrap();
    let tip = repo.commit(&[("y", "1")], "More on main");
    assert_eq!(clone.fetch().unwrap().get(&main()), Some(&tip));
}

#[test]
fn kept_work_whose_objects_are_gone_is_told_and_not_given_up() {
    let repo = SampleRepo::new();
    let clone = repo.clone();
    let tip = clone.remote_head(&main()).unwrap().unwrap();
    let path = repo.path("w");
    clone.prepare_worktree(&path, &tip).unwrap();
    write(&path, &[("mine", "x")]);
    let wip = clone.save_wip(&path, &name(), "x", &orch()).unwrap().unwrap();
    lose(clone.bare(), &wip.sha);
    repo.commit(&[("y", "1")], "More on main");
    match clone.fetch() {
        Err(e @ GitError::DamagedClone { .. }) => assert!(e.to_string().contains("move it away"), "{e}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(clone.list_wip().unwrap(), [wip]);
}

#[test]
fn a_folder_that_lost_its_administration_is_adopted_again_with_all_that_is_in_it() {
    let repo = SampleRepo::new();
    let clone = repo.clone();
    let tip = clone.remote_head(&main()).unwrap().unwrap();
    let path = repo.path("w");
    clone.prepare_worktree(&path, &tip).unwrap();
    write(&path, &[("mine", "x"), ("README.md", "changed\n")]);
    fs::remove_dir_all(clone.bare().join("worktrees")).unwrap();
    let lost = clone.save_wip(&path, &name(), "x", &orch()).unwrap_err();
    assert!(matches!(lost, GitError::WorktreeLost { .. }), "{lost}");
    clone.readopt_worktree(&path, &tip).unwrap();
    let wip = clone.save_wip(&path, &name(), "x", &orch()).unwrap().unwrap();
    let changed = git(
        clone.bare(),
        &["diff", "--name-only", tip.as_str(), wip.sha.as_str()],
    );
    assert_eq!(changed, "README.md\nmine");
    clone.remove_worktree(&path).unwrap();
    assert!(clone.list_worktrees().unwrap().is_empty() && !path.exists());
}

#[test]
fn what_was_committed_in_a_folder_that_is_gone_is_kept() {
    let repo = SampleRepo::new();
    let clone = repo.clone();
    let tip = clone.remote_head(&main()).unwrap().unwrap();
    let path = repo.path("w");
    clone.prepare_worktree(&path, &tip).unwrap();
    git(&path, &["commit", "-q", "--allow-empty", "-m", "mine"]);
    let mine = clone.head_of(&path).unwrap().unwrap();
    fs::remove_dir_all(&path).unwrap();
    let wip = clone.save_wip(&path, &name(), "x", &orch()).unwrap().unwrap();
    assert_eq!(wip.sha, mine);
    clone.readopt_worktree(&path, &tip).unwrap_err();
}
