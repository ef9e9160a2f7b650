//! What the database knows of a task that its gates look at, and which of their answers are new to it. Writes nothing.

use super::{Judged, merge_key};
use crate::domain::deploy::DeployStatus;
use crate::domain::evidence::Evidence;
use crate::domain::gate::{GateState, Verdict};
use crate::domain::id::RunId;
use crate::domain::pipeline::GateKind;
use crate::domain::task::Task;
use crate::gates::{Asked, RunProof};
use crate::store::deploys::Deploy;
use crate::store::evidence::NewEvidence;
use crate::store::{Conn, StoreError, deploys, evidence, gestures, intents, pull_requests, runs};

/// What the database knows of a task that its gates look at.
pub(super) struct Known {
    /// The number of the task's pull request at the forge.
    pub pull: Option<i64>,
    pub evidence: Vec<Evidence>,
    pub approved_by: Option<String>,
    pub run: Option<RunProof>,
    pub merged: bool,
    pub deploy: Option<Deploy>,
}

/// What the hook's deploy of this visit says to its gate.
pub(super) fn deployed(deploy: Option<Deploy>) -> Verdict {
    let Some(deploy) = deploy else {
        return Verdict::pending("the deploy hook has not run in this visit");
    };
    let why = deploy.result.unwrap_or_default();
    match deploy.status {
        DeployStatus::Succeeded => Verdict::green(why),
        DeployStatus::Failed => Verdict::red(why),
        DeployStatus::Open => Verdict::pending(format!("deploy {} is at work", deploy.id.0)),
        DeployStatus::Unknown => Verdict::unknown(why),
    }
}

/// Reads it. Red answers of programs up to `anew` do not count.
pub(super) fn known(
    tx: &mut Conn,
    task: &Task,
    role: Option<crate::domain::pipeline::Role>,
    anew: Option<i64>,
) -> Result<Known, StoreError> {
    let run = match role {
        Some(role) => runs::latest_success_of_visit(tx, task.id, task.visit, role)?,
        None => None,
    };
    let mut evidence = evidence::latest_all(tx, task.id)?;
    evidence.retain(|e| {
        let of_a_program = e.command.is_some() && e.verdict.state == GateState::Red;
        !(of_a_program && anew.is_some_and(|last| e.id <= last))
    });
    let pull = pull_requests::by_branch(tx, task.project_id, &task.branch)?;
    Ok(Known {
        pull: pull.and_then(|pull| pull.forge_number),
        evidence,
        approved_by: gestures::approved(tx, task.id, task.visit)?.map(|g| g.person),
        run: run.map(|r| RunProof {
            role: r.role,
            given: r.start_tree,
            left: r.end_tree,
        }),
        merged: intents::by_key(tx, &merge_key(task))?.is_some_and(|i| i.is_done()),
        deploy: deploys::of_visit(tx, task.id, task.visit)?,
    })
}

/// Answers worth keeping: those that say something new about this candidate. Gates that run something keep
/// their own evidence, bound to what ran.
pub(super) fn fresh(
    asked: &[Asked],
    before: &[Evidence],
    judged: &Judged,
    task: &Task,
    run: Option<RunId>,
) -> Vec<NewEvidence> {
    let runs_itself = |kind: &GateKind| {
        matches!(
            kind,
            GateKind::Command { .. }
                | GateKind::BranchMergeable
                | GateKind::StagingStatus
                | GateKind::StagingImageFresh
        )
    };
    let worth = |a: &&Asked| {
        !(a.needs.is_some() || runs_itself(&a.answer.gate.kind) && a.answer.void_stage.is_none())
    };
    let known = |a: &Asked| {
        let latest = before
            .iter()
            .filter(|e| e.gate == a.answer.gate.name)
            .max_by_key(|e| e.id);
        latest.is_some_and(|e| {
            e.verdict == a.answer.verdict
                && e.candidate == judged.head
                && e.visit == task.visit
                && e.patch_id == judged.patch_id
        })
    };
    let new = asked.iter().filter(worth).filter(|a| !known(a));
    new.map(|a| NewEvidence {
        task_id: task.id,
        gate: a.answer.gate.name.clone(),
        candidate: judged.head.clone(),
        code_tree: judged.code_tree.clone(),
        patch_id: judged.patch_id.clone(),
        base: None,
        command: None,
        verdict: a.answer.verdict.clone(),
        run_id: run,
        visit: task.visit,
    })
    .collect()
}
