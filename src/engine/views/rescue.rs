//! Unfinished work that is kept, and where it was restored.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::shapes;

/// Unfinished work that was kept of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct KeptView {
    /// The run.
    pub run: i64,
    /// Task's name.
    pub task: String,
    /// Project's name.
    pub project: String,
    /// Stage.
    pub stage: String,
    /// Role at work.
    #[schema(value_type = Option<shapes::Role>)]
    pub role: Option<String>,
    /// Why the run ended without delivering it.
    pub why: String,
    /// When the run was over, or began when it is not, RFC 3339.
    pub at: String,
    /// Where it is kept, in Orch's clone.
    pub wip_ref: String,
    /// The commit that holds it; absent when it is gone.
    pub commit: Option<String>,
    /// Files that stand otherwise in it than where the run began.
    pub files: Option<usize>,
    /// Branch of the project's repository to which it was restored last.
    pub branch: Option<String>,
    /// Why it cannot be had, and what to do.
    pub trouble: Option<String>,
}

/// Unfinished work with its patch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct KeptDetail {
    /// What is kept.
    pub kept: KeptView,
    /// Message, changed files and patch, as text.
    pub text: String,
    /// True when there is more than is shown.
    pub cut: bool,
}

/// What restoring kept work takes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RescueWork {
    /// The branch to make of it; `rescue/<task>-<run>` when left out.
    #[serde(default)]
    pub branch: Option<String>,
}

/// Where kept work was restored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RescueView {
    /// The run.
    pub run: i64,
    /// Task's name.
    pub task: String,
    /// The branch.
    pub branch: String,
    /// The commit at its tip.
    pub commit: String,
    /// The repository that has it now, without secrets.
    pub repository: String,
    /// False when it had it already.
    pub created: bool,
}
