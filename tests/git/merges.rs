use std::fs;
use std::path::Path;

use orch::domain::id::Sha;
use orch::git::{FastForward, Repository};

use super::repo::{SampleRepo, git, main, orch, sha, snapshot, succeeds, write};

fn candidate(repo: &SampleRepo, files: &[(&str, &str)]) -> (Repository, Sha, Sha) {
    let old = sha(&repo.origin, "main");
    let candidate = repo.commit_on("feature/x", files, "candidate");
    if repo.origin.join(".git").exists() {
        git(&repo.origin, &["switch", "-q", "main"]);
    }
    let clone = repo.clone();
    clone.fetch().unwrap();
    (clone, old, candidate)
}

/// Nothing in the folder may change, the repository's own bookkeeping of the push excepted.
fn assert_refused(repo: &SampleRepo, copy: &Path, clone: &Repository, old: &Sha, new: &Sha) -> String {
    let kept = |dir: &Path| {
        let mut all = snapshot(dir);
        all.retain(|path, _| !path.starts_with(dir.join(".git")) || path.ends_with("index"));
        all
    };
    let before = kept(copy);
    let outcome = clone.fast_forward_main(new, old).unwrap();
    assert_eq!(kept(copy), before);
    assert_eq!(sha(&repo.origin, "main"), *old);
    match outcome {
        FastForward::WorkingCopy { reason } => reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_candidate_is_merged_once_and_the_repetition_says_so() {
    let repo = SampleRepo::new();
    let (clone, old, new) = candidate(&repo, &[("a", "a")]);
    assert_eq!(
        clone.fast_forward_main(&new, &old).unwrap(),
        FastForward::Merged(new.clone())
    );
    assert_eq!(sha(&repo.origin, "main"), new);
    assert_eq!(
        clone.fast_forward_main(&new, &old).unwrap(),
        FastForward::AlreadyMerged(new.clone())
    );
    repo.at_desk(&["switch", "-q", "main"]);
    repo.at_desk(&["merge", "-q", "--ff-only", new.as_str()]);
    let further = repo.commit(&[("b", "b")], "main went on");
    assert_eq!(
        clone.fast_forward_main(&new, &old).unwrap(),
        FastForward::AlreadyMerged(further)
    );
    assert_eq!(clone.main_log(1).unwrap()[0].subject, "main went on");
}

#[test]
fn a_main_that_moved_is_stale_even_where_a_fast_forward_would_do() {
    let repo = SampleRepo::new();
    let old = repo.clone().remote_head(&main()).unwrap().unwrap();
    let moved = repo.commit(&[("b", "b")], "main moved");
    let (clone, _, new) = candidate(&repo, &[("a", "a")]);
    let stale = FastForward::Stale {
        expected: old.clone(),
        found: Some(moved.clone()),
    };
    assert_eq!(clone.fast_forward_main(&new, &old).unwrap(), stale);
    assert_eq!(sha(&repo.origin, "main"), moved);
}

#[test]
fn a_candidate_that_does_not_contain_main_is_never_forced() {
    let repo = SampleRepo::new();
    let (_, _, new) = candidate(&repo, &[("a", "a")]);
    let moved = repo.commit(&[("b", "b")], "main moved");
    let clone = repo.clone();
    assert_eq!(
        clone.fast_forward_main(&new, &moved).unwrap(),
        FastForward::NotFastForward
    );
    assert_eq!(sha(&repo.origin, "main"), moved);
}

#[test]
fn of_many_who_merge_from_the_same_old_head_exactly_one_wins() {
    for person in [false, true] {
        let repo = if person {
            SampleRepo::with_a_person()
        } else {
            SampleRepo::new()
        };
        let old = sha(&repo.origin, "main");
        let rival = |n: usize| {
            let base = if person {
                repo.origin.clone()
            } else {
                repo.path("desk")
            };
            git(&base, &["switch", "-q", "--detach", old.as_str()]);
            repo.commit_on(&format!("feature/{n}"), &[("shared", &n.to_string())], "rival")
        };
        let rivals: Vec<Sha> = (0..6).map(rival).collect();
        if person {
            git(&repo.origin, &["switch", "-q", "main"]);
        }
        let clone = repo.clone();
        let outcomes: Vec<FastForward> = std::thread::scope(|scope| {
            let merge = |new| clone.fast_forward_main(new, &old).unwrap();
            let all: Vec<_> = rivals.iter().map(|new| scope.spawn(move || merge(new))).collect();
            all.into_iter().map(|one| one.join().unwrap()).collect()
        });
        let won = outcomes
            .iter()
            .filter(|o| matches!(o, FastForward::Merged(_)))
            .count();
        assert_eq!(won, 1, "{outcomes:?}");
        let tip = sha(&repo.origin, "main");
        assert!(outcomes.contains(&FastForward::Merged(tip)), "{outcomes:?}");
        if person {
            assert_eq!(git(&repo.origin, &["status", "--porcelain"]), "", "{outcomes:?}");
        }
    }
}

#[test]
fn a_clean_working_copy_is_taken_along() {
    let repo = SampleRepo::with_a_person();
    repo.commit(&[("gone", "x"), ("changed", "old\n"), ("folder/f", "x")], "files");
    let old = sha(&repo.origin, "main");
    git(&repo.origin, &["switch", "-q", "-c", "feature/x"]);
    fs::remove_file(repo.origin.join("gone")).unwrap();
    fs::remove_dir_all(repo.origin.join("folder")).unwrap();
    let new = repo.commit_on(
        "feature/x",
        &[
            ("changed", "new\n"),
            ("added/deep", "x"),
            ("folder", "now a file"),
            ("gone/now", "a folder"),
        ],
        "candidate",
    );
    git(&repo.origin, &["switch", "-q", "main"]);
    write(&repo.origin, &[("notes.txt", "mine")]);
    let clone = repo.clone();
    assert_eq!(
        clone.fast_forward_main(&new, &old).unwrap(),
        FastForward::Merged(new.clone())
    );
    assert_eq!(git(&repo.origin, &["status", "--porcelain"]), "?? notes.txt");
    assert_eq!(git(&repo.origin, &["branch", "--show-current"]), "main");
    assert_eq!(sha(&repo.origin, "HEAD"), new);
    assert_eq!(fs::read_to_string(repo.origin.join("notes.txt")).unwrap(), "mine");
    assert_eq!(
        fs::read_to_string(repo.origin.join("folder")).unwrap(),
        "now a file"
    );
}

#[test]
fn a_person_on_another_branch_is_not_disturbed_by_a_merge() {
    let repo = SampleRepo::with_a_person();
    let (clone, old, new) = candidate(&repo, &[("a", "a")]);
    git(&repo.origin, &["switch", "-q", "-c", "elsewhere"]);
    write(&repo.origin, &[("README.md", "dirty"), ("a", "mine")]);
    assert_eq!(
        clone.fast_forward_main(&new, &old).unwrap(),
        FastForward::Merged(new)
    );
    assert_eq!(fs::read_to_string(repo.origin.join("a")).unwrap(), "mine");
    assert_eq!(
        fs::read_to_string(repo.origin.join("README.md")).unwrap(),
        "dirty"
    );
}

#[test]
fn a_working_copy_with_work_in_it_stays_as_it_is_bit_for_bit() {
    type Disturb = fn(&Path);
    let cases: [(&str, Disturb); 11] = [
        ("README.md", |p| write(p, &[("README.md", "changed\n")])),
        ("kept", |p| fs::remove_file(p.join("kept")).unwrap()),
        ("staged", |p| {
            write(p, &[("staged", "x")]);
            git(p, &["add", "staged"]);
        }),
        ("src/new", |p| write(p, &[("src/new", "untracked")])),
        ("src", |p| {
            write(p, &[("src", "an untracked file where a folder comes")])
        }),
        ("secret.env", |p| write(p, &[("secret.env", "ignored")])),
        ("other", |p| {
            write(p, &[("other/mine", "a folder where a file comes")])
        }),
        ("README.md", |p| {
            git(p, &["update-index", "--assume-unchanged", "README.md"]);
            write(p, &[("README.md", "hidden change\n")]);
        }),
        ("README.md", |p| {
            git(p, &["update-index", "--skip-worktree", "README.md"]);
            write(p, &[("README.md", "hidden change\n")]);
        }),
        ("MERGE_HEAD", |p| {
            git(p, &["branch", "side", "main"]);
            git(p, &["switch", "-q", "side"]);
            git(p, &["commit", "-q", "--allow-empty", "-m", "side"]);
            git(p, &["switch", "-q", "main"]);
            git(
                p,
                &["merge", "-q", "--no-ff", "--no-commit", "-s", "ours", "side"],
            );
        }),
        ("index.lock", |p| {
            fs::write(p.join(".git/index.lock"), "").unwrap()
        }),
    ];
    for (named, disturb) in cases {
        let repo = SampleRepo::with_a_person();
        repo.commit(&[("kept", "x"), (".gitignore", "*.env\n")], "files");
        let old = sha(&repo.origin, "main");
        git(&repo.origin, &["switch", "-q", "-c", "feature/x"]);
        write(
            &repo.origin,
            &[
                ("README.md", "new\n"),
                ("src/new", "x"),
                ("secret.env", "x"),
                ("other", "x"),
            ],
        );
        git(&repo.origin, &["add", "-f", "secret.env"]);
        let new = repo.commit_on("feature/x", &[], "candidate");
        git(&repo.origin, &["switch", "-q", "main"]);
        disturb(&repo.origin);
        let clone = repo.clone();
        let reason = assert_refused(&repo, &repo.origin, &clone, &old, &new);
        assert!(reason.contains(named), "{named}: {reason}");
    }
}

#[test]
fn a_rebase_or_bisect_of_main_that_is_under_way_is_not_disturbed() {
    for command in [
        ["rebase", "-q", "-i", "HEAD~1"],
        ["bisect", "start", "HEAD", "HEAD~2"],
    ] {
        let repo = SampleRepo::with_a_person();
        repo.commit(&[("a", "1")], "one");
        repo.commit(&[("a", "2")], "two");
        let (clone, old, new) = candidate(&repo, &[("b", "b")]);
        git(
            &repo.origin,
            &["config", "sequence.editor", "sed -i s/^pick/edit/"],
        );
        assert!(succeeds(&repo.origin, &command));
        let reason = assert_refused(&repo, &repo.origin, &clone, &old, &new);
        assert!(reason.contains("under way"), "{reason}");
    }
}

#[test]
fn a_linked_worktree_with_main_is_taken_along_when_clean_and_respected_when_not() {
    let repo = SampleRepo::with_a_person();
    let (clone, old, new) = candidate(&repo, &[("a", "a")]);
    git(&repo.origin, &["switch", "-q", "-c", "elsewhere"]);
    let linked = repo.path("linked");
    git(
        &repo.origin,
        &["worktree", "add", "-q", linked.to_str().unwrap(), "main"],
    );
    write(&linked, &[("README.md", "dirty")]);
    let reason = assert_refused(&repo, &linked, &clone, &old, &new);
    assert!(reason.contains("linked"), "{reason}");
    git(&linked, &["checkout", "-q", "README.md"]);
    assert_eq!(
        clone.fast_forward_main(&new, &old).unwrap(),
        FastForward::Merged(new.clone())
    );
    assert_eq!(git(&linked, &["status", "--porcelain"]), "");
    assert!(linked.join("a").exists());
    assert!(!repo.origin.join("a").exists());
    git(&linked, &["reset", "-q", "--hard", old.as_str()]);
    fs::remove_dir_all(&linked).unwrap();
    let outcome = clone.fast_forward_main(&new, &old).unwrap();
    assert!(matches!(outcome, FastForward::WorkingCopy { .. }), "{outcome:?}");
}

#[test]
fn a_copy_that_could_not_follow_is_told_to_whoever_asks_again_until_it_does() {
    use std::os::unix::fs::PermissionsExt as _;
    let repo = SampleRepo::with_a_person();
    let (clone, old, new) = candidate(&repo, &[("a", "a")]);
    // A person is faster than the files of the merge.
    let hook = repo.origin.join(".git/hooks/post-receive");
    fs::create_dir_all(hook.parent().unwrap()).unwrap();
    fs::write(&hook, "#!/bin/sh\necho mine >../a\n").unwrap();
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).unwrap();
    for _ in 0..2 {
        let outcome = clone.fast_forward_main(&new, &old).unwrap();
        let FastForward::MergedWithoutCopy { main, .. } = outcome else {
            panic!("{outcome:?}")
        };
        assert_eq!(main, new);
        assert_eq!(fs::read_to_string(repo.origin.join("a")).unwrap(), "mine\n");
    }
    git(&repo.origin, &["reset", "-q", "--hard"]);
    assert_eq!(
        clone.fast_forward_main(&new, &old).unwrap(),
        FastForward::AlreadyMerged(new)
    );
}

#[test]
fn a_hook_at_origin_may_refuse_a_merge() {
    use std::os::unix::fs::PermissionsExt as _;
    let repo = SampleRepo::new();
    let (clone, old, new) = candidate(&repo, &[("a", "a")]);
    let hook = repo.origin.join("hooks/update");
    fs::create_dir_all(hook.parent().unwrap()).unwrap();
    fs::write(&hook, "#!/bin/sh\necho frozen\nexit 1\n").unwrap();
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).unwrap();
    match clone.fast_forward_main(&new, &old).unwrap() {
        FastForward::Refused { why } => assert!(why.contains("frozen"), "{why}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_merge_and_a_person_who_commits_at_the_same_time_do_not_harm_each_other() {
    let repo = SampleRepo::with_a_person();
    let clone = repo.clone();
    for round in 0..15 {
        let old = sha(&repo.origin, "main");
        clone.fetch().unwrap();
        clone.prepare_worktree(&repo.path("w"), &old).unwrap();
        write(&repo.path("w"), &[(&format!("merged{round}"), "x")]);
        let new = clone
            .commit_all(&repo.path("w"), "x", &orch())
            .unwrap()
            .outcome
            .head()
            .clone();
        let outcome = std::thread::scope(|scope| {
            let person =
                scope.spawn(|| succeeds(&repo.origin, &["commit", "-q", "--allow-empty", "-m", "person"]));
            let outcome = clone.fast_forward_main(&new, &old).unwrap();
            person.join().unwrap();
            outcome
        });
        assert_eq!(git(&repo.origin, &["status", "--porcelain"]), "", "{outcome:?}");
        match outcome {
            FastForward::Merged(_) | FastForward::Stale { .. } | FastForward::WorkingCopy { .. } => {}
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_copy_whose_merge_was_interrupted_is_brought_along_and_a_live_merge_is_not_disturbed() {
    let repo = SampleRepo::with_a_person();
    let (clone, old, new) = candidate(&repo, &[("a", "a"), ("README.md", "new\n")]);
    let lock = repo.origin.join(".git/index.lock");
    fs::write(&lock, format!("orch {old} {new}\n")).unwrap();
    let holder = fs::File::open(&lock).unwrap();
    holder.lock().unwrap();
    let reason = assert_refused(&repo, &repo.origin, &clone, &old, &new);
    assert!(reason.contains("index.lock"), "{reason}");
    // Died before main moved: the merge is done now.
    drop(holder);
    assert_eq!(
        clone.fast_forward_main(&new, &old).unwrap(),
        FastForward::Merged(new.clone())
    );
    // Died after main had moved.
    git(&repo.origin, &["reset", "-q", "--hard", old.as_str()]);
    git(&repo.origin, &["update-ref", "refs/heads/main", new.as_str()]);
    fs::write(&lock, format!("orch {old} {new}\n")).unwrap();
    assert_eq!(
        clone.fast_forward_main(&new, &old).unwrap(),
        FastForward::AlreadyMerged(new)
    );
    assert_eq!(git(&repo.origin, &["status", "--porcelain"]), "");
    assert!(repo.origin.join("a").exists() && !lock.exists());
}

/// The service died, and the git that it had started wrote the files to their end.
#[test]
fn a_copy_that_an_orphaned_git_has_finished_is_only_given_its_index() {
    let repo = SampleRepo::with_a_person();
    let (clone, old, new) = candidate(&repo, &[("a", "a"), ("README.md", "new\n")]);
    assert_eq!(
        clone.fast_forward_main(&new, &old).unwrap(),
        FastForward::Merged(new.clone())
    );
    let admin = repo.origin.join(".git");
    git(&repo.origin, &["reset", "-q", "--hard", old.as_str()]);
    let before = fs::read(admin.join("index")).unwrap();
    git(&repo.origin, &["reset", "-q", "--hard", new.as_str()]);
    fs::rename(admin.join("index"), admin.join("orch-index")).unwrap();
    fs::write(admin.join("index"), before).unwrap();
    let lock = admin.join("index.lock");
    fs::write(&lock, format!("orch {old} {new}\n")).unwrap();
    assert_eq!(clone.finish_interrupted_merge().unwrap(), None);
    assert!(!lock.exists() && !admin.join("orch-index").exists());
    assert_eq!(git(&repo.origin, &["status", "--porcelain"]), "");
}
