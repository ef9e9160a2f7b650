//! What was proved about candidates. Rows are added, never changed: the latest counts.

use diesel::dsl::exists;
use diesel::prelude::*;

use super::decode::{Cell, Row, all, maybe};
use super::{Conn, StoreError};
use crate::domain::evidence::Evidence;
use crate::domain::gate::{GateState, Verdict};
use crate::domain::id::{CodeTree, PatchId, RunId, Sha, TaskId, Visit};
use crate::domain::time::Timestamp;
use crate::schema::evidence;

#[derive(Queryable, Selectable)]
#[diesel(table_name = evidence)]
struct EvidenceRow {
    id: i64,
    task_id: i64,
    gate: String,
    candidate: String,
    code_tree: String,
    patch_id: Option<String>,
    base: Option<String>,
    command: Option<String>,
    state: String,
    reason: String,
    run_id: Option<i64>,
    visit: i64,
    recorded_at: i64,
}

impl Row for EvidenceRow {
    type Domain = Evidence;

    fn id(&self) -> i64 {
        self.id
    }

    fn decode(self) -> Result<Evidence, StoreError> {
        let state = Cell {
            table: "evidence",
            id: &self.id,
            column: "state",
        }
        .word(&self.state, GateState::parse)?;
        Ok(Evidence {
            id: self.id,
            task_id: TaskId(self.task_id),
            gate: self.gate,
            candidate: Sha::trusted(self.candidate),
            code_tree: CodeTree::trusted(self.code_tree),
            patch_id: self.patch_id.map(PatchId::trusted),
            base: self.base.map(Sha::trusted),
            command: self.command,
            verdict: Verdict {
                state,
                reason: self.reason,
            },
            run_id: self.run_id.map(RunId),
            visit: Visit(self.visit),
            recorded_at: Timestamp(self.recorded_at),
        })
    }
}

/// An answer to be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEvidence {
    /// The task whose candidate was judged.
    pub task_id: TaskId,
    /// The gate's name in its stage.
    pub gate: String,
    /// Branch head it was proved for.
    pub candidate: Sha,
    /// That head's tree without artifacts.
    pub code_tree: CodeTree,
    /// The candidate's patch id, where it was asked for.
    pub patch_id: Option<PatchId>,
    /// For test evidence: the `main` it was based on.
    pub base: Option<Sha>,
    /// For test evidence: the command that ran.
    pub command: Option<String>,
    /// The answer.
    pub verdict: Verdict,
    /// The run that produced it, if one did.
    pub run_id: Option<RunId>,
    /// The visit of the stage in which it was asked.
    pub visit: Visit,
}

/// Keeps an answer.
///
/// # Errors
/// See [`StoreError`].
pub fn record(conn: &mut Conn, new: &NewEvidence, now: Timestamp) -> Result<Evidence, StoreError> {
    let row: EvidenceRow = on!(conn, c => diesel::insert_into(evidence::table)
        .values((
            evidence::task_id.eq(new.task_id.0),
            evidence::gate.eq(&new.gate),
            evidence::candidate.eq(new.candidate.as_str()),
            evidence::code_tree.eq(new.code_tree.as_str()),
            evidence::patch_id.eq(new.patch_id.as_ref().map(PatchId::as_str)),
            evidence::base.eq(new.base.as_ref().map(Sha::as_str)),
            evidence::command.eq(new.command.as_deref()),
            evidence::state.eq(new.verdict.state.as_str()),
            evidence::reason.eq(&new.verdict.reason),
            evidence::run_id.eq(new.run_id.map(|id| id.0)),
            evidence::visit.eq(new.visit.0),
            evidence::recorded_at.eq(now.0),
        ))
        .returning(EvidenceRow::as_returning())
        .get_result(c))?;
    row.decode()
}

/// The last answer of a gate about a task, whatever candidate it was about.
///
/// # Errors
/// [`StoreError::Broken`] when it cannot be read.
pub fn latest(conn: &mut Conn, task: TaskId, gate: &str) -> Result<Option<Evidence>, StoreError> {
    maybe(on!(conn, c => evidence::table
        .filter(evidence::task_id.eq(task.0))
        .filter(evidence::gate.eq(gate))
        .order(evidence::id.desc())
        .select(EvidenceRow::as_select())
        .first(c)
        .optional())?)
}

/// True when a gate gave this answer about a candidate before, in whatever visit.
///
/// # Errors
/// See [`StoreError`].
pub fn was(
    conn: &mut Conn,
    task: TaskId,
    gate: &str,
    state: GateState,
    candidate: &Sha,
) -> Result<bool, StoreError> {
    Ok(on!(conn, c => diesel::select(exists(evidence::table
        .filter(evidence::task_id.eq(task.0))
        .filter(evidence::gate.eq(gate))
        .filter(evidence::candidate.eq(candidate.as_str()))
        .filter(evidence::state.eq(state.as_str()))))
        .get_result(c))?)
}

/// In how many visits of a stage a gate was red about this code, from a time on.
///
/// # Errors
/// See [`StoreError`].
pub fn red_visits(
    conn: &mut Conn,
    task: TaskId,
    gate: &str,
    tree: &CodeTree,
    since: Timestamp,
) -> Result<i64, StoreError> {
    Ok(on!(conn, c => evidence::table
        .filter(evidence::task_id.eq(task.0))
        .filter(evidence::gate.eq(gate))
        .filter(evidence::code_tree.eq(tree.as_str()))
        .filter(evidence::state.eq(GateState::Red.as_str()))
        .filter(evidence::recorded_at.ge(since.0))
        .select(diesel::dsl::count(evidence::visit).aggregate_distinct())
        .first(c))?)
}

/// The id of the last answer about a task, if there is one.
///
/// # Errors
/// See [`StoreError`].
pub fn last_id(conn: &mut Conn, task: TaskId) -> Result<Option<i64>, StoreError> {
    Ok(on!(conn, c => evidence::table
        .filter(evidence::task_id.eq(task.0))
        .select(diesel::dsl::max(evidence::id))
        .first(c))?)
}

/// The last answer of each gate about a task, by the gate's name.
///
/// # Errors
/// [`StoreError::Broken`] when one cannot be read.
pub fn latest_all(conn: &mut Conn, task: TaskId) -> Result<Vec<Evidence>, StoreError> {
    let last: Vec<Option<i64>> = on!(conn, c => evidence::table
        .filter(evidence::task_id.eq(task.0))
        .group_by(evidence::gate)
        .select(diesel::dsl::max(evidence::id))
        .load(c))?;
    let last: Vec<i64> = last.into_iter().flatten().collect();
    all(on!(conn, c => evidence::table
        .filter(evidence::id.eq_any(&last))
        .order(evidence::gate)
        .select(EvidenceRow::as_select())
        .load(c))?)
}
