//! `orch migrate`: brings the database to this version's schema, as `serve` does when it starts.

use clap::Args;
use serde_json::json;

use super::Global;
use super::exit::{Exit, Failure};
use crate::store::Store;

const EXAMPLES: &str = "\
Examples:
  orch migrate --dry-run      what would be done
  orch migrate

The service migrates by itself when it starts; this is for doing it beforehand.";

/// What `migrate` takes.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct MigrateArgs {
    /// Only say what would be done.
    #[arg(long)]
    dry_run: bool,
}

pub(super) fn run(args: &MigrateArgs, global: &Global) -> Result<Exit, Failure> {
    let (settings, _) = global.settings()?;
    let url = &settings.database.url;
    let done = if args.dry_run {
        Store::pending(url)
    } else {
        Store::migrate(url)
    };
    let names = done.map_err(|e| Failure::Refused(e.to_string()))?;
    let screen = global.screen();
    if global.json {
        let key = if args.dry_run { "pending" } else { "applied" };
        screen.line(&json!({ key: names }).to_string())?;
        return Ok(Exit::Ok);
    }
    let word = if args.dry_run { "pending" } else { "applied" };
    match names.as_slice() {
        [] => screen.line("The database has this version's schema already.")?,
        names => screen.line(&names.iter().map(|n| format!("{word} {n}\n")).collect::<String>())?,
    }
    Ok(Exit::Ok)
}
