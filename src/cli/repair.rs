//! `orch repair`: which rule answers a failure, what helped, and reading the rules again.

use awc::http::Method;
use clap::Subcommand;
use serde_json::json;

use super::Global;
use super::client::converse;
use super::exit::{Exit, Failure};
use super::screen::plain;
use super::text;
use crate::domain::pipeline::Role;
use crate::engine::views::{IncidentView, MatchView, RulesView, StrategyStats};

/// Commands about failures and their repair.
#[derive(Debug, Subcommand)]
pub enum RepairCommand {
    /// Say which rule matches an error text, and why. Changes nothing.
    #[command(
        after_help = "Examples:\n  orch repair check 'exit code 137 SIGKILL'\n  orch repair check --role developer \"$(tail -n 50 agent.log)\"\n\nThe first line tells how the attempt ended; the rest is what it printed last."
    )]
    Check {
        /// The error text.
        text: String,
        /// As what the agent worked; without it, rules of every role are asked.
        #[arg(long, value_parser = role)]
        role: Option<Role>,
    },
    /// Show the last failures, how they were answered, and what came of it.
    List {
        /// At most N of them.
        #[arg(short = 'n', long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
        limit: Option<u32>,
    },
    /// Show how often each rule matched, and helped.
    Stats {
        /// Of the last N days.
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
        days: Option<u32>,
    },
    /// Read the file of rules again; a broken one is refused, and the last good rules stay.
    Reload,
}

fn role(text: &str) -> Result<Role, String> {
    let known = || Role::ALL.map(Role::as_str).join(", ");
    Role::parse(text).ok_or_else(|| format!("one of: {}", known()))
}

pub(super) fn run(command: &RepairCommand, global: &Global) -> Result<Exit, Failure> {
    match command {
        RepairCommand::Check { text, role } => check(text, *role, global),
        RepairCommand::List { limit } => list(*limit, global),
        RepairCommand::Stats { days } => stats(*days, global),
        RepairCommand::Reload => reload(global),
    }
}

fn check(text: &str, role: Option<Role>, global: &Global) -> Result<Exit, Failure> {
    let (client, screen) = (global.client()?, global.screen());
    let body = json!({ "text": text, "role": role });
    let answer = converse(client.send(Method::POST, "/api/v1/repair/check", Some(&body)))?;
    if global.json {
        return screen.json(&answer);
    }
    let found: MatchView = answer.view()?;
    screen.line(&format!("{}, matched by {}", found.strategy, found.matched_by))?;
    screen.line(&format!(
        "fix: {}, severity: {}, {}",
        found.fix, found.severity, found.class
    ))?;
    screen.line(&format!("diagnosis: {}", found.diagnosis))?;
    Ok(Exit::Ok)
}

fn list(limit: Option<u32>, global: &Global) -> Result<Exit, Failure> {
    let (client, screen) = (global.client()?, global.screen());
    let limit = limit.map(|n| format!("?limit={n}")).unwrap_or_default();
    let answer = converse(client.get(&format!("/api/v1/repair/incidents{limit}")))?;
    if global.json {
        return screen.json(&answer);
    }
    let found: Vec<IncidentView> = answer.view()?;
    if found.is_empty() {
        screen.line("No attempt has failed yet.")?;
        return Ok(Exit::Ok);
    }
    let now = text::now();
    let rows = found.into_iter().map(|i| {
        vec![
            plain(text::ago(&i.at, now)),
            plain(i.task),
            plain(i.error),
            plain(i.strategy),
            plain(i.fix),
            plain(i.decision),
            plain(i.outcome.unwrap_or_else(|| "-".to_owned())),
        ]
    });
    let header = ["WHEN", "TASK", "ERROR", "STRATEGY", "FIX", "DECISION", "OUTCOME"];
    screen.line(&screen.table(&header, rows.collect()))?;
    Ok(Exit::Ok)
}

fn stats(days: Option<u32>, global: &Global) -> Result<Exit, Failure> {
    let (client, screen) = (global.client()?, global.screen());
    let days = days.map(|n| format!("?days={n}")).unwrap_or_default();
    let answer = converse(client.get(&format!("/api/v1/repair/stats{days}")))?;
    if global.json {
        return screen.json(&answer);
    }
    let found: Vec<StrategyStats> = answer.view()?;
    let rows = found.into_iter().map(|s| {
        vec![
            plain(s.strategy),
            plain(s.fix),
            plain(s.matched.to_string()),
            plain(s.helped.to_string()),
            plain(s.failed_again.to_string()),
        ]
    });
    let header = ["STRATEGY", "FIX", "MATCHED", "HELPED", "FAILED AGAIN"];
    screen.line(&screen.table(&header, rows.collect()))?;
    Ok(Exit::Ok)
}

fn reload(global: &Global) -> Result<Exit, Failure> {
    let (client, screen) = (global.client()?, global.screen());
    let answer = converse(client.send(Method::POST, "/api/v1/repair/reload", None::<&()>))?;
    let rules: RulesView = answer.view()?;
    if global.json {
        screen.json(&answer)?;
    } else {
        screen.line(&format!(
            "{} rules, {}: {}",
            rules.strategies.len(),
            rules.source,
            rules.strategies.join(", ")
        ))?;
    }
    match rules.problem {
        Some(why) => Err(Failure::Refused(format!("the last good rules stay: {why}"))),
        None => Ok(Exit::Ok),
    }
}
