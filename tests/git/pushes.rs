use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use orch::domain::id::Sha;
use orch::git::{DeleteOutcome, GitError, PushMode, PushOutcome, Repository};

use super::repo::{SampleRepo, branch, git, main, orch, sha, write};

/// A commit on top of another, made in a worktree.
fn work(repo: &SampleRepo, clone: &Repository, on: &Sha, content: &str) -> Sha {
    let path = repo.path("work");
    clone.prepare_worktree(&path, on).unwrap();
    write(&path, &[("work.txt", content)]);
    clone
        .commit_all(&path, content, &orch())
        .unwrap()
        .outcome
        .head()
        .clone()
}

#[test]
fn a_missing_branch_is_made_at_the_tip_of_main_once() {
    let repo = SampleRepo::new();
    let clone = repo.clone();
    let tip = repo.commit(&[("late", "x")], "after the clone");
    let name = branch("feature/ORCH-1");
    assert_eq!(clone.ensure_branch(&name).unwrap(), tip);
    repo.commit(&[("later", "x")], "more");
    assert_eq!(clone.ensure_branch(&name).unwrap(), tip);
    assert_eq!(clone.remote_head(&name).unwrap(), Some(tip));
}

#[test]
fn many_who_make_the_same_branch_get_the_same_head() {
    let repo = SampleRepo::new();
    let clone = repo.clone();
    let name = branch("feature/x");
    let heads: Vec<Sha> = std::thread::scope(|scope| {
        let all: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| clone.ensure_branch(&name).unwrap()))
            .collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    });
    assert!(heads.windows(2).all(|pair| pair[0] == pair[1]));
}

#[test]
fn a_branch_whose_name_is_taken_by_a_folder_is_refused_with_the_reason() {
    let repo = SampleRepo::new();
    repo.commit_on("feature", &[("a", "a")], "x");
    let error = repo.clone().ensure_branch(&branch("feature/x")).unwrap_err();
    assert!(matches!(error, GitError::Forbidden { .. }), "{error}");
}

#[test]
fn a_push_says_what_became_of_it() {
    let repo = SampleRepo::new();
    let clone = repo.clone();
    let name = branch("feature/x");
    let base = clone.ensure_branch(&name).unwrap();
    let one = work(&repo, &clone, &base, "one");
    let two = work(&repo, &clone, &one, "two");
    let rival = work(&repo, &clone, &base, "rival");
    let push =
        |commit: &Sha, expected: Option<&Sha>, mode| clone.push(commit, &name, expected, mode).unwrap();
    use PushMode::{FastForward, Rewrite};
    assert_eq!(push(&one, Some(&base), FastForward), PushOutcome::Pushed);
    assert_eq!(push(&one, Some(&base), FastForward), PushOutcome::AlreadyThere);
    assert_eq!(push(&rival, Some(&one), FastForward), PushOutcome::NotFastForward);
    assert_eq!(
        push(&rival, Some(&base), FastForward),
        PushOutcome::Moved {
            found: Some(one.clone())
        }
    );
    assert_eq!(
        push(&rival, Some(&base), Rewrite),
        PushOutcome::Moved {
            found: Some(one.clone())
        }
    );
    assert_eq!(
        push(&rival, None, Rewrite),
        PushOutcome::Moved {
            found: Some(one.clone())
        }
    );
    assert_eq!(push(&two, Some(&one), FastForward), PushOutcome::Pushed);
    assert_eq!(push(&rival, Some(&two), Rewrite), PushOutcome::Pushed);
    assert_eq!(clone.remote_head(&name).unwrap(), Some(rival.clone()));
    assert_eq!(clone.fetched().unwrap().get(&name), Some(&rival));
    let gone = branch("feature/gone");
    let moved = clone.push(&two, &gone, Some(&one), FastForward).unwrap();
    assert_eq!(moved, PushOutcome::Moved { found: None });
    let nobody = Sha::trusted("1".repeat(40));
    assert!(matches!(
        clone.push(&nobody, &gone, None, Rewrite),
        Err(GitError::UnknownCommit { .. })
    ));
}

#[test]
fn main_is_never_pushed_to_nor_deleted() {
    let repo = SampleRepo::new();
    let clone = repo.clone();
    let tip = clone.remote_head(&main()).unwrap().unwrap();
    let next = work(&repo, &clone, &tip, "x");
    for mode in [PushMode::FastForward, PushMode::Rewrite] {
        let refused = clone.push(&next, &main(), Some(&tip), mode);
        assert!(matches!(refused, Err(GitError::Forbidden { .. })));
    }
    assert!(matches!(
        clone.delete_branch(&main(), &tip),
        Err(GitError::Forbidden { .. })
    ));
    assert_eq!(clone.remote_head(&main()).unwrap(), Some(tip));
}

#[test]
fn a_branch_that_a_person_has_checked_out_is_refused_whatever_they_configured() {
    let repo = SampleRepo::with_a_person();
    let base = repo.commit_on("feature/x", &[("a", "a")], "x");
    let clone = repo.clone();
    let next = work(&repo, &clone, &base, "x");
    for setting in ["refuse", "ignore", "updateInstead"] {
        git(&repo.origin, &["config", "receive.denyCurrentBranch", setting]);
        match clone
            .push(&next, &branch("feature/x"), Some(&base), PushMode::FastForward)
            .unwrap()
        {
            PushOutcome::Refused { why } => assert!(why.contains("checked out"), "{why}"),
            other => panic!("{other:?}"),
        }
    }
    assert!(matches!(
        clone.delete_branch(&branch("feature/x"), &base).unwrap(),
        DeleteOutcome::Refused { .. }
    ));
    assert_eq!(sha(&repo.origin, "feature/x"), base);
    assert_eq!(git(&repo.origin, &["status", "--porcelain"]), "");
}

#[test]
fn the_words_of_a_hook_at_origin_reach_the_caller() {
    let repo = SampleRepo::new();
    let clone = repo.clone();
    let hook = repo.origin.join("hooks/pre-receive");
    fs::create_dir_all(hook.parent().unwrap()).unwrap();
    fs::write(&hook, "#!/bin/sh\necho not on fridays >&2\nexit 1\n").unwrap();
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).unwrap();
    let tip = clone.remote_head(&main()).unwrap().unwrap();
    match clone
        .push(&tip, &branch("b"), None, PushMode::FastForward)
        .unwrap()
    {
        PushOutcome::Refused { why } => assert!(why.contains("not on fridays"), "{why}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_branch_is_deleted_only_where_it_is_expected() {
    let repo = SampleRepo::new();
    let clone = repo.clone();
    let name = branch("feature/x");
    let base = clone.ensure_branch(&name).unwrap();
    let next = work(&repo, &clone, &base, "x");
    assert_eq!(
        clone.delete_branch(&name, &next).unwrap(),
        DeleteOutcome::Moved { found: base.clone() }
    );
    assert_eq!(clone.delete_branch(&name, &base).unwrap(), DeleteOutcome::Deleted);
    assert_eq!(
        clone.delete_branch(&name, &base).unwrap(),
        DeleteOutcome::AlreadyGone
    );
}
