//! The service is killed like by a power cut, and started again: nothing is done twice, nothing is lost.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::support::{
    Agent, ONE_STAGE, Postgres, Project, Repo, Setup, THREE_STAGES, TestService, lives, wait_until,
};

const WAITS: &str = r#"here dev; until_told go; echo x >"$ORCH_WORK_ITEM.txt"; commit it"#;

fn start(repo: &Repo, developer: &str) -> TestService {
    let agent = Agent::diligent().role("developer", developer);
    Setup::new()
        // What an operator's default is: agents outlive the service.
        .set("shutdown", "leave")
        .project(Project::new("shop", repo).agent(&agent).then(ONE_STAGE))
        .start()
}

/// Done, with each agent started once, and no attempt spent on the crash.
fn done_without_loss(service: &mut TestService, id: &str) {
    let done = service.wait_status(id, "done");
    assert_eq!(service.worked(id, "developer"), 1, "the agent was started once");
    for job in done.jobs.iter().filter(|j| j.kind == "agent") {
        assert_eq!(
            (job.status.as_str(), job.attempts),
            ("done", 1),
            "{}",
            service.explain(&done)
        );
    }
    let merges = done.events.iter().filter(|e| e.kind == "merge").count();
    assert_eq!(merges, 1, "{}", service.explain(&done));
    service.wait_idle();
}

#[test]
fn an_agent_at_work_is_adopted_and_not_started_again() {
    let repo = Repo::new();
    let mut service = start(&repo, WAITS);
    let id = service.add("Write it");
    let (pid, _) = service.wait_here("dev");
    service.kill9();
    service.start();
    assert!(lives(pid));
    let job = &service.task(&id).jobs[0];
    assert_eq!((job.status.as_str(), job.attempts), ("running", 1));
    service.tell("go");
    done_without_loss(&mut service, &id);
    assert_eq!(repo.show(&format!("{id}.txt")), "x");
}

#[test]
fn an_agent_that_ended_while_the_service_was_down_is_finalised() {
    let repo = Repo::new();
    let mut service = start(&repo, WAITS);
    let id = service.add("Write it");
    let (pid, cwd) = service.wait_here("dev");
    service.kill9();
    service.tell("go");
    wait_until("the agent and its shim are gone", || {
        !lives(pid) && crate::support::processes_below(&cwd).is_empty() && service.processes().is_empty()
    });
    service.start();
    done_without_loss(&mut service, &id);
}

#[test]
fn an_orderly_restart_leaves_the_agent_at_work() {
    let repo = Repo::new();
    let mut service = start(&repo, WAITS);
    let id = service.add("Write it");
    let (pid, _) = service.wait_here("dev");
    service.restart();
    assert!(lives(pid));
    service.tell("go");
    done_without_loss(&mut service, &id);
}

#[test]
fn a_service_that_stops_its_agents_keeps_their_work_and_spends_no_attempt() {
    let repo = Repo::new();
    let developer = r#"
if [ "$nth" = 1 ]; then echo half >half.txt; here dev; until_told never; fi
echo x >"$ORCH_WORK_ITEM.txt"; commit it
"#;
    let agent = Agent::new().role("developer", developer);
    let mut service = Setup::new()
        .project(Project::new("shop", &repo).agent(&agent).then(ONE_STAGE))
        .start();
    let id = service.add("Write it");
    let (pid, _) = service.wait_here("dev");
    service.stop();
    assert!(!lives(pid));
    assert_eq!(service.processes(), Vec::<i32>::new());
    service.start();
    let done = service.wait_status(&id, "done");
    assert_eq!(done.jobs.iter().find(|j| j.kind == "agent").unwrap().attempts, 1);
    assert!(service.runs(&id)[0].wip_ref.is_some());
}

/// A hook of a bare repository that holds back what Orch brings to a branch while `hold.<word>` is there, and refuses
/// it while `refuse.<word>` is. What a person brings passes.
fn hold_back(repo: &Repo, out: &Path) {
    let out = out.display();
    let hook = format!(
        r#"#!/bin/sh
[ -z "$BY_A_PERSON" ] || exit 0
word=other
while read -r old new ref; do
    case "$ref" in refs/heads/main) word=main ;; refs/heads/*) word=branch ;; esac
    [ $word != main ] || [ "$old" = "$(git rev-parse refs/heads/main)" ] || exit 1
done
if [ -e "{out}/hold.$word" ]; then
    echo $$ >"{out}/at.$word.new"; mv "{out}/at.$word.new" "{out}/at.$word"
    while [ -e "{out}/hold.$word" ]; do sleep 0.02; done
fi
[ ! -e "{out}/refuse.$word" ]
"#
    );
    let path = repo.path.join("hooks/pre-receive");
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, hook).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// Kills the service in the middle of a push and lets that push end by itself, or fail.
fn killed_in_a_push(word: &str, arrives: bool) {
    let repo = Repo::bare();
    let mut service = start(&repo, WAITS);
    hold_back(&repo, &service.out());
    let id = service.add("Write it");
    service.wait_here("dev");
    let before = repo.sha("main");
    service.tell(&format!("hold.{word}"));
    service.tell("go");
    wait_until("the push is under way", || {
        service.out().join(format!("at.{word}")).exists()
    });
    service.kill9();
    if !arrives {
        service.tell(&format!("refuse.{word}"));
    }
    fs::remove_file(service.out().join(format!("hold.{word}"))).unwrap();
    // The push is nobody's child any more; it ends by itself.
    wait_until("nothing works on it", || service.processes().is_empty());
    fs::remove_file(service.out().join(format!("refuse.{word}"))).ok();
    if word == "main" {
        assert_eq!(repo.sha("main") != before, arrives);
    }
    service.start();
    done_without_loss(&mut service, &id);
    assert_eq!(repo.show(&format!("{id}.txt")), "x");
    assert_eq!(repo.merge_commits_since(&before), 0);
}

#[test]
fn killed_while_it_pushes_the_branch_and_the_push_arrives() {
    killed_in_a_push("branch", true);
}

#[test]
fn killed_while_it_pushes_the_branch_and_the_push_is_lost() {
    killed_in_a_push("branch", false);
}

#[test]
fn killed_while_it_merges_and_the_merge_arrives() {
    killed_in_a_push("main", true);
}

#[test]
fn killed_while_it_merges_and_the_merge_is_lost() {
    killed_in_a_push("main", false);
}

#[test]
fn killed_while_it_merges_what_an_earlier_try_was_not_about() {
    let repo = Repo::bare();
    let agent = Agent::diligent();
    let mut service = Setup::new()
        .set("shutdown", "leave")
        .project(Project::new("shop", &repo).agent(&agent).then(THREE_STAGES))
        .prepare();
    hold_back(&repo, &service.out());
    service.start();
    // The first try is refused; then main moves, so that another commit is merged than the one first meant.
    service.tell("refuse.main");
    service.tell("hold.main");
    let id = service.add("Write it");
    let at_main = service.out().join("at.main");
    wait_until("the first try is under way", || at_main.exists());
    let first = service.task(&id).task.candidate;
    fs::remove_file(service.out().join("hold.main")).unwrap();
    service.wait_task(&id, "was refused", |d| {
        d.jobs
            .iter()
            .any(|j| j.kind == "deploy-finalizer" && j.error.is_some())
    });
    let moved = repo.commit(&[("other.txt", "by a person\n")], "Something else");
    fs::remove_file(&at_main).unwrap();
    service.tell("hold.main");
    fs::remove_file(service.out().join("refuse.main")).unwrap();
    wait_until("another try is under way", || at_main.exists());
    service.kill9();
    fs::remove_file(service.out().join("hold.main")).unwrap();
    wait_until("nothing works on it", || service.processes().is_empty());
    assert_ne!(repo.sha("main"), moved, "the merge arrived");
    service.start();
    done_without_loss(&mut service, &id);
    assert_eq!(
        service.worked(&id, "reviewer"),
        1,
        "nobody reviews what is merged"
    );
    assert_ne!(service.task(&id).task.candidate, first);
}

/// Main has moved, and the person's files are still the old ones.
#[test]
fn killed_before_the_working_copy_follows_it_follows_after_the_start() {
    let repo = Repo::new();
    let mut service = start(&repo, WAITS);
    let out = service.out();
    let hook = format!(
        "#!/bin/sh\n[ \"$1\" = refs/heads/main ] || exit 0\n: >'{0}/moved'\nwhile [ -e '{0}/hold' ]; do sleep 0.02; done\n",
        out.display()
    );
    let path = repo.path.join(".git/hooks/post-update");
    fs::write(&path, hook).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    let id = service.add("Write it");
    service.wait_here("dev");
    service.tell("hold");
    service.tell("go");
    let moved = out.join("moved");
    wait_until("main has moved", || moved.exists());
    service.kill9();
    fs::remove_file(out.join("hold")).unwrap();
    wait_until("nothing works on it", || service.processes().is_empty());
    assert!(
        repo.path.join(".git/index.lock").exists(),
        "the copy is held still"
    );
    service.start();
    done_without_loss(&mut service, &id);
    assert!(!repo.path.join(".git/index.lock").exists());
    assert_eq!(repo.git(&["status", "--porcelain"]), "", "the files followed");
}

#[test]
fn killed_while_the_tests_run() {
    let repo = Repo::new();
    let room = tempfile::tempdir().unwrap();
    let at = |name: &str| room.path().join(name).display().to_string();
    let tests = format!(
        "test_command = 'echo run >>{}; while [ ! -e {} ]; do sleep 0.02; done; sh check.sh'",
        at("runs"),
        at("go")
    );
    let stages = ONE_STAGE.replace("\"branch_mergeable\"", "\"tests_local\"");
    let mut service = Setup::new()
        .set("shutdown", "leave")
        .project(Project::new("shop", &repo).top(&tests).then(&stages))
        .start();
    let id = service.add("Write it");
    wait_until("the tests run", || Path::new(&at("runs")).exists());
    service.kill9();
    service.start();
    fs::write(at("go"), "").unwrap();
    done_without_loss(&mut service, &id);
    let runs = fs::read_to_string(at("runs")).unwrap().lines().count();
    assert_eq!(
        runs, 2,
        "once for the gate, adopted after the crash; once for the merge"
    );
}

#[test]
fn killed_again_and_again_it_still_does_everything_once() {
    killed_again_and_again(Setup::new());
}

#[test]
fn killed_again_and_again_on_postgresql_it_still_does_everything_once() {
    if let Some(postgres) = Postgres::fresh() {
        killed_again_and_again(Setup::new().set("database.url", postgres.url()));
    }
}

fn killed_again_and_again(setup: Setup) {
    let repo = Repo::new();
    let base = repo.sha("main");
    let agent = Agent::diligent();
    let mut service = setup
        .set("shutdown", "leave")
        .project(Project::new("shop", &repo).agent(&agent).then(THREE_STAGES))
        .start();
    let ids = [service.add("One"), service.add("Two")];
    let mut after = 0;
    for _ in 0..15 {
        // Killed as soon as something more has happened.
        let news = service.events(after, 5);
        if let Some(next) = news.first() {
            after = next.id;
        }
        service.kill9();
        service.start();
        if ids.iter().all(|id| service.task(id).task.status == "done") {
            break;
        }
    }
    for id in &ids {
        let done = service.wait_status(id, "done");
        assert_eq!(
            (service.worked(id, "developer"), service.worked(id, "reviewer")),
            (1, 1),
            "{}",
            service.explain(&done)
        );
        assert_eq!(
            done.events.iter().filter(|e| e.kind == "merge").count(),
            1,
            "{}",
            service.explain(&done)
        );
        assert!(
            done.jobs
                .iter()
                .filter(|j| j.kind == "agent")
                .all(|j| j.attempts == 1),
            "{}",
            service.explain(&done)
        );
    }
    service.wait_idle();
    assert_eq!(repo.merge_commits_since(&base), 0);
    // The last one is put away after its task is done.
    let runs = || ids.iter().flat_map(|id| service.runs(id));
    wait_until("every run is finalised", || {
        runs().all(|run| run.step == "finalised")
    });
    for run in runs() {
        assert_eq!(run.wip_ref, None, "{run:?}");
    }
}
