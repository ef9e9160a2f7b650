//! A pipeline that a project writes itself.

use crate::support::{Agent, Project, Repo, Setup, THREE_STAGES, git};

#[test]
fn three_stages_deliver_into_a_repository_with_a_long_history() {
    let repo = Repo::with_history(1200);
    let base = repo.sha("main");
    let mut service = Setup::new()
        .project(
            Project::new("shop", &repo)
                .agent(&Agent::diligent())
                .then(THREE_STAGES),
        )
        .start();
    let id = service.add("Write it");
    let done = service.wait_status(&id, "done");
    service.wait_idle();

    // One fast-forward: main is the candidate, a line without merge commits, and its working copy follows.
    assert_eq!(Some(repo.sha("main")), done.task.candidate);
    assert!(!repo.since(&base).is_empty());
    assert_eq!(repo.merge_commits_since(&base), 0);
    assert_eq!(repo.show(&format!("src/{id}.txt")), "1");
    assert!(repo.path.join(format!("src/{id}.txt")).exists());
    assert_eq!(git(&repo.path, &["status", "--porcelain"]), "");
    assert_eq!(done.events.iter().filter(|e| e.kind == "merge").count(), 1);
    assert_eq!(
        (service.worked(&id, "developer"), service.worked(&id, "reviewer")),
        (1, 1)
    );
}
