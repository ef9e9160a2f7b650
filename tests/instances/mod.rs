//! Several services on one PostgreSQL database: one that is silent loses its jobs, its agents end before that, and what it
//! writes when it wakes up counts for nothing.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;

use orch::domain::id::{InstanceId, NodeName};
use orch::domain::run::ProcessIdentity;
use orch::domain::time::Timestamp;
use orch::store::{Store, clock, instances};
use serde_json::Value;

use crate::support::{Agent, ONE_STAGE, Postgres, Project, Repo, Setup, TestService, lives, wait_until};

/// Seconds of silence after which others take over; an agent ends after half of it.
const TTL_S: i64 = 8;

fn setup(node: &str, database: &Postgres, repo: &Repo, developer: &str) -> Setup {
    let agent = Agent::diligent().role("developer", developer);
    Setup::new()
        .set("node", node)
        .set("database.url", database.url())
        .set("instance.heartbeat_s", 1)
        .set("instance.ttl_s", TTL_S)
        .set("shutdown", "leave")
        .set("max_concurrency", 2)
        .project(Project::new("shop", repo).agent(&agent).then(ONE_STAGE))
}

/// Leaves a note when another agent is at the same task, then half of the work, then waits for the test.
fn watchful(room: &Path) -> String {
    format!(
        r#"
room='{}'
if other=$(cat "$room/$ORCH_WORK_ITEM" 2>/dev/null) && kill -0 "$other" 2>/dev/null; then echo "$ORCH_WORK_ITEM" >>"$room/together"; fi
echo $$ >"$room/$ORCH_WORK_ITEM"
echo half >"$ORCH_WORK_ITEM.half"
here "$ORCH_WORK_ITEM"; until_told go
rm -f "$ORCH_WORK_ITEM.half"; echo x >"$ORCH_WORK_ITEM.txt"; commit it"#,
        room.display()
    )
}

fn send(service: &TestService, signal: i32) {
    // SAFETY: kill has no memory effects; the child was not waited for, so the pid is its own.
    assert_eq!(unsafe { libc::kill(service.pid(), signal) }, 0);
}

fn status(service: &TestService) -> Value {
    service.api().get("/status").ok()
}

#[test]
fn a_frozen_service_loses_its_jobs_and_its_late_writes_are_refused() {
    let Some(database) = Postgres::fresh() else { return };
    let (repo, room) = (Repo::new(), tempfile::tempdir().unwrap());
    let base = repo.sha("main");
    let developer = watchful(room.path());
    let mut first = setup("a", &database, &repo, &developer).start();
    let ids = [first.add("One"), first.add("Two")];
    let frozen: Vec<i32> = ids.iter().map(|id| first.wait_here(id).0).collect();
    let mut second = setup("b", &database, &repo, &developer).start();
    send(&first, libc::SIGSTOP);

    // The second takes over; by then nothing of the first one's agents lives.
    for (id, old) in ids.iter().zip(&frozen) {
        second.wait_here(id);
        assert!(!lives(*old), "{id}: two agents at once");
    }
    let healed: Vec<_> = ids
        .iter()
        .map(|id| {
            second
                .task(id)
                .events
                .iter()
                .filter(|e| e.kind == "healed")
                .count()
        })
        .collect();
    assert_eq!(healed, [1, 1]);
    second.tell("go");
    for id in &ids {
        let done = second.wait_status(id, "done");
        let agents: Vec<_> = done.jobs.iter().filter(|j| j.kind == "agent").collect();
        assert_eq!(agents.len(), 1, "{}", second.explain(&done));
        assert_eq!((agents[0].status.as_str(), agents[0].attempts), ("done", 1));
        assert_eq!(done.events.iter().filter(|e| e.kind == "merge").count(), 1);
    }
    second.wait_idle();
    assert_eq!(
        status(&second)["superseded_total"].as_u64(),
        Some(0),
        "its own ends are no loss"
    );

    send(&first, libc::SIGCONT);
    // Each was told so, or found out by a write that was refused.
    wait_until("it knows that its claims are over", || {
        status(&first)["superseded_total"].as_u64() == Some(2)
    });
    for id in &ids {
        wait_until("what the lost run had is put away", || {
            let run = &second.runs(id)[0];
            (run.step.as_str(), run.wip_ref.is_some()) == ("abandoned", true)
        });
        assert_eq!(
            (first.worked(id, "developer"), second.worked(id, "developer")),
            (1, 1)
        );
        assert_eq!(second.task(id).task.status, "done");
    }
    assert_eq!(repo.merge_commits_since(&base), 0);
    assert!(
        !room.path().join("together").exists(),
        "two agents worked on one task"
    );

    // It is one of two again.
    let known = status(&second)["instances"].clone();
    let states: Vec<_> = known
        .as_array()
        .unwrap()
        .iter()
        .map(|i| i["state"].as_str().unwrap())
        .collect();
    assert_eq!(states, ["this", "alive"], "{known}");
    first.tell("go");
    let third = first.add("Three");
    first.wait_status(&third, "done");
}

#[test]
fn a_service_that_the_database_does_not_hear_ends_its_agents_and_spends_no_attempt() {
    let Some(database) = Postgres::fresh() else { return };
    let (repo, room) = (Repo::new(), tempfile::tempdir().unwrap());
    let mut service = setup("a", &database, &repo, &watchful(room.path())).start();
    let id = service.add("One");
    let (pid, _) = service.wait_here(&id);
    send(&service, libc::SIGSTOP);
    wait_until("the agent has ended", || !lives(pid));
    service.tell("go");
    send(&service, libc::SIGCONT);
    let done = service.wait_status(&id, "done");
    let job = done.jobs.iter().find(|j| j.kind == "agent").unwrap();
    assert_eq!(
        (job.attempts, service.worked(&id, "developer")),
        (1, 2),
        "{}",
        service.explain(&done)
    );
    let first = &service.runs(&id)[0];
    assert!(first.wip_ref.is_some(), "{first:?}");
}

#[test]
fn an_agent_outlives_a_service_that_is_back_in_time_and_nobody_takes_it() {
    let Some(database) = Postgres::fresh() else { return };
    let (repo, room) = (Repo::new(), tempfile::tempdir().unwrap());
    // The other one is on duty, knows no project, and leaves its jobs to those that do.
    let other = setup("b", &database, &repo, "exit 1").without_projects().start();
    assert!(other.log().contains("on duty"), "{}", other.log());
    let mut service = setup("a", &database, &repo, &watchful(room.path())).start();
    let id = service.add("One");
    let (pid, _) = service.wait_here(&id);
    service.kill9();
    service.start();
    // Longer than the lease would have held without its renewal, and than others would have waited.
    let heard = |s: &TestService| fs::read_to_string(s.data().join("run-lease.json")).unwrap();
    for _ in 0..=TTL_S {
        let before = heard(&service);
        wait_until("the lease is renewed", || heard(&service) != before);
    }
    assert!(lives(pid));
    service.tell("go");
    service.wait_status(&id, "done");
    assert_eq!(service.worked(&id, "developer"), 1);
}

#[test]
fn a_second_service_of_the_same_node_is_refused_while_the_first_lives() {
    let Some(database) = Postgres::fresh() else { return };
    let repo = Repo::new();
    let mut first = setup("a", &database, &repo, "exit 1").start();
    let mut second = setup("a", &database, &repo, "exit 1").prepare();
    second.spawn();
    wait_until("it is refused", || second.exited().is_some());
    let log = second.log();
    let told = format!("node \"a\" has a service already (process {})", first.pid());
    assert!(log.contains(&told) && log.contains("another `node`"), "{log}");
    // One that was killed is known to be gone, and nobody waits for its silence.
    first.kill9();
    second.start();
}

#[test]
fn a_job_that_is_cancelled_through_one_service_ends_at_the_other() {
    let Some(database) = Postgres::fresh() else { return };
    let (repo, room) = (Repo::new(), tempfile::tempdir().unwrap());
    let developer = watchful(room.path());
    let first = setup("a", &database, &repo, &developer).start();
    let id = first.add("One");
    let (pid, _) = first.wait_here(&id);
    let second = setup("b", &database, &repo, &developer).start();
    second.gesture(&id, "cancelled", None);
    wait_until("the agent has ended", || !lives(pid));
    wait_until("its work is kept", || second.runs(&id)[0].wip_ref.is_some());
}

/// A row as another machine would have written it, heard a moment ago.
fn elsewhere(store: &Store, id: &'static str, node: &'static str) {
    let process = ProcessIdentity {
        boot_id: "another".to_owned(),
        ..orch::process::own_identity().unwrap()
    };
    let written = store.write_blocking(move |tx| {
        let now = clock::now(tx, Timestamp(0))?;
        let (id, node) = (InstanceId::trusted(id), NodeName::trusted(node));
        instances::start(tx, &id, &node, &process, now)
    });
    written.unwrap();
}

fn beats(store: &Store, id: &'static str) {
    let beat = store.write_blocking(move |tx| {
        let now = clock::now(tx, Timestamp(0))?;
        instances::heartbeat(tx, &InstanceId::trusted(id), now)
    });
    assert!(beat.unwrap().is_won());
}

#[test]
fn a_node_whose_service_was_heard_elsewhere_waits_until_that_one_must_be_gone() {
    let Some(database) = Postgres::fresh() else { return };
    let repo = Repo::new();
    let store = Store::open(database.url()).unwrap();
    elsewhere(&store, "gone", "a");
    let mut service = setup("a", &database, &repo, "exit 1").start();
    assert!(service.log().contains("waiting"), "{}", service.log());
    let silent = store.read_blocking(|tx| instances::by_id(tx, &InstanceId::trusted("gone")));
    let gone = silent.unwrap().unwrap();
    let waited = gone.stopped_at.unwrap().since(gone.heartbeat_at);
    assert!(waited.as_secs() >= TTL_S.unsigned_abs(), "{waited:?}");
    service.stop();

    elsewhere(&store, "alive", "a");
    service.spawn();
    wait_until("it is refused", || {
        beats(&store, "alive");
        service.exited().is_some()
    });
    let log = service.log();
    assert!(log.contains("another `node`"), "{log}");
}

#[test]
fn a_job_of_a_project_that_a_service_does_not_know_is_left_to_those_that_do() {
    let Some(database) = Postgres::fresh() else { return };
    let repo = Repo::new();
    let mut first = setup("a", &database, &repo, "echo x >x.txt").start();
    first.pause(true);
    let id = first.add("One");
    first.stop();
    let second = setup("b", &database, &repo, "exit 1").without_projects().start();
    second.pause(false);
    wait_until("it says why it is not claimed", || {
        let live = second.queue().live;
        live.len() == 1
            && live[0].status == "queued"
            && live[0]
                .held
                .as_deref()
                .is_some_and(|why| why.contains("no file of its project"))
    });
    first.start();
    first.wait_status(&id, "done");
}

/// What a service says of a node.
fn stands(service: &TestService, node: &str) -> String {
    let nodes: Value = service.api().get("/api/v1/nodes").ok();
    let found = nodes.as_array().unwrap().iter().find(|n| n["node"] == node);
    found.map_or_else(String::new, |n| n["stands"].as_str().unwrap().to_owned())
}

/// Works for the first task when it is told to; for the others it cannot until something is mended.
const CANNOT: &str = "case $ORCH_WORK_ITEM in *-001) here live; until_told go;; *) here cannot; until_told fail; [ -e \"$out/mended\" ] || exit 127;; esac
echo x >\"$ORCH_WORK_ITEM.txt\"; commit it";
/// Works when it is told to.
const CAN: &str = "here \"$ORCH_WORK_ITEM\"; until_told go; echo x >\"$ORCH_WORK_ITEM.txt\"; commit it";

/// Nobody looks by itself within the test's time: what is quick was told.
fn slow(setup: Setup) -> Setup {
    setup.set("queue.tick_s", 3600).set("queue.retry_delay_s", 3600)
}

#[test]
fn a_node_that_cannot_start_the_agent_is_blacklisted_and_the_other_takes_the_job_at_once() {
    let Some(database) = Postgres::fresh() else { return };
    let repo = Repo::new();
    let mut first = slow(setup("a", &database, &repo, CANNOT)).start();
    let live = first.add("Lives on");
    let (agent, _) = first.wait_here("live");
    let moved = first.add("Moves");
    first.wait_here("cannot");
    let mut second = slow(setup("b", &database, &repo, CAN)).start();
    first.tell("fail");
    second.wait_here(&moved);
    assert_eq!(
        (stands(&second, "a"), stands(&second, "b")),
        ("blacklisted".into(), "usable".into())
    );
    assert!(lives(agent), "what runs on it goes on");
    let job = &second.task(&moved).jobs[0];
    assert_eq!(
        (job.status.as_str(), job.attempts),
        ("running", 1),
        "the node's failure cost no attempt"
    );
    second.tell("go");
    second.wait_status(&moved, "done");
    first.tell("go");
    second.wait_status(&live, "done");
    assert_eq!(
        (
            first.worked(&live, "developer"),
            second.worked(&live, "developer")
        ),
        (1, 0)
    );

    // A restart in between keeps it; what nobody else can take waits and says why; a hand ends it at once.
    second.stop();
    first.kill9();
    first.start();
    assert_eq!(stands(&first, "a"), "blacklisted");
    first.tell("mended");
    let waits = first.add("Waits");
    wait_until("it says what it waits for", || {
        let held = first.queue().live.into_iter().find_map(|job| job.held);
        held.is_some_and(|why| why.starts_with("node a is given nothing for a while"))
    });
    assert_eq!(first.worked(&waits, "developer"), 0);
    first.cli_ok(&["node", "clear", "a"]);
    first.wait_status(&waits, "done");
}

#[test]
fn a_blacklisted_node_works_again_by_itself_when_its_time_is_over() {
    let Some(database) = Postgres::fresh() else { return };
    let repo = Repo::new();
    let setup_of =
        |node, developer| slow(setup(node, &database, &repo, developer)).set("repair.node_off_s", 5);
    let mut first = setup_of("a", CANNOT).start();
    let live = first.add("Lives on");
    first.tell("go");
    first.wait_status(&live, "done");
    let moved = first.add("Moves");
    first.wait_here("cannot");
    let mut second = setup_of("b", CAN).start();
    first.tell("fail");
    second.wait_here(&moved);
    first.tell("mended");
    second.gesture(&moved, "cancelled", None);
    second.stop();
    let waits = first.add("Waits");
    first.wait_status(&waits, "done");
    assert_eq!(stands(&first, "a"), "usable");
}
