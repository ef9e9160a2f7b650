//! What the store can carry, against limits in the same run: grouped commits against commits one by one, and a
//! queue with a million finished jobs against one with a thousand. `cargo bench --bench store`, and for PostgreSQL alone
//! `cargo bench --bench store -- postgres`.
#![expect(clippy::print_stdout, reason = "its table is what it is for")]

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use diesel::RunQueryDsl as _;
use diesel::sql_types::{Array, BigInt};
use futures_util::future::try_join_all;
use orch::domain::id::{InstanceId, NodeName, ProjectName};
use orch::domain::job::{Claim, Job, JobEnd};
use orch::domain::time::Timestamp;
use orch::store::jobs::{self, Budgets, ClaimRequest, Nodes};
use orch::store::scratch::Scratch;
use orch::store::{Conn, Store, StoreError, comments, projects};

const NOW: Timestamp = Timestamp(1_700_000_000_000_000);
/// Tasks, each with a queued job.
const QUEUED: usize = 30_000;
/// Names the PostgreSQL server, as for the tests.
const POSTGRES: &str = "ORCH_TEST_POSTGRES";
/// Jobs claimed, and completed, in one write.
const BATCH: usize = 50;
/// Callers that claim and complete at the same time.
const WORKERS: usize = 8;

fn main() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    if std::env::args().any(|word| word == "postgres") {
        return postgres(&runtime, &std::env::var(POSTGRES)?);
    }
    let (alone, grouped) = runtime.block_on(async {
        let folder = tempfile::tempdir()?;
        let store = Store::open(&folder.path().join("orch.db").display().to_string())?;
        fill(&store, 10, 0).await?;
        inserts(&store, "warm", 1, 200).await?;
        let alone = inserts(&store, "alone", 1, 4_000).await?;
        let grouped = inserts(&store, "grouped", 64, 1_000).await?;
        store.close().await;
        anyhow::Ok((alone, grouped))
    })?;
    let batched = Load {
        workers: WORKERS,
        batch: BATCH,
        jobs: QUEUED,
    };
    let sqlite = |finished| async move {
        let folder = tempfile::tempdir()?;
        queue(
            &folder.path().join("orch.db").display().to_string(),
            finished,
            batched,
        )
        .await
    };
    let small = runtime.block_on(sqlite(1_000))?;
    let large = runtime.block_on(sqlite(1_000_000))?;

    println!(
        "{:<44} {:>10} {:>12} {:>7}  target",
        "SQLite, synchronous=FULL", "per second", "cpu us each", "ratio"
    );
    row("durable inserts, one by one", alone, None, "");
    row(
        "durable inserts, 64 writers",
        grouped,
        Some(grouped.over(alone)),
        ">= 8",
    );
    row(
        "claim + complete, 1,000 finished jobs",
        small,
        None,
        ">= 20000 per second",
    );
    row(
        "claim + complete, 1,000,000 finished jobs",
        large,
        Some(large.over(small)),
        ">= 0.8",
    );
    match std::env::var(POSTGRES) {
        Ok(server) => postgres(&runtime, &server)?,
        Err(_) => println!("PostgreSQL: not measured, {POSTGRES} names no server"),
    }
    ensure!(
        grouped.over(alone) >= 8.0,
        "grouped commits are not 8 times as fast as single ones"
    );
    ensure!(large.over(small) >= 0.8, "the queue slows down with its history");
    ensure!(small.per_second >= 20_000.0, "fewer than 20,000 jobs per second");
    Ok(())
}

/// The same queue on PostgreSQL, in databases of its own. Figures of graphile-worker, by its authors' own benchmark on
/// this class of machine: 3,960 jobs per second one at a time, 39,800 in batches. The ratio of the first line of each is to
/// plain inserts by as many writers in the same run, each with a commit of its own, of which a job one at a time needs
/// two; the ratio of the second is to the first.
///
/// One at a time is what the engine does: a write that claims, and a write that ends one job by its claim. In batches the
/// jobs of a claim are ended by one statement under the same guards, which the engine has no use for: that measures the
/// tables and the claim.
fn postgres(runtime: &tokio::runtime::Runtime, server: &str) -> Result<()> {
    println!(
        "{:<44} {:>10} {:>12} {:>7}  target",
        "PostgreSQL", "per second", "cpu us each", "ratio"
    );
    let load = |workers, batch, jobs| Load { workers, batch, jobs };
    for (what, load, target) in [
        ("1 claimer, one job at a time", load(1, 1, 1_000), ""),
        (
            "8 claimers, one job at a time",
            load(8, 1, 8_000),
            ">= 8000 per second",
        ),
        ("1 claimer, batches", load(1, BATCH, QUEUED), ""),
        (
            "8 claimers, batches",
            load(8, BATCH, QUEUED),
            ">= 40000 per second",
        ),
    ] {
        let mut against = None;
        for finished in [1_000, 1_000_000] {
            let name = format!("orch_bench_{}_{finished}", std::process::id());
            let scratch = Scratch::make(server, &name)?;
            let measured = runtime.block_on(async {
                let rate = queue(scratch.url(), finished, load).await?;
                let store = Store::open(scratch.url())?;
                let floor = inserts(&store, "floor", load.workers, 200).await?;
                store.close().await;
                anyhow::Ok((floor, rate))
            });
            scratch.drop_database()?;
            let (floor, rate) = measured?;
            if against.is_none() {
                row(&format!("inserts, {} writers", load.workers), floor, None, "");
            }
            let ratio = rate.over(against.unwrap_or(floor));
            against.get_or_insert(rate);
            row(&format!("{what}, {finished} finished"), rate, Some(ratio), target);
        }
    }
    Ok(())
}

/// How the queue is worked off.
#[derive(Clone, Copy)]
struct Load {
    /// Callers that claim and complete at the same time.
    workers: usize,
    /// Jobs claimed, and completed, in one write.
    batch: usize,
    /// Jobs in all.
    jobs: usize,
}

/// How fast something went.
#[derive(Clone, Copy)]
struct Rate {
    per_second: f64,
    /// Processor time of the whole process: it says more than the clock where other work runs beside.
    cpu_us: f64,
}

impl Rate {
    fn over(self, other: Self) -> f64 {
        self.per_second / other.per_second
    }
}

/// Begins to measure.
struct Watch(Instant, f64);

impl Watch {
    fn begin() -> Result<Self> {
        Ok(Self(Instant::now(), processor_seconds()?))
    }

    fn end(self, units: usize) -> Result<Rate> {
        let units = units as f64;
        Ok(Rate {
            per_second: units / self.0.elapsed().as_secs_f64(),
            cpu_us: (processor_seconds()? - self.1) * 1e6 / units,
        })
    }
}

/// User and system time of this process: `/proc/self/stat`, fields 14 and 15, in hundredths of a second.
fn processor_seconds() -> Result<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    let ticks = |n: usize| fields.get(n).and_then(|f| f.parse::<f64>().ok()).unwrap_or(0.0);
    Ok((ticks(11) + ticks(12)) / 100.0)
}

fn row(what: &str, rate: Rate, ratio: Option<f64>, target: &str) {
    let ratio = ratio.map_or_else(String::new, |r| format!("{r:.2}"));
    let Rate { per_second, cpu_us } = rate;
    println!("{what:<44} {per_second:>10.0} {cpu_us:>12.1} {ratio:>7}  {target}");
}

/// Durable inserts per second, each caller waiting for its answer before its next.
async fn inserts(store: &Store, name: &str, writers: usize, each: usize) -> Result<Rate> {
    let watch = Watch::begin()?;
    try_join_all((0..writers).map(|writer| async move {
        for n in 0..each {
            let new = comments::NewComment {
                task_id: orch::domain::id::TaskId(1),
                external_id: format!("{name}/{writer}/{n}"),
                author: "bench".to_owned(),
                body: "A comment of a usual length, as an agent leaves it after its work.".to_owned(),
            };
            store.write(move |c| comments::insert(c, &new, NOW)).await?;
        }
        Ok::<_, StoreError>(())
    }))
    .await?;
    watch.end(writers * each)
}

/// Jobs claimed and completed per second, beside so many finished ones.
async fn queue(url: &str, finished: usize, load: Load) -> Result<Rate> {
    let store = Store::open(url)?;
    fill(&store, load.jobs, finished).await?;
    let watch = Watch::begin()?;
    let done: Vec<usize> = try_join_all((0..load.workers).map(|_| work(&store, load.batch))).await?;
    let rate = watch.end(load.jobs)?;
    ensure!(
        done.iter().sum::<usize>() == load.jobs,
        "not every job was done once"
    );
    store.close().await;
    Ok(rate)
}

async fn work(store: &Store, batch: usize) -> Result<usize, StoreError> {
    let mut done = 0;
    loop {
        let request = ClaimRequest {
            now: NOW,
            node: NodeName::trusted("local"),
            instance: InstanceId::trusted("bench"),
            known_projects: None,
            max_concurrency: 10_000,
            project_concurrency: Vec::new(),
            default_project_concurrency: None,
            paused: false,
            no_room: false,
            no_watch: false,
            half_open: Duration::from_secs(1800),
            budgets: Budgets::default(),
            nodes: Nodes::default(),
            reserved_ceiling: 8,
            limit: batch,
        };
        let claimed = store.write(move |c| jobs::claim_next(c, &request)).await?.rows;
        if claimed.is_empty() {
            return Ok(done);
        }
        done += store.write(move |c| complete(c, &claimed)).await?;
    }
}

/// Ends claimed jobs, each under its own claim; answers how many were still claimed.
fn complete(conn: &mut Conn, claimed: &[Job]) -> Result<usize, StoreError> {
    if let (Conn::Pg(c), [_, _, ..]) = (&mut *conn, claimed) {
        let ids: Vec<i64> = claimed.iter().map(|job| job.id.0).collect();
        let epochs: Vec<i64> = claimed.iter().map(|job| job.claim_epoch.0).collect();
        let ended = diesel::sql_query(
            "UPDATE jobs SET status = 'done', finished_at = $1 FROM unnest($2, $3) AS claim (id, epoch) \
             WHERE jobs.id = ANY($2) AND jobs.id = claim.id AND claim_epoch = claim.epoch AND status = 'running'",
        );
        let ended = ended
            .bind::<BigInt, _>(NOW.0)
            .bind::<Array<BigInt>, _>(ids)
            .bind::<Array<BigInt>, _>(epochs);
        return Ok(ended.execute(c)?);
    }
    let mut won = 0;
    for job in claimed {
        let claim = Claim {
            job: job.id,
            epoch: job.claim_epoch,
        };
        won += usize::from(jobs::end(conn, claim, &JobEnd::Done, NOW)?.is_won());
    }
    Ok(won)
}

/// Tasks with a queued job each, and finished jobs of the first of them.
async fn fill(store: &Store, queued: usize, finished: usize) -> Result<()> {
    let numbers =
        |n: usize| format!("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {n})");
    let columns = "task_id, project_id, kind, role, stage, visit, task_version, status, available_at, attempts, \
                   max_attempts, max_transient_attempts, claim_epoch, finished_at, created_at";
    let tasks = format!(
        "INSERT INTO tasks (project_id, work_item_id, tracker, external_id, title, description, branch, stage, \
         status, stage_entered_at, created_at, updated_at) {} \
         SELECT 1, 'T-' || i, 'local', 't/' || i, 'x', 'x', 'x', 'development', 'active', 1, 1, 1 FROM n",
        numbers(queued)
    );
    let waiting = format!(
        "INSERT INTO jobs ({columns}) {} SELECT i, 1, 'agent', 'developer', 'development', 1, 1, 'queued', 1, 0, \
         2, 5, 0, NULL, 1 FROM n",
        numbers(queued)
    );
    let history = format!(
        "INSERT INTO jobs ({columns}) {} SELECT 1, 1, 'agent', 'developer', 'development', 1, 1, 'done', 1, 1, \
         2, 5, 1, i, 1 FROM n",
        numbers(finished)
    );
    store
        .write(move |c| {
            projects::ensure(c, &ProjectName::trusted("bench"), "T", NOW)?;
            let statements = if finished > 0 {
                vec![tasks, history, waiting]
            } else {
                vec![tasks, waiting]
            };
            // What autovacuum would find out a minute later.
            for sql in statements.into_iter().chain(["ANALYZE".to_owned()]) {
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
