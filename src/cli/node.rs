//! `orch node`: the machines on which agents run, keeping one from work, giving it back, and giving it up.

use awc::http::Method;
use clap::Subcommand;
use serde_json::json;

use super::Global;
use super::client::converse;
use super::exit::{Exit, Failure};
use super::screen::plain;
use crate::engine::views::{GivenUp, NodeView};

/// Commands about nodes.
#[derive(Debug, Subcommand)]
pub enum NodeCommand {
    /// List the nodes, what runs there, and what was taken from them.
    List,
    /// Give a node nothing for a while; what runs there goes on.
    #[command(after_help = "Example:\n  orch node blacklist mill --for 2h --reason 'new disk'")]
    Blacklist {
        /// The node, as `orch node list` shows it.
        node: String,
        /// For how long: 90s, 30m, 2h, 1d.
        #[arg(long = "for", value_name = "TIME", default_value = "30m", value_parser = seconds)]
        within: u64,
        /// Why, for whoever finds it off.
        #[arg(long)]
        reason: String,
    },
    /// Give up what is on a node that does not come back: its jobs go elsewhere, what it has of them is lost.
    #[command(after_help = "Example:\n  orch node give-up mill --for 1d")]
    GiveUp {
        /// The node, as `orch node list` shows it.
        node: String,
        /// For how long it is given nothing: 90s, 30m, 2h, 1d.
        #[arg(long = "for", value_name = "TIME", default_value = "30m", value_parser = seconds)]
        within: u64,
    },
    /// Give a node back all that was taken from it.
    #[command(after_help = "Example:\n  orch node clear local")]
    Clear {
        /// The node, as `orch node list` shows it.
        node: String,
    },
}

pub(super) fn run(command: &NodeCommand, global: &Global) -> Result<Exit, Failure> {
    let (client, screen) = (global.client()?, global.screen());
    match command {
        NodeCommand::List => list(global),
        NodeCommand::Blacklist { node, within, reason } => {
            let body = json!({ "node": node, "for_s": within, "reason": reason });
            let answer = converse(client.send(Method::POST, "/api/v1/nodes/blacklist", Some(&body)))?;
            if global.json {
                return screen.json(&answer);
            }
            let until: serde_json::Value = answer.view()?;
            let until = until["until"].as_str().unwrap_or_default();
            screen.line(&format!("Given nothing until {until}."))?;
            Ok(Exit::Ok)
        }
        NodeCommand::GiveUp { node, within } => {
            let body = json!({ "node": node, "for_s": within });
            let answer = converse(client.send(Method::POST, "/api/v1/nodes/give-up", Some(&body)))?;
            if global.json {
                return screen.json(&answer);
            }
            let given_up: GivenUp = answer.view()?;
            let jobs: Vec<String> = given_up.jobs.iter().map(ToString::to_string).collect();
            screen.line(&match jobs.is_empty() {
                true => "Nothing was on it.".to_owned(),
                false => format!("Given up: the runs of jobs {}.", jobs.join(", ")),
            })?;
            if let Some(until) = given_up.until {
                screen.line(&format!("Given nothing until {until}."))?;
            }
            Ok(Exit::Ok)
        }
        NodeCommand::Clear { node } => {
            let body = json!({ "node": node });
            converse(client.send(Method::POST, "/api/v1/nodes/clear", Some(&body)))?;
            if !global.json {
                screen.line("Given back.")?;
            }
            Ok(Exit::Ok)
        }
    }
}

/// A time as people write it, in seconds.
fn seconds(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is no time: give 90s, 30m, 2h or 1d");
    let at = text.len().saturating_sub(1);
    let (number, unit) = text.split_at_checked(at).ok_or_else(wrong)?;
    let factor = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err(wrong()),
    };
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let seconds = number
        .checked_mul(factor)
        .filter(|s| (1..=366 * 86_400).contains(s));
    seconds.ok_or_else(|| format!("{text:?}: give at least a second and at most a year"))
}

fn list(global: &Global) -> Result<Exit, Failure> {
    let (client, screen) = (global.client()?, global.screen());
    let answer = converse(client.get("/api/v1/nodes"))?;
    if global.json {
        return screen.json(&answer);
    }
    let nodes: Vec<NodeView> = answer.view()?;
    let row = |n: NodeView| {
        let slots = n
            .slots
            .map(|all| all.saturating_sub(n.slots_fewer).max(all.min(1)));
        let of = slots.map_or_else(|| "?".to_owned(), |slots| slots.to_string());
        let stands = match n.slots_fewer {
            0 => n.stands,
            fewer => format!("{}, {fewer} fewer", n.stands),
        };
        vec![
            plain(n.node),
            plain(n.kind),
            plain(stands),
            plain(format!("{}/{of}", n.taken)),
            plain(n.labels.join(",")),
            plain(n.until.unwrap_or_else(|| "-".to_owned())),
            plain(n.reason.unwrap_or_else(|| "-".to_owned())),
        ]
    };
    let header = ["NODE", "KIND", "STANDS", "AGENTS", "LABELS", "UNTIL", "WHY"];
    screen.line(&screen.table(&header, nodes.into_iter().map(row).collect()))?;
    Ok(Exit::Ok)
}

#[cfg(test)]
mod tests {
    use super::seconds;

    #[test]
    fn a_time_is_read_as_people_write_it() {
        let table = [("90s", 90), ("30m", 1800), ("2h", 7200), ("1d", 86_400)];
        for (text, expected) in table {
            assert_eq!(seconds(text), Ok(expected));
        }
        for wrong in ["", "m", "30", "0s", "-1m", "1w", "9999d", "µ", "1.5h"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }
}
