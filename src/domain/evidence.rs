//! What was proved about a candidate. Bound to the commit and tree it was proved for; never to a task as such.

use serde::Serialize;

use super::gate::Verdict;
use super::id::{CodeTree, PatchId, RunId, Sha, TaskId, Visit};
use super::time::Timestamp;

/// One recorded answer of a gate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Evidence {
    /// Row.
    pub id: i64,
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
    /// When.
    pub recorded_at: Timestamp,
}
