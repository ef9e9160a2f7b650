//! `orch lease`: who may merge into which repository, and releasing that by hand.

use awc::http::Method;
use clap::Subcommand;
use serde_json::json;

use super::Global;
use super::client::converse;
use super::exit::{Exit, Failure};
use super::screen::plain;
use crate::engine::views::{LeaseView, LeasesView, MergeStopView};

/// Commands about merge leases.
#[derive(Debug, Subcommand)]
pub enum LeaseCommand {
    /// List the leases that are held, and the repositories whose merges are stopped.
    List,
    /// Release a lease, whose holder can do nothing under it any more, or let stopped merges go on.
    #[command(after_help = "Examples:
  orch lease release /srv/git/shop.git --token 17
  orch lease release shop --merges

\
                      The token is in `orch lease list`: a lease that has changed hands since then is not released.
\
                      Merges are stopped where main was found to have something else than what was tested: look at it first.")]
    Release {
        /// The repository, as `orch lease list` shows it; with --merges also the name of its project.
        repo: String,
        /// The token that `orch lease list` shows.
        #[arg(long, required_unless_present = "merges")]
        token: Option<i64>,
        /// Also while its holder merges.
        #[arg(long)]
        force: bool,
        /// Let the merges into the repository go on.
        #[arg(long, conflicts_with_all = ["token", "force"])]
        merges: bool,
    },
}

pub(super) fn run(command: &LeaseCommand, global: &Global) -> Result<Exit, Failure> {
    match command {
        LeaseCommand::List => list(global),
        LeaseCommand::Release {
            repo,
            token,
            force,
            merges,
        } => {
            let (client, screen) = (global.client()?, global.screen());
            let (path, body, said) = match merges {
                true => ("resume", json!({ "repo": repo }), "Merges go on."),
                false => {
                    let body = json!({ "repo": repo, "token": token, "force": force });
                    ("release", body, "Released.")
                }
            };
            let path = format!("/api/v1/leases/{path}");
            converse(client.send(Method::POST, &path, Some(&body)))?;
            if !global.json {
                screen.line(said)?;
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
    let leases: LeasesView = answer.view()?;
    if leases.held.is_empty() {
        screen.line("No lease is held.")?;
    } else {
        let row = |l: &LeaseView| {
            [&l.repo, &l.task, &l.held_by, &l.expires_at]
                .map(|text| plain(text.as_str()))
                .into_iter()
                .chain([plain(l.token.to_string())])
                .collect()
        };
        let header = ["REPOSITORY", "TASK", "HELD BY", "EXPIRES", "TOKEN"];
        screen.line(&screen.table(&header, leases.held.iter().map(row).collect()))?;
    }
    if !leases.stopped.is_empty() {
        let row = |s: &MergeStopView| {
            let (task, since) = (
                s.task.as_deref().unwrap_or("-"),
                s.since.as_deref().unwrap_or("-"),
            );
            [s.repo.as_str(), task, since, s.why.as_str()].map(plain).to_vec()
        };
        let header = ["MERGES STOPPED", "TASK", "SINCE", "WHY"];
        screen.line(&screen.table(&header, leases.stopped.iter().map(row).collect()))?;
    }
    Ok(Exit::Ok)
}
