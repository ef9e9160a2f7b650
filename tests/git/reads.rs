use std::os::unix::fs::symlink;

use orch::domain::id::Sha;
use orch::git::{BLOB_LIMIT, DirEntry, GitError, Relation, Scope};

use super::repo::{SampleRepo, git, main, write};

#[test]
fn files_are_read_from_a_commit_and_links_folders_and_odd_paths_are_absent() {
    let repo = SampleRepo::new();
    let desk = repo.path("desk");
    write(
        &desk,
        &[
            ("d/real/f", "content\n"),
            ("d/empty", ""),
            ("d/-rf", "dash"),
            ("d/a b", "space"),
        ],
    );
    symlink("real/f", desk.join("d/link")).unwrap();
    symlink("real", desk.join("d/linked")).unwrap();
    symlink("/etc/passwd", desk.join("d/out")).unwrap();
    let tip = repo.commit(&[], "files");
    let clone = repo.clone();
    let paths = [
        "d/real/f",
        "d/empty",
        "d/-rf",
        "d/a b",
        "d/link",
        "d/linked/f",
        "d/out",
        "d/real",
        "missing",
        "x/y",
        "../x",
        "/d/empty",
        "d//empty",
        "./d/empty",
        "d/empty/",
        "",
        "d/\n",
        "d/real/f\ninfo HEAD",
    ];
    let found = clone.read_blobs(&tip, &paths).unwrap();
    let text: Vec<Option<&str>> = found
        .iter()
        .map(|f| f.as_deref().map(|b| std::str::from_utf8(b).unwrap()))
        .collect();
    assert_eq!(
        text[..4],
        [Some("content\n"), Some(""), Some("dash"), Some("space")]
    );
    assert!(text[4..].iter().all(Option::is_none), "{text:?}");
    let entry = |name: &str, size| DirEntry {
        name: name.into(),
        size,
    };
    assert_eq!(
        clone.list_dir(&tip, "d").unwrap(),
        [entry("-rf", 4), entry("a b", 5), entry("empty", 0)]
    );
    assert_eq!(clone.list_dir(&tip, "d/real/").unwrap(), [entry("f", 8)]);
    assert!(clone.list_dir(&tip, "nowhere").unwrap().is_empty());
    assert!(clone.list_dir(&tip, "d/linked").unwrap().is_empty());
}

#[test]
fn a_file_past_the_limit_is_an_error_and_the_next_one_is_still_read() {
    let repo = SampleRepo::new();
    let limit = usize::try_from(BLOB_LIMIT).unwrap();
    let (fits, too_large) = ("x".repeat(limit), "x".repeat(limit + 1));
    let tip = repo.commit(&[("fits", &fits), ("large", &too_large)], "files");
    let mut objects = repo.clone().objects().unwrap();
    assert!(matches!(
        objects.read_blob(&tip, "large"),
        Err(GitError::TooLarge { .. })
    ));
    assert_eq!(objects.read_blob(&tip, "fits").unwrap().unwrap().len(), limit);
}

#[test]
fn a_commit_that_nobody_has_is_not_an_empty_one() {
    let clone = SampleRepo::new();
    let clone = clone.clone();
    let nobody = Sha::trusted("1".repeat(40));
    let tip = clone.remote_head(&main()).unwrap().unwrap();
    assert!(matches!(
        clone.read_blob(&nobody, "a"),
        Err(GitError::UnknownCommit { .. })
    ));
    assert!(matches!(
        clone.list_dir(&nobody, ""),
        Err(GitError::UnknownCommit { .. })
    ));
    assert!(matches!(
        clone.code_tree(&nobody),
        Err(GitError::UnknownCommit { .. })
    ));
    assert!(matches!(
        clone.ancestry(&nobody, &tip),
        Err(GitError::UnknownCommit { .. })
    ));
    assert!(matches!(
        clone.differs(&nobody, &tip, Scope::Everything),
        Err(GitError::UnknownCommit { .. })
    ));
    assert!(matches!(
        clone.ensure_commits(&[&nobody]),
        Err(GitError::UnknownCommit { .. })
    ));
}

#[test]
fn artifacts_do_not_change_the_code_tree_and_everything_else_does() {
    let repo = SampleRepo::new();
    let plain = repo.commit(&[("src/a", "a")], "code");
    let artifact = repo.commit(&[("docs/work-items/ORCH-1/12-review.md", "x")], "artifact");
    let with_docs = repo.commit(&[("docs/guide.md", "x")], "docs");
    let more = repo.commit(&[("docs/work-items/ORCH-2/x", "x")], "artifact");
    let beside = repo.commit(&[("docs/work-items-2/x", "x")], "a folder with a similar name");
    let below = repo.commit(&[("src/docs/work-items/x", "x")], "the same name elsewhere");
    let code = repo.commit(&[("src/a", "b")], "code");
    let mode = repo.at_desk(&["update-index", "--chmod=+x", "src/a"]);
    assert_eq!(mode, code);
    let mode = repo.at_desk(&["commit", "-q", "-m", "mode"]);
    let all = [
        &plain, &artifact, &with_docs, &more, &beside, &below, &code, &mode,
    ];
    let clone = repo.clone();
    let trees = clone.code_trees(&all).unwrap();
    assert_eq!(trees[0], trees[1]);
    assert_eq!(trees[2], trees[3]);
    for pair in [(1, 2), (3, 4), (4, 5), (5, 6), (6, 7)] {
        assert_ne!(trees[pair.0], trees[pair.1], "{pair:?}");
    }
    assert_eq!(clone.code_tree(&mode).unwrap(), trees[7]);
}

#[test]
fn a_work_items_that_is_no_folder_counts_as_code() {
    let repo = SampleRepo::new();
    let plain = repo.clone().remote_head(&main()).unwrap().unwrap();
    let file = repo.commit(&[("docs/work-items", "program")], "a file");
    let clone = repo.clone();
    clone.fetch().unwrap();
    assert_ne!(clone.code_tree(&plain).unwrap(), clone.code_tree(&file).unwrap());
    assert!(clone.differs(&plain, &file, Scope::CodeOnly).unwrap());
}

#[test]
fn an_object_that_an_agent_replaced_is_read_as_it_really_is() {
    let repo = SampleRepo::new();
    let honest = repo.commit(&[("verdict", "REQUEST_CHANGES")], "honest");
    let forged = repo.commit(&[("verdict", "APPROVED")], "forged");
    let clone = repo.clone();
    git(clone.bare(), &["replace", honest.as_str(), forged.as_str()]);
    assert_eq!(
        clone.read_blob(&honest, "verdict").unwrap().unwrap(),
        b"REQUEST_CHANGES"
    );
}

#[test]
fn histories_are_compared() {
    let repo = SampleRepo::new();
    let base = repo.clone().remote_head(&main()).unwrap().unwrap();
    let side = repo.commit_on("side", &[("a", "a")], "side");
    let main = repo.commit(&[("b", "b")], "main");
    let clone = repo.clone();
    clone.fetch().unwrap();
    assert_eq!(clone.ancestry(&base, &base).unwrap(), Relation::Same);
    assert_eq!(clone.ancestry(&base, &side).unwrap(), Relation::Ahead);
    assert_eq!(clone.ancestry(&side, &base).unwrap(), Relation::Behind);
    assert_eq!(clone.ancestry(&side, &main).unwrap(), Relation::Diverged);
}

#[test]
fn what_a_branch_changes_is_counted_from_where_it_left() {
    let repo = SampleRepo::new();
    let artifact = repo.commit_on("feature/x", &[("docs/work-items/O/01.md", "x\n")], "artifact");
    let code = repo.commit_on("feature/x", &[("src/caf\u{e9}", "x\n"), ("b", "y\n")], "code");
    let base = repo.commit(&[("unrelated", "x\n")], "main moved");
    let clone = repo.clone();
    assert!(!clone.differs(&base, &base, Scope::Everything).unwrap());
    assert!(clone.differs(&base, &artifact, Scope::Everything).unwrap());
    assert!(!clone.differs(&base, &artifact, Scope::CodeOnly).unwrap());
    assert!(clone.differs(&base, &code, Scope::CodeOnly).unwrap());
    assert_eq!(
        clone.changed_paths(&base, &code).unwrap(),
        ["b", "docs/work-items/O/01.md", "src/caf\u{e9}"]
    );
    let whole = clone.diff_summary(&base, &code, 10_000).unwrap();
    assert!(whole.contains("3 files changed, 3 insertions(+)"), "{whole}");
    assert!(!whole.contains("unrelated"));
    for limit in 0..whole.len() {
        assert!(clone.diff_summary(&base, &code, limit).unwrap().len() <= limit);
    }
    let log = clone.main_log(5).unwrap();
    assert_eq!(
        log.iter().map(|e| e.subject.as_str()).collect::<Vec<_>>(),
        ["main moved", "First"]
    );
    assert_eq!((&log[0].sha, log[0].author.as_str()), (&base, "person"));
}

#[test]
fn a_patch_keeps_its_id_through_a_rebase_and_loses_it_with_any_change_of_code() {
    let repo = SampleRepo::new();
    let lines = |change: &str| (0..30).map(|n| format!("{n}\n")).collect::<String>() + change;
    repo.commit(&[("a", &lines("")), ("bin", "\0\x01")], "base");
    let head = repo.commit_on("feature/x", &[("a", &lines("end\n")), ("bin", "\0\x02")], "work");
    let with_artifact = repo.commit_on("feature/x", &[("docs/work-items/O/x", "x")], "artifact");
    let indented = repo.commit_on("feature/x", &[("a", &lines("  end\n"))], "white space");
    let binary = repo.commit_on(
        "feature/y",
        &[("a", &lines("end\n")), ("bin", "\0\x03")],
        "binary",
    );
    let base = repo.commit(&[("a", &("top\n".to_owned() + &lines("")))], "main moved");
    let clone = repo.clone();
    let rebased = match clone
        .rebase(&repo.path("s"), &head, &base, &super::repo::orch())
        .unwrap()
    {
        orch::git::Rebase::Rebased(sha) => sha,
        other => panic!("{other:?}"),
    };
    let id = |commit: &Sha| clone.patch_id(&base, commit).unwrap();
    assert!(id(&head).is_some());
    assert_eq!(id(&rebased), id(&head));
    assert_eq!(id(&with_artifact), id(&head));
    assert_ne!(id(&indented), id(&head));
    assert_ne!(id(&binary), id(&head));
    assert_eq!(id(&base), None);
}
