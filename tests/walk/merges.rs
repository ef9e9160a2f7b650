//! How a candidate comes into main, and what keeps it out.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
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

#[test]
fn main_that_was_rewritten_behind_a_merge_stops_the_next_one_until_a_person_says_so() {
    let repo = Repo::bare();
    let hook = repo.path.join("hooks/post-receive");
    let script = "#!/bin/sh\nread old new ref\n[ \"$ref\" = refs/heads/main ] || exit 0\n\
                  export GIT_AUTHOR_NAME=p GIT_AUTHOR_EMAIL=p@x GIT_COMMITTER_NAME=p GIT_COMMITTER_EMAIL=p@x\n\
                  git update-ref refs/heads/main \"$(git commit-tree \"$old^{tree}\" -p \"$old\" -m undone)\"\n";
    fs::write(&hook, script).unwrap();
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).unwrap();
    let mut service = Setup::new()
        .project(Project::new("shop", &repo).then(ONE_STAGE))
        .start();
    let first = service.add("Write it");
    let blocked = service.wait_status(&first, "blocked");
    let why = blocked.task.reason.unwrap();
    let lifted_by = format!("`orch lease release {} --merges`", repo.path.display());
    assert!(why.contains("main is at") && why.contains(&lifted_by), "{why}");

    let second = service.add("Write more");
    let waits = |d: &TaskDetail| {
        let why = waiting_merge(d).or_else(|| d.jobs.iter().find(|j| j.status == "queued"));
        why.and_then(|j| j.error.as_deref())
            .is_some_and(|why| why.contains("merges are stopped"))
    };
    service.wait_task(&second, "waits for the merges to go on", waits);
    let main = repo.sha("main");
    let listed = service.cli_ok(&["lease", "list"]);
    assert!(
        listed.contains("MERGES STOPPED") && listed.contains(&first),
        "{listed}"
    );
    let listed: serde_json::Value =
        serde_json::from_str(&service.cli_ok(&["lease", "list", "--json"])).unwrap();
    assert_eq!(
        (&listed["held"], &listed["stopped"][0]["task"]),
        (&serde_json::json!([]), &first.as_str().into())
    );
    assert_eq!(service.queue().merges_stopped.len(), 1);
    assert!(service.cli_ok(&["queue"]).contains("are stopped"));

    service.stop();
    service.start();
    service.wait_task(&second, "waits still", waits);
    assert_eq!(repo.sha("main"), main);
    fs::remove_file(&hook).unwrap();
    let said = service.cli_ok(&["lease", "release", "shop", "--merges"]);
    assert!(said.contains("Merges go on."), "{said}");
    let done = service.wait_status(&second, "done");
    assert_eq!(Some(repo.sha("main")), done.task.candidate);
    let again = service.cli(&["lease", "release", "shop", "--merges"]);
    assert!(!again.status.success());
}
