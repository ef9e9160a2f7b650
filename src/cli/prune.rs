//! `orch prune`: what was kept for long enough, and one sweep now.

use std::time::Duration;

use awc::http::Method;
use clap::Args;

use super::Global;
use super::client::converse;
use super::exit::{Exit, Failure};
use super::screen::{Screen, Tone, plain};
use crate::engine::views::{PruneCommand, PruneReport};

const EXAMPLES: &str = "\
Examples:
  orch prune --dry-run      what would go; changes nothing
  orch prune                remove it now, and let each project's prune_command make room

How long what is kept: retention.* in `orch config show`.";

/// Longer than any project's command may take, many of them together aside.
const PATIENCE: Duration = Duration::from_secs(3600);

/// What `prune` takes.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct PruneArgs {
    /// Only say what would be removed.
    #[arg(long)]
    dry_run: bool,
}

pub(super) fn run(args: &PruneArgs, global: &Global) -> Result<Exit, Failure> {
    let (client, screen) = (global.client()?, global.screen());
    let answer = converse(async {
        match args.dry_run {
            true => client.wait("/api/v1/prune", PATIENCE).await,
            false => {
                client
                    .send_and_wait(Method::POST, "/api/v1/prune", PATIENCE)
                    .await
            }
        }
    })?;
    let report: PruneReport = answer.view()?;
    let failed = report.commands.iter().any(|c| c.succeeded == Some(false));
    if global.json {
        screen.json(&answer)?;
    } else {
        screen.line(&page(screen, &report))?;
    }
    Ok(match failed || !report.trouble.is_empty() {
        true => Exit::Refused,
        false => Exit::Ok,
    })
}

fn page(screen: Screen, report: &PruneReport) -> String {
    let counts = [
        ("histories of finished tasks", report.tasks),
        ("jobs", report.jobs),
        ("runs", report.runs),
        ("evidence, gestures, deeds, events", report.details),
        ("sent notices", report.notices),
        ("healings", report.healings),
        ("incidents", report.incidents),
        ("audit entries", report.audit),
        ("settled deliveries", report.deliveries),
        ("marks of nodes", report.nodes),
        ("stopped instances", report.instances),
        ("WIP refs", report.wip_refs),
        ("run folders", report.folders),
    ];
    let rows: Vec<_> = counts
        .into_iter()
        .filter(|(_, n)| *n > 0)
        .map(|(what, n)| vec![plain(what), plain(n.to_string())])
        .collect();
    let (none, header, freed) = match report.dry_run {
        true => ("Nothing would be pruned.", "WOULD GO", "would be freed"),
        false => ("Nothing was kept for long enough to be pruned.", "GONE", "freed"),
    };
    let mut page = match rows.is_empty() {
        true => none.to_owned(),
        false => screen.table(&[header, "HOW MANY"], rows),
    };
    if report.bytes > 0 {
        page += &format!("\n{:.1} MiB {freed}", report.bytes as f64 / f64::from(1 << 20));
    }
    for command in &report.commands {
        page += &format!("\n{}", line(screen, command));
    }
    for what in &report.trouble {
        page += &format!("\nnot pruned, tried again the next time: {what}");
    }
    page
}

fn line(screen: Screen, command: &PruneCommand) -> String {
    let PruneCommand {
        project,
        command,
        succeeded,
        outcome,
    } = command;
    match (succeeded, outcome) {
        (Some(true), Some(outcome)) => format!("{project}: `{command}`: {outcome}"),
        (Some(false), Some(outcome)) => {
            let failed = screen.tone(Tone::Bad, "prune_command failed");
            format!("{project}: {failed}: `{command}`: {outcome}")
        }
        (Some(_) | None, _) => format!("{project}: `{command}` would be run"),
    }
}
