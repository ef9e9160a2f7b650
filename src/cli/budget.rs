//! `orch budget`: what agents cost, held against what they may.

use super::Global;
use super::client::converse;
use super::exit::{Exit, Failure};
use super::screen::plain;
use crate::domain::budget::dollars;
use crate::engine::views::{BudgetView, SpentView};

pub(super) fn run(global: &Global) -> Result<Exit, Failure> {
    let (client, screen) = (global.client()?, global.screen());
    let answer = converse(client.get("/api/v1/budget"))?;
    if global.json {
        return screen.json(&answer);
    }
    let budget: BudgetView = answer.view()?;
    let row = |kind: String, s: SpentView| {
        vec![
            plain(kind),
            plain(s.name),
            plain(dollars(s.spent_micro_usd)),
            plain(dollars(s.reserved_micro_usd)),
            plain(s.limit_micro_usd.map_or_else(|| "-".to_owned(), dollars)),
        ]
    };
    let day = format!("project on {}", budget.day);
    let projects = budget.projects.into_iter().map(|s| row(day.clone(), s));
    let tasks = budget.tasks.into_iter().map(|s| row("task".to_owned(), s));
    let header = ["OF", "NAME", "SPENT", "RESERVED", "LIMIT"];
    screen.line(&screen.table(&header, projects.chain(tasks).collect()))?;
    Ok(Exit::Ok)
}
