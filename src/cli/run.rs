//! `orch run`: what agents did, and what they print.

mod rescue;

use std::time::Duration;

use clap::Subcommand;
use clap::builder::NonEmptyStringValueParser;
use serde_json::json;

use super::Global;
use super::client::{Client, converse};
use super::exit::{Exit, Failure};
use super::screen::{Screen, Tone, maybe, plain, state};
use super::text::{self, Cleaner};
use crate::engine::views::RunView;

/// How long one request of a followed log may wait. Output does not wake it, so this is also how late it may be.
const FOLLOW_S: u64 = 1;

const LOGS_EXAMPLES: &str = "\
Examples:
  orch run logs 17              what run 17 printed
  orch run logs -f ORCH-001       follow the latest run of a task until it is finished
  orch run logs 17 > log.txt    every byte as the agent printed it

On a terminal, escape sequences and control characters of the agent are left out; --raw passes
them on.
With --json each piece is one line: {\"run\", \"offset\", \"next_offset\", \"finished\", \"text\"}.";

/// Commands about runs.
#[derive(Debug, Subcommand)]
pub enum RunCommand {
    /// List the runs of a task, newest first.
    #[command(after_help = "Example:\n  orch run list ORCH-001")]
    List {
        /// The task.
        #[arg(value_parser = NonEmptyStringValueParser::new())]
        task: String,
    },
    /// Show a run.
    #[command(after_help = "Example:\n  orch run show 17")]
    Show {
        /// The run's number.
        id: i64,
    },
    /// Print what a run printed; with -f, what it prints.
    #[command(after_help = LOGS_EXAMPLES)]
    Logs {
        /// The run's number, or a task for its latest run.
        #[arg(value_name = "RUN|TASK", value_parser = NonEmptyStringValueParser::new())]
        run: String,
        /// Follow until the run is finished.
        #[arg(short, long)]
        follow: bool,
        /// Pass escape sequences on to the terminal.
        #[arg(long)]
        raw: bool,
    },
    /// List the unfinished work that was kept of runs, show it, restore it as a branch.
    #[command(after_help = rescue::EXAMPLES)]
    Rescue(rescue::RescueArgs),
}

pub(super) fn run(command: &RunCommand, global: &Global) -> Result<Exit, Failure> {
    let client = global.client()?;
    let screen = global.screen();
    match command {
        RunCommand::List { task } => list(&client, global, task),
        RunCommand::Show { id } => {
            let answer = converse(client.get(&format!("/api/v1/runs/{id}")))?;
            if global.json {
                return screen.json(&answer);
            }
            screen.line(&page(screen, &answer.view()?))?;
            Ok(Exit::Ok)
        }
        RunCommand::Rescue(args) => rescue::run(&client, global, args),
        RunCommand::Logs { run, follow, raw } => converse(async {
            let printer = Printer {
                screen,
                json: global.json,
                cleaner: (screen.is_terminal() && !raw).then(Cleaner::default),
            };
            let run = resolve(&client, run).await?;
            print_log(&client, run, *follow, printer).await
        }),
    }
}

fn list(client: &Client, global: &Global, task: &str) -> Result<Exit, Failure> {
    let answer = converse(client.get(&runs_of(task)))?;
    let screen = global.screen();
    if global.json {
        return screen.json(&answer);
    }
    let runs: Vec<RunView> = answer.view()?;
    if runs.is_empty() {
        screen.line("No run yet; `orch queue` shows what waits.")?;
        return Ok(Exit::Ok);
    }
    screen.line(&screen.table(&RUN_HEADER, runs.iter().map(run_row).collect()))?;
    Ok(Exit::Ok)
}

fn runs_of(task: &str) -> String {
    format!("/api/v1/tasks/{}/runs", text::segment(task))
}

/// Columns of a table of runs.
pub(super) const RUN_HEADER: [&str; 8] = [
    "RUN",
    "STAGE",
    "ROLE",
    "AGENT",
    "STEP",
    "TOOK",
    "COST",
    "STARTED / EXIT",
];

/// A run in such a table.
pub(super) fn run_row(run: &RunView) -> Vec<(Tone, String)> {
    let mut how = text::ago(&run.started_at, text::now());
    // The error of a run that ended badly begins with its exit.
    let told =
        matches!((&run.exit, &run.error), (Some(exit), Some(error)) if error.starts_with(exit.as_str()));
    for said in [run.exit.as_ref().filter(|_| !told), run.error.as_ref()]
        .into_iter()
        .flatten()
    {
        how += &format!("; {said}");
    }
    for remark in &run.remarks {
        how += &format!("; {remark}");
    }
    vec![
        plain(run.id.to_string()),
        plain(run.stage.as_str()),
        maybe(run.role.as_deref()),
        plain(run.agent.as_str()),
        state(&run.step),
        plain(text::span(run.duration_ms)),
        plain(cost(run)),
        plain(how),
    ]
}

fn cost(run: &RunView) -> String {
    match (run.cost_micro_usd, run.provenance.as_deref()) {
        (Some(cost), Some("priced")) => format!("~{}", text::money(cost)),
        (Some(cost), _) => text::money(cost),
        (None, _) => "-".to_owned(),
    }
}

fn page(screen: Screen, run: &RunView) -> String {
    let now = text::now();
    let tokens = match (run.tokens_in, run.tokens_out) {
        (None, None) => None,
        (i, o) => Some(format!("{} in, {} out", i.unwrap_or(0), o.unwrap_or(0))),
    };
    let facts = [
        ("task", Some(format!("{} (job {})", run.task, run.job))),
        ("stage", Some(run.stage.clone())),
        ("role", run.role.clone()),
        ("agent", Some(run.agent.clone())),
        ("started", Some(text::ago(&run.started_at, now))),
        ("took", Some(text::span(run.duration_ms))),
        ("exit", run.exit.clone()),
        ("error", run.error.clone()),
        ("tokens", tokens),
        ("cost", run.cost_micro_usd.map(|_| cost(run))),
        ("kept work", run.wip_ref.clone()),
    ];
    let step = screen.tone(Tone::of(&run.step), &text::line(&run.step));
    let mut page = format!("{} {step}\n", screen.bold(&format!("Run {}", run.id)));
    for (name, fact) in facts {
        if let Some(fact) = fact {
            page += &format!("  {name:<10} {}\n", text::line(&fact));
        }
    }
    for remark in &run.remarks {
        page += &format!("  {:<10} {}\n", "note", text::line(remark));
    }
    if run.wip_ref.is_some() {
        page += &format!("\nIts kept work: orch run rescue {} --show", run.id);
    }
    page + &format!("\nIts output: orch run logs {}", run.id)
}

/// A number is a run; anything else a task, whose latest run is meant.
async fn resolve(client: &Client, run: &str) -> Result<i64, Failure> {
    if let Ok(id) = run.parse() {
        return Ok(id);
    }
    let runs: Vec<RunView> = client.get(&runs_of(run)).await?.view()?;
    // Runs of Orch itself print nothing.
    let agents = runs.iter().filter(|r| r.role.is_some());
    let latest = agents.map(|r| r.id).max();
    latest.ok_or_else(|| Failure::NotFound(format!("{run} has no run yet; `orch queue` shows what waits")))
}

struct Printer {
    screen: Screen,
    json: bool,
    cleaner: Option<Cleaner>,
}

impl Printer {
    fn print(&mut self, piece: &Piece) -> Result<(), Failure> {
        if self.json {
            return self.screen.line(&piece.json());
        }
        match &mut self.cleaner {
            Some(cleaner) => self.screen.write(cleaner.next(&piece.bytes).as_bytes()),
            None => self.screen.write(&piece.bytes),
        }
    }
}

struct Piece {
    run: i64,
    offset: u64,
    next: u64,
    finished: bool,
    bytes: Vec<u8>,
}

impl Piece {
    async fn ask(client: &Client, run: i64, offset: u64, wait_s: u64) -> Result<Self, Failure> {
        let path = format!("/api/v1/runs/{run}/log?offset={offset}&wait_s={wait_s}");
        let answer = client.wait(&path, Duration::from_secs(wait_s)).await?;
        let unclear =
            || Failure::Internal("the service's answer lacks X-Next-Offset: use the same version".to_owned());
        let next = answer.header("x-next-offset").and_then(|h| h.parse().ok());
        Ok(Self {
            run,
            offset,
            next: next.ok_or_else(unclear)?,
            finished: answer.header("x-run-finished") == Some("true"),
            bytes: answer.bytes,
        })
    }

    fn json(&self) -> String {
        json!({
            "run": self.run,
            "offset": self.offset,
            "next_offset": self.next,
            "finished": self.finished,
            "text": String::from_utf8_lossy(&self.bytes),
        })
        .to_string()
    }
}

async fn print_log(client: &Client, run: i64, follow: bool, mut printer: Printer) -> Result<Exit, Failure> {
    let wait_s = if follow { FOLLOW_S } else { 0 };
    let mut offset = 0;
    loop {
        let piece = Piece::ask(client, run, offset, wait_s).await?;
        offset = piece.next;
        if !piece.bytes.is_empty() {
            printer.print(&piece)?;
        } else if piece.finished || !follow {
            return Ok(Exit::Ok);
        }
    }
}
