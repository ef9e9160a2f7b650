//! Watching production after a deploy, as it is shown.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How watching production stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PostDeployView {
    /// Off means that it does nothing.
    pub enabled: bool,
    /// What is watched now, oldest first.
    pub watching: Vec<WatchingView>,
    /// The verdict on the latest deploy that has one.
    pub last: Option<ProductionView>,
}

/// A deploy after which production is watched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WatchingView {
    /// The task that was deployed.
    pub task: String,
    /// Project's name.
    pub project: String,
    /// What production should run.
    pub revision: String,
    /// Probes of the whole window; none where the project's file no longer says.
    pub probes: Option<u16>,
    /// Those that are over, missing ones included.
    pub probes_over: usize,
    /// Those that failed.
    pub failed: usize,
    /// When the window ends, RFC 3339.
    #[schema(format = DateTime)]
    pub until: Option<String>,
    /// The version before is being brought back.
    pub rolling_back: bool,
}

/// What watching came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProductionView {
    /// The task that was deployed.
    pub task: String,
    /// Project's name.
    pub project: String,
    /// What was deployed.
    pub revision: String,
    /// `HEALTHY`, `DEGRADED`, `INCONCLUSIVE`.
    #[schema(value_type = super::shapes::Health)]
    pub status: String,
    /// `NONE`, `ALERT_ONLY`, `ROLLING_BACK`, `ROLLED_BACK`, `ROLLBACK_FAILED`, `ROLLBACK_UNKNOWN`.
    #[schema(value_type = super::shapes::ActionTaken)]
    pub action: String,
    /// When that was known, RFC 3339.
    #[schema(format = DateTime)]
    pub at: Option<String>,
}
