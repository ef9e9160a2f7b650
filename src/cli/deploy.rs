//! `orch deploy`: what was brought to production, and letting a revision out of quarantine.

use awc::http::Method;
use clap::{Subcommand, ValueEnum};
use serde_json::json;

use super::Global;
use super::client::converse;
use super::exit::{Exit, Failure};
use super::screen::{plain, state};
use super::text;
use crate::engine::views::DeployView;

/// Commands about deploys.
#[derive(Debug, Subcommand)]
pub enum DeployCommand {
    /// List the latest deploys, newest first.
    List {
        /// Only those of this project.
        #[arg(long)]
        project: Option<String>,
    },
    /// Say how a deploy ended that nobody knows of; its task then goes on with `orch task unblock`.
    #[command(after_help = "Example:\n  orch deploy settle 17 succeeded")]
    Settle {
        /// The deploy's number.
        id: i64,
        /// What production runs: the new version, or the one before.
        #[arg(value_enum)]
        how: How,
    },
    /// Let a revision out of quarantine: what is on top of it may be deployed again.
    #[command(
        after_help = "Example:\n  orch deploy release shop 1f6c0de\n\nA revision is in quarantine when its deploy failed or was rolled back. While main is at it, no other task\nof the project is deployed. `orch deploy list` shows which are, and why."
    )]
    Release {
        /// The project.
        project: String,
        /// The revision, or its first digits.
        revision: String,
    },
}

/// How a deploy ended.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum How {
    /// Production runs the new version.
    Succeeded,
    /// Production runs the one before.
    Failed,
}

const HEADER: [&str; 7] = [
    "DEPLOY", "PROJECT", "TASK", "REVISION", "STATUS", "STARTED", "RESULT",
];

/// Digits of a revision that are shown, and taken.
const SHORT: usize = 10;

pub(super) fn run(command: &DeployCommand, global: &Global) -> Result<Exit, Failure> {
    let (client, screen) = (global.client()?, global.screen());
    match command {
        DeployCommand::List { project } => {
            let path = match project {
                Some(name) => format!("/api/v1/deploys?project={}", text::segment(name)),
                None => "/api/v1/deploys".to_owned(),
            };
            let answer = converse(client.get(&path))?;
            if global.json {
                return screen.json(&answer);
            }
            let deploys: Vec<DeployView> = answer.view()?;
            if deploys.is_empty() {
                screen.line("Nothing was deployed by a hook yet.")?;
                return Ok(Exit::Ok);
            }
            let now = text::now();
            let row = |d: &DeployView| {
                let result = d.result.as_deref().unwrap_or_default();
                let result = match &d.quarantined {
                    Some(why) => format!("quarantined: {why}"),
                    None => result.to_owned(),
                };
                vec![
                    plain(d.id.to_string()),
                    plain(d.project.as_str()),
                    plain(d.task.as_str()),
                    plain(d.revision.chars().take(SHORT).collect::<String>()),
                    state(&d.status),
                    plain(text::ago(&d.started_at, now)),
                    plain(result),
                ]
            };
            screen.line(&screen.table(&HEADER, deploys.iter().map(row).collect()))?;
        }
        DeployCommand::Settle { id, how } => {
            let body = json!({ "succeeded": matches!(how, How::Succeeded) });
            let path = format!("/api/v1/deploys/{id}/settle");
            converse(client.send(Method::POST, &path, Some(&body)))?;
            if !global.json {
                screen.line("Settled.")?;
            }
        }
        DeployCommand::Release { project, revision } => {
            let body = json!({ "project": project, "revision": revision });
            converse(client.send(Method::POST, "/api/v1/deploys/release", Some(&body)))?;
            if !global.json {
                screen.line("Released: what is on top of it may be deployed again.")?;
            }
        }
    }
    Ok(Exit::Ok)
}
