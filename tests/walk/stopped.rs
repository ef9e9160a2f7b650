//! People stop what runs.

use std::path::{Path, PathBuf};

use crate::support::{
    Agent, ONE_STAGE, Project, Repo, Setup, TestService, git, lives, processes_below, wait_until,
};

/// The first task's first agent starts children that try to get away, leaves work and waits for ever.
const STUBBORN: &str = r#"
if [ "$ORCH_WORK_ITEM" = SHOP-001 ] && [ "$nth" = 1 ]; then
    sleep 1000 &
    setsid sleep 1000 &
    (setsid sh -c 'trap "" TERM; while :; do sleep 0.1; done' &)
    echo half >half.txt
    here first
    until_told never
fi
echo whole >"$ORCH_WORK_ITEM.txt"; commit "the whole"
"#;

fn start(repo: &Repo) -> TestService {
    let agent = Agent::new().role("developer", STUBBORN);
    Setup::new()
        .project(Project::new("shop", repo).agent(&agent).then(ONE_STAGE))
        .start()
}

/// A task whose agent runs, its process and its folder.
fn at_work(service: &TestService) -> (String, i32, PathBuf) {
    let id = service.add("Stopped");
    let (pid, cwd) = service.wait_here("first");
    (id, pid, cwd)
}

/// Nothing of the agent lives, its folder is gone, its work is kept.
fn cleaned_up(service: &mut TestService, id: &str, pid: i32, cwd: &Path) {
    let detail = service.wait_task(id, "has its run put away", |d| {
        d.runs.last().is_some_and(|r| r.finished_at.is_some())
    });
    assert!(!lives(pid));
    assert_eq!(processes_below(cwd), Vec::<i32>::new());
    assert!(!cwd.exists());
    let wip = detail.runs.last().unwrap().wip_ref.clone().unwrap();
    let clone = service.data().join("repos").join("shop.git");
    assert_eq!(git(&clone, &["show", &format!("{wip}:half.txt")]), "half");
}

#[test]
fn a_cancelled_task_stops_its_agent_keeps_its_work_and_frees_its_slot() {
    let repo = Repo::new();
    let mut service = start(&repo);
    let (id, pid, cwd) = at_work(&service);
    let next = service.add("Waits for the slot");
    assert_eq!(service.task(&next).jobs[0].status, "queued");

    service.cli_ok(&["task", "cancel", &id, "--comment", "no longer wanted"]);
    let cancelled = service.task(&id);
    assert_eq!(
        (cancelled.task.status.as_str(), cancelled.jobs[0].status.as_str()),
        ("cancelled", "cancelled")
    );
    cleaned_up(&mut service, &id, pid, &cwd);
    service.wait_status(&next, "done");
    let gesture = service.gesture(&id, "in-progress", None);
    assert!(
        !gesture.applied,
        "what was cancelled stays so: {}",
        gesture.effect
    );
}

#[test]
fn a_cancelled_job_blocks_its_task_until_a_person_lets_it_go_on() {
    let repo = Repo::new();
    let mut service = start(&repo);
    let (id, pid, cwd) = at_work(&service);
    let job = service.task(&id).jobs[0].id.to_string();
    service.cli_ok(&["job", "cancel", &job, "--reason", "wrong branch"]);

    let blocked = service.wait_status(&id, "blocked");
    assert_eq!(blocked.jobs[0].status, "cancelled");
    assert!(blocked.task.reason.unwrap().contains("wrong branch"));
    cleaned_up(&mut service, &id, pid, &cwd);
    let late = service.cli(&["job", "cancel", &job]);
    assert!(
        !late.status.success(),
        "a job that is over is not cancelled again"
    );

    service.cli_ok(&["task", "unblock", &id]);
    service.wait_status(&id, "done");
    assert_eq!(service.worked(&id, "developer"), 2);
}

#[test]
fn a_task_that_is_cancelled_while_its_tests_run_leaves_no_test_running() {
    let repo = Repo::new();
    let agent = Agent::diligent();
    let mark = tempfile::tempdir().unwrap();
    let begun = mark.path().join("begun");
    let tests = format!("test_command = 'echo $$ >{}; sleep 1000'", begun.display());
    let project = Project::new("shop", &repo)
        .agent(&agent)
        .top(&tests)
        .then(ONE_STAGE);
    let mut service = Setup::new().project(project).start();
    let id = service.add("Slowly tested");
    wait_until("the tests run", || {
        std::fs::read_to_string(&begun).is_ok_and(|pid| pid.ends_with('\n'))
    });
    let pid: i32 = std::fs::read_to_string(&begun).unwrap().trim().parse().unwrap();
    service.cli_ok(&["task", "cancel", &id]);
    wait_until("the tests are gone", || !lives(pid));
    service.wait_idle();
    service.wait_task(&id, "has its runs put away", |d| {
        d.runs.iter().all(|r| r.finished_at.is_some())
    });
    let scratch = service.data().join("scratch");
    wait_until("their folder is gone", || {
        std::fs::read_dir(&scratch).map_or(true, |mut entries| entries.next().is_none())
    });
}
