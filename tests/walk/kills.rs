//! The demo's task with the demo's agents, under a service that is killed at random moments and started again.

use std::fs;
use std::io::Write as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use orch::cli::demo::sample;
use orch::domain::id::BranchName;
use orch::engine::views::TaskView;
use orch::git::sample as repository;
use serde_json::json;

use crate::support::{PATIENCE, Postgres, Project, Setup, TestService, is_shim};

const KILLS: u32 = 20;
/// The longest life of a service, from its start or from when it is ready.
const LIFE_MS: u64 = 700;
/// Repeats the moments of an earlier time.
const SEED: &str = "ORCH_TEST_SEED";

/// SplitMix64 (Steele, Lea, Flood 2014).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit
    }
}

#[test]
fn killed_at_twenty_random_moments() {
    killed_at_random(Setup::new());
}

#[test]
fn killed_at_twenty_random_moments_on_postgresql() {
    if let Some(postgres) = Postgres::fresh() {
        killed_at_random(Setup::new().set("database.url", postgres.url()));
    }
}

fn killed_at_random(setup: Setup) {
    let given = std::env::var(SEED).ok().map(|seed| seed.parse().unwrap());
    let seed = given.unwrap_or_else(|| uuid::Uuid::new_v4().as_u64_pair().0);
    let said = writeln!(std::io::stderr(), "killed at random: {SEED}={seed}");
    said.unwrap();
    let mut random = Random(seed);

    let room = tempfile::tempdir().unwrap();
    let origin = room.path().join(sample::PROJECT);
    let main = BranchName::trusted(sample::MAIN);
    let base = repository::create(&origin, &main, &sample::HISTORY).unwrap();
    let mut service = setup
        .set("shutdown", "leave")
        .project(project(room.path(), &origin))
        .prepare();
    let mut outlived = 0;
    for _ in 0..KILLS {
        // One in four may die before it is ready.
        let from_start = random.below(4) == 0;
        let life = Duration::from_millis(random.below(LIFE_MS));
        outlived += usize::from(one_life(&mut service, life, from_start));
    }
    service.start();
    assert_ne!(outlived, 0, "no agent was at work when the service was killed");
    let tasks: Vec<TaskView> = service.api().get("/api/v1/tasks?all=true").ok();
    let mut agents = 0;
    for task in &tasks {
        agents += to_the_end(&mut service, &task.id);
    }
    service.wait_idle();
    // An agent never dies in this test: one that was started again worked beside its predecessor.
    let begun = fs::read_to_string(room.path().join("begun")).unwrap();
    assert_eq!(
        begun.lines().count(),
        agents,
        "agents against their jobs:\n{begun}"
    );
    let moves = repository::moves(&origin, &main).unwrap();
    let since = moves.iter().skip_while(|sha| **sha != base).skip(1).count();
    assert_eq!(since, tasks.len(), "main moved once for each task: {moves:?}");
}

/// The sample project with its agent; each takes a moment that is long enough to be killed in.
fn project(room: &Path, origin: &Path) -> Project {
    let (agent, script) = (room.join("agent.sh"), room.join("slow.sh"));
    fs::write(&agent, sample::AGENT).unwrap();
    // The first task delivers what the demo asks for; the developers of later ones leave a file.
    let slow = format!(
        r#"echo "$ORCH_WORK_ITEM $ORCH_ROLE $$" >>'{}/begun'
[ "$ORCH_ROLE" != developer ] || echo x >"$ORCH_WORK_ITEM.txt"
sleep 0.$((2 + $$ % 5))
exec sh '{}'
"#,
        room.display(),
        agent.display()
    );
    fs::write(&script, slow).unwrap();
    Project::at(sample::PROJECT, origin)
        .top(&format!("test_command = '{}'", sample::TESTS))
        .then(&format!(
            "[agent]\ncommand = ['sh', '{}']\nprompt = 'file'\n[deploy]\nby = 'agent'\n",
            script.display()
        ))
}

/// From its start to its death by signal 9, while a person does what is due. Whether an agent outlived it.
fn one_life(service: &mut TestService, life: Duration, from_start: bool) -> bool {
    let seen = service.log().len();
    service.spawn();
    let pid = service.pid();
    let (ready, wait_ready) = mpsc::channel();
    let killer = thread::spawn(move || {
        if !from_start {
            wait_ready.recv_timeout(PATIENCE).unwrap();
        }
        // Not to wait for anything: this is the random moment.
        thread::sleep(life);
        // SAFETY: kill has no memory effects; the service lives until this signal, so the pid is its own.
        unsafe { libc::kill(pid, libc::SIGKILL) };
    });
    let status = loop {
        if service.is_ready(seen) {
            // Only the first time is waited for.
            ready.send(()).ok();
            // Whatever is asked may be cut off.
            person(service).ok();
        }
        if let Some(status) = service.exited() {
            break status;
        }
        thread::sleep(Duration::from_millis(5));
    };
    killer.join().unwrap();
    assert_eq!(status.signal(), Some(libc::SIGKILL), "it ended by itself");
    service.processes().into_iter().any(is_shim)
}

/// Adds a task when none is left, and answers where one waits.
fn person(service: &TestService) -> std::io::Result<()> {
    let answer = service.api().try_ask("GET", "/api/v1/tasks", None)?;
    let unfinished: Vec<TaskView> = answer.ok();
    for task in &unfinished {
        if let Some(gesture) = due(task) {
            let body = json!({ "gesture": gesture, "person": "tester" });
            let path = format!("/api/v1/tasks/{}/gestures", task.id);
            service.api().try_ask("POST", &path, Some(&body))?;
        }
    }
    if unfinished.is_empty() {
        let body = json!({ "title": sample::TITLE, "description": sample::DESCRIPTION });
        service.api().try_ask("POST", "/api/v1/tasks", Some(&body))?;
    }
    Ok(())
}

fn due(task: &TaskView) -> Option<&'static str> {
    match (task.status.as_str(), task.stage.as_str()) {
        ("waiting_human", "analysis") => Some("approved"),
        ("waiting_human", _) => Some("confirm-deploy"),
        _ => None,
    }
}

/// Brings a task to its end. The number of its agents' jobs, each of which took one attempt.
fn to_the_end(service: &mut TestService, id: &str) -> usize {
    let done = loop {
        let detail = service.wait_task(id, "is done, parked or asks", |d| d.task.status != "active");
        match due(&detail.task) {
            Some(gesture) => drop(service.gesture(id, gesture, None)),
            None => break detail,
        }
    };
    assert_eq!(done.task.status, "done", "{}", service.explain(&done));
    let merges = done.events.iter().filter(|e| e.kind == "merge").count();
    assert_eq!(merges, 1, "{}", service.explain(&done));
    let jobs: Vec<_> = done.jobs.iter().filter(|j| j.kind == "agent").collect();
    let spent = jobs
        .iter()
        .any(|j| (j.status.as_str(), j.attempts) != ("done", 1));
    assert!(!spent, "an attempt was spent: {}", service.explain(&done));
    jobs.len()
}
