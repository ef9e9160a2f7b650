use std::fs;

use orch::git::{GitError, Origin};

use super::repo::{SampleRepo, branch, git, main, sha, succeeds};

#[test]
fn heads_are_what_git_says_however_origin_keeps_them() {
    let repo = SampleRepo::new();
    let clone = repo.clone();
    let (x, deep, gone) = (branch("x"), branch("deep/er/y"), branch("gone"));
    let first = repo.commit_on("x", &[("a", "1")], "x");
    let asked = [&main(), &x, &deep, &gone];
    let check = || {
        let found = clone.heads(&asked).unwrap();
        for name in asked {
            let full = format!("refs/heads/{name}");
            let says = succeeds(&repo.origin, &["rev-parse", "--quiet", "--verify", &full])
                .then(|| sha(&repo.origin, &full));
            assert_eq!(found.get(name), says.as_ref(), "{name}");
        }
    };
    check();
    git(&repo.origin, &["pack-refs", "--all"]);
    assert!(!repo.origin.join("refs/heads/x").exists());
    check();
    // Loose and packed differ: the loose one counts.
    assert_ne!(repo.commit_on("x", &[("a", "2")], "x"), first);
    check();
    repo.at_desk(&["switch", "-q", "-c", "deep/er/y"]);
    check();
    // A name below which others are, and one below a name that is taken.
    assert!(
        clone
            .heads(&[&branch("deep"), &branch("x/below")])
            .unwrap()
            .is_empty()
    );
    git(&repo.origin, &["update-ref", "-d", "refs/heads/x"]);
    check();
    git(
        &repo.origin,
        &["symbolic-ref", "refs/heads/gone", "refs/heads/main"],
    );
    check();
}

#[test]
fn heads_of_an_origin_with_another_storage_are_asked_of_git() {
    let repo = SampleRepo::new();
    let room = repo.path("modern");
    let init = ["init", "-q", "--ref-format=reftable", "-b", "main", "modern"];
    if !succeeds(repo.room.path(), &init) {
        // This git is older than the storage.
        return;
    }
    git(&room, &["commit", "-q", "--allow-empty", "-m", "x"]);
    let clone =
        orch::git::Repository::open_or_clone(&repo.path("m.git"), super::repo::located(&room), &main())
            .unwrap();
    assert_eq!(clone.remote_head(&main()).unwrap(), Some(sha(&room, "HEAD")));
}

#[test]
fn an_origin_that_is_gone_is_an_error_and_no_empty_answer() {
    let repo = SampleRepo::new();
    let clone = repo.clone();
    fs::rename(&repo.origin, repo.path("moved")).unwrap();
    assert!(matches!(
        clone.heads(&[&main()]),
        Err(GitError::PathMissing { .. })
    ));
    assert!(Origin::locate(repo.origin.to_str().unwrap()).is_err());
}

#[test]
fn what_is_brought_is_here_also_when_main_moved_meanwhile() {
    let repo = SampleRepo::new();
    let clone = repo.clone();
    let new = repo.commit(&[("a", "1")], "moved");
    let found = clone.bring(&[&main(), &branch("x")]).unwrap();
    assert_eq!((found.len(), found.get(&main())), (1, Some(&new)));
    clone.ensure_commits(&[&new]).unwrap();
    assert_eq!(clone.fetched().unwrap().get(&main()), Some(&new));
    // An agent can write into the clone; what origin says counts.
    let old = sha(&repo.origin, "main~1");
    git(
        clone.bare(),
        &["update-ref", "refs/remotes/origin/main", old.as_str()],
    );
    assert_eq!(clone.bring(&[&main()]).unwrap().get(&main()), Some(&new));
    assert_eq!(clone.fetched().unwrap().get(&main()), Some(&new));
}
