//! What a sweep costs that finds nothing to heal, against itself: with a hundred thousand tasks and with a thousand. What
//! it looks at is the same in both: tasks that wait for a person, and tasks with a job. `cargo bench --bench sweep`
#![expect(clippy::print_stdout, reason = "its table is what it is for")]

use std::collections::BTreeMap;
use std::fs;
use std::future::Future;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Result, ensure};
use diesel::RunQueryDsl as _;
use orch::agents::{Presets, Prices};
use orch::domain::id::InstanceId;
use orch::domain::time::Timestamp;
use orch::engine::reconcile::{self, Swept};
use orch::engine::{Engine, Parts, ProjectHandle, reap};
use orch::settings::project::Project;
use orch::settings::{LoadOptions, Settings};
use orch::store::{Conn, Store, StoreError, projects};
use tokio::sync::mpsc;

const NOW: Timestamp = Timestamp(1_700_000_000_000_000);
const FEW: usize = 1_000;
const MANY: usize = 100_000;
/// Of each: tasks that wait for a person, and tasks with a queued job.
const OPEN: usize = 50;
const SWEEPS: usize = 300;
/// Milliseconds that a sweep may take.
const LIMIT: f64 = 5.0;
/// How much more a sweep may cost with more tasks.
const SAME: f64 = 1.2;

fn main() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(measure())
}

async fn measure() -> Result<()> {
    let (small, large) = (Home::with(FEW).await?, Home::with(MANY).await?);
    println!(
        "{:<44} {:>8} {:>8} {:>8} {:>7}  target",
        "milliseconds, SQLite", "p10", "p50", "p90", "ratio"
    );
    let (few, many) = both(&small, &large, async |engine| {
        ensure!(
            reconcile::sweep(engine).await? == Swept::default(),
            "there was something to heal"
        );
        Ok(())
    })
    .await?;
    let mut held = row("idle reconcile", &few, &many);
    let (few, many) = both(&small, &large, async |engine| {
        ensure!(
            reap::sweep(engine, &|_| false).await? == reap::Swept::default(),
            "there was something to reap"
        );
        Ok(())
    })
    .await?;
    held &= row("idle reap", &few, &many);
    small.engine.store().close().await;
    large.engine.store().close().await;
    ensure!(held, "a target was missed");
    Ok(())
}

/// Milliseconds of each sweep, in turns, so that what else the machine does meets both.
async fn both<F>(small: &Home, large: &Home, sweep: F) -> Result<(Vec<f64>, Vec<f64>)>
where
    F: AsyncFn(&Engine) -> Result<()>,
{
    let (mut few, mut many) = (Vec::new(), Vec::new());
    for home in [small, large] {
        sweep(&home.engine).await?;
    }
    for _ in 0..SWEEPS {
        few.push(timed(sweep(&small.engine)).await?);
        many.push(timed(sweep(&large.engine)).await?);
    }
    few.sort_by(f64::total_cmp);
    many.sort_by(f64::total_cmp);
    Ok((few, many))
}

async fn timed(work: impl Future<Output = Result<()>>) -> Result<f64> {
    let begun = Instant::now();
    work.await?;
    Ok(begun.elapsed().as_secs_f64() * 1000.0)
}

/// The ratio is of the quickest tenth: the rest says as much about what else the machine does.
fn row(what: &str, few: &[f64], many: &[f64]) -> bool {
    let at = |sorted: &[f64], part: usize| sorted[sorted.len() * part / 100];
    let line = |tasks: usize, sorted: &[f64]| {
        let name = format!("{what} sweep, {tasks} tasks");
        let [p10, p50, p90] = [10, 50, 90].map(|part| at(sorted, part));
        format!("{name:<44} {p10:>8.3} {p50:>8.3} {p90:>8.3}")
    };
    let ratio = at(many, 10) / at(few, 10);
    println!("{}", line(FEW, few));
    println!(
        "{} {ratio:>7.2}  p50 <= {LIMIT} ms, ratio <= {SAME}",
        line(MANY, many)
    );
    at(many, 50) <= LIMIT && ratio <= SAME
}

/// An engine on a database with a history.
struct Home {
    engine: Engine,
    _room: tempfile::TempDir,
}

impl Home {
    async fn with(tasks: usize) -> Result<Self> {
        let room = tempfile::tempdir()?;
        let (settings, project) = files(room.path())?;
        fs::create_dir_all(&settings.data_dir)?;
        let store = Store::open(&settings.database.url)?;
        let (name, prefix) = (project.name.clone(), project.prefix.clone());
        let row = store
            .write(move |tx| projects::ensure(tx, &name, &prefix, NOW))
            .await?;
        fill(&store, tasks).await?;
        let settings = Arc::new(settings);
        let handle = Arc::new(ProjectHandle::new(row.id, project, &settings)?);
        let (hints, _) = mpsc::unbounded_channel();
        let engine = Engine::new(Parts {
            store,
            settings,
            names: BTreeMap::from([(row.id, handle.config.name.clone())]),
            projects: BTreeMap::from([(row.id, handle)]),
            instance: InstanceId::trusted("bench"),
            presets: Presets::builtin()?,
            prices: Prices::load(None)?,
            exe: std::env::current_exe()?,
            hints,
            clock: Arc::new(|| NOW),
        });
        Ok(Self { engine, _room: room })
    }
}

fn files(room: &Path) -> Result<(Settings, Project)> {
    let made = Command::new("git")
        .args(["init", "-q", "--bare", "-b", "main", "origin.git"])
        .current_dir(room)
        .status()?;
    ensure!(made.success(), "git init failed");
    fs::write(room.join("orch.toml"), "")?;
    let repo = room.join("origin.git");
    let project = format!(
        "name = 'shop'\nrepo = '{}'\ntest_command = 'true'\n[agent]\ncommand = ['true']\nprompt = 'file'\n",
        repo.display()
    );
    fs::write(room.join("shop.toml"), project)?;
    let options = LoadOptions {
        config_file: Some(room.join("orch.toml")),
        env: Vec::new(),
        cwd: room.to_owned(),
    };
    let (settings, _) = Settings::load(options)?;
    let project = Project::load(&room.join("shop.toml"), &settings)?;
    Ok((settings, project))
}

/// Finished tasks with a job each, and the open ones: who waits for a person was told about long ago.
async fn fill(store: &Store, done: usize) -> Result<()> {
    let numbers = format!("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {done})");
    let statements = [
        format!(
            "INSERT INTO tasks (project_id, work_item_id, tracker, external_id, title, description, branch, stage, \
             status, stage_entered_at, created_at, updated_at) {numbers} SELECT 1, 'T-' || i, 'local', 't/' || i, \
             'x', 'x', 'x', CASE WHEN i <= {OPEN} THEN 'analysis' WHEN i <= 2 * {OPEN} THEN 'development' ELSE 'done' END, \
             CASE WHEN i <= {OPEN} THEN 'waiting_human' WHEN i <= 2 * {OPEN} THEN 'active' ELSE 'done' END, i, 1, 1 FROM n"
        ),
        format!(
            "INSERT INTO jobs (task_id, project_id, kind, role, stage, visit, task_version, status, available_at, \
             max_attempts, max_transient_attempts, created_at) {numbers} SELECT i, 1, 'agent', 'developer', \
             'development', 1, 1, CASE WHEN i > {OPEN} AND i <= 2 * {OPEN} THEN 'queued' ELSE 'done' END, 1, 2, 5, 1 FROM n"
        ),
        format!(
            "INSERT INTO outbox (task_id, cause, kind, payload, status, available_at, created_at) {numbers} \
             SELECT i, 'notify:waits:' || i || ':1', 'notification', '{{}}', 'sent', 1, 1 FROM n"
        ),
    ];
    store
        .write(move |c| {
            for sql in statements {
                match c {
                    Conn::Sqlite(c) => diesel::sql_query(sql).execute(c)?,
                    Conn::Pg(c) => diesel::sql_query(sql).execute(c)?,
                };
            }
            Ok::<_, StoreError>(())
        })
        .await?;
    Ok(())
}
