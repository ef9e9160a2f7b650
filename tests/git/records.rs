use orch::domain::id::Sha;
use orch::domain::records::RefName;
use orch::git::{GitError, Record, Recorded, Repository};

use super::repo::{SampleRepo, branch, git, main, orch, sha};

const PATH: &str = "docs/work-items/SHOP-1/15-staging-log.md";

fn write(
    clone: &Repository,
    onto: &str,
    (path, content): (&str, &str),
    expected: Option<&Sha>,
    begin: bool,
) -> Result<Recorded, GitError> {
    clone.record(&Record {
        onto: &RefName::parse(onto).unwrap(),
        path,
        content: content.as_bytes(),
        message: "SHOP-1: 15-staging-log.md",
        author: &orch(),
        expected,
        begin,
    })
}

fn committed(recorded: Result<Recorded, GitError>) -> Sha {
    match recorded.unwrap() {
        Recorded::Committed(sha) => sha,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_file_is_committed_on_top_of_a_branch_once_and_its_code_stays_the_same() {
    let repo = SampleRepo::new();
    let clone = repo.clone();
    let tip = repo.commit_on("feature/x", &[("src/a", "a"), ("docs/b", "b")], "work");
    let onto = "refs/heads/feature/x";
    let first = committed(write(&clone, onto, (PATH, "one\n"), Some(&tip), false));
    assert_eq!(sha(&repo.origin, "feature/x"), first);
    assert_eq!(sha(&repo.origin, "feature/x^"), tip);
    let shown = git(
        &repo.origin,
        &["show", "--format=%an %s", "--name-status", "feature/x"],
    );
    assert_eq!(
        shown,
        format!("orch developer SHOP-1: 15-staging-log.md\n\nA\t{PATH}")
    );
    assert_eq!(clone.code_tree(&first).unwrap(), clone.code_tree(&tip).unwrap());
    // The same content again is no commit; another one is.
    assert_eq!(
        write(&clone, onto, (PATH, "one\n"), None, false).unwrap(),
        Recorded::Same(first.clone())
    );
    let second = committed(write(&clone, onto, (PATH, "two\n"), None, false));
    assert_eq!(clone.read_blob(&second, PATH).unwrap().unwrap(), b"two\n");
    assert_eq!(clone.read_blob(&second, "docs/b").unwrap().unwrap(), b"b");
}

#[test]
fn a_branch_that_moved_gets_nothing_and_one_that_is_gone_is_not_made() {
    let repo = SampleRepo::new();
    let clone = repo.clone();
    let seen = repo.commit_on("feature/x", &[("a", "a")], "work");
    let now = repo.commit_on("feature/x", &[("a", "b")], "more work");
    let recorded = write(&clone, "refs/heads/feature/x", (PATH, "x"), Some(&seen), false);
    assert_eq!(
        recorded.unwrap(),
        Recorded::Moved {
            found: Some(now.clone())
        }
    );
    assert_eq!(sha(&repo.origin, "feature/x"), now);
    let gone = write(&clone, "refs/heads/feature/gone", (PATH, "x"), None, false);
    assert_eq!(gone.unwrap(), Recorded::Absent);
    assert_eq!(clone.remote_head(&branch("feature/gone")).unwrap(), None);
}

#[test]
fn a_records_ref_is_begun_without_a_parent_and_grows_from_any_clone() {
    for onto in ["refs/heads/orch-records", "refs/records/shop"] {
        let repo = SampleRepo::new();
        let first = committed(write(&repo.clone(), onto, ("a/1", "1"), None, true));
        let parents = git(&repo.origin, &["log", "--format=%P", onto]);
        assert_eq!(parents, "", "{onto}");
        // Another service has a clone that has never seen it.
        let other = Repository::open_or_clone(
            &repo.path("other.git"),
            orch::git::Origin::locate(repo.origin.to_str().unwrap()).unwrap(),
            &main(),
        );
        let second = committed(write(&other.unwrap(), onto, ("a/2", "2"), None, true));
        assert_eq!(sha(&repo.origin, &format!("{onto}^")), first);
        assert_eq!(
            git(&repo.origin, &["ls-tree", "-r", "--name-only", onto]),
            "a/1\na/2"
        );
        assert_eq!(sha(&repo.origin, onto), second);
        let left = std::fs::read_dir(repo.path("clone.git")).unwrap();
        let left = left.filter(|e| {
            let name = e.as_ref().unwrap().file_name();
            name.to_string_lossy().starts_with("record-index")
        });
        assert_eq!(left.count(), 0);
    }
}

#[test]
fn many_who_record_at_the_same_time_lose_nothing() {
    let repo = SampleRepo::new();
    let clone = repo.clone();
    std::thread::scope(|scope| {
        for n in 0..3 {
            let clone = clone.clone();
            scope.spawn(move || {
                let path = format!("a/{n}");
                committed(write(&clone, "refs/heads/orch-records", (&path, "x"), None, true));
            });
        }
    });
    let files = git(&repo.origin, &["ls-tree", "-r", "--name-only", "orch-records"]);
    assert_eq!(files, "a/0\na/1\na/2");
    assert_eq!(git(&repo.origin, &["rev-list", "--count", "orch-records"]), "3");
}

#[test]
fn main_is_never_recorded_on_and_a_refusal_says_why() {
    let repo = SampleRepo::new();
    let clone = repo.clone();
    let tip = sha(&repo.origin, "main");
    let refused = write(&clone, "refs/heads/main", (PATH, "x"), Some(&tip), false);
    assert!(matches!(refused, Err(GitError::Forbidden { .. })), "{refused:?}");
    assert_eq!(sha(&repo.origin, "main"), tip);
    let hook = repo.origin.join("hooks/pre-receive");
    std::fs::write(&hook, "#!/bin/sh\necho not here\nexit 1\n").unwrap();
    assert!(super::repo::succeeds(
        &repo.origin,
        &["-c", "alias.x=!chmod +x hooks/pre-receive", "x"]
    ));
    match write(&clone, "refs/heads/orch-records", ("a", "x"), None, true).unwrap() {
        Recorded::Refused { why } => assert!(why.contains("not here"), "{why}"),
        other => panic!("{other:?}"),
    }
}
