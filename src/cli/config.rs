//! `orch config show`: every setting, its value and where it was given. Secrets stay masked.

use std::io::{self, Write};

use clap::Subcommand;

use super::Global;
use super::exit::{Exit, Failure};
use super::screen::{Tone, plain};

const EXAMPLES: &str = "\
Examples:
  orch config show
  orch --config /etc/orch.toml config show reaper      only keys that contain `reaper`
  orch config show --docs                              with what each key does

Later layers win: built-in default, configuration file, environment (key a.b_c is ORCH_A_B_C).";

/// Commands about settings.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Show every key, its value and its source.
    #[command(after_help = EXAMPLES)]
    Show {
        /// Only keys that contain this.
        filter: Option<String>,
        /// Say what each key does.
        #[arg(long)]
        docs: bool,
    },
}

pub(super) fn run(command: &ConfigCommand, global: &Global) -> Result<Exit, Failure> {
    let ConfigCommand::Show { filter, docs } = command;
    let (settings, warnings) = global.settings()?;
    for warning in &warnings {
        let _ = writeln!(io::stderr(), "orch: warning: {warning}");
    }
    let mut keys = settings.describe();
    if let Some(filter) = filter {
        keys.retain(|k| k.key.contains(filter.as_str()));
    }
    let screen = global.screen();
    if global.json {
        let json = serde_json::to_string(&keys).map_err(|e| Failure::Internal(e.to_string()))?;
        screen.line(&json)?;
        return Ok(Exit::Ok);
    }
    if keys.is_empty() {
        return Err(Failure::NotFound(
            "no key contains that; `orch config show` lists all".to_owned(),
        ));
    }
    let mut header = vec!["KEY", "VALUE", "SOURCE"];
    if *docs {
        header.push("WHAT IT DOES");
    }
    let rows = keys.iter().map(|k| {
        let given = if k.source == "default" {
            Tone::Dim
        } else {
            Tone::Good
        };
        let mut row = vec![
            plain(k.key.as_ref()),
            plain(k.value.as_str()),
            (given, k.source.clone()),
        ];
        if *docs {
            row.push(plain(k.doc));
        }
        row
    });
    screen.line(&screen.table(&header, rows.collect()))?;
    Ok(Exit::Ok)
}
