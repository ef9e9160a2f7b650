//! Makes a candidate mergeable under the lease: rebased onto `main`, tested as exactly that tree.
//!
//! Rebase: intent (old head, base, new head) → push with lease on the branch → record. Died in between: the
//! branch at the forge is looked at anew, and if it is the recorded new head, the work goes on from there.

use std::sync::Arc;

use serde_json::json;

use crate::domain::gate::{GateState, Verdict};
use crate::domain::id::{BranchName, Sha};
use crate::domain::task::Task;
use crate::git::{Identity, PushMode, PushOutcome, Rebase, Repository};
use crate::store::evidence::NewEvidence;
use crate::store::intents::{IntentId, IntentKind, NewIntent};
use crate::store::{evidence, intents};

use super::check::{self, Check, Checked};
use super::lease::MergeLease;
use super::look::{about, heads};
use super::transition::{Abort, Hold};
use super::{Engine, EngineError, ProjectHandle, blocking};

/// For whom, and under which gate's name the evidence is kept.
#[derive(Clone, Debug)]
pub(super) struct Purpose {
    /// The job.
    pub hold: Hold,
    /// The gate's name.
    pub gate: String,
}

/// What came of it.
#[derive(Clone, Debug)]
pub enum Mergeable {
    /// On top of `main`, tested.
    Ready {
        /// The head to merge.
        head: Sha,
        /// The `main` it was tested on.
        base: Sha,
    },
    /// Not mergeable: conflict or failing tests.
    Red {
        /// The head it is about.
        head: Sha,
        /// Why.
        verdict: Verdict,
        /// The end of what the tests printed.
        tail: String,
    },
    /// The tests could not be run.
    Unknown {
        /// Why.
        reason: String,
    },
}

/// Rebases and re-tests as needed.
///
/// # Errors
/// git's, the database's; `Lost` when the branch moves all the time.
pub(super) async fn make(
    engine: &Engine,
    project: &Arc<ProjectHandle>,
    task: &Task,
    lease: &MergeLease,
    purpose: &Purpose,
) -> Result<Mergeable, EngineError> {
    super::lease::holding(engine, lease, make_unrenewed(engine, project, task, purpose)).await
}

const TRIES: usize = 5;

async fn make_unrenewed(
    engine: &Engine,
    project: &Arc<ProjectHandle>,
    task: &Task,
    purpose: &Purpose,
) -> Result<Mergeable, EngineError> {
    for _ in 0..TRIES {
        let rebased = rebase(engine, project, task, purpose).await?;
        let (head, base) = match rebased {
            Step::OnTop { head, base } => (head, base),
            Step::Moved => continue,
            Step::Conflict { head, base, files } => {
                let verdict = Verdict::red(format!("rebase onto main conflicts in: {}", files.join(", ")));
                record(engine, project, task, purpose, (&head, &base), &verdict).await?;
                return Ok(Mergeable::Red {
                    head,
                    verdict,
                    tail: String::new(),
                });
            }
        };
        return test(engine, project, task, purpose, head, base).await;
    }
    Err(EngineError::Conflict {
        what: format!("branch {} moved {TRIES} times while it was rebased", task.branch),
    })
}

enum Step {
    OnTop {
        head: Sha,
        base: Sha,
    },
    Conflict {
        head: Sha,
        base: Sha,
        files: Vec<String>,
    },
    Moved,
}

async fn rebase(
    engine: &Engine,
    project: &Arc<ProjectHandle>,
    task: &Task,
    purpose: &Purpose,
) -> Result<Step, EngineError> {
    let scratch = check::scratch_dir(engine).join(format!(
        "{}-{}-rebase",
        purpose.hold.claim.job, purpose.hold.claim.epoch
    ));
    let (handle, branch) = (project.clone(), task.branch.clone());
    let (old, base, outcome) = blocking(move || rebase_in_scratch(&handle, &branch, &scratch)).await?;
    let new = match outcome {
        Rebase::UpToDate => return Ok(Step::OnTop { head: old, base }),
        Rebase::Conflict { files } => {
            return Ok(Step::Conflict {
                head: old,
                base,
                files,
            });
        }
        Rebase::Rebased(new) | Rebase::Squashed(new) => new,
    };
    let intent = intend(engine, task, purpose, (&old, &base, &new)).await?;
    let (handle, branch, expected, head) = (project.clone(), task.branch.clone(), old.clone(), new.clone());
    let pushed = blocking(move || {
        handle
            .repository()?
            .push(&head, &branch, Some(&expected), PushMode::Rewrite)
    })
    .await?;
    let outcome = match &pushed {
        PushOutcome::Pushed | PushOutcome::AlreadyThere => "pushed".to_owned(),
        PushOutcome::Moved { .. } => "the branch had moved".to_owned(),
        PushOutcome::NotFastForward => "not a fast-forward".to_owned(),
        PushOutcome::Refused { why } => format!("refused: {why}"),
    };
    finish(engine, intent, outcome).await?;
    match pushed {
        PushOutcome::Pushed | PushOutcome::AlreadyThere => Ok(Step::OnTop { head: new, base }),
        PushOutcome::Moved { .. } => Ok(Step::Moved),
        // A rebase rewrites; only the expected head is replaced.
        PushOutcome::NotFastForward => Ok(Step::Moved),
        PushOutcome::Refused { why } => Err(EngineError::Conflict { what: why }),
    }
}

/// Writes down which rebase is about to be pushed.
async fn intend(
    engine: &Engine,
    task: &Task,
    purpose: &Purpose,
    (old, base, new): (&Sha, &Sha, &Sha),
) -> Result<IntentId, EngineError> {
    let intent = NewIntent {
        key: format!("rebase:{}:{old}:{base}", task.id),
        task_id: task.id,
        claim: Some(purpose.hold.claim),
        kind: IntentKind::Rebase,
        payload: json!({ "old": old, "base": base, "new": new }),
    };
    let (now, hold) = (engine.now(), purpose.hold);
    let intended = engine.store().write(move |tx| {
        hold.check(tx)?;
        Ok::<_, Abort>(intents::again(tx, &intent, now)?)
    });
    Ok(intended.await?.id)
}

/// Writes down what became of it.
async fn finish(engine: &Engine, intent: IntentId, outcome: String) -> Result<(), EngineError> {
    let now = engine.now();
    let recorded = engine
        .store()
        .write(move |tx| intents::finish(tx, intent, &outcome, now));
    // Lost: an earlier monitor recorded it before it died.
    drop(recorded.await?);
    Ok(())
}

/// Who rebases: the commits keep their authors.
pub(super) fn orch() -> Identity {
    Identity {
        name: "orch".into(),
        email: "orch@localhost".into(),
    }
}

fn rebase_in_scratch(
    project: &ProjectHandle,
    branch: &BranchName,
    scratch: &std::path::Path,
) -> Result<(Sha, Sha, Rebase), EngineError> {
    let repo: Repository = project.repository()?;
    let (old, base) = heads(&repo, branch, &project.config.main)?;
    let outcome = repo.rebase(scratch, &old, &base, &orch())?;
    Ok((old, base, outcome))
}

async fn test(
    engine: &Engine,
    project: &Arc<ProjectHandle>,
    task: &Task,
    purpose: &Purpose,
    head: Sha,
    base: Sha,
) -> Result<Mergeable, EngineError> {
    let Some(command) = project.config.test_command.clone() else {
        let reason = "the project sets no test_command, so nothing can be known of this tree".into();
        return Ok(Mergeable::Unknown { reason });
    };
    if tested(engine, project, task, purpose, (&head, &base, &command)).await? {
        return Ok(Mergeable::Ready { head, base });
    }
    let check = Check {
        argv: vec!["sh".into(), "-c".into(), command],
        at: head.clone(),
        timeout: engine.settings().agent.check_timeout,
        claim: purpose.hold.claim,
        label: "merge".into(),
        about: about(project, task),
    };
    let checked: Checked = check::run(engine, project, check).await?;
    let verdict = checked.tests_verdict();
    if verdict.state == GateState::Unknown {
        return Ok(Mergeable::Unknown {
            reason: verdict.reason,
        });
    }
    record(engine, project, task, purpose, (&head, &base), &verdict).await?;
    Ok(match verdict.state {
        GateState::Green => Mergeable::Ready { head, base },
        GateState::Red | GateState::Pending | GateState::Unknown => Mergeable::Red {
            head,
            verdict,
            tail: checked.tail,
        },
    })
}

/// Up to date with evidence for that code, base and command: no re-test. An artifact on top of it changes nothing.
async fn tested(
    engine: &Engine,
    project: &Arc<ProjectHandle>,
    task: &Task,
    purpose: &Purpose,
    (head, base, command): (&Sha, &Sha, &str),
) -> Result<bool, EngineError> {
    let (handle, commit) = (project.clone(), head.clone());
    let tree = blocking(move || Ok::<_, EngineError>(handle.repository()?.code_tree(&commit)?)).await?;
    let (id, gate) = (task.id, purpose.gate.clone());
    let latest = engine
        .store()
        .read(move |tx| evidence::latest(tx, id, &gate))
        .await?;
    Ok(latest.is_some_and(|e| {
        e.verdict.state == GateState::Green
            && e.code_tree == tree
            && e.base.as_ref() == Some(base)
            && e.command.as_deref() == Some(command)
    }))
}

async fn record(
    engine: &Engine,
    project: &Arc<ProjectHandle>,
    task: &Task,
    purpose: &Purpose,
    (head, base): (&Sha, &Sha),
    verdict: &Verdict,
) -> Result<(), EngineError> {
    let (handle, commit, onto) = (project.clone(), head.clone(), base.clone());
    let (tree, patch_id) = blocking(move || {
        let repo = handle.repository()?;
        Ok::<_, EngineError>((repo.code_tree(&commit)?, repo.patch_id(&onto, &commit)?))
    })
    .await?;
    let row = NewEvidence {
        task_id: task.id,
        gate: purpose.gate.clone(),
        candidate: head.clone(),
        code_tree: tree,
        patch_id,
        base: Some(base.clone()),
        command: project.config.test_command.clone(),
        verdict: verdict.clone(),
        run_id: None,
        visit: task.visit,
    };
    let now = engine.now();
    let hold = purpose.hold;
    let kept = engine.store().write(move |tx| {
        hold.check(tx)?;
        Ok::<_, Abort>(evidence::record(tx, &row, now).map(drop)?)
    });
    Ok(kept.await?)
}
