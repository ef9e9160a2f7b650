//! `orch queue`: how it stands, pausing, resuming; and how a job looks in a table.

use awc::http::Method;
use clap::{Args, Subcommand};
use serde::Deserialize;

use super::Global;
use super::client::{Client, converse};
use super::exit::{Exit, Failure};
use super::screen::{Screen, Tone, maybe, plain, state};
use super::text;
use crate::engine::views::{
    BreakerView, HangView, JobView, NodeView, PostDeployView, QueueView, RepairView, WatchingView,
};

const EXAMPLES: &str = "\
Examples:
  orch queue                what runs, what waits, what ended last
  orch queue pause          start no more agents; those that run go on
  orch queue resume";

/// What `queue` takes.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct QueueArgs {
    #[command(subcommand)]
    command: Option<QueueCommand>,
}

#[derive(Debug, Default, Subcommand)]
enum QueueCommand {
    /// Show the queue.
    #[default]
    Show,
    /// Start no more agents; those that run go on.
    Pause,
    /// Start agents again.
    Resume,
}

/// Columns of a table of jobs.
pub(super) const JOB_HEADER: [&str; 8] = [
    "JOB",
    "TASK",
    "STAGE",
    "ROLE",
    "STATUS",
    "PRIO",
    "ATTEMPTS",
    "WHEN / WHY",
];

/// A job in such a table.
pub(super) fn job_row(job: &JobView) -> Vec<(Tone, String)> {
    let now = text::now();
    let when = match (&job.finished_at, &job.claimed_at) {
        (Some(at), _) => format!("ended {}", text::ago(at, now)),
        (None, Some(at)) => format!("claimed {}", text::ago(at, now)),
        (None, None) => match &job.held {
            Some(why) => why.clone(),
            None => format!("available {}", text::ago(&job.available_at, now)),
        },
    };
    let why = job.error.as_deref().map(|e| format!("; {e}")).unwrap_or_default();
    vec![
        plain(job.id.to_string()),
        plain(job.task.as_str()),
        plain(job.stage.as_str()),
        maybe(job.role.as_deref().or(Some(&job.kind))),
        state(&job.status),
        plain(job.priority.to_string()),
        plain(format!("{}/{}", job.attempts, job.max_attempts)),
        plain(format!("{when}{why}")),
    ]
}

pub(super) fn run(args: &QueueArgs, global: &Global) -> Result<Exit, Failure> {
    let client = global.client()?;
    match args.command.as_ref().unwrap_or(&QueueCommand::default()) {
        QueueCommand::Show => show(&client, global),
        QueueCommand::Pause => set(&client, global, "pause", "Paused: no more agents are started."),
        QueueCommand::Resume => set(&client, global, "resume", "Resumed."),
    }
}

fn set(client: &Client, global: &Global, verb: &str, done: &str) -> Result<Exit, Failure> {
    let path = format!("/api/v1/queue/{verb}");
    let answer = converse(client.send(Method::POST, &path, None::<&()>))?;
    let screen = global.screen();
    if global.json {
        return screen.json(&answer);
    }
    screen.line(done)?;
    Ok(Exit::Ok)
}

fn show(client: &Client, global: &Global) -> Result<Exit, Failure> {
    let answer = converse(client.get("/queue"))?;
    let screen = global.screen();
    if global.json {
        return screen.json(&answer);
    }
    screen.line(&page(screen, &answer.view()?))?;
    Ok(Exit::Ok)
}

/// What is shown of `/queue`.
#[derive(Deserialize)]
struct Page {
    #[serde(flatten)]
    queue: QueueView,
    /// A service that is older tells nothing of it.
    #[serde(default)]
    repair: RepairView,
    #[serde(default)]
    post_deploy: PostDeployView,
}

/// What is not in order, in a line each: what it is, and what may be done about it.
fn not_in_order(repair: &RepairView) -> Vec<String> {
    let until =
        |at: &Option<String>, word: &str| at.as_ref().map(|at| format!(" {word} {at}")).unwrap_or_default();
    let rules = repair.problem.iter().map(|problem| match &repair.since {
        Some(since) => format!("repair rules: {problem}; the last good ones, of {since}, stay in force"),
        None => format!("repair rules: {problem}; those that come with Orch are in force"),
    });
    let breaker = |b: &BreakerView| {
        let trial = until(&b.until, "until");
        format!(
            "breaker {} is {}{trial} after {} failures in a row: `orch breaker reset {0}` closes it",
            b.scope, b.stands, b.failures
        )
    };
    let node = |n: &NodeView| {
        let (ends, why) = (until(&n.until, "until"), n.reason.as_deref().unwrap_or("unknown"));
        let fewer = match n.slots_fewer {
            0 => String::new(),
            1 => " with a slot fewer".to_owned(),
            slots => format!(" with {slots} slots fewer"),
        };
        format!(
            "node {} is {}{fewer}{ends} ({why}): `orch node clear {0}` gives it back",
            n.node, n.stands
        )
    };
    let hangs = |h: &HangView| {
        let long = text::span(i64::try_from(h.seconds).unwrap_or(i64::MAX).saturating_mul(1000));
        format!(
            "{} hangs for {long}: nothing is done about it while its step still runs; the log says which",
            h.what
        )
    };
    let breakers = repair.breakers.iter().map(breaker);
    let rest = repair
        .nodes
        .iter()
        .map(node)
        .chain(repair.hanging.iter().map(hangs));
    rules
        .chain(breakers)
        .chain(rest)
        .map(|line| text::line(&line))
        .collect()
}

/// A deploy after which production is watched, in a line.
fn watched(w: &WatchingView) -> String {
    let revision: String = w.revision.chars().take(7).collect();
    let about = format!("production with {revision} ({}, {})", w.project, w.task);
    let line = match (w.rolling_back, w.probes) {
        (true, _) => format!("{about} is being rolled back"),
        (false, Some(probes)) => {
            let until = w.until.as_deref().unwrap_or("its end");
            format!(
                "{about} is watched until {until}: {} of {probes} probes, {} failed",
                w.probes_over, w.failed
            )
        }
        (false, None) => format!(
            "{about} is watched: {} probes, {} failed",
            w.probes_over, w.failed
        ),
    };
    text::line(&line)
}

fn page(screen: Screen, page: &Page) -> String {
    let Page {
        queue,
        repair,
        post_deploy,
    } = page;
    let counts = queue.counts;
    let mut page = format!(
        "{} queued, {} running of {} at once; last 24 h: {} done, {} failed, {} cancelled\n",
        counts.queued, counts.running, queue.max_concurrency, counts.done, counts.failed, counts.cancelled
    );
    if queue.paused {
        page += &format!(
            "{}: `orch queue resume` starts agents again\n",
            screen.tone(Tone::Waiting, "paused")
        );
    }
    for stop in &queue.merges_stopped {
        let line = format!("merges into {} are stopped: {}", stop.repo, stop.why);
        page += &format!("{} {line}\n", screen.tone(Tone::Bad, "!"));
    }
    for line in not_in_order(repair) {
        page += &format!("{} {line}\n", screen.tone(Tone::Bad, "!"));
    }
    for line in post_deploy.watching.iter().map(watched) {
        page += &format!("{line}\n");
    }
    let ended = |job: &&JobView| !queue.live.iter().any(|live| live.id == job.id);
    let ended: Vec<_> = queue.recent.iter().filter(ended).cloned().collect();
    for (title, jobs) in [("Live", &queue.live), ("Before", &ended)] {
        if !jobs.is_empty() {
            let table = screen.table(&JOB_HEADER, jobs.iter().map(job_row).collect());
            page += &format!("\n{}\n{table}\n", screen.bold(title));
        }
    }
    page
}
