//! What happens when the work is not good, or not done.

use crate::support::{Agent, ONE_STAGE, Project, Repo, Setup, THREE_STAGES, TestService, git, wait_until};

/// How often people were told that a task is blocked.
fn told_blocked(service: &TestService, id: &str) -> usize {
    let log = service.log();
    log.lines()
        .filter(|l| l.contains(r#""notification":"blocked""#) && l.contains(id))
        .count()
}

/// Orch's own clone.
fn clone_of(service: &TestService) -> std::path::PathBuf {
    let repos = service.data().join("repos");
    let mut found = std::fs::read_dir(repos).unwrap().flatten().map(|e| e.path());
    found.find(|p| p.join("HEAD").exists()).unwrap()
}

#[test]
fn red_tests_bring_the_developer_back_to_the_limit_then_a_person_who_unblocks_it() {
    let repo = Repo::new();
    let base = repo.sha("main");
    let developer = r#"
echo "$nth" >work.txt
if [ -e "$out/mended" ]; then rm -f broken; else echo "try $nth" >broken; fi
commit "try $nth"
"#;
    let agent = Agent::diligent().role("developer", developer);
    let project = Project::new("shop", &repo)
        .agent(&agent)
        .top("max_developer_retries = 2")
        .then(&THREE_STAGES.replacen(
            "[\"tests_local\"]",
            "[\"ci_green\", \"tests_local\"]\nrollback_to = \"development\"",
            1,
        ));
    let mut service = Setup::new().project(project).start();
    let id = service.add("Write it");

    let blocked = service.wait_status(&id, "blocked");
    assert_eq!(
        (service.worked(&id, "developer"), blocked.task.developer_retries),
        (3, 2)
    );
    let reason = blocked.task.reason.clone().unwrap();
    assert!(
        reason.contains("escalated") && reason.contains("ci_green"),
        "{reason}"
    );
    assert!(service.queue().live.is_empty(), "nobody works any more");
    assert!(service.prompt(&id, "developer", 3).contains("ci_green"));
    wait_until("people are told", || told_blocked(&service, &id) == 1);
    assert_eq!(repo.sha("main"), base);

    service.tell("mended");
    service.cli_ok(&["task", "unblock", &id]);
    let done = service.wait_status(&id, "done");
    assert_eq!(
        done.task.developer_retries, 0,
        "a person's unblock gives the retries back"
    );
    assert_eq!(service.worked(&id, "developer"), 4);
    assert_eq!(told_blocked(&service, &id), 1);
    assert_eq!(repo.show("work.txt"), "4");
}

#[test]
fn an_agent_that_fails_twice_blocks_its_task_and_its_work_is_kept() {
    let repo = Repo::new();
    let developer = r#"
echo "half $nth" >half.txt
if [ "$nth" -le 2 ]; then echo "cannot go on" >&2; exit 3; fi
commit "the whole"
"#;
    let agent = Agent::diligent().role("developer", developer);
    let mut service = Setup::new()
        .project(Project::new("shop", &repo).agent(&agent).then(ONE_STAGE))
        .start();
    let id = service.add("Write it");

    let blocked = service.wait_status(&id, "blocked");
    let job = &blocked.jobs[0];
    assert_eq!((job.status.as_str(), job.attempts), ("failed", 2));
    assert!(blocked.task.reason.unwrap().contains("exit code 3"));
    service.wait_task(&id, "has its runs put away", |d| {
        d.runs.iter().all(|r| r.finished_at.is_some())
    });
    // What each attempt left uncommitted can be had back.
    for (run, text) in service.runs(&id).iter().zip(["half 1", "half 2"]) {
        let wip = run.wip_ref.as_deref().unwrap();
        assert_eq!(
            git(&clone_of(&service), &["show", &format!("{wip}:half.txt")]),
            text
        );
    }

    service.cli_ok(&["job", "retry", &job.id.to_string()]);
    service.wait_status(&id, "done");
    assert_eq!(service.worked(&id, "developer"), 3);
    assert_eq!(repo.show("half.txt"), "half 3");
}

#[test]
fn a_job_that_cannot_be_tried_again_leaves_its_task_blocked() {
    let repo = Repo::new();
    let agent = Agent::diligent().role("developer", "echo x >broken; echo x >work.txt; commit broken");
    let stages = THREE_STAGES.replacen(
        "[\"tests_local\"]",
        "[\"tests_local\"]\nrollback_to = \"development\"",
        1,
    );
    let project = Project::new("shop", &repo)
        .agent(&agent)
        .top("max_developer_retries = 0")
        .then(&stages);
    let mut service = Setup::new().project(project).start();
    let id = service.add("Write it");
    let blocked = service.wait_status(&id, "blocked");
    let job = &blocked.jobs[0];
    assert_eq!(job.status, "done", "escalated: the job itself did not fail");

    let refused = service.cli(&["job", "retry", &job.id.to_string()]);
    assert!(!refused.status.success());
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("did not fail"), "{said}");
    let after = service.task(&id);
    assert_eq!(after.task.status, "blocked", "a refused retry changes nothing");
    assert_eq!(after.events.len(), blocked.events.len());
}
