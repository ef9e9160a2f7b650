//! From Confirm Deploy to production by the project's hook: once for a confirmation, whatever dies.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use orch::engine::views::TaskDetail;

use crate::support::{Agent, Project, Repo, Setup, TestService, git, wait_until};

/// development, then the stage that merges and deploys after a person's word.
pub(super) const TWO_STAGES: &str = r#"
[[stage]]
name = "development"
role = "developer"
gates = ["tests_local"]

[[stage]]
name = "deploy"
gates = ["branch_mergeable", "deploy_status"]
rollback_to = "development"
confirm = true

[[stage]]
name = "done"
"#;

/// Production: a folder with the revision that runs there, and a line for each call of the hook.
pub(super) struct Production {
    pub(super) folder: tempfile::TempDir,
}

impl Production {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("revision"), "0".repeat(40)).unwrap();
        fs::write(folder.path().join("calls"), "").unwrap();
        Self { folder }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Each call: action, attempt, revision.
    pub(super) fn calls(&self) -> Vec<String> {
        let text = fs::read_to_string(self.path("calls")).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    pub(super) fn runs(&self) -> String {
        fs::read_to_string(self.path("revision"))
            .unwrap()
            .trim()
            .to_owned()
    }

    /// A project whose hook is `script`; `$production` is the folder, and its call is written down before.
    pub(super) fn project(&self, repo: &Repo, script: &str) -> Project {
        let hook = self.path("hook.sh");
        let mut text = format!("#!/bin/sh\nproduction='{}'\n", self.folder.path().display());
        writeln!(
            text,
            "echo \"$1 $ORCH_ATTEMPT $ORCH_REVISION\" >>\"$production/calls\""
        )
        .unwrap();
        text.push_str(script);
        fs::write(&hook, text).unwrap();
        let deploy = format!(
            "[deploy]\nhook = ['sh', '{}']\nrevision_command = 'cat {}'\n",
            hook.display(),
            self.path("revision").display()
        );
        Project::new("shop", repo).then(TWO_STAGES).then(&deploy)
    }
}

/// Brings the new version, healthy.
pub(super) const GOOD: &str =
    r#"echo "$ORCH_REVISION" >"$production/revision"; echo "now at $ORCH_REVISION""#;

/// Waits until Confirm Deploy is asked for, and confirms.
pub(super) fn confirm(service: &mut TestService, id: &str) -> TaskDetail {
    let asked = service.wait_status(id, "waiting_human");
    let reason = asked.task.reason.clone().unwrap_or_default();
    assert!(reason.contains("Confirm Deploy"), "{reason}");
    service.gesture(id, "confirm-deploy", None);
    asked
}

fn artifact(repo: &Path, at: &str, id: &str, name: &str) -> String {
    git(repo, &["show", &format!("{at}:docs/work-items/{id}/{name}")])
}

#[test]
fn a_confirmed_candidate_is_merged_and_deployed_once_by_the_hook() {
    let (repo, production) = (Repo::new(), Production::new());
    let project = production
        .project(&repo, GOOD)
        .top("records_ref = 'refs/heads/orch-records'");
    let mut service = Setup::new().project(project).start();
    let id = service.add("Write it");
    let asked = service.wait_status(&id, "waiting_human");
    assert!(
        production.calls().is_empty(),
        "nothing is deployed before the word"
    );
    // Approved does not deploy.
    let answer = service.gesture(&id, "approved", None);
    assert!(answer.effect.contains("Confirm Deploy"), "{}", answer.effect);
    assert!(production.calls().is_empty());

    confirm(&mut service, &id);
    service.wait_status(&id, "done");
    let main = repo.sha("main");
    assert_eq!(Some(main.clone()), asked.task.candidate.map(|c| c.to_string()));
    assert_eq!(production.calls(), [format!("deploy 1 {main}")]);
    assert_eq!(production.runs(), main);
    // The log is kept where the project wants it, and not on main.
    wait_until("the deploy log", || {
        git_ok_show(&repo.path, "orch-records", &id, "14-deploy-log.md")
    });
    let log = artifact(&repo.path, "orch-records", &id, "14-deploy-log.md");
    assert!(log.starts_with("---\ndeploy_status: SUCCESS\n"), "{log}");
    assert!(
        log.contains(&format!("revision: {main}")) && log.contains("now at"),
        "{log}"
    );
    assert_eq!(repo.sha("main"), main, "main is what was tested");
    // A second Confirm Deploy is a no-op.
    let again = service.gesture(&id, "confirm-deploy", None);
    assert!(again.effect.contains("nothing to do"), "{}", again.effect);
    assert_eq!(production.calls().len(), 1);
}

fn git_ok_show(repo: &Path, at: &str, id: &str, name: &str) -> bool {
    crate::support::git_ok(
        repo,
        &["cat-file", "-e", &format!("{at}:docs/work-items/{id}/{name}")],
    )
}

#[test]
fn a_failed_deploy_goes_back_to_development_and_its_fix_is_deployed() {
    let (repo, production) = (Repo::new(), Production::new());
    let script = format!("if [ \"$ORCH_ATTEMPT\" = 1 ]; then echo 'port is taken'; exit 1; fi\n{GOOD}");
    let mut service = Setup::new().project(production.project(&repo, &script)).start();
    let id = service.add("Write it");
    confirm(&mut service, &id);
    // The developer reads why, and makes another candidate.
    let asked = service.wait_task(&id, "is asked about the fix", |d| {
        d.task.status == "waiting_human" && d.task.developer_retries == 1
    });
    assert!(service.prompt(&id, "developer", 2).contains("port is taken"));
    let bad = repo.sha("main");
    assert_ne!(asked.task.candidate.map(|c| c.to_string()), Some(bad));
    service.gesture(&id, "confirm-deploy", None);
    service.wait_status(&id, "done");
    let calls = production.calls();
    assert_eq!(calls.len(), 2, "{calls:?}");
    assert_eq!(calls[1], format!("deploy 2 {}", repo.sha("main")));
    assert_eq!(production.runs(), repo.sha("main"));
}

#[test]
fn while_the_tip_of_main_is_quarantined_no_other_task_is_deployed() {
    let (repo, production) = (Repo::new(), Production::new());
    // Only the first one fails; its developer has nothing better to offer for a while.
    let script = format!("if [ \"$ORCH_ATTEMPT\" = 1 ]; then exit 1; fi\n{GOOD}");
    let agent = Agent::diligent().role(
        "developer",
        r#"if [ "$nth" = 2 ]; then here fixing; until_told fix; fi
mkdir -p src; echo "$nth" >"src/$ORCH_WORK_ITEM.txt"; commit "write it""#,
    );
    let project = production.project(&repo, &script).agent(&agent);
    let mut service = Setup::new().set("max_concurrency", 2).project(project).start();
    let first = service.add("One");
    confirm(&mut service, &first);
    service.wait_here("fixing");
    let bad = repo.sha("main");
    let second = service.add("Two");
    confirm(&mut service, &second);
    let refused = service.wait_task(&second, "is refused", |d| {
        d.task.status == "waiting_human" && d.task.reason.as_deref().is_some_and(|r| r.contains("refused"))
    });
    let why = refused.task.reason.clone().unwrap();
    assert!(why.contains(&bad[..8]) && why.contains(&first), "{why}");
    assert_eq!((repo.sha("main"), production.calls().len()), (bad, 1));
    // The fix brings main on; the other one is confirmed once more, for what it is by then.
    service.tell("fix");
    service.wait_task(&first, "is asked about the fix", |d| {
        d.task.status == "waiting_human"
    });
    service.gesture(&first, "confirm-deploy", None);
    service.wait_status(&first, "done");
    for _ in 0..2 {
        // The candidate is void once: main moved. Then it is asked for anew.
        if service.task(&second).task.status == "waiting_human" {
            service.gesture(&second, "confirm-deploy", None);
        }
        service.wait_task(&second, "settles", |d| {
            d.task.status == "done" || d.task.status == "waiting_human"
        });
    }
    service.wait_status(&second, "done");
    assert_eq!(production.runs(), repo.sha("main"));
}

#[test]
fn a_hook_outlives_the_service_and_is_not_run_twice() {
    let (repo, production) = (Repo::new(), Production::new());
    let script = format!(
        "echo >\"$production/began\"\nwhile [ ! -e \"$production/go\" ]; do sleep 0.05; done\n{GOOD}"
    );
    let mut service = Setup::new().project(production.project(&repo, &script)).start();
    let id = service.add("Write it");
    confirm(&mut service, &id);
    wait_until("the hook to begin", || production.path("began").exists());
    // What would take the work back is refused while production changes.
    let cancel = service.try_gesture(&id, "cancelled", None);
    assert_eq!(cancel.status, 409, "{}", cancel.text());
    let rejected = service.gesture(&id, "rejected", None);
    assert!(rejected.effect.contains("under way"), "{}", rejected.effect);
    service.kill9();
    service.start();
    fs::write(production.path("go"), "").unwrap();
    service.wait_status(&id, "done");
    assert_eq!(production.calls(), [format!("deploy 1 {}", repo.sha("main"))]);

    // The same where it ends while nobody is there.
    for name in ["began", "go"] {
        fs::remove_file(production.path(name)).unwrap();
    }
    let id = service.add("Once more");
    confirm(&mut service, &id);
    wait_until("the hook to begin", || production.path("began").exists());
    service.kill9();
    fs::write(production.path("go"), "").unwrap();
    let main = repo.sha("main");
    wait_until("the hook to end", || production.runs() == main);
    service.start();
    service.wait_status(&id, "done");
    assert_eq!(production.calls().len(), 2, "{:?}", production.calls());
}

#[test]
fn what_an_unclear_end_means_is_asked_of_production() {
    // Brought the new version and says nobody knows; brought nothing; broke it.
    let cases = [
        (format!("{GOOD}\nexit 2"), "done", 1),
        ("exit 2".to_owned(), "development again", 1),
        (format!("{GOOD}\nkill -9 $PPID; sleep 30"), "done", 1),
        (
            "echo fffffffff >\"$production/revision\"; exit 3".to_owned(),
            "blocked",
            1,
        ),
    ];
    for (script, expected, calls) in cases {
        let (repo, production) = (Repo::new(), Production::new());
        let mut service = Setup::new().project(production.project(&repo, &script)).start();
        let id = service.add("Write it");
        confirm(&mut service, &id);
        let ended = service.wait_task(&id, expected, |d| match expected {
            "development again" => d.task.developer_retries == 1,
            status => d.task.status == status,
        });
        assert_eq!(production.calls().len(), calls, "{script}");
        if expected == "blocked" {
            let why = ended.task.reason.unwrap();
            assert!(why.contains("production runs fffffffff"), "{why}");
            // A person mended it by hand, and has it asked again: the hook is not run a second time.
            fs::write(production.path("revision"), repo.sha("main")).unwrap();
            service.gesture(&id, "in-progress", None);
            confirm(&mut service, &id);
            service.wait_status(&id, "done");
            assert_eq!(production.calls().len(), 1);
        }
    }
}

#[test]
fn without_the_gesture_only_where_the_project_waived_it() {
    let (repo, production) = (Repo::new(), Production::new());
    let stages = TWO_STAGES.replace("confirm = true\n", "");
    let hook = production.project(&repo, GOOD);
    drop(hook);
    let deploy = format!(
        "[deploy]\nrequire_manual_approve = false\nhook = ['sh', '{}']\n",
        production.path("hook.sh").display()
    );
    let project = Project::new("shop", &repo).then(&stages).then(&deploy);
    let mut service = Setup::new().project(project).start();
    let id = service.add("Write it");
    service.wait_status(&id, "done");
    assert_eq!(production.calls(), [format!("deploy 1 {}", repo.sha("main"))]);
}

#[test]
fn a_deploy_whose_job_is_gone_is_settled_by_whoever_comes_to_it() {
    let (repo, production) = (Repo::new(), Production::new());
    let script = format!(
        "if [ \"$ORCH_ATTEMPT\" = 1 ]; then echo >\"$production/began\"; while [ ! -e \"$production/go\" ]; do sleep 0.05; done; exit 1; fi\n{GOOD}"
    );
    let mut service = Setup::new().project(production.project(&repo, &script)).start();
    let id = service.add("Write it");
    confirm(&mut service, &id);
    wait_until("the hook to begin", || production.path("began").exists());
    // The project's file says another name for the stage: the job cannot go on, and its hook does.
    service.kill9();
    let file = service.data().join("projects/shop.toml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("name = \"deploy\"", "name = \"ship\"")).unwrap();
    service.start();
    service.wait_status(&id, "blocked");
    service.kill9();
    fs::write(&file, text).unwrap();
    service.start();
    // A person sends it back; its next visit finds the old attempt at work, waits for it, and deploys then.
    service.gesture(&id, "in-progress", None);
    service.wait_status(&id, "waiting_human");
    service.gesture(&id, "rejected", Some("not like this"));
    service.wait_task(&id, "is asked about another candidate", |d| {
        d.task.status == "waiting_human" && service_has(d)
    });
    service.gesture(&id, "confirm-deploy", None);
    service.wait_task(&id, "waits for the other attempt", |d| {
        d.jobs.iter().any(|j| {
            j.error
                .as_deref()
                .is_some_and(|e| e.contains("waits for the end of deploy 1"))
        })
    });
    fs::write(production.path("go"), "").unwrap();
    service.wait_status(&id, "done");
    assert_eq!(production.calls().len(), 2, "{:?}", production.calls());
    assert_eq!(production.runs(), repo.sha("main"));
    let listed = service.cli_ok(&["deploy", "list"]);
    assert!(
        listed.contains("failed") && listed.contains("succeeded"),
        "{listed}"
    );
}

/// The developer has worked twice.
fn service_has(detail: &TaskDetail) -> bool {
    detail
        .jobs
        .iter()
        .filter(|j| j.role.as_deref() == Some("developer"))
        .count()
        >= 2
}

#[test]
fn what_was_merged_on_top_of_a_failed_deploy_is_not_deployed_before_its_fix() {
    let (repo, production) = (Repo::new(), Production::new());
    let script = format!(
        "if [ \"$ORCH_ATTEMPT\" = 1 ]; then echo >\"$production/began\"; while [ ! -e \"$production/go\" ]; do sleep 0.05; done; exit 1; fi\n{GOOD}"
    );
    let agent = Agent::diligent().role(
        "developer",
        r#"if [ "$nth" = 2 ]; then here fixing; until_told fix; fi
mkdir -p src; echo "$nth" >"src/$ORCH_WORK_ITEM.txt"; commit "write it""#,
    );
    // As one commit each: main has another one than the branch.
    let project = production
        .project(&repo, &script)
        .agent(&agent)
        .then("[merge]\nstyle = 'squash'\n");
    let mut service = Setup::new().set("max_concurrency", 2).project(project).start();
    let first = service.add("One");
    confirm(&mut service, &first);
    wait_until("the hook to begin", || production.path("began").exists());
    let bad = repo.sha("main");
    assert_eq!(
        production.calls(),
        [format!("deploy 1 {bad}")],
        "what main received"
    );
    // The other one is merged on top while that hook is at work, and waits for it.
    let second = service.add("Two");
    confirm(&mut service, &second);
    wait_until("the second to be merged", || repo.sha("main") != bad);
    fs::write(production.path("go"), "").unwrap();
    let refused = service.wait_status(&second, "blocked");
    let why = refused.task.reason.unwrap();
    assert!(
        why.contains("quarantined") && why.contains("orch deploy release shop"),
        "{why}"
    );
    assert_eq!(production.calls().len(), 1);
    // A person who knows better lets it go.
    service.cli_ok(&["deploy", "release", "shop", &bad[..10]]);
    service.gesture(&second, "in-progress", None);
    confirm(&mut service, &second);
    service.wait_status(&second, "done");
    assert_eq!(production.runs(), repo.sha("main"));
    service.tell("fix");
}

#[test]
fn a_hook_that_is_taken_away_while_it_works_leaves_no_doubt() {
    let (repo, production) = (Repo::new(), Production::new());
    let script = format!(
        "echo >\"$production/began\"; while [ ! -e \"$production/go\" ]; do sleep 0.05; done\n{GOOD}\n(sleep 60; :) >/dev/null 2>&1 &\necho $! >\"$production/child\""
    );
    let mut service = Setup::new().project(production.project(&repo, &script)).start();
    let id = service.add("Write it");
    confirm(&mut service, &id);
    wait_until("the hook to begin", || production.path("began").exists());
    service.kill9();
    let file = service.data().join("projects/shop.toml");
    let text = fs::read_to_string(&file).unwrap();
    let without = text
        .split("[deploy]")
        .next()
        .unwrap()
        .replace(", \"deploy_status\"", "");
    fs::write(&file, without).unwrap();
    service.start();
    let blocked = service.wait_status(&id, "blocked");
    let why = blocked.task.reason.unwrap();
    assert!(why.contains("orch deploy settle 1"), "{why}");
    fs::write(production.path("go"), "").unwrap();
    wait_until("the hook to end", || production.path("child").exists());
    service.cli_ok(&["deploy", "settle", "1", "succeeded"]);
    let twice = service.cli(&["deploy", "settle", "1", "failed"]);
    assert!(!twice.status.success() && String::from_utf8_lossy(&twice.stderr).contains("is settled"));
    // What the hook started is production: nobody ends it.
    let child: i32 = fs::read_to_string(production.path("child"))
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    assert!(crate::support::lives(child));
    // SAFETY: kill has no memory effects; the process is the one that this test's hook has started.
    unsafe { libc::kill(child, libc::SIGKILL) };
}
