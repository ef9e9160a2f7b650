//! `orch breaker`: scopes that failed too often in a row, and letting them work again by hand.

use awc::http::Method;
use clap::Subcommand;
use serde_json::json;

use super::Global;
use super::client::converse;
use super::exit::{Exit, Failure};
use super::screen::plain;
use crate::engine::views::BreakerView;

/// Commands about circuit breakers.
#[derive(Debug, Subcommand)]
pub enum BreakerCommand {
    /// List the scopes that failed since their last success, and how their breakers stand.
    List,
    /// Close a breaker: jobs of its scope are started again.
    #[command(after_help = "Example:\n  orch breaker reset project:shop")]
    Reset {
        /// project:<name> or batch:<name>, as `orch breaker list` shows it.
        scope: String,
    },
}

pub(super) fn run(command: &BreakerCommand, global: &Global) -> Result<Exit, Failure> {
    let (client, screen) = (global.client()?, global.screen());
    let scope = match command {
        BreakerCommand::List => return list(global),
        BreakerCommand::Reset { scope } => scope,
    };
    let body = json!({ "scope": scope });
    converse(client.send(Method::POST, "/api/v1/breakers/reset", Some(&body)))?;
    if !global.json {
        screen.line("Closed.")?;
    }
    Ok(Exit::Ok)
}

fn list(global: &Global) -> Result<Exit, Failure> {
    let (client, screen) = (global.client()?, global.screen());
    let answer = converse(client.get("/api/v1/breakers"))?;
    if global.json {
        return screen.json(&answer);
    }
    let breakers: Vec<BreakerView> = answer.view()?;
    if breakers.is_empty() {
        screen.line("Nothing has failed since its last success.")?;
        return Ok(Exit::Ok);
    }
    let row = |b: BreakerView| {
        vec![
            plain(b.scope),
            plain(b.stands),
            plain(b.failures.to_string()),
            plain(b.until.unwrap_or_else(|| "-".to_owned())),
        ]
    };
    let header = ["SCOPE", "BREAKER", "FAILURES", "TRIAL AT"];
    screen.line(&screen.table(&header, breakers.into_iter().map(row).collect()))?;
    Ok(Exit::Ok)
}
