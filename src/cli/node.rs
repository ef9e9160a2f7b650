//! `orch node`: the machines on which agents run, and giving one back what repair took from it.

use awc::http::Method;
use clap::Subcommand;
use serde_json::json;

use super::Global;
use super::client::converse;
use super::exit::{Exit, Failure};
use super::screen::plain;
use crate::engine::views::NodeView;

/// Commands about nodes.
#[derive(Debug, Subcommand)]
pub enum NodeCommand {
    /// List the nodes, and what repair took from them.
    List,
    /// Give a node back all that repair took from it.
    #[command(after_help = "Example:\n  orch node clear local")]
    Clear {
        /// The node, as `orch node list` shows it.
        node: String,
    },
}

pub(super) fn run(command: &NodeCommand, global: &Global) -> Result<Exit, Failure> {
    let (client, screen) = (global.client()?, global.screen());
    let node = match command {
        NodeCommand::List => return list(global),
        NodeCommand::Clear { node } => node,
    };
    let body = json!({ "node": node });
    converse(client.send(Method::POST, "/api/v1/nodes/clear", Some(&body)))?;
    if !global.json {
        screen.line("Given back.")?;
    }
    Ok(Exit::Ok)
}

fn list(global: &Global) -> Result<Exit, Failure> {
    let (client, screen) = (global.client()?, global.screen());
    let answer = converse(client.get("/api/v1/nodes"))?;
    if global.json {
        return screen.json(&answer);
    }
    let nodes: Vec<NodeView> = answer.view()?;
    let row = |n: NodeView| {
        vec![
            plain(n.node),
            plain(n.stands),
            plain(n.slots_fewer.to_string()),
            plain(n.until.unwrap_or_else(|| "-".to_owned())),
            plain(n.reason.unwrap_or_else(|| "-".to_owned())),
        ]
    };
    let header = ["NODE", "STANDS", "SLOTS FEWER", "UNTIL", "WHY"];
    screen.line(&screen.table(&header, nodes.into_iter().map(row).collect()))?;
    Ok(Exit::Ok)
}
