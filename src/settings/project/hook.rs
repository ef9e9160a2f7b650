//! `[deploy] hook`: the project's program that deploys, and how it is run. Never asks whether it exists: it may be part of
//! the repository.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::nodes;
use super::agents;
use super::table::Table;

/// The program that deploys a project, and rolls it back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hook {
    /// Program and arguments; `deploy` or `rollback` follows them. Run where the deployed revision is checked out.
    pub argv: Vec<String>,
    /// Where it is run.
    pub runner: Runner,
    /// Time that it may take.
    pub timeout: Duration,
    /// Further variables of its environment.
    pub env: BTreeMap<String, String>,
}

/// Where a hook is run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Runner {
    /// On the machine of the service, under a shim that outlives it.
    Local,
    /// On a machine that ssh reaches: a node's name, a name of ssh's configuration, or `user@host`. It outlives the
    /// connection.
    Ssh(String),
}

/// What spec and documentation promise where nothing is said.
const TIMEOUT: Duration = Duration::from_secs(900);

/// Reads what `[deploy]` says of a hook. The answer is none where there is none, or where it is wrong, which is noted.
pub(super) fn hook(section: &Table<'_>) -> Option<Hook> {
    let argv = section.texts("hook");
    let runner = section.parsed("runner", runner);
    let timeout = section.seconds("timeout_s");
    let env = agents::variables(section);
    let Some(argv) = argv else {
        for key in ["runner", "timeout_s", "env"] {
            if section.has(key) && !section.has("hook") {
                let problem = format!("deploy.{key} is about a hook, and there is none; set hook");
                section.note(section.line_of(key), problem);
            }
        }
        return None;
    };
    if argv.value.first().is_none_or(|program| program.trim().is_empty()) {
        section.note(
            argv.line,
            "give the hook as a program and its arguments, such as [\"./deploy.sh\"]",
        );
        return None;
    }
    Some(Hook {
        argv: argv.value,
        runner: runner.map_or(Runner::Local, |at| at.value),
        timeout: timeout.map_or(TIMEOUT, |at| at.value),
        env,
    })
}

fn runner(text: &str) -> Result<Runner, String> {
    match text.strip_prefix("ssh:") {
        Some(target) => nodes::host(target).map(Runner::Ssh),
        None if text == "local" => Ok(Runner::Local),
        None => Err("use \"local\", or \"ssh:\" and a host".to_owned()),
    }
}
