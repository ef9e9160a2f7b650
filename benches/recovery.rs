//! What it costs that nothing stays stuck, against limits: how soon a death is noticed and healed, how soon a service is
//! back, and what service and shim use meanwhile. All of it of the optimised binary, from outside.
//! `cargo bench --bench recovery`
//!
//! Deaths are measured until the service shows over HTTP that they were healed, so the question, asked every
//! millisecond, counts too.
#![expect(clippy::print_stdout, reason = "its table is what it is for")]
#![expect(clippy::unwrap_used, reason = "a measurement that fails ends it")]

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use diesel::RunQueryDsl as _;
use orch::actors::fault::{DEMO_MARK, MONITOR_PANIC};
use orch::domain::time::Timestamp;
use orch::engine::views::{AddTask, HealingView};
use orch::process::own_identity;
use orch::store::{Conn, Store, StoreError};
use serde_json::Value;

#[path = "../tests/support/mod.rs"]
#[expect(unused_imports, reason = "the tests use more of it")]
mod support;

use support::{Agent, ONE_STAGE, Project, Repo, Setup, TestService, children_of, is_shim, wait_until};

const DEATHS: usize = 20;
const TASKS: usize = 100_000;
const RUNNING: usize = 1_000;
const RUNS: usize = 20;
const IDLE: Duration = Duration::from_secs(30);

/// Says that it is there, and works until it is killed. Without a child: a shim waits a while for those that are left.
const WORKS: &str = r#"here "$ORCH_WORK_ITEM.$nth"; exec sleep 1000"#;

fn main() {
    println!(
        "load {} before; milliseconds unless said otherwise\n{:<58} {:>8} {:>8} {:>8}  target",
        load(),
        "",
        "p50",
        "p90",
        "max"
    );
    let mut misses = 0;
    let mut row =
        |name: &str, values: Vec<f64>, limit: Option<f64>| misses += usize::from(!row(name, values, limit));
    row("monitor death → back on its run", monitor_deaths(), Some(100.0));
    row(
        "agent death → noticed, its exit recorded",
        agent_deaths(),
        Some(10.0),
    );
    row("start → ready, empty", starts(prepare), None);
    row(
        "start → ready, 100,000 tasks and 1,000 running rows",
        starts(filled),
        Some(1_000.0),
    );
    let idle = Idle::measure();
    row(
        "service idle: resident, MB",
        vec![idle.resident.total],
        Some(40.0),
    );
    row("  of that its own, MB", vec![idle.resident.own], None);
    row(
        "service idle: processor, % of a core over 30 s",
        vec![idle.processor],
        Some(0.2),
    );
    let busy = Busy::measure();
    row(
        "service with 20 runs: resident, MB",
        vec![busy.service.total],
        None,
    );
    row("  of that its own, MB", vec![busy.service.own], None);
    row(
        "a shim: resident, MB",
        busy.shims.iter().map(|m| m.total).collect(),
        Some(6.0),
    );
    row(
        "  of that its own, MB",
        busy.shims.iter().map(|m| m.own).collect(),
        None,
    );
    println!("load {} after; {misses} targets missed", load());
}

fn row(name: &str, mut values: Vec<f64>, limit: Option<f64>) -> bool {
    values.sort_by(f64::total_cmp);
    let at = |p: usize| values[(values.len() * p).div_ceil(100).saturating_sub(1)];
    let verdict = limit.map(|limit| (at(50) <= limit, limit));
    let text = match verdict {
        Some((true, limit)) => format!("p50 ≤ {limit}: met"),
        Some((false, limit)) => format!("p50 ≤ {limit}: MISSED"),
        None => String::new(),
    };
    println!(
        "{name:<58} {:>8.2} {:>8.2} {:>8.2}  {text}",
        at(50),
        at(90),
        at(100)
    );
    verdict.is_none_or(|(met, _)| met)
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap();
    text.split(' ').next().unwrap_or("?").to_owned()
}

fn setup(repo: &Repo) -> Setup {
    let agent = Agent::new().role("developer", WORKS);
    Setup::new()
        .set("max_concurrency", 100)
        .project(Project::new("shop", repo).agent(&agent).then(ONE_STAGE))
}

fn prepare(repo: &Repo) -> TestService {
    setup(repo).prepare()
}

fn now() -> Timestamp {
    orch::actors::now()
}

fn each_millisecond<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "it never came");
        thread::sleep(Duration::from_millis(1));
    }
}

/// From the supervisor's line about the death to the successor's having told that it took over. The first death of a
/// run: later ones are waited for on purpose. One service for each, because a service takes one such wish.
fn monitor_deaths() -> Vec<f64> {
    let one = |_| {
        let repo = Repo::new();
        let mut service = setup(&repo)
            .env(MONITOR_PANIC, "SHOP-001 development 1")
            .prepare();
        fs::write(service.data().join(DEMO_MARK), "").unwrap();
        service.start();
        service.add("Loses its monitor");
        let healed = each_millisecond(|| {
            let status: Value = service.api().get("/status").ok();
            let healed: Vec<HealingView> = serde_json::from_value(status["healed"].clone()).unwrap();
            (!healed.is_empty()).then(now)
        });
        ms(healed.since(died(&service)))
    };
    (0..DEATHS).map(one).collect()
}

fn died(service: &TestService) -> Timestamp {
    let mut line = None;
    wait_until("the death is in the log", || {
        let log = service.log();
        line = log
            .lines()
            .find(|l| l.contains("\"actor died\""))
            .map(str::to_owned);
        line.is_some()
    });
    let line: Value = serde_json::from_str(&line.unwrap()).unwrap();
    let at: jiff::Timestamp = line["ts"].as_str().unwrap().parse().unwrap();
    Timestamp(at.as_microsecond())
}

/// From the signal to the exit's being shown.
fn agent_deaths() -> Vec<f64> {
    let repo = Repo::new();
    let mut service = prepare(&repo);
    service.start();
    let one = |n| {
        let id = service.add(&format!("Loses its agent {n}"));
        let (pid, _) = service.wait_here(&format!("{id}.1"));
        let killed = Instant::now();
        // SAFETY: kill has no memory effects; the agent waits for ever, so the pid is its own.
        unsafe { libc::kill(pid, libc::SIGKILL) };
        each_millisecond(|| service.runs(&id)[0].exit.clone());
        let noticed = ms(killed.elapsed());
        // Its successor must not work beside the next one.
        service.gesture(&id, "cancelled", None);
        service.wait_idle();
        noticed
    };
    (0..DEATHS).map(one).collect()
}

/// In a home of its own each time: what is found running is settled soon after.
fn starts(prepare: fn(&Repo) -> TestService) -> Vec<f64> {
    let one = |_| {
        let repo = Repo::new();
        let mut service = prepare(&repo);
        let seen = service.log().len();
        let began = Instant::now();
        service.spawn();
        each_millisecond(|| service.is_ready(seen).then_some(()));
        let took = ms(began.elapsed());
        service.kill9();
        took
    };
    (0..5).map(one).collect()
}

/// Jobs that ran when an earlier boot ended, among many tasks.
fn filled(repo: &Repo) -> TestService {
    let mut service = prepare(repo);
    // Makes the schema and the project.
    service.start();
    service.kill9();
    let numbers =
        |n: usize| format!("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {n})");
    let mut shim = own_identity().unwrap();
    shim.boot_id = "an earlier one".into();
    let shim = serde_json::to_string(&shim).unwrap();
    let statements = [
        format!(
            "INSERT INTO tasks (project_id, work_item_id, tracker, external_id, title, description, branch, stage, \
             status, stage_entered_at, created_at, updated_at) {} SELECT 1, 'SHOP-' || i, 'local', 't/' || i, 'x', \
             'x', 'feature/SHOP-' || i, 'development', 'active', 1, 1, 1 FROM n",
            numbers(TASKS)
        ),
        format!(
            "INSERT INTO jobs (task_id, project_id, kind, role, stage, visit, task_version, status, available_at, \
             attempts, max_attempts, max_transient_attempts, claim_epoch, node, instance, claimed_at, created_at) {} \
             SELECT i, 1, 'agent', 'developer', 'development', 1, 1, 'running', 1, 1, 2, 5, 1, 'local', \
             (SELECT id FROM instances), 1, 1 FROM n",
            numbers(RUNNING)
        ),
        format!(
            "INSERT INTO runs (job_id, task_id, claim_epoch, role, agent, stage, visit, node, instance, step, shim, \
             started_at) {} SELECT i, i, 1, 'developer', 'x', 'development', 1, 'local', (SELECT id FROM instances), \
             'running', '{shim}', 1 FROM n",
            numbers(RUNNING)
        ),
        "ANALYZE".to_owned(),
    ];
    let store = Store::open(&service.data().join("orch.db").display().to_string()).unwrap();
    let filled = store.write_blocking(move |c| {
        for sql in statements {
            match c {
                Conn::Sqlite(c) => diesel::sql_query(sql).execute(c)?,
                Conn::Pg(c) => diesel::sql_query(sql).execute(c)?,
            };
        }
        Ok::<_, StoreError>(())
    });
    filled.unwrap();
    drop(store);
    service
}

/// Memory of a process, MB: what is in memory, and what of that nobody shares with it (private pages).
struct Memory {
    total: f64,
    own: f64,
}

impl Memory {
    fn of(pid: i32) -> Self {
        let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
        let sum = |names: &[&str]| {
            let lines = text.lines().filter(|l| names.iter().any(|n| l.starts_with(n)));
            let kb = lines.filter_map(|l| l.split_whitespace().nth(1)?.parse::<f64>().ok());
            kb.sum::<f64>() / 1024.0
        };
        Self {
            total: sum(&["Rss:"]),
            own: sum(&["Private_Clean:", "Private_Dirty:"]),
        }
    }
}

struct Idle {
    resident: Memory,
    processor: f64,
}

impl Idle {
    /// After it has worked, so that what is made at first use is there.
    fn measure() -> Self {
        let repo = Repo::new();
        let mut service = setup(&repo).set("agent.kill_grace_s", 1).prepare();
        service.start();
        let id = service.add("Is over soon");
        service.wait_here(&format!("{id}.1"));
        service.gesture(&id, "cancelled", None);
        service.wait_idle();
        wait_until("its agent is gone", || shims(&service).is_empty());
        let before = processor(service.pid());
        // Not to wait for anything: this is the span that is measured.
        thread::sleep(IDLE);
        let spent = processor(service.pid()) - before;
        Self {
            resident: Memory::of(service.pid()),
            processor: spent / IDLE.as_secs_f64() * 100.0,
        }
    }
}

/// Seconds that all threads of a process ran: `/proc/<pid>/task/<tid>/schedstat`, field 1, nanoseconds.
fn processor(pid: i32) -> f64 {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
    let spent = threads.filter_map(|thread| {
        let text = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<f64>().ok()
    });
    spent.sum::<f64>() / 1e9
}

fn shims(service: &TestService) -> Vec<i32> {
    let children = children_of(service.pid()).into_iter();
    children.filter(|pid| is_shim(*pid)).collect()
}

struct Busy {
    service: Memory,
    shims: Vec<Memory>,
}

impl Busy {
    fn measure() -> Self {
        let repo = Repo::new();
        let mut service = prepare(&repo);
        service.start();
        let add = |n| {
            let task = AddTask {
                title: format!("At work {n}"),
                ..AddTask::default()
            };
            service.add_task(&task).id
        };
        let ids: Vec<_> = (0..RUNS).map(add).collect();
        for id in &ids {
            service.wait_here(&format!("{id}.1"));
        }
        let mut shims = Vec::new();
        wait_until("each has its shim", || {
            shims = self::shims(&service);
            shims.len() == RUNS
        });
        Self {
            service: Memory::of(service.pid()),
            shims: shims.into_iter().map(Memory::of).collect(),
        }
    }
}
