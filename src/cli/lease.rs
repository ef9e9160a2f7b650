//! `orch lease`: who may merge into which repository, and releasing that by hand.

use awc::http::Method;
use clap::Subcommand;
use serde_json::json;

use super::Global;
use super::client::converse;
use super::exit::{Exit, Failure};
use super::screen::plain;
use crate::engine::views::LeaseView;

/// Commands about merge leases.
#[derive(Debug, Subcommand)]
pub enum LeaseCommand {
    /// List the leases that are held.
    List,
    /// Release a lease; its holder can do nothing under it any more.
    #[command(
        after_help = "Example:\n  orch lease release /srv/git/shop.git --token 17\n\nThe token is in                             `orch lease list`: a lease that has changed hands since then is not released."
    )]
    Release {
        /// The repository, as `orch lease list` shows it.
        repo: String,
        /// The token that `orch lease list` shows.
        #[arg(long)]
        token: i64,
        /// Also while its holder merges.
        #[arg(long)]
        force: bool,
    },
}

pub(super) fn run(command: &LeaseCommand, global: &Global) -> Result<Exit, Failure> {
    match command {
        LeaseCommand::List => list(global),
        LeaseCommand::Release { repo, token, force } => {
            let (client, screen) = (global.client()?, global.screen());
            let body = json!({ "repo": repo, "token": token, "force": force });
            converse(client.send(Method::POST, "/api/v1/leases/release", Some(&body)))?;
            if !global.json {
                screen.line("Released.")?;
            }
            Ok(Exit::Ok)
        }
    }
}

fn list(global: &Global) -> Result<Exit, Failure> {
    let (client, screen) = (global.client()?, global.screen());
    let answer = converse(client.get("/api/v1/leases"))?;
    if global.json {
        return screen.json(&answer);
    }
    let leases: Vec<LeaseView> = answer.view()?;
    if leases.is_empty() {
        screen.line("No lease is held.")?;
        return Ok(Exit::Ok);
    }
    let row = |l: &LeaseView| {
        [&l.repo, &l.task, &l.held_by, &l.expires_at]
            .map(|text| plain(text.as_str()))
            .into_iter()
            .chain([plain(l.token.to_string())])
            .collect()
    };
    let header = ["REPOSITORY", "TASK", "HELD BY", "EXPIRES", "TOKEN"];
    screen.line(&screen.table(&header, leases.iter().map(row).collect()))?;
    Ok(Exit::Ok)
}
