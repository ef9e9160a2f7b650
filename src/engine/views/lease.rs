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
