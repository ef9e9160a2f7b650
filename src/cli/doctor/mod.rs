//! `orch doctor`: checks everything that Orch needs and says what to do. Changes nothing.

mod checks;
mod forge;
mod nodes;
mod plane;

use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use super::Global;
use super::exit::{Exit, Failure};
use super::screen::{maybe, plain, state};

const EXAMPLES: &str = "\
Examples:
  orch doctor
  orch doctor --json | jq '.[] | select(.state != \"ok\")'

Ends with exit code 1 when something failed; warnings alone are no failure.";

/// What `doctor` takes.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct DoctorArgs {}

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Ok,
    Warn,
    Fail,
}

impl State {
    fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

/// One thing that was checked.
#[derive(Debug, Serialize)]
struct Check {
    check: String,
    state: State,
    /// What was found; where it is bad, with what to do.
    found: String,
}

impl Check {
    fn new(check: impl Into<String>, state: State, found: impl Into<String>) -> Self {
        Self {
            check: check.into(),
            state,
            found: found.into(),
        }
    }
}

pub(super) fn run(_args: &DoctorArgs, global: &Global) -> Result<Exit, Failure> {
    let checks = checks::all(global);
    let screen = global.screen();
    if global.json {
        let json = serde_json::to_string(&checks).map_err(|e| Failure::Internal(e.to_string()))?;
        screen.line(&json)?;
    } else {
        let rows = checks.iter().map(|c| {
            vec![
                state(c.state.as_str()),
                plain(c.check.as_str()),
                maybe(Some(&c.found)),
            ]
        });
        screen.line(&screen.table(&["", "CHECK", "FOUND / WHAT TO DO"], rows.collect()))?;
    }
    let failed = checks.iter().any(|c| c.state == State::Fail);
    Ok(if failed { Exit::Refused } else { Exit::Ok })
}

/// Where a program is: by its path, else in the folders of PATH.
pub(super) fn on_path(program: &str) -> Option<PathBuf> {
    use std::os::unix::fs::PermissionsExt;
    let runs = |path: &Path| {
        path.metadata()
            .is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
    };
    if program.contains('/') {
        return Some(PathBuf::from(program)).filter(|p| runs(p));
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(|p| runs(p))
}
