use orch::domain::id::Sha;
use orch::git::{GitError, Rebase, Relation, Repository};

use super::repo::{SampleRepo, git, main, orch};

fn rebase(repo: &SampleRepo, head: &Sha) -> (Repository, Rebase) {
    let clone = repo.clone();
    let heads = clone.fetch().unwrap();
    let before = git(clone.bare(), &["for-each-ref"]);
    let outcome = clone
        .rebase(&repo.path("scratch"), head, heads.get(&main()).unwrap(), &orch())
        .unwrap();
    assert!(!repo.path("scratch").exists());
    assert!(clone.list_worktrees().unwrap().is_empty());
    assert_eq!(git(clone.bare(), &["for-each-ref"]), before);
    (clone, outcome)
}

fn file(clone: &Repository, commit: &Sha, path: &str) -> String {
    String::from_utf8(clone.read_blob(commit, path).unwrap().unwrap()).unwrap()
}

fn parents(clone: &Repository, commit: &Sha) -> usize {
    git(clone.bare(), &["log", "-1", "--format=%P", commit.as_str()])
        .split(' ')
        .count()
}

#[test]
fn a_rebase_gives_the_same_commit_each_time() {
    let repo = SampleRepo::new();
    repo.commit_on("feature/x", &[("a", "1")], "one");
    repo.commit_on("feature/x", &[], "an empty one");
    let head = repo.commit_on("feature/x", &[("b", "2")], "two");
    let onto = repo.commit(&[("c", "3")], "main moved");
    let (clone, outcome) = rebase(&repo, &head);
    let Rebase::Rebased(first) = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!(clone.ancestry(&onto, &first).unwrap(), Relation::Ahead);
    assert_eq!(
        git(
            clone.bare(),
            &["rev-list", "--count", &format!("{onto}..{first}")]
        ),
        "3"
    );
    assert_eq!(
        git(clone.bare(), &["log", "-1", "--format=%an|%cn", first.as_str()]),
        "person|orch developer"
    );
    std::fs::remove_dir_all(clone.bare()).unwrap();
    // Another clone at another second.
    let second = || std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let made_in = second();
    while second() == made_in {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    assert_eq!(rebase(&repo, &head).1, Rebase::Rebased(first.clone()));
    assert_eq!(rebase(&repo, &head).1, Rebase::Rebased(first));
}

#[test]
fn a_branch_that_contains_the_base_is_up_to_date_and_one_within_it_becomes_it() {
    let repo = SampleRepo::new();
    let old = repo.clone().remote_head(&main()).unwrap().unwrap();
    let base = repo.commit(&[("c", "3")], "main moved");
    let head = repo.commit_on("feature/x", &[("a", "1")], "one");
    assert_eq!(rebase(&repo, &head).1, Rebase::UpToDate);
    assert_eq!(rebase(&repo, &old).1, Rebase::Rebased(base));
}

#[test]
fn a_conflict_names_its_files_and_leaves_no_trace() {
    let repo = SampleRepo::new();
    repo.commit(&[("a b", "0\n"), ("c", "0\n")], "base");
    let head = repo.commit_on("feature/x", &[("a b", "1\n"), ("c", "1\n"), ("d", "1\n")], "one");
    repo.commit(&[("a b", "2\n"), ("c", "2\n"), ("e", "2\n")], "main moved");
    let files = vec!["a b".to_owned(), "c".to_owned()];
    assert_eq!(rebase(&repo, &head).1, Rebase::Conflict { files });
}

#[test]
fn a_branch_with_clean_merges_becomes_a_line_of_commits() {
    let repo = SampleRepo::new();
    repo.commit_on("feature/x", &[("a", "1")], "one");
    repo.commit(&[("c", "3")], "main moved");
    repo.commit_on("feature/x", &[("b", "2")], "two");
    repo.at_desk(&["merge", "-q", "--no-edit", "main"]);
    let head = repo.commit_on("feature/x", &[("d", "4")], "three");
    let onto = repo.commit(&[("e", "5")], "main moved again");
    let (clone, outcome) = rebase(&repo, &head);
    let Rebase::Rebased(sha) = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!(
        git(clone.bare(), &["rev-list", "--count", &format!("{onto}..{sha}")]),
        "3"
    );
    assert_eq!(parents(&clone, &sha), 1);
    assert_eq!(clone.list_dir(&sha, "").unwrap().len(), 6);
}

#[test]
fn what_a_merge_commit_resolved_is_not_lost() {
    let repo = SampleRepo::new();
    repo.commit(&[("a", "0\n")], "base");
    repo.commit_on("feature/x", &[("a", "branch\n")], "one");
    repo.commit(&[("a", "main\n")], "main moved");
    repo.commit_on("feature/x", &[], "before the merge");
    repo.at_desk(&["merge", "-q", "--no-edit", "-s", "ours", "main"]);
    let head = repo.commit_on("feature/x", &[("a", "both\n")], "resolved by hand");
    let onto = repo.commit(&[("e", "5")], "main moved again");
    let (clone, outcome) = rebase(&repo, &head);
    let Rebase::Squashed(sha) = &outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!(file(&clone, sha, "a"), "both\n");
    assert_eq!(file(&clone, sha, "e"), "5");
    assert_eq!(
        git(clone.bare(), &["rev-parse", &format!("{sha}^")]),
        onto.as_str()
    );
    let message = git(clone.bare(), &["log", "-1", "--format=%B", sha.as_str()]);
    assert!(
        message.ends_with("- one\n- before the merge\n- resolved by hand"),
        "{message}"
    );
    assert_eq!(rebase(&repo, &head).1, outcome);
}

#[test]
fn commits_that_main_has_already_are_not_made_twice() {
    let repo = SampleRepo::new();
    repo.commit(&[("a", "0\n")], "base");
    let one = repo.commit_on("feature/x", &[("a", "1\n")], "one");
    let head = repo.commit_on("feature/x", &[("b", "1\n")], "two");
    repo.commit(&[], "main");
    repo.at_desk(&["cherry-pick", one.as_str()]);
    let onto = repo.commit(&[("a", "2\n")], "main went on from there");
    let (clone, outcome) = rebase(&repo, &head);
    let Rebase::Rebased(sha) = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!(file(&clone, &sha, "a"), "2\n");
    assert_eq!(
        git(clone.bare(), &["rev-list", "--count", &format!("{onto}..{sha}")]),
        "1"
    );
}

#[test]
fn a_change_that_main_took_and_gave_back_is_not_lost() {
    let repo = SampleRepo::new();
    repo.commit(&[("a", "0\n")], "base");
    let head = repo.commit_on("feature/x", &[("a", "1\n")], "one");
    repo.commit(&[("z", "z")], "main");
    repo.at_desk(&["cherry-pick", head.as_str()]);
    repo.at_desk(&["revert", "--no-edit", "HEAD"]);
    let (clone, outcome) = rebase(&repo, &head);
    let Rebase::Squashed(sha) = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!(file(&clone, &sha, "a"), "1\n");
}

#[test]
fn a_branch_without_common_history_is_an_error_that_says_so() {
    let repo = SampleRepo::new();
    let head = repo.commit(&[("a", "0\n")], "base");
    let stranger = git(&repo.origin, &["commit-tree", "-m", "stranger", "main^{tree}"]);
    git(&repo.origin, &["update-ref", "refs/heads/stranger", &stranger]);
    let stranger = Sha::parse(&stranger).unwrap();
    let clone = repo.clone();
    let error = clone
        .rebase(&repo.path("scratch"), &stranger, &head, &orch())
        .unwrap_err();
    assert!(matches!(error, GitError::UnrelatedHistories { .. }), "{error}");
    assert!(matches!(
        clone.patch_id(&head, &stranger),
        Err(GitError::UnrelatedHistories { .. })
    ));
}
