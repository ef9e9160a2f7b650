//! `orch project`: the repositories under care.

use clap::Subcommand;

use super::Global;
use super::client::converse;
use super::exit::{Exit, Failure};
use super::screen::plain;
use crate::engine::views::ProjectView;

/// Commands about projects.
#[derive(Debug, Subcommand)]
pub enum ProjectCommand {
    /// List the projects of the running service.
    #[command(after_help = "Put another repository under care with `orch init`, then restart the service.")]
    List,
}

pub(super) fn run(command: &ProjectCommand, global: &Global) -> Result<Exit, Failure> {
    match command {
        ProjectCommand::List => list(global),
    }
}

fn list(global: &Global) -> Result<Exit, Failure> {
    let client = global.client()?;
    let answer = converse(client.get("/api/v1/projects"))?;
    let screen = global.screen();
    if global.json {
        return screen.json(&answer);
    }
    let projects: Vec<ProjectView> = answer.view()?;
    if projects.is_empty() {
        screen.line(
            "No project yet. Put a repository under care with `orch init`, then restart the service.",
        )?;
        return Ok(Exit::Ok);
    }
    let rows = projects.into_iter().map(|p| {
        let stages = p.stages.join(" → ");
        vec![
            plain(p.name),
            plain(p.prefix),
            plain(p.main),
            plain(p.repo),
            plain(stages),
        ]
    });
    let table = screen.table(
        &["NAME", "PREFIX", "MAIN", "REPOSITORY", "STAGES"],
        rows.collect(),
    );
    screen.line(&table)?;
    Ok(Exit::Ok)
}
