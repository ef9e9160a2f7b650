//! Project files that cannot be used, and one that goes away under its tasks: their work stays, and they go on when
//! it is back. Which mistake in a file is told how stands beside the settings.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command;

use orch::engine::views::AddTask;

use super::{TWO_STAGES, assert_names, cli, kept, refuses};
use crate::support::{Agent, Project, Repo, Setup, TestService, lives, wait_until};

/// A service with a usable project, and this in `data/projects/odd.toml`.
fn with_odd(repo: &Repo, put: impl FnOnce(&Path)) -> TestService {
    let service = Setup::new()
        .project(Project::new("shop", repo).then(TWO_STAGES))
        .prepare();
    put(&service.data().join("projects/odd.toml"));
    service
}

/// `serve` refuses with one line, and `doctor` finds the same.
fn told(service: &TestService, parts: &[&str]) {
    let ended = refuses(service);
    assert_names(ended.line(2), parts);
    let doctor = service.cli(&["doctor"]);
    assert_eq!(doctor.status.code(), Some(1));
    let found = String::from_utf8(doctor.stdout).unwrap();
    assert_names(&found, &["fail", ended.line(2)]);
    assert!(!service.data().join("orch.db").exists(), "something was made");
}

#[test]
fn a_project_file_that_cannot_be_read_is_named_with_what_to_do() {
    let repo = Repo::new();
    let file = "projects/odd.toml:1: ";
    let mkfifo = |path: &Path| assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
    type Put<'a> = &'a dyn Fn(&Path);
    let cases: [(Put<'_>, &str); 8] = [
        (&|p| fs::write(p, "repo = 'x\n").unwrap(), "not valid TOML"),
        (
            &|p| fs::write(p, b"repo = '/\xff'\n").unwrap(),
            "is not UTF-8: save it as UTF-8",
        ),
        (&|p| fs::write(p, b"MZ\0\x01\x02").unwrap(), "not valid TOML"),
        (&|p| fs::write(p, "").unwrap(), "repo is missing"),
        (&|p| fs::create_dir(p).unwrap(), "is no file: move it away"),
        (&mkfifo, "is no file: move it away"),
        (&|p| symlink("/none/there", p).unwrap(), "No such file"),
        (&|p| symlink(p, p).unwrap(), "symbolic links"),
    ];
    for (put, part) in cases {
        told(&with_odd(&repo, put), &[file, part]);
    }
    // Root reads everything; others do not.
    let service = with_odd(&repo, |p| {
        fs::write(p, "").unwrap();
        fs::set_permissions(p, fs::Permissions::from_mode(0o000)).unwrap();
    });
    match fs::read(service.data().join("projects/odd.toml")) {
        Ok(_) => super::mounted::not_run("a project file without rights", "this user may read everything"),
        Err(_) => told(&service, &[file, "Permission denied", "give this user the right"]),
    }
}

#[test]
fn two_projects_of_one_name_or_prefix_are_refused_and_the_second_is_named() {
    let repo = Repo::new();
    let text = |more: &str| format!("{more}\nrepo = '{}'\n", repo.path.display());
    let service = with_odd(&repo, |p| fs::write(p, text("name = 'shop'")).unwrap());
    told(
        &service,
        &["projects/odd.toml:1:", "\"shop\"", "name its file shop.toml, or"],
    );
    let service = with_odd(&repo, |p| fs::write(p, text("# twice\nprefix = 'SHOP'")).unwrap());
    told(
        &service,
        &["projects/shop.toml:1: prefix \"SHOP\"", "projects/odd.toml"],
    );
    // Made from the names, prefixes can be the same too.
    let service = with_odd(&repo, |p| {
        fs::write(p.with_file_name("sh-op.toml"), text("")).unwrap();
    });
    told(
        &service,
        &["projects/shop.toml:1: prefix \"SHOP\"", "projects/sh-op.toml"],
    );
}

#[test]
fn a_pipeline_that_could_not_be_walked_is_refused_at_its_line() {
    let repo = Repo::new();
    const DEVELOPMENT: &str = "[[stage]]\nname = 'development'\nrole = 'developer'\n";
    const REVIEW: &str = "[[stage]]\nname = 'review'\nrole = 'reviewer'\n";
    const DONE: &str = "[[stage]]\nname = 'done'\n";
    for (stages, line, parts) in [
        (
            format!("{DEVELOPMENT}rollback_to = 'review'\n{REVIEW}{DONE}"),
            4,
            &["rollback_to \"review\"", "later stage", "earlier one"][..],
        ),
        (
            format!("{DEVELOPMENT}{REVIEW}{DONE}gates = ['human_approved']\n"),
            10,
            &["\"done\"", "not terminal"],
        ),
        (
            format!("{DEVELOPMENT}confirm = true\n{REVIEW}{DONE}"),
            4,
            &["confirm = true", "only in the stage that merges"],
        ),
        (
            format!("{DEVELOPMENT}{REVIEW}gates = ['human_aproved']\n{DONE}"),
            10,
            &[
                "unknown gate \"human_aproved\"",
                "did you mean \"human_approved\"",
            ],
        ),
        (
            format!("{DEVELOPMENT}{REVIEW}next = 'development'\n{DONE}"),
            7,
            &["review", "development"],
        ),
        (
            "[[stage]]\nname = '../x'\nrole = 'developer'\n[[stage]]\nname = 'done'\n".to_owned(),
            4,
            &["stage name \"../x\"", "not usable"],
        ),
        (
            format!("{DEVELOPMENT}gate = ['tests_local']\n{DONE}"),
            7,
            &["unknown key \"stage.gate\"", "did you mean \"gates\""],
        ),
        (
            format!("[deploi]\nby = 'merge'\n{DEVELOPMENT}{DONE}"),
            4,
            &["unknown key \"deploi\"", "\"deploy\""],
        ),
    ] {
        let head = format!(
            "repo = '{}'\ntest_command = 'true'\nprefix = 'ODD'\n",
            repo.path.display()
        );
        let service = with_odd(&repo, |p| fs::write(p, head + &stages).unwrap());
        let ended = refuses(&service);
        let place = format!("projects/odd.toml:{line}: ");
        assert_names(ended.line(2), &[&place]);
        assert_names(ended.line(2), parts);
    }
}

#[test]
fn a_persons_gate_may_stand_where_nobody_expects_it_and_only_a_person_opens_it() {
    let repo = Repo::new();
    let odd = "\n[deploy]\nrequire_manual_approve = false\n\
        [[stage]]\nname = 'development'\nrole = 'developer'\ngates = ['human_approved', 'tests_local']\n\
        [[stage]]\nname = 'ship'\ngates = ['branch_mergeable', 'analysis_approved']\nrollback_to = 'development'\n\
        [[stage]]\nname = 'done'\n";
    let mut service = Setup::new()
        .project(Project::new("shop", &repo).then(odd))
        .start();
    let base = repo.sha("main");
    let id = service.add("Work");
    for stage in ["development", "ship"] {
        let waiting = service.wait_task(&id, "waits for a person", |d| {
            d.task.status == "waiting_human" && d.task.stage == stage
        });
        assert_eq!(repo.sha("main"), base, "{}", service.explain(&waiting));
        service.cli_ok(&["task", "approve", &id]);
    }
    service.wait_status(&id, "done");
    assert_eq!(repo.since(&base).len(), 1);
}

fn of(project: &str, id: &str) -> AddTask {
    AddTask {
        project: Some(project.to_owned()),
        id: Some(id.to_owned()),
        title: format!("Do {id}"),
        ..AddTask::default()
    }
}

/// Two projects; in `shop` an agent has written something and waits.
fn with_work(repo: &Repo, other: &Repo) -> (TestService, i32) {
    let agent = Agent::diligent().role(
        "developer",
        "echo work >\"work-$ORCH_WORK_ITEM\"; if [ \"$nth\" = 1 ]; then here working; until_told go; fi",
    );
    let mut service = Setup::new()
        .set("shutdown", "leave")
        .set("max_concurrency", 2)
        .project(Project::new("shop", repo).agent(&agent).then(TWO_STAGES))
        .project(Project::new("other", other).then(TWO_STAGES))
        .start();
    service.add_task(&of("shop", "WORK"));
    let (agent, _) = service.wait_here("working");
    assert_eq!(service.task("WORK").task.stage, "development");
    service.stop();
    assert!(lives(agent), "it was left to the next start");
    (service, agent)
}

#[test]
fn the_work_of_a_project_whose_file_is_gone_stays_and_goes_on_when_it_is_back() {
    let (repo, other) = (Repo::new(), Repo::new());
    let (mut service, agent) = with_work(&repo, &other);
    let file = service.data().join("projects/shop.toml");
    let away = service.home().join("shop.toml");
    fs::rename(&file, &away).unwrap();
    service.start();
    // The others do not notice.
    service.add_task(&of("other", "OTHER"));
    service.wait_status("OTHER", "done");
    let refused = cli(&service, &["task", "approve", "WORK"]);
    assert_names(
        refused.line(4),
        &[
            "project shop has no file",
            "put ",
            "shop.toml back",
            "cancel the task",
        ],
    );
    let refused = cli(&service, &["task", "add", "More", "--project", "shop"]);
    assert_names(refused.line(4), &["no project \"shop\"", "other"]);
    let seen = service.task("WORK");
    assert_eq!(seen.task.project, "shop");
    assert_names(&service.cli_ok(&["task", "list"]), &["WORK", "shop"]);
    service.tell("go");
    wait_until("the agent has ended", || !lives(agent));
    service.stop();

    fs::rename(&away, &file).unwrap();
    service.start();
    let blocked = service.wait_task("WORK", "has its work put away", |d| {
        d.task.status == "blocked" && d.runs.iter().all(|r| r.finished_at.is_some())
    });
    let reason = blocked.task.reason.clone().unwrap_or_default();
    assert_names(&reason, &["project shop has no file", "shop.toml back"]);
    assert!(
        kept(&service, "shop", &blocked).contains(&"work-WORK".to_owned()),
        "{}",
        service.explain(&blocked)
    );
    assert_eq!(cli(&service, &["task", "unblock", "WORK"]).code, 0);
    service.wait_status("WORK", "done");
    assert_eq!(repo.show("work-WORK"), "work");
}

#[test]
fn a_task_whose_projects_file_is_gone_can_be_cancelled_and_its_work_is_kept() {
    let (repo, other) = (Repo::new(), Repo::new());
    let (mut service, agent) = with_work(&repo, &other);
    let base = repo.sha("main");
    let file = service.data().join("projects/shop.toml");
    let away = service.home().join("shop.toml");
    fs::rename(&file, &away).unwrap();
    service.start();
    assert_eq!(cli(&service, &["task", "cancel", "WORK"]).code, 0);
    assert_eq!(service.task("WORK").task.status, "cancelled");
    wait_until("its agent is stopped", || !lives(agent));
    service.add_task(&of("other", "OTHER"));
    service.wait_status("OTHER", "done");
    service.stop();

    fs::rename(&away, &file).unwrap();
    service.start();
    let detail = service.wait_task("WORK", "has its work put away", |d| {
        d.runs.iter().all(|r| r.finished_at.is_some())
    });
    assert_eq!(detail.task.status, "cancelled");
    assert!(kept(&service, "shop", &detail).contains(&"work-WORK".to_owned()));
    assert_eq!(repo.sha("main"), base);
    // A task that nobody works at any more is in nobody's way.
    service.add_task(&of("shop", "NEXT"));
    service.tell("go");
    service.wait_status("NEXT", "done");
}

#[test]
fn a_project_file_that_breaks_while_the_service_runs_is_told_at_the_next_start_only() {
    let repo = Repo::new();
    let mut service = Setup::new()
        .project(Project::new("shop", &repo).then(TWO_STAGES))
        .start();
    let file = service.data().join("projects/shop.toml");
    let good = fs::read(&file).unwrap();
    fs::write(&file, "repo = [").unwrap();
    super::others_go_on(&mut service, "ONE");
    service.stop();
    assert_names(
        refuses(&service).line(2),
        &["projects/shop.toml:1", "not valid TOML"],
    );
    fs::write(&file, good).unwrap();
    service.start();
    super::others_go_on(&mut service, "TWO");
    assert_eq!(service.task("ONE").task.status, "done");
}
