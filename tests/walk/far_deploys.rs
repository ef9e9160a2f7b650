//! The hook on another machine, over real ssh: begun once there, and asked for however long that machine was away.

use std::fs;

use super::deploys::{GOOD, Production, confirm};
use crate::support::{Repo, Setup, Sshd, TestService, wait_until};

/// A service whose hook is `script` on the machine behind `sshd`. Its folder there is in production's.
fn start(sshd: &Sshd, production: &Production, repo: &Repo, script: &str, more: &str) -> TestService {
    let deploy = format!("runner = 'ssh:far'\n{more}\n");
    let project = production.project(repo, script).then(&deploy);
    let mut setup = Setup::new();
    for line in sshd.node("far", production.folder.path()) {
        let (key, value) = line.split_once(" = ").unwrap();
        let parsed: toml::Table = format!("value = {value}").parse().unwrap();
        setup = setup.set(key, parsed["value"].clone());
    }
    setup.project(project).start()
}

/// What is left there of the only hook.
fn left(production: &Production) -> Vec<String> {
    let hooks = fs::read_dir(production.path("deploys")).unwrap();
    let folders: Vec<_> = hooks.map(|entry| entry.unwrap().path()).collect();
    assert_eq!(folders.len(), 1, "{folders:?}");
    let files = fs::read_dir(&folders[0]).unwrap();
    files
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

#[test]
fn a_hook_on_another_machine_outlives_its_connection_and_the_service() {
    let (repo, production) = (Repo::new(), Production::new());
    let Some(mut sshd) = Sshd::start() else { return };
    let script = format!(
        "echo >\"$production/began\"\n[ \"$WORD\" = \"it's there\" ] || exit 9\n\
         while [ ! -e \"$production/go\" ]; do sleep 0.05; done\n{GOOD}"
    );
    let more = "timeout_s = 60\n\n[deploy.env]\nWORD = \"it's there\"";
    let mut service = start(&sshd, &production, &repo, &script, more);
    let id = service.add("Write it");
    confirm(&mut service, &id);
    wait_until("the hook to begin", || production.path("began").exists());
    let files = left(&production);
    assert!(
        !files.contains(&"hook.sh".to_owned()),
        "the environment does not stay there: {files:?}"
    );
    // The connection breaks, and there is none for a while; then the service dies too.
    sshd.stop();
    sshd.start_again();
    service.kill9();
    service.start();
    sshd.cut();
    fs::write(production.path("go"), "").unwrap();
    service.wait_status(&id, "done");
    assert_eq!(production.calls(), [format!("deploy 1 {}", repo.sha("main"))]);
    assert_eq!(production.runs(), repo.sha("main"));
}

#[test]
fn a_hook_on_another_machine_that_fails_is_failed_and_one_that_is_not_sure_is_asked_about() {
    let Some(sshd) = Sshd::start() else { return };
    // Exit 1 is believed, whatever production runs; after 2 it is asked.
    for (script, settled) in [
        (format!("{GOOD}\nexit 1"), false),
        (format!("{GOOD}\nexit 2"), true),
    ] {
        let (repo, production) = (Repo::new(), Production::new());
        let mut service = start(&sshd, &production, &repo, &script, "timeout_s = 60");
        let id = service.add("Write it");
        confirm(&mut service, &id);
        match settled {
            true => drop(service.wait_status(&id, "done")),
            false => {
                let failed = |d: &orch::engine::views::TaskDetail| d.task.developer_retries == 1;
                service.wait_task(&id, "goes back to development", failed);
            }
        }
        assert_eq!(production.calls().len(), 1, "{script}");
    }
}

#[test]
fn what_a_hook_says_that_was_ended_at_its_limit_is_not_believed() {
    let Some(sshd) = Sshd::start() else { return };
    let (repo, production) = (Repo::new(), Production::new());
    // It says 0, and production still runs the old version.
    let script = "trap 'exit 0' TERM\nwhile :; do sleep 0.1; done";
    let mut service = start(&sshd, &production, &repo, script, "timeout_s = 2");
    let id = service.add("Write it");
    confirm(&mut service, &id);
    service.wait_task(&id, "is asked about the fix", |d| {
        d.task.status == "waiting_human" && d.task.developer_retries == 1
    });
    let told = service.prompt(&id, "developer", 2);
    assert!(told.contains("exit code 124"), "{told}");
    assert_eq!(production.calls().len(), 1);
}

#[test]
fn a_hook_whose_machine_is_away_runs_once_when_it_is_back() {
    let Some(mut sshd) = Sshd::start() else { return };
    let (repo, production) = (Repo::new(), Production::new());
    let mut service = start(&sshd, &production, &repo, GOOD, "timeout_s = 60");
    let id = service.add("Write it");
    sshd.stop();
    confirm(&mut service, &id);
    let deploys = service.data().join("deploys");
    wait_until("two tries", || {
        fs::read_dir(&deploys).is_ok_and(|tries| tries.count() >= 2)
    });
    assert!(production.calls().is_empty());
    sshd.start_again();
    service.wait_status(&id, "done");
    assert_eq!(production.calls(), [format!("deploy 1 {}", repo.sha("main"))]);
}
