//! `orch healed`: what Orch mended by itself.

use clap::Args;

use super::Global;
use super::client::converse;
use super::exit::{Exit, Failure};
use super::screen::plain;
use super::text;
use crate::engine::views::HealingView;

const EXAMPLES: &str = "\
Examples:
  orch healed                the latest twenty, newest first
  orch healed --limit 100
  orch healed --json";

/// What `healed` takes.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct HealedArgs {
    /// At most N of them.
    #[arg(short = 'n', long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: Option<u32>,
}

pub(super) fn run(args: &HealedArgs, global: &Global) -> Result<Exit, Failure> {
    let client = global.client()?;
    let limit = args.limit.map(|n| format!("?limit={n}")).unwrap_or_default();
    let answer = converse(client.get(&format!("/api/v1/healed{limit}")))?;
    let screen = global.screen();
    if global.json {
        return screen.json(&answer);
    }
    let healed: Vec<HealingView> = answer.view()?;
    if healed.is_empty() {
        screen.line("Nothing had to be healed yet.")?;
        return Ok(Exit::Ok);
    }
    let now = text::now();
    let rows = healed.into_iter().map(|h| {
        let stuck = h.stuck_ms.map_or_else(|| "-".to_owned(), text::span);
        vec![
            plain(text::ago(&h.at, now)),
            plain(h.kind),
            plain(h.subject),
            plain(h.why),
            plain(stuck),
            plain(h.action),
        ]
    });
    let header = ["WHEN", "BY", "WHAT", "WHY", "STUCK", "DONE"];
    screen.line(&screen.table(&header, rows.collect()))?;
    Ok(Exit::Ok)
}
