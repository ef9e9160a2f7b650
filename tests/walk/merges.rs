//! How a candidate comes into main, and what keeps it out.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use orch::engine::views::{JobView, TaskDetail};

use crate::support::{Agent, ONE_STAGE, Project, Repo, Setup, THREE_STAGES, git, snapshot};

/// What a person sees in a repository: all files, the index, where HEAD and main are.
fn seen(repo: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let git_dir = repo.join(".git");
    let of_person = |path: &Path| {
        !path.starts_with(&git_dir)
            || ["index", "HEAD", "refs/heads/main"]
                .iter()
                .any(|f| path == git_dir.join(f))
    };
    snapshot(repo)
        .into_iter()
        .filter(|(path, _)| of_person(path))
        .collect()
}

/// The job that waits to merge, with what it says.
fn waiting_merge(detail: &TaskDetail) -> Option<&JobView> {
    detail
        .jobs
        .iter()
        .find(|j| j.kind == "deploy-finalizer" && j.status == "queued" && j.error.is_some())
}

#[test]
fn a_persons_uncommitted_work_keeps_the_merge_waiting_and_is_not_touched() {
    let repo = Repo::new();
    repo.write(&[("README.md", "My own words.\n"), ("notes.txt", "untracked\n")]);
    let before = seen(&repo.path);
    let mut service = Setup::new()
        .project(Project::new("shop", &repo).then(ONE_STAGE))
        .start();
    let id = service.add("Write it");

    let waiting = service.wait_task(&id, "waits to be merged", |d| waiting_merge(d).is_some());
    let why = waiting_merge(&waiting).unwrap().error.clone().unwrap();
    assert!(why.contains("README.md"), "{why}");
    assert_eq!(seen(&repo.path), before);
    // A person who asks is told.
    let shown = service.cli_ok(&["task", "show", &id]);
    assert!(shown.contains("uncommitted changes in README.md"), "{shown}");

    git(&repo.path, &["checkout", "-q", "README.md"]);
    service.wait_status(&id, "done");
    assert!(
        repo.path.join(format!("src/{id}.txt")).exists(),
        "the working copy follows"
    );
    assert_eq!(
        std::fs::read_to_string(repo.path.join("notes.txt")).unwrap(),
        "untracked\n"
    );
}

#[test]
fn with_the_merge_gate_off_a_person_merges() {
    let repo = Repo::new();
    let base = repo.sha("main");
    let stages = THREE_STAGES.replace(", \"branch_mergeable\"", "");
    let project = Project::new("shop", &repo)
        .then(&stages)
        .then("[merge]\ngate = false");
    let mut service = Setup::new().project(project).start();
    let id = service.add("Write it");

    let waiting = service.wait_task(&id, "waits for a person's merge", |d| waiting_merge(d).is_some());
    let why = waiting_merge(&waiting).unwrap().error.clone().unwrap();
    assert!(
        why.contains("merge gate is off") && why.contains(&waiting.task.branch),
        "{why}"
    );
    assert_eq!(repo.sha("main"), base);

    git(
        &repo.path,
        &["merge", "-q", "--no-ff", "-m", "By hand", &waiting.task.branch],
    );
    let by_hand = repo.sha("main");
    service.wait_status(&id, "done");
    assert_eq!(repo.sha("main"), by_hand, "Orch moved nothing");
}

#[test]
fn two_tasks_that_are_green_alone_and_red_together_never_meet_on_main() {
    let repo = Repo::new();
    let base = repo.commit(&[("check.sh", "set -eu\n[ ! -e a ] || [ ! -e b ]\n")], "Not both");
    // Both are developed on the same main; the second to merge finds the other there, and makes room.
    let developer = r#"
if [ "$nth" = 1 ]; then
    here "$ORCH_WORK_ITEM"
    while [ ! -e "$out/SHOP-001" ] || [ ! -e "$out/SHOP-002" ]; do sleep 0.02; done
    if [ "$ORCH_WORK_ITEM" = SHOP-001 ]; then echo a >a; else echo b >b; fi
    commit "write it"
else
    if [ "$ORCH_WORK_ITEM" = SHOP-001 ]; then git mv a c; else git mv b c; fi
    commit "make room"
fi
"#;
    let agent = Agent::diligent().role("developer", developer);
    let mut service = Setup::new()
        .set("max_concurrency", 2)
        .project(Project::new("shop", &repo).agent(&agent).then(THREE_STAGES))
        .start();
    let ids = [service.add("Write a"), service.add("Write b")];
    let ends = ids.clone().map(|id| service.wait_status(&id, "done"));

    let mut retries = ends.clone().map(|d| d.task.developer_retries);
    retries.sort_unstable();
    assert_eq!(
        retries,
        [0, 1],
        "the first to merge was right, the second had to make room"
    );
    let late = ends.iter().find(|d| d.task.developer_retries == 1).unwrap();
    let prompt = service.prompt(&late.task.id, "developer", 2);
    assert!(
        prompt.contains("branch_mergeable") && prompt.contains("test command failed"),
        "{prompt}"
    );
    // Each commit that main was moved to is green.
    let room = tempfile::tempdir().unwrap();
    git(room.path(), &["clone", "-q", repo.path.to_str().unwrap(), "look"]);
    let look = room.path().join("look");
    for candidate in ends.iter().map(|d| d.task.candidate.clone().unwrap()) {
        git(&look, &["checkout", "-q", &candidate]);
        assert!(
            !(look.join("a").exists() && look.join("b").exists()),
            "{candidate}"
        );
    }
    assert_eq!(repo.merge_commits_since(&base), 0);
    assert_eq!(repo.git(&["ls-tree", "--name-only", "main", "c"]), "c");
}

#[test]
fn a_bare_repository_is_delivered_to_as_well() {
    let repo = Repo::bare();
    let mut service = Setup::new()
        .project(Project::new("shop", &repo).then(THREE_STAGES))
        .start();
    let id = service.add("Write it");
    let done = service.wait_status(&id, "done");
    assert_eq!(Some(repo.sha("main")), done.task.candidate);
}
