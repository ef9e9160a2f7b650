//! What happens to an agent's work after its exit: committed, pushed, offered as a pull request.

use std::sync::Arc;

use serde_json::json;

use crate::domain::evidence_packet::EvidencePacket;
use crate::domain::front_matter;
use crate::domain::id::Sha;
use crate::domain::pipeline::Role;
use crate::domain::run::{RunStep, StopCause};
use crate::domain::task::Task;
use crate::domain::walk::Answer;
use crate::git::{Back, GitError, Identity, PushMode, PushOutcome, Rebase, Relation};
use crate::process;
use crate::store::intents::{IntentId, IntentKind, NewIntent};
use crate::store::runs::{Closing, RunPatch};
use crate::store::{Guarded, intents, runs};

use super::super::transition::{self, Abort};
use super::super::{Engine, EngineError, ProjectHandle, blocking, budget};
use super::failed::{self, Again};
use super::forge::new_pull;
use super::tidy::{self, remove_dir};
use super::{Attempt, Step, far};

/// Who Orch's own commits are by.
pub(super) fn author(role: &str) -> Identity {
    Identity {
        name: format!("orch {role}"),
        email: "orch@localhost".into(),
    }
}

pub(super) async fn commit(engine: &Engine, a: &mut Attempt) -> Result<Step, EngineError> {
    let Some(exit) = &a.run.exit else {
        return failed::over(engine, a, "the exit was not recorded", Again::IfAttemptsLeft).await;
    };
    if exit.ended_by_orch() {
        let why = match exit.cause {
            Some(StopCause::LeaseExpired { .. }) => process::exit_text(exit),
            _ => budget::why_stopped(engine, &a.task)
                .await?
                .unwrap_or_else(|| "stopped by Orch".to_owned()),
        };
        return failed::over(engine, a, &why, Again::WithoutCost).await;
    }
    if let Some(why) = a.run.error.clone() {
        return failed::over(engine, a, &why, Again::IfAttemptsLeft).await;
    }
    let Some(start) = a.run.start_sha.clone() else {
        return failed::over(
            engine,
            a,
            "the run has no recorded beginning",
            Again::IfAttemptsLeft,
        )
        .await;
    };
    match far::take_over(engine, a).await? {
        Ok(None | Some(Back::Brought)) => {}
        Ok(Some(Back::Gone)) => {
            let why = "the agent removed its own worktree: only what it had committed there is kept";
            return failed::over(engine, a, why, Again::IfAttemptsLeft).await;
        }
        Err(why) => return failed::over(engine, a, &why, Again::IfAttemptsLeft).await,
    }
    let role = a.job.role.map_or("agent", |r| r.as_str());
    let message = format!(
        "{} {}: work of run {}",
        a.task.work_item_id, a.stage.name, a.run.id
    );
    let (project, path, author) = (a.project.clone(), a.worktree(engine), author(role));
    let from = start.clone();
    let committed = blocking(move || {
        let repo = project.repository()?;
        let commit = || {
            repo.unlink_scaffolds(&path, &from)?;
            repo.commit_all(&path, &message, &author)
        };
        let committed = match commit() {
            // An agent took the clone's knowledge of this folder away, its own or another's; not the folder.
            Err(GitError::WorktreeLost { .. }) => {
                repo.readopt_worktree(&path, &from)?;
                commit()?
            }
            report => report?,
        };
        let end = committed.outcome.head().clone();
        let relation = repo.ancestry(&from, &end)?;
        let tree = repo.code_tree(&end)?;
        Ok::<_, EngineError>((end, tree, relation))
    })
    .await;
    let (end, tree, relation) = match committed {
        Err(EngineError::Git(GitError::WorktreeLost { .. })) => {
            let why = "the agent removed its own worktree: only what it had committed there is kept";
            return failed::over(engine, a, why, Again::IfAttemptsLeft).await;
        }
        committed => committed?,
    };
    match relation {
        Relation::Same | Relation::Ahead => {}
        Relation::Behind | Relation::Diverged => {
            let why = "the agent rewrote the branch's history: its work is kept on a WIP ref";
            return failed::over(engine, a, why, Again::Never).await;
        }
    }
    let patch = RunPatch {
        step: Some(RunStep::Committed),
        end_sha: Some(end),
        end_tree: Some(tree),
        ..RunPatch::default()
    };
    a.record(engine, patch).await?;
    Ok(Step::On)
}

/// Pushes with the branch's old head as lease. A branch that moved meanwhile gets the run's commits on top.
pub(super) async fn push(engine: &Engine, a: &mut Attempt) -> Result<Step, EngineError> {
    let (Some(start), Some(mut end)) = (a.run.start_sha.clone(), a.run.end_sha.clone()) else {
        return failed::over(
            engine,
            a,
            "the run has no recorded commits",
            Again::IfAttemptsLeft,
        )
        .await;
    };
    let mut expected = at_origin(a, &start).await?;
    let mut moved = None;
    for _ in 0..3 {
        let intent = intend_push(engine, a, moved, (expected.as_ref().unwrap_or(&start), &end)).await?;
        moved = Some(intent);
        let (project, branch, head, lease) = (
            a.project.clone(),
            a.task.branch.clone(),
            end.clone(),
            expected.clone(),
        );
        let outcome = blocking(move || {
            project
                .repository()?
                .push(&head, &branch, lease.as_ref(), PushMode::FastForward)
        })
        .await?;
        let found = match outcome {
            PushOutcome::Pushed | PushOutcome::AlreadyThere => return pushed(engine, a, end, intent).await,
            PushOutcome::NotFastForward => {
                let why = "the run's commits do not continue the branch: its work is kept on a WIP ref";
                return failed::over(engine, a, why, Again::Never).await;
            }
            PushOutcome::Refused { why } => return Err(EngineError::Conflict { what: why }),
            PushOutcome::Moved { found: None } => {
                let why = format!("branch {} was deleted while the agent worked", a.task.branch);
                return failed::over(engine, a, &why, Again::Never).await;
            }
            PushOutcome::Moved { found: Some(found) } => found,
        };
        let scratch =
            super::super::check::scratch_dir(engine).join(format!("{}-{}-onto", a.claim.job, a.claim.epoch));
        let (project, head, onto) = (a.project.clone(), end.clone(), found.clone());
        let rebased = blocking(move || {
            let repo = project.repository()?;
            repo.fetch()?;
            repo.rebase(&scratch, &head, &onto, &super::super::mergeable::orch())
        })
        .await?;
        match rebased {
            Rebase::Rebased(new) | Rebase::Squashed(new) => end = new,
            Rebase::UpToDate => {}
            Rebase::Conflict { files } => {
                let why = format!(
                    "branch {} moved meanwhile and conflicts in: {}",
                    a.task.branch,
                    files.join(", ")
                );
                return failed::over(engine, a, &why, Again::Never).await;
            }
        }
        expected = Some(found);
    }
    Err(EngineError::Conflict {
        what: format!("branch {} moves all the time", a.task.branch),
    })
}

/// The head that the branch must have at origin. It may be absent until work on the task was judged once: then this
/// push makes it.
async fn at_origin(a: &Attempt, start: &Sha) -> Result<Option<Sha>, EngineError> {
    if a.task.candidate.is_some() {
        return Ok(Some(start.clone()));
    }
    let (project, branch) = (a.project.clone(), a.task.branch.clone());
    let there = blocking(move || project.repository()?.remote_head(&branch)).await?;
    Ok(there.map(|_| start.clone()))
}

/// Claim before act: the intent is written only while the job is still ours. The one before it came to nothing.
async fn intend_push(
    engine: &Engine,
    a: &Attempt,
    moved: Option<IntentId>,
    (from, to): (&Sha, &Sha),
) -> Result<IntentId, EngineError> {
    let (hold, now) = (a.hold(), engine.now());
    let intent = NewIntent {
        key: format!("push:{}:{from}:{to}", a.task.id),
        task_id: a.task.id,
        claim: Some(hold.claim),
        kind: IntentKind::Push,
        payload: json!({ "branch": a.task.branch, "from": from, "to": to }),
    };
    let write = engine.store().write(move |tx| {
        hold.check(tx)?;
        if let Some(moved) = moved {
            // Lost: a predecessor noted it before it died.
            drop(intents::finish(tx, moved, "the branch had moved", now)?);
        }
        Ok::<_, Abort>(intents::again(tx, &intent, now)?.id)
    });
    write.await.map_err(EngineError::from)
}

async fn pushed(engine: &Engine, a: &mut Attempt, end: Sha, intent: IntentId) -> Result<Step, EngineError> {
    let tree = match a.run.end_sha.as_ref() == Some(&end) {
        true => None,
        false => {
            let (project, head) = (a.project.clone(), end.clone());
            Some(blocking(move || project.repository()?.code_tree(&head)).await?)
        }
    };
    let patch = RunPatch {
        step: Some(RunStep::Pushed),
        end_sha: Some(end),
        end_tree: tree,
        ..RunPatch::default()
    };
    let (hold, now) = (a.hold(), engine.now());
    let recorded = engine.store().write(move |tx| {
        let run = transition::record(tx, hold, &patch, now)?;
        // Lost: a predecessor noted it before it died.
        drop(intents::finish(tx, intent, "pushed", now)?);
        Ok::<_, Abort>(run)
    });
    a.run = recorded.await?;
    engine.changed.send_modify(|n| *n += 1);
    Ok(Step::On)
}

/// One open pull request per branch; its head follows the branch.
pub(super) async fn open_pull_request(engine: &Engine, a: &mut Attempt) -> Result<Step, EngineError> {
    let Some(head) = a.run.end_sha.clone() else {
        return failed::over(
            engine,
            a,
            "the run has no recorded commits",
            Again::IfAttemptsLeft,
        )
        .await;
    };
    // After the merge there is nothing to merge: a deployer's log needs no pull request.
    if a.stage.merges && a.job.role == Some(Role::Deployer) {
        let patch = RunPatch {
            step: Some(RunStep::PrOpened),
            ..RunPatch::default()
        };
        a.record(engine, patch).await?;
        return Ok(Step::On);
    }
    let new = new_pull(a, &head);
    let (run, claim, monitor, now) = (a.run.id, a.claim, a.monitor, engine.now());
    let forge = a.project.forge.clone();
    let recorded = engine
        .store()
        .write(move |tx| {
            forge.open_pull_request(tx, &new, now)?;
            let patch = RunPatch {
                step: Some(RunStep::PrOpened),
                ..RunPatch::default()
            };
            match runs::record(tx, run, (claim, monitor), &patch, now)? {
                Guarded::Won(run) => Ok(run),
                Guarded::Lost => Err(Abort::Lost),
            }
        })
        .await?;
    a.run = recorded;
    Ok(Step::On)
}

/// After the job has ended: the worktree goes, the run is closed.
pub(super) async fn clean_up(engine: &Engine, a: &Attempt) -> Result<(), EngineError> {
    match tidy::put_away(engine, &a.project, &a.task, &a.run, a.claim).await {
        Ok(_) => {}
        // Its run stays open.
        Err(e) => return far::or_later(engine, a.claim, Err(e)),
    }
    remove_dir(a.run_dir(engine).join("tmp")).await?;
    let (id, now) = (a.run.id, engine.now());
    // Lost: a predecessor closed it before it died.
    drop(
        engine
            .store()
            .write(move |tx| runs::close(tx, id, Closing::Finalised, None, now))
            .await?,
    );
    engine.committed();
    Ok(())
}

/// What the next developer is told about a gate that is red after a run.
pub(super) async fn evidence_packet(
    engine: &Engine,
    a: &Attempt,
    answer: &Answer,
    head: &Sha,
    log_tail: &str,
) -> Result<EvidencePacket, EngineError> {
    let tail = match log_tail.is_empty() {
        true => process::output_tail(&a.run_dir(engine), 4096).unwrap_or_default(),
        false => log_tail.to_owned(),
    };
    let packet = packet_of(&a.project, &a.task, answer, head).await?;
    Ok(EvidencePacket {
        log_tail: tail,
        ..packet
    })
}

/// The same without a run: what the repository says.
pub(in crate::engine) async fn packet_of(
    project: &Arc<ProjectHandle>,
    task: &Task,
    answer: &Answer,
    head: &Sha,
) -> Result<EvidencePacket, EngineError> {
    let artifact = crate::gates::artifact_of(&answer.gate.kind);
    let (project, commit) = (project.clone(), head.clone());
    let dir = super::super::look::artifacts_dir(task);
    let (findings, diff) = blocking(move || {
        let repo = project.repository()?;
        let findings = match artifact {
            Some(name) => repo.read_blob(&commit, &format!("{dir}/{name}")).ok().flatten(),
            None => None,
        };
        let main = super::super::look::tip(&repo, &project.config.main)?;
        let diff = repo.diff_summary(&main, &commit, 4096)?;
        Ok::<_, EngineError>((findings, diff))
    })
    .await?;
    Ok(EvidencePacket {
        gate: answer.gate.name.clone(),
        reason: answer.verdict.reason.clone(),
        findings: front_matter::findings_of(findings.as_deref()),
        log_tail: String::new(),
        diff_summary: diff,
        from_stage: task.stage.clone(),
        at_candidate: Some(head.clone()),
    })
}
