//! Asks which revision runs somewhere: a command of the project's, or a URL; and counts how often it was another one than the
//! candidate at staging. Never judges the answer.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::domain::gate::GateState;
use crate::domain::id::{CodeTree, Sha};
use crate::domain::job::Claim;
use crate::domain::pipeline::GateKind;
use crate::domain::revision::Revision;
use crate::domain::task::Task;
use crate::gates::Asked;
use crate::integrations::probe;
use crate::process;
use crate::settings::project::RevisionSource;
use crate::store::{evidence, gestures};

use super::check::{self, Check};
use super::look::tip;
use super::{Engine, EngineError, ProjectHandle, blocking};

/// How long a server may take.
const HTTP_PATIENCE: Duration = Duration::from_secs(10);
/// How long a command may take.
const COMMAND_PATIENCE: Duration = Duration::from_secs(60);

/// What is said to run there: 7 to 64 hexadecimal digits. A command runs in a clean worktree of `at`, or of main's tip;
/// `label` names its folders beside `claim`.
///
/// # Errors
/// Why nobody knows, in one line.
pub(super) async fn ask(
    engine: &Engine,
    project: &Arc<ProjectHandle>,
    source: &RevisionSource,
    at: Option<&Sha>,
    claim: Claim,
    label: &str,
) -> Result<String, String> {
    match answer(engine, project, source, at, (claim, label)).await {
        Ok(answer) => answer.map(|revision| revision.as_str().to_owned()),
        Err(e) => Err(e.to_string()),
    }
}

/// The same; the inner error says why nobody knows.
///
/// # Errors
/// What kept the question from being asked: nothing is known then of what runs there.
pub(super) async fn answer(
    engine: &Engine,
    project: &Arc<ProjectHandle>,
    source: &RevisionSource,
    at: Option<&Sha>,
    (claim, label): (Claim, &str),
) -> Result<Result<Revision, String>, EngineError> {
    Ok(match source {
        RevisionSource::Url(url) => at_url(url).await,
        RevisionSource::Command(command) => {
            let at = match at {
                Some(at) => at.clone(),
                None => tip_of_main(project).await?,
            };
            let words = [("ORCH_PROJECT", project.config.name.to_string())];
            let about: BTreeMap<_, _> = words.into_iter().map(|(k, v)| (k.to_owned(), v)).collect();
            let check = Check {
                argv: vec!["sh".to_owned(), "-c".to_owned(), command.clone()],
                at,
                timeout: COMMAND_PATIENCE,
                claim,
                label: label.to_owned(),
                about,
            };
            let ran = check::run(engine, project, check).await?;
            match ran.exit.succeeded() {
                true => Revision::of(&ran.tail),
                false => Err(format!(
                    "revision_command: {}: {}",
                    process::exit_text(&ran.exit),
                    check::one_line(&engine.settings().without_secrets(ran.tail.trim()), 200)
                )),
            }
        }
    })
}

async fn tip_of_main(project: &Arc<ProjectHandle>) -> Result<Sha, EngineError> {
    let project = project.clone();
    blocking(move || tip(&project.repository()?, &project.config.main)).await
}

async fn at_url(url: &str) -> Result<Revision, String> {
    let of = |why: String| format!("{url}: {why}");
    let fetched = probe::get(url, HTTP_PATIENCE).await.map_err(of)?;
    if !(200..300).contains(&fetched.status) {
        return Err(of(format!("HTTP {}", fetched.status)));
    }
    Revision::of(&String::from_utf8_lossy(&fetched.body)).map_err(of)
}

/// What is asked which revision staging runs.
pub(super) fn source_of(project: &ProjectHandle) -> Option<String> {
    let staging = project.config.staging.as_ref()?;
    staging.revision.as_ref().map(|source| match source {
        RevisionSource::Command(line) | RevisionSource::Url(line) => line.clone(),
    })
}

/// In how many visits staging was found not to run this code, since a person let the task go on. Counted where it decides:
/// at a red answer about it.
///
/// # Errors
/// The database's.
pub(super) async fn stale(
    engine: &Engine,
    task: &Task,
    asked: &[Asked],
    tree: &CodeTree,
) -> Result<i64, EngineError> {
    let last = asked.last().map(|a| &a.answer);
    let red =
        last.filter(|a| a.gate.kind == GateKind::StagingImageFresh && a.verdict.state == GateState::Red);
    let Some(answer) = red else { return Ok(0) };
    let (id, gate, tree) = (task.id, answer.gate.name.clone(), tree.clone());
    let read = engine.store().read(move |tx| {
        let since = gestures::last_start(tx, id)?;
        evidence::red_visits(tx, id, &gate, &tree, since)
    });
    Ok(read.await?)
}
