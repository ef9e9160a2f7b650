//! Writes an artifact of Orch's own into a task's folder in the project's repository, as a commit in Orch's name. Safe to
//! repeat: what is there already is not committed twice. Never writes to main, never makes a task's branch anew.

use std::sync::Arc;

use crate::domain::id::Sha;
use crate::domain::records::RefName;
use crate::domain::task::Task;
use crate::git::{Record, Recorded};

use super::look::artifacts_dir;
use super::mergeable::orch;
use super::{EngineError, ProjectHandle, blocking};

/// Onto which ref an artifact goes.
#[derive(Clone, Debug)]
pub(super) enum Onto {
    /// The task's branch, while its candidate is made ready; only on top of this head.
    Branch(Sha),
    /// The records ref that the project names, else the task's branch: the candidate is merged.
    Merged,
}

/// Writes one file into the task's folder.
///
/// # Errors
/// git's. What the repository says of the commit is an outcome.
pub(super) async fn write(
    project: &Arc<ProjectHandle>,
    task: &Task,
    (name, text): (&str, &str),
    onto: Onto,
) -> Result<Recorded, EngineError> {
    let branch = RefName::of_branch(&task.branch);
    let (onto, expected, begin) = match (onto, &project.config.records_ref) {
        (Onto::Branch(head), _) => (branch, Some(head), false),
        (Onto::Merged, Some(records)) => (records.clone(), None, true),
        (Onto::Merged, None) => (branch, None, false),
    };
    let path = format!("{}/{name}", artifacts_dir(task));
    let message = format!("{}: {name}", task.work_item_id);
    let (project, content) = (project.clone(), text.as_bytes().to_vec());
    blocking(move || {
        let repo = project.repository()?;
        Ok::<_, EngineError>(repo.record(&Record {
            onto: &onto,
            path: &path,
            content: &content,
            message: &message,
            author: &orch(),
            expected: expected.as_ref(),
            begin,
        })?)
    })
    .await
}
