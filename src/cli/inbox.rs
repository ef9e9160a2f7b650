//! `orch inbox`: what trackers and forges delivered, and applying again what could not be applied.

use awc::http::Method;
use clap::{Args, Subcommand, ValueEnum};

use super::Global;
use super::client::converse;
use super::exit::{Exit, Failure};
use super::screen::{plain, state};
use super::text;
use crate::engine::views::{DeliveryDetail, DeliveryView};

const EXAMPLES: &str = "\
Examples:
  orch inbox                        the latest deliveries
  orch inbox list --status parked   those that could not be applied, and why
  orch inbox show 17                one with its body
  orch inbox replay 17              have it applied again";

/// What `inbox` takes.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct InboxArgs {
    #[command(subcommand)]
    command: Option<InboxCommand>,
}

#[derive(Debug, Subcommand)]
enum InboxCommand {
    /// List the latest deliveries, newest first.
    List {
        /// Only those that stand so.
        #[arg(long, value_enum)]
        status: Option<Status>,
    },
    /// Show a delivery with its body.
    Show {
        /// The delivery's number.
        id: i64,
    },
    /// Have a parked delivery applied again.
    Replay {
        /// The delivery's number.
        id: i64,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Status {
    Pending,
    Applied,
    Ignored,
    Parked,
}

const HEADER: [&str; 7] = ["DELIVERY", "FROM", "EVENT", "STATUS", "TRIES", "CAME", "OUTCOME"];

pub(super) fn run(args: &InboxArgs, global: &Global) -> Result<Exit, Failure> {
    match args
        .command
        .as_ref()
        .unwrap_or(&InboxCommand::List { status: None })
    {
        InboxCommand::List { status } => list(*status, global),
        InboxCommand::Show { id } => show(*id, global),
        InboxCommand::Replay { id } => replay(*id, global),
    }
}

fn list(status: Option<Status>, global: &Global) -> Result<Exit, Failure> {
    let client = global.client()?;
    let word = status.and_then(|status| status.to_possible_value());
    let path = match &word {
        Some(word) => format!("/api/v1/inbox?status={}", word.get_name()),
        None => "/api/v1/inbox".to_owned(),
    };
    let answer = converse(client.get(&path))?;
    let screen = global.screen();
    if global.json {
        return screen.json(&answer);
    }
    let deliveries: Vec<DeliveryView> = answer.view()?;
    if deliveries.is_empty() {
        screen.line(match word {
            Some(_) => "No delivery stands so.",
            None => "Nothing was delivered yet.",
        })?;
        return Ok(Exit::Ok);
    }
    let now = text::now();
    let row = |d: &DeliveryView| {
        vec![
            plain(d.id.to_string()),
            plain(d.source.as_str()),
            plain(d.event.as_str()),
            state(&d.status),
            plain(d.attempts.to_string()),
            plain(text::ago(&d.received_at, now)),
            plain(d.outcome.as_deref().unwrap_or_default()),
        ]
    };
    screen.line(&screen.table(&HEADER, deliveries.iter().map(row).collect()))?;
    Ok(Exit::Ok)
}

fn show(id: i64, global: &Global) -> Result<Exit, Failure> {
    let client = global.client()?;
    let path = format!("/api/v1/inbox/{id}");
    let answer = converse(client.get(&path))?;
    let screen = global.screen();
    if global.json {
        return screen.json(&answer);
    }
    let DeliveryDetail {
        delivery,
        digest,
        body,
    } = answer.view()?;
    screen.line(&format!(
        "Delivery {} from {} ({}): {} {}",
        delivery.id, delivery.source, delivery.delivery, delivery.event, delivery.status
    ))?;
    if let Some(outcome) = &delivery.outcome {
        screen.line(&format!("  {outcome}"))?;
    }
    screen.line(&format!("  came {}, sha256 {digest}", delivery.received_at))?;
    screen.line(&body)?;
    Ok(Exit::Ok)
}

fn replay(id: i64, global: &Global) -> Result<Exit, Failure> {
    let client = global.client()?;
    let path = format!("/api/v1/inbox/{id}/replay");
    let answer = converse(client.send(Method::POST, &path, None::<&()>))?;
    let screen = global.screen();
    if global.json {
        return screen.json(&answer);
    }
    screen.line(&format!("Delivery {id} is applied again."))?;
    Ok(Exit::Ok)
}
