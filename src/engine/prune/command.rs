//! A project's own way to make room: its `prune_command`, run like a check in the project's clone, which is there also
//! when the disk has no room for a worktree. Never judged: that it failed is told.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::process;
use crate::process::check::{CheckResult, CheckSpec};
use crate::store::retention::Act;

use super::super::check::one_line;
use super::super::views::PruneCommand;
use super::super::{Engine, EngineError, ProjectHandle, blocking};

const TAIL_BYTES: u64 = 4096;

/// Runs every project's command, one after the other, or only names them.
pub(super) async fn all(engine: &Engine, act: Act) -> Vec<PruneCommand> {
    let mut told = Vec::new();
    for project in engine.projects() {
        let Some(command) = &project.config.prune_command else {
            continue;
        };
        let ended = match act {
            Act::Count => None,
            Act::Remove => Some(one(engine, project, command).await),
        };
        told.push(PruneCommand {
            project: project.config.name.to_string(),
            command: command.clone(),
            succeeded: ended
                .as_ref()
                .map(|ended| ended.as_ref().is_ok_and(|done| done.exit.succeeded())),
            outcome: ended.map(|ended| match ended {
                Ok(done) => outcome(&done),
                Err(e) => format!("could not be run: {e}"),
            }),
        });
    }
    told
}

fn outcome(done: &CheckResult) -> String {
    let said = done
        .output_tail
        .lines()
        .rev()
        .find(|line| !line.trim().is_empty());
    let said = said.map(|line| format!(": {}", one_line(line, 200)));
    format!("{}{}", process::exit_text(&done.exit), said.unwrap_or_default())
}

async fn one(
    engine: &Engine,
    project: &Arc<ProjectHandle>,
    command: &str,
) -> Result<CheckResult, EngineError> {
    let name = project.config.name.as_str();
    let run_dir = engine.settings().data_dir.join("prune").join(name);
    let handle = project.clone();
    let cwd = blocking(move || handle.repository().map(|repo| repo.bare().to_owned())).await?;
    let about = BTreeMap::from([("ORCH_PROJECT".to_owned(), name.to_owned())]);
    let agent = &engine.settings().agent;
    let spec = CheckSpec {
        argv: ["sh", "-c", command].map(str::to_owned).to_vec(),
        env: process::allowed_env(&agent.env_allow, process::inherited_env(), &about),
        cwd,
        timeout: agent.check_timeout,
        kill_grace: agent.kill_grace,
        lease: engine.run_lease(),
        log_cap_bytes: agent.log_cap_bytes,
        tail_bytes: TAIL_BYTES,
        run_dir: run_dir.clone(),
    };
    let done = process::check::run(engine.exe(), &spec).await;
    // What a service that died has left is answered once, and gone then.
    blocking(move || match std::fs::remove_dir_all(&run_dir) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(EngineError::file(run_dir)(e)),
        Ok(()) | Err(_) => Ok(()),
    })
    .await?;
    Ok(done?)
}
