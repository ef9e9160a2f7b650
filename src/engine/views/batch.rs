//! Batches, as they are submitted and shown.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{AddTask, shapes};
use crate::domain::batch::BatchMode;

/// What submitting a batch takes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SubmitBatch {
    /// Its name, unique among all projects: the same name and content again is the batch that is there.
    #[schema(value_type = shapes::BatchName)]
    pub name: String,
    /// Project's name; may be left out when there is only one.
    #[serde(default)]
    pub project: Option<String>,
    /// How its tasks are worked.
    #[schema(value_type = shapes::BatchMode)]
    pub mode: BatchMode,
    /// Its tasks, each of which may depend on those before it by their `id`.
    #[serde(alias = "task")]
    #[schema(min_items = 1, max_items = 500)]
    pub tasks: Vec<AddTask>,
}

/// A batch with all that is known of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct BatchDetail {
    /// Its name.
    pub name: String,
    /// Project's name.
    pub project: String,
    /// How its tasks are worked.
    #[schema(value_type = shapes::BatchMode)]
    pub mode: BatchMode,
    /// When it was submitted, RFC 3339.
    #[schema(format = DateTime)]
    pub created_at: String,
    /// Its breaker: `closed`, `open` (none of its jobs is started), `half open` (one is, as a trial).
    pub breaker: String,
    /// When an open breaker lets one through, RFC 3339.
    #[schema(format = DateTime)]
    pub until: Option<String>,
    /// Failures since its last success.
    pub failures: u32,
    /// Retries that its tasks used in its whole life.
    pub retries: u32,
    /// Retries that they may use.
    pub max_retries: u32,
    /// Its tasks, in their order.
    pub tasks: Vec<BatchMember>,
}

/// A task of a batch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct BatchMember {
    /// "ORCH-059".
    pub id: String,
    /// One line.
    pub title: String,
    /// Where in the pipeline.
    pub stage: String,
    /// How it stands there.
    #[schema(value_type = shapes::TaskStatus)]
    pub status: String,
    /// Why it waits or is blocked.
    pub reason: Option<String>,
}

/// What resuming or cancelling a batch did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct BatchChange {
    /// Tasks that were changed.
    pub changed: Vec<String>,
    /// Tasks that could not be: ask again.
    pub unchanged: Vec<Unchanged>,
    /// The batch after it.
    pub batch: BatchDetail,
}

/// A task that could not be changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Unchanged {
    /// The task.
    pub id: String,
    /// Why not.
    pub why: String,
}
