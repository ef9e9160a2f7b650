//! Merge leases, as they are shown.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A merge lease that is held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LeaseView {
    /// The repository.
    pub repo: String,
    /// The task that holds it.
    pub task: String,
    /// That task's branch.
    pub branch: String,
    /// The boot of the service that took it.
    pub instance: String,
    /// Who that is now: `a live service`, `a live service, expired`, `a service that is gone`, `nobody known`.
    pub held_by: String,
    /// Since when, RFC 3339.
    #[schema(format = DateTime)]
    pub acquired_at: String,
    /// Until when, unless it is renewed, RFC 3339.
    #[schema(format = DateTime)]
    pub expires_at: String,
    /// Grows at every takeover; names what is to be released.
    pub token: i64,
}

/// What has to do with merging: who may, and where nobody may.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LeasesView {
    /// The leases that are held.
    pub held: Vec<LeaseView>,
    /// The repositories into which nobody merges.
    pub stopped: Vec<MergeStopView>,
}

/// A repository into which nobody merges until a person says so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MergeStopView {
    /// The repository.
    pub repo: String,
    /// What was found on its main branch.
    pub why: String,
    /// The task whose merge it was.
    pub task: Option<String>,
    /// Since when, RFC 3339.
    #[schema(format = DateTime)]
    pub since: Option<String>,
}
