//! Deploys, as they are shown.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::shapes;

/// An attempt to deploy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DeployView {
    /// The attempt: what its hook is given as `ORCH_ATTEMPT`.
    pub id: i64,
    /// Project's name.
    pub project: String,
    /// Its task.
    pub task: String,
    /// What is deployed.
    pub revision: String,
    /// Who confirmed it; null where the project waived the gesture.
    pub confirmed_by: Option<String>,
    /// What production ran before, where it said so.
    pub previous: Option<String>,
    /// Where it stands.
    #[schema(value_type = shapes::DeployStatus)]
    pub status: String,
    /// How that is known.
    pub result: Option<String>,
    /// When it was begun, RFC 3339.
    #[schema(format = DateTime)]
    pub started_at: String,
    /// When it was settled, RFC 3339.
    #[schema(format = DateTime)]
    pub finished_at: Option<String>,
    /// Why its revision is not deployed again, where it is in quarantine.
    pub quarantined: Option<String>,
}
