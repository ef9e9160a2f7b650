//! The default pipeline, with the gestures of people.

use orch::engine::views::TaskDetail;

use crate::support::{Agent, Project, Repo, Setup, TestService};

const WRITES_FINDINGS: &str = r#"
if [ "$nth" = 1 ]; then
    printf -- "---\nverdict: REQUEST_CHANGES\nfindings:\n  - 'F1: the empty case is wrong'\n---\n" >"$docs/12-review.md"
else
    verdict APPROVED
fi
"#;

fn start(repo: &Repo, agent: &Agent) -> TestService {
    Setup::new()
        .project(Project::new("shop", repo).agent(agent))
        .start()
}

fn waits_in(stage: &'static str) -> impl Fn(&TaskDetail) -> bool {
    move |d| d.task.stage == stage && d.task.status == "waiting_human"
}

/// Walks a fresh task to the question for Confirm Deploy.
fn to_confirm(service: &mut TestService) -> (String, TaskDetail) {
    let id = service.add("Write it");
    service.wait_task(&id, "waits for its approval", waits_in("analysis"));
    service.cli_ok(&["task", "approve", &id]);
    let asked = service.wait_task(&id, "asks for Confirm Deploy", waits_in("deploy"));
    (id, asked)
}

fn count(detail: &TaskDetail, kind: &str) -> usize {
    detail.events.iter().filter(|e| e.kind == kind).count()
}

#[test]
fn a_task_is_approved_sent_back_once_confirmed_and_merged_once() {
    let repo = Repo::new();
    let base = repo.sha("main");
    let mut service = start(&repo, &Agent::diligent().role("reviewer", WRITES_FINDINGS));
    let id = service.add("Write it");
    let waiting = service.wait_task(&id, "waits for its approval", waits_in("analysis"));
    assert!(
        waiting.jobs.iter().all(|j| j.status == "done"),
        "nobody works meanwhile"
    );
    assert_eq!(service.worked(&id, "architect"), 0);
    service.cli_ok(&["task", "approve", &id]);

    let asked = service.wait_task(&id, "asks for Confirm Deploy", waits_in("deploy"));
    // What the reviewer found reached the next developer, and counted once.
    let prompt = service.prompt(&id, "developer", 2);
    for part in [
        "F1: the empty case is wrong",
        "REQUEST_CHANGES",
        "reviewer_verdict",
    ] {
        assert!(prompt.contains(part), "{part:?} is not in\n{prompt}");
    }
    assert_eq!(asked.task.developer_retries, 1);
    assert_eq!(
        (service.worked(&id, "developer"), service.worked(&id, "reviewer")),
        (2, 2)
    );
    let candidate = asked.task.candidate.clone().unwrap();
    assert!(asked.task.reason.unwrap().contains(&candidate[..7]));

    // Approved does not deploy.
    let approved = service.gesture(&id, "approved", None);
    assert!(
        !approved.applied && approved.effect.contains("Confirm Deploy"),
        "{}",
        approved.effect
    );
    assert!(service.queue().live.is_empty());
    assert_eq!(
        (repo.sha("main"), approved.task.status.as_str()),
        (base.clone(), "waiting_human")
    );

    // Confirmed twice, merged once: exactly the candidate that was asked for.
    service.cli_ok(&["task", "confirm-deploy", &id]);
    let again = service.gesture(&id, "confirm-deploy", None);
    assert!(!again.applied, "{}", again.effect);
    let done = service.wait_status(&id, "done");
    assert!(!service.gesture(&id, "confirm-deploy", None).applied);
    service.wait_idle();
    assert_eq!(repo.sha("main"), candidate);
    assert_eq!((count(&done, "merge"), repo.merge_commits_since(&base)), (1, 0));
}

#[test]
fn a_main_that_moved_voids_the_confirmed_candidate_and_a_new_one_is_asked_for() {
    let repo = Repo::new();
    let mut service = start(&repo, &Agent::diligent());
    let (id, asked) = to_confirm(&mut service);
    let moved = repo.commit(&[("other.txt", "by a person\n")], "Something else");
    let visit_events = count(&asked, "stage");
    service.cli_ok(&["task", "confirm-deploy", &id]);

    let again = service.wait_task(&id, "asks for another candidate", |d| {
        waits_in("deploy")(d) && d.task.candidate != asked.task.candidate
    });
    assert_eq!(
        repo.sha("main"),
        moved,
        "what was confirmed is not what would have been merged"
    );
    assert_eq!(again.task.developer_retries, 0);
    let texts: Vec<&str> = again
        .events
        .iter()
        .skip(visit_events)
        .map(|e| e.text.as_str())
        .collect();
    assert!(
        texts
            .iter()
            .any(|t| t.contains("void") && t.contains("deploy-staging")),
        "{texts:?}"
    );
    let candidate = again.task.candidate.unwrap();
    assert!(again.task.reason.unwrap().contains(&candidate[..7]));
    // The patch is the same, so nobody has to work again.
    assert_eq!(
        (service.worked(&id, "developer"), service.worked(&id, "reviewer")),
        (1, 1)
    );

    service.cli_ok(&["task", "confirm-deploy", &id]);
    service.wait_status(&id, "done");
    assert_eq!(repo.sha("main"), candidate);
    assert_eq!(repo.show("other.txt"), "by a person");
}

#[test]
fn rejected_at_deploy_goes_back_to_the_developer_with_the_comment_and_counts_no_retry() {
    let repo = Repo::new();
    let base = repo.sha("main");
    let mut service = start(&repo, &Agent::diligent());
    let (id, asked) = to_confirm(&mut service);
    service.cli_ok(&["task", "reject", &id, "--comment", "It is too slow"]);

    let again = service.wait_task(&id, "asks for another candidate", |d| {
        waits_in("deploy")(d) && d.task.candidate != asked.task.candidate
    });
    assert!(service.prompt(&id, "developer", 2).contains("It is too slow"));
    assert_eq!(again.task.developer_retries, 0);
    assert_eq!(
        service.worked(&id, "reviewer"),
        2,
        "changed code is reviewed anew"
    );
    assert_eq!(repo.sha("main"), base);
}

#[test]
fn rejected_in_analysis_is_the_analyst_again_with_the_comment() {
    let repo = Repo::new();
    let mut service = start(&repo, &Agent::diligent());
    let id = service.add("Write it");
    service.wait_task(&id, "waits for its approval", waits_in("analysis"));
    service.cli_ok(&[
        "task",
        "reject",
        &id,
        "--comment",
        "The login page is out of scope",
    ]);
    service.wait_task(&id, "waits for its approval again", |d| {
        waits_in("analysis")(d)
            && d.runs
                .iter()
                .filter(|r| r.role.as_deref() == Some("analyst"))
                .count()
                == 2
    });
    assert!(
        service
            .prompt(&id, "analyst", 2)
            .contains("The login page is out of scope")
    );
    assert_eq!(service.worked(&id, "architect"), 0);
}
