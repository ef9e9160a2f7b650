//! `orch job`: look at a job, try it again, cancel it, move it in the queue.

use awc::http::Method;
use clap::Subcommand;
use serde_json::{Value, json};

use super::Global;
use super::client::{Answer, converse};
use super::exit::{Exit, Failure};
use super::queue::{JOB_HEADER, job_row};
use crate::engine::views::JobView;

/// Commands about jobs.
#[derive(Debug, Subcommand)]
pub enum JobCommand {
    /// Show a job.
    #[command(after_help = "Job numbers are in `orch queue` and `orch task show <id>`.")]
    Show {
        /// The job's number.
        id: i64,
    },
    /// Queue a failed or cancelled job again.
    #[command(after_help = "Example:\n  orch job retry 17")]
    Retry {
        /// The job's number.
        id: i64,
    },
    /// Cancel a job; a running agent is stopped, and its work kept on a WIP ref.
    #[command(after_help = "Example:\n  orch job cancel 17 --reason \"wrong branch\"")]
    Cancel {
        /// The job's number.
        id: i64,
        /// Why.
        #[arg(
            long,
            default_value = "cancelled from the command line",
            allow_hyphen_values = true
        )]
        reason: String,
    },
    /// Give a job another priority; higher goes first.
    #[command(alias = "prioritize", after_help = "Example:\n  orch job prioritise 17 10")]
    Prioritise {
        /// The job's number.
        id: i64,
        /// The new priority.
        #[arg(allow_negative_numbers = true)]
        priority: i32,
    },
}

pub(super) fn run(command: &JobCommand, global: &Global) -> Result<Exit, Failure> {
    match command {
        JobCommand::Show { id } => ask(global, Method::GET, &format!("/api/v1/jobs/{id}"), None),
        JobCommand::Retry { id } => ask(global, Method::POST, &format!("/api/v1/jobs/{id}/retry"), None),
        JobCommand::Cancel { id, reason } => {
            let body = json!({ "reason": reason });
            ask(
                global,
                Method::POST,
                &format!("/api/v1/jobs/{id}/cancel"),
                Some(&body),
            )
        }
        JobCommand::Prioritise { id, priority } => {
            let body = json!({ "priority": priority });
            ask(global, Method::PATCH, &format!("/api/v1/jobs/{id}"), Some(&body))
        }
    }
}

fn ask(global: &Global, method: Method, path: &str, body: Option<&Value>) -> Result<Exit, Failure> {
    let client = global.client()?;
    show(global, &converse(client.send(method, path, body))?)
}

fn show(global: &Global, answer: &Answer) -> Result<Exit, Failure> {
    let screen = global.screen();
    if global.json {
        return screen.json(answer);
    }
    let job: JobView = answer.view()?;
    screen.line(&screen.table(&JOB_HEADER, vec![job_row(&job)]))?;
    Ok(Exit::Ok)
}
