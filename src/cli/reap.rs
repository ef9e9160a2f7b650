//! `orch reap`: what the reaper would settle, and one sweep now.

use awc::http::Method;
use clap::Args;

use super::Global;
use super::client::converse;
use super::exit::{Exit, Failure};
use super::screen::{Screen, Tone, plain};
use crate::engine::views::{ReapPlan, ReapReport};

const EXAMPLES: &str = "\
Examples:
  orch reap --dry-run       what would be settled, and why; changes nothing
  orch reap                 look now, instead of at the next tick";

/// What `reap` takes.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct ReapArgs {
    /// Only say what would be done.
    #[arg(long)]
    dry_run: bool,
}

pub(super) fn run(args: &ReapArgs, global: &Global) -> Result<Exit, Failure> {
    let (client, screen) = (global.client()?, global.screen());
    let answer = converse(async {
        match args.dry_run {
            true => client.get("/api/v1/reap").await,
            false => client.send(Method::POST, "/api/v1/reap", None::<&()>).await,
        }
    })?;
    if global.json {
        return screen.json(&answer);
    }
    let page = match args.dry_run {
        true => planned(screen, &answer.view()?),
        false => done(screen, &answer.view()?),
    };
    screen.line(&page)?;
    Ok(Exit::Ok)
}

fn planned(screen: Screen, plan: &ReapPlan) -> String {
    let row = |job: &crate::engine::views::PlannedReap| {
        [
            plain(job.job_id.to_string()),
            plain(job.task.as_str()),
            plain(job.agent.as_str()),
            (Tone::Waiting, job.tier.clone()),
            plain(job.why.as_str()),
            plain(job.action.as_str()),
        ]
        .to_vec()
    };
    let mut page = match plan.jobs.as_slice() {
        [] => "Nothing would be reaped.".to_owned(),
        jobs => {
            let header = ["JOB", "TASK", "AGENT", "RULE", "WHY", "WHAT WOULD BE DONE"];
            screen.table(&header, jobs.iter().map(row).collect())
        }
    };
    if !plan.enabled {
        page += "\nThe reaper is switched off (reaper.enabled): it does none of it.";
    }
    page
}

fn done(screen: Screen, report: &ReapReport) -> String {
    let mut page = match report.reaped.as_slice() {
        [] => "Nothing was reaped.".to_owned(),
        jobs => {
            let rows = jobs.iter().map(|job| {
                [
                    plain(job.job_id.to_string()),
                    plain(job.agent.as_str()),
                    plain(job.outcome.as_str()),
                ]
                .to_vec()
            });
            screen.table(&["JOB", "AGENT", "WHAT WAS DONE"], rows.collect())
        }
    };
    for what in &report.trouble {
        page += &format!("\nnot reaped, tried again at the next tick: {what}");
    }
    page
}
