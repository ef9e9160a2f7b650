use std::fs;

use orch::domain::id::{BranchName, Sha};
use orch::git::{GitError, Origin, Repository};

use super::repo::{SampleRepo, branch, git, located, main, sha};

fn check_origin(origin: &str, main: &BranchName) -> Result<Sha, GitError> {
    orch::git::check_origin(&Origin::locate(origin)?, main)
}

#[test]
fn a_clone_holds_the_branches_of_origin_as_remote_branches_and_none_of_its_own() {
    let repo = SampleRepo::new();
    let tip = repo.commit_on("feature/x", &[("a", "a")], "x");
    let clone = repo.clone();
    assert_eq!(clone.fetched().unwrap().get(&branch("feature/x")), Some(&tip));
    assert_eq!(git(clone.bare(), &["for-each-ref", "refs/heads"]), "");
    assert_eq!(clone.fetch().unwrap().len(), 2);
}

#[test]
fn a_fetch_brings_new_heads_and_forgets_deleted_ones() {
    let repo = SampleRepo::new();
    repo.commit_on("feature/x", &[("a", "a")], "x");
    let clone = repo.clone();
    git(&repo.origin, &["branch", "-D", "feature/x"]);
    git(&repo.path("desk"), &["switch", "-q", "main"]);
    git(&repo.path("desk"), &["branch", "-q", "-D", "feature/x"]);
    git(&repo.path("desk"), &["fetch", "-q", "--prune"]);
    // A branch where a folder of branches was.
    let tip = repo.commit_on("feature", &[("b", "b")], "y");
    let refs = clone.fetch().unwrap();
    assert_eq!(refs.get(&branch("feature")), Some(&tip));
    assert_eq!(refs.get(&branch("feature/x")), None);
    assert_eq!(clone.fetched().unwrap(), refs);
}

#[test]
fn heads_are_read_as_they_are_at_origin_now() {
    let repo = SampleRepo::new();
    let clone = repo.clone();
    let tip = repo.commit_on("feature/x", &[("a", "a")], "x");
    repo.commit_on("feature/x-2", &[("a", "b")], "x");
    let heads = clone
        .heads(&[&branch("feature/x"), &branch("feature"), &main()])
        .unwrap();
    assert_eq!(heads.get(&branch("feature/x")), Some(&tip));
    assert_eq!(heads.len(), 2, "{heads:?}");
    assert_eq!(clone.remote_head(&branch("feature")).unwrap(), None);
}

#[test]
fn each_thing_that_can_be_wrong_with_an_origin_has_its_own_error() {
    let room = tempfile::tempdir().unwrap();
    let at = |name: &str| room.path().join(name).to_str().unwrap().to_owned();
    fs::create_dir(at("plain")).unwrap();
    git(room.path(), &["init", "-q", "empty"]);
    git(room.path(), &["init", "-q", "-b", "trunk", "other"]);
    git(
        &room.path().join("other"),
        &["commit", "-q", "--allow-empty", "-m", "x"],
    );
    let error = |name: &str| {
        let checked = check_origin(&at(name), &main()).unwrap_err();
        let opened = Origin::locate(&at(name))
            .and_then(|origin| Repository::open_or_clone(&room.path().join("c.git"), origin, &main()))
            .unwrap_err();
        assert_eq!(checked.to_string(), opened.to_string());
        checked
    };
    assert!(matches!(error("missing"), GitError::PathMissing { .. }));
    assert!(matches!(error("plain"), GitError::NotARepository { .. }));
    assert!(matches!(error("empty"), GitError::NoCommits { .. }));
    match error("other") {
        GitError::MainMissing { known, .. } => assert_eq!(known, "trunk"),
        other => panic!("{other}"),
    }
    assert!(!room.path().join("c.git").exists());
    assert_eq!(
        fs::read_dir(room.path()).unwrap().count(),
        3,
        "something was left over"
    );
}

#[test]
fn a_folder_inside_a_repository_is_not_taken_for_the_repository() {
    let repo = SampleRepo::with_a_person();
    repo.commit(&[("src/a", "a")], "x");
    let inner = repo.origin.join("src");
    let error = check_origin(inner.to_str().unwrap(), &main()).unwrap_err();
    assert!(matches!(error, GitError::NotARepository { .. }), "{error}");
}

#[test]
fn an_address_that_would_run_a_program_runs_none() {
    let room = tempfile::tempdir().unwrap();
    let proof = room.path().join("ran");
    let origin = format!("ext::touch {}", proof.display());
    assert!(check_origin(&origin, &main()).is_err());
    assert!(check_origin("--upload-pack=touch x:y", &main()).is_err());
    assert!(!proof.exists());
}

#[test]
fn a_url_that_does_not_answer_is_unreachable_and_its_secret_is_not_shown() {
    let error = check_origin("http://me:hunter2@127.0.0.1:9/x.git", &main()).unwrap_err();
    assert!(matches!(error, GitError::Unreachable { .. }), "{error:?}");
    assert!(error.is_transient());
    assert!(!format!("{error} {error:?}").contains("hunter2"));
}

#[test]
fn what_an_interrupted_clone_left_does_not_stop_the_next_one() {
    let repo = SampleRepo::new();
    let rest = repo.path(".clone.git.cloning.999999999.0");
    fs::create_dir(&rest).unwrap();
    fs::write(rest.join("HEAD"), "half").unwrap();
    fs::create_dir(repo.path("clone.git")).unwrap();
    repo.clone().fetch().unwrap();
    assert!(!rest.exists());
}

#[test]
fn opening_again_keeps_the_clone_and_takes_over_an_origin_that_moved() {
    let repo = SampleRepo::new();
    let clone = repo.clone();
    fs::write(clone.bare().join("kept"), "x").unwrap();
    let moved = repo.path("moved.git");
    fs::rename(&repo.origin, &moved).unwrap();
    let again = Repository::open_or_clone(clone.bare(), located(&moved), &main()).unwrap();
    assert!(again.bare().join("kept").exists());
    git(&moved, &["branch", "later", "main"]);
    assert_eq!(
        again.fetch().unwrap().get(&branch("later")),
        Some(&sha(&moved, "main"))
    );
}

#[test]
fn a_folder_that_is_no_clone_is_reported_and_left_alone() {
    let repo = SampleRepo::new();
    fs::create_dir(repo.path("clone.git")).unwrap();
    fs::write(repo.path("clone.git/thesis.txt"), "x").unwrap();
    let error =
        Repository::open_or_clone(&repo.path("clone.git"), located(&repo.origin), &main()).unwrap_err();
    assert!(matches!(error, GitError::DamagedClone { .. }), "{error}");
    assert_eq!(fs::read_dir(repo.path("clone.git")).unwrap().count(), 1);
}

#[test]
fn configuration_that_an_agent_wrote_does_not_outlive_its_run() {
    let repo = SampleRepo::new();
    let clone = repo.clone();
    let tip = clone.remote_head(&main()).unwrap().unwrap();
    clone.prepare_worktree(&repo.path("w"), &tip).unwrap();
    git(&repo.path("w"), &["config", "core.worktree", "/nowhere"]);
    assert!(
        !fs::read_to_string(clone.bare().join("config"))
            .unwrap()
            .is_empty()
    );
    clone.prepare_worktree(&repo.path("w2"), &tip).unwrap();
    assert!(
        !fs::read_to_string(clone.bare().join("config"))
            .unwrap()
            .contains("nowhere")
    );
}

#[test]
fn an_agent_cannot_push_through_the_clone() {
    let repo = SampleRepo::new();
    let clone = repo.clone();
    let tip = clone.remote_head(&main()).unwrap().unwrap();
    clone.prepare_worktree(&repo.path("w"), &tip).unwrap();
    assert!(!super::repo::succeeds(
        &repo.path("w"),
        &["push", "origin", "HEAD:refs/heads/sneaky"]
    ));
    assert_eq!(clone.remote_head(&branch("sneaky")).unwrap(), None);
    assert!(super::repo::succeeds(&repo.path("w"), &["fetch", "origin"]));
}

#[test]
fn many_fetches_at_once_all_succeed() {
    let repo = SampleRepo::new();
    let clone = repo.clone();
    let tip = repo.commit(&[("a", "b")], "more");
    std::thread::scope(|scope| {
        let fetch = || Repository::open_or_clone(clone.bare(), located(&repo.origin), &main())?.fetch();
        let all: Vec<_> = (0..6).map(|_| scope.spawn(fetch)).collect();
        for one in all {
            assert_eq!(one.join().unwrap().unwrap().get(&main()), Some(&tip));
        }
    });
}

#[test]
fn a_lock_that_a_killed_process_left_is_removed_when_it_is_old() {
    let repo = SampleRepo::new();
    let clone = repo.clone();
    let lock = clone.bare().join("refs/remotes/origin/main.lock");
    fs::create_dir_all(lock.parent().unwrap()).unwrap();
    fs::write(&lock, "").unwrap();
    let tip = repo.commit(&[("a", "b")], "more");
    assert!(clone.fetch().unwrap_err().is_transient());
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(600);
    fs::File::options()
        .write(true)
        .open(&lock)
        .unwrap()
        .set_modified(old)
        .unwrap();
    assert_eq!(clone.fetch().unwrap().get(&main()), Some(&tip));
}

#[test]
fn an_origin_with_sha256_works_as_well() {
    let room = tempfile::tempdir().unwrap();
    git(
        room.path(),
        &["init", "-q", "-b", "main", "--object-format=sha256", "o"],
    );
    git(
        &room.path().join("o"),
        &["commit", "-q", "--allow-empty", "-m", "x"],
    );
    let origin = room.path().join("o");
    let clone = Repository::open_or_clone(&room.path().join("c.git"), located(&origin), &main()).unwrap();
    let head = clone.fetch().unwrap().get(&main()).unwrap().clone();
    assert_eq!(head.as_str().len(), 64);
    clone.code_tree(&head).unwrap();
    clone.prepare_worktree(&room.path().join("w"), &head).unwrap();
    assert_eq!(clone.head_of(&room.path().join("w")).unwrap(), Some(head));
}

#[test]
fn collecting_garbage_keeps_what_is_in_use() {
    let repo = SampleRepo::new();
    let clone = repo.clone();
    let tip = clone.remote_head(&main()).unwrap().unwrap();
    clone.prepare_worktree(&repo.path("w"), &tip).unwrap();
    clone.maintain().unwrap();
    assert_eq!(clone.list_worktrees().unwrap().len(), 1);
    assert_eq!(clone.fetch().unwrap().get(&main()), Some(&tip));
}
