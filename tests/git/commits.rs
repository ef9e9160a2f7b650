use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use orch::domain::id::Sha;
use orch::git::{CommitOutcome, CommitReport, GitError, Relation, Repository};

use super::repo::{SampleRepo, git, main, orch, succeeds, write};

struct Desk {
    repo: SampleRepo,
    clone: Repository,
    path: PathBuf,
    start: Sha,
}

fn desk() -> Desk {
    let repo = SampleRepo::new();
    repo.commit(
        &[(".gitignore", "target/\n"), ("a.txt", "one\n"), ("b.txt", "b\n")],
        "Second",
    );
    let clone = repo.clone();
    let start = clone.remote_head(&main()).unwrap().unwrap();
    let path = repo.path("w");
    clone.prepare_worktree(&path, &start).unwrap();
    Desk {
        repo,
        clone,
        path,
        start,
    }
}

impl Desk {
    fn commit(&self) -> CommitReport {
        self.clone
            .commit_all(&self.path, "Work\n\nof an agent", &orch())
            .unwrap()
    }
    fn committed(&self) -> Sha {
        match self.commit().outcome {
            CommitOutcome::Committed(sha) => sha,
            CommitOutcome::Clean(_) => panic!("nothing was committed"),
        }
    }
    fn files(&self, commit: &Sha) -> Vec<String> {
        let listed = git(
            self.clone.bare(),
            &["ls-tree", "-r", "-z", "--name-only", commit.as_str()],
        );
        listed
            .split('\0')
            .filter(|f| !f.is_empty())
            .map(str::to_owned)
            .collect()
    }
}

#[test]
fn everything_but_what_is_ignored_is_committed_in_the_name_of_the_role() {
    let desk = desk();
    write(
        &desk.path,
        &[
            ("a.txt", "two\n"),
            ("new/-rf", "x"),
            ("target/out", "x"),
            ("new/file name", ""),
        ],
    );
    fs::remove_file(desk.path.join("b.txt")).unwrap();
    let sha = desk.committed();
    assert_eq!(
        desk.files(&sha),
        [".gitignore", "README.md", "a.txt", "new/-rf", "new/file name"]
    );
    let shown = git(
        desk.clone.bare(),
        &["log", "-1", "--format=%an <%ae> %cn|%B", sha.as_str()],
    );
    assert_eq!(
        shown,
        "orch developer <orch@example.invalid> orch developer|Work\n\nof an agent"
    );
    assert_eq!(desk.clone.ancestry(&desk.start, &sha).unwrap(), Relation::Ahead);
    assert_eq!(desk.commit().outcome, CommitOutcome::Clean(sha));
}

#[test]
fn nothing_to_commit_is_success() {
    let desk = desk();
    write(&desk.path, &[("target/out", "x")]);
    assert_eq!(desk.commit().outcome, CommitOutcome::Clean(desk.start.clone()));
    // A touched file with the same content is no change.
    write(&desk.path, &[("a.txt", "one\n")]);
    assert_eq!(desk.commit().outcome, CommitOutcome::Clean(desk.start.clone()));
}

#[test]
fn locks_and_a_broken_index_of_a_killed_agent_do_not_stop_a_commit() {
    let desk = desk();
    let admin = desk.clone.bare().join("worktrees/w");
    write(&desk.path, &[("a.txt", "two\n")]);
    fs::write(admin.join("index.lock"), "").unwrap();
    fs::write(admin.join("HEAD.lock"), "").unwrap();
    desk.committed();
    write(&desk.path, &[("a.txt", "three\n")]);
    fs::write(admin.join("index"), "garbage that is no index at all").unwrap();
    let sha = desk.committed();
    assert_eq!(desk.files(&sha).len(), 4);
}

#[test]
fn a_removed_or_replaced_dot_git_costs_no_work() {
    let desk = desk();
    write(&desk.path, &[("a.txt", "two\n")]);
    fs::remove_file(desk.path.join(".git")).unwrap();
    let first = desk.committed();
    git(&desk.path, &["init", "-q"]);
    write(&desk.path, &[("a.txt", "three\n")]);
    let second = desk.committed();
    assert_eq!(desk.clone.ancestry(&first, &second).unwrap(), Relation::Ahead);
}

#[test]
fn a_worktree_that_is_gone_is_an_error_that_says_so() {
    let desk = desk();
    fs::remove_dir_all(&desk.path).unwrap();
    let error = desk.clone.commit_all(&desk.path, "x", &orch()).unwrap_err();
    assert!(matches!(error, GitError::WorktreeLost { .. }), "{error}");
}

#[test]
fn work_on_a_branch_of_the_agents_own_is_committed_there() {
    let desk = desk();
    git(&desk.path, &["checkout", "-q", "-b", "mine"]);
    write(&desk.path, &[("a.txt", "two\n")]);
    let sha = desk.committed();
    assert_eq!(git(desk.clone.bare(), &["rev-parse", "mine"]), sha.as_str());
    git(&desk.path, &["checkout", "-q", "--orphan", "fresh"]);
    let orphan = desk.committed();
    assert_eq!(
        desk.clone.ancestry(&desk.start, &orphan).unwrap(),
        Relation::Diverged
    );
}

#[test]
fn a_merge_under_way_becomes_a_merge_commit_and_open_conflicts_are_reported() {
    let desk = desk();
    write(&desk.path, &[("a.txt", "ours\n")]);
    let ours = desk.committed();
    let theirs = desk
        .repo
        .commit(&[("a.txt", "theirs\n"), ("c.txt", "c")], "Theirs");
    desk.clone.fetch().unwrap();
    assert!(!succeeds(&desk.path, &["merge", "origin/main"]));
    let report = desk.commit();
    assert_eq!(report.unmerged, ["a.txt"]);
    let parents = git(
        desk.clone.bare(),
        &["log", "-1", "--format=%P", report.outcome.head().as_str()],
    );
    assert_eq!(parents, format!("{ours} {theirs}"));
}

#[test]
fn a_finished_merge_without_any_difference_is_still_committed() {
    let desk = desk();
    desk.repo.commit(&[("c.txt", "c")], "Theirs");
    desk.clone.fetch().unwrap();
    git(
        &desk.path,
        &["merge", "-q", "--no-commit", "-s", "ours", "origin/main"],
    );
    desk.committed();
}

#[test]
fn an_interrupted_cherry_pick_does_not_lend_its_author() {
    let desk = desk();
    write(&desk.path, &[("a.txt", "ours\n")]);
    desk.committed();
    desk.repo.commit(&[("a.txt", "theirs\n")], "Theirs");
    desk.clone.fetch().unwrap();
    assert!(!succeeds(&desk.path, &["cherry-pick", "origin/main"]));
    let sha = desk.committed();
    let author = git(desk.clone.bare(), &["log", "-1", "--format=%an", sha.as_str()]);
    assert_eq!(author, "orch developer");
}

#[test]
fn a_generated_repository_is_taken_as_files_and_a_cloned_one_is_left_out() {
    let desk = desk();
    let at = |name: &str| desk.path.join(name);
    for (name, committed) in [("apps/web", true), ("apps/api", false), ("apps/web/inner", true)] {
        fs::create_dir_all(at(name)).unwrap();
        git(&at(name), &["init", "-q"]);
        write(&at(name), &[("main.txt", "x")]);
        if committed {
            git(&at(name), &["add", "main.txt"]);
            git(&at(name), &["commit", "-q", "-m", "x"]);
        }
    }
    git(
        &desk.path,
        &["clone", "-q", desk.repo.origin.to_str().unwrap(), "vendor/[x] y"],
    );
    git(&desk.path, &["init", "-q", "vendor/unborn"]);
    git(
        &at("vendor/unborn"),
        &["remote", "add", "origin", "https://example.invalid/x"],
    );
    let report = desk.commit();
    let files = desk.files(report.outcome.head());
    let new: Vec<&str> = files
        .iter()
        .map(String::as_str)
        .filter(|f| f.contains('/'))
        .collect();
    assert_eq!(
        new,
        [
            "apps/api/main.txt",
            "apps/web/inner/main.txt",
            "apps/web/main.txt"
        ]
    );
    assert_eq!(report.left_out, ["vendor/[x] y", "vendor/unborn"]);
    assert!(
        at("apps/web/.git/HEAD").exists(),
        "the agent's repository was not put back"
    );
    assert!(matches!(desk.commit().outcome, CommitOutcome::Clean(_)));
}

#[test]
fn file_names_that_are_not_text_are_committed() {
    let desk = desk();
    let name = OsStr::from_bytes(b"caf\xe9 \xff\n.txt");
    fs::write(desk.path.join(Path::new(name)), "x").unwrap();
    let sha = desk.committed();
    assert_eq!(desk.files(&sha).len(), 5);
    assert_eq!(desk.clone.list_dir(&sha, "").unwrap().len(), 5);
}

#[test]
fn hooks_and_settings_of_an_agent_do_not_run_in_our_commits() {
    let desk = desk();
    let proof = desk.repo.path("ran");
    let hooks = desk.clone.bare().join("hooks");
    fs::create_dir_all(&hooks).unwrap();
    for hook in [
        "pre-commit",
        "post-commit",
        "prepare-commit-msg",
        "post-checkout",
        "pre-push",
    ] {
        fs::write(
            hooks.join(hook),
            format!("#!/bin/sh\ntouch {}\nexit 1\n", proof.display()),
        )
        .unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(hooks.join(hook), mode).unwrap();
    }
    git(
        &desk.path,
        &["config", "core.fsmonitor", &format!("touch {}", proof.display())],
    );
    git(&desk.path, &["config", "commit.gpgSign", "true"]);
    write(&desk.path, &[("a.txt", "two\n")]);
    let sha = desk.committed();
    desk.clone.prepare_worktree(&desk.path, &sha).unwrap();
    assert!(!proof.exists());
}
