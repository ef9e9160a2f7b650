//! The services that share a database.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A boot of the service that has not said that it stopped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct InstanceView {
    /// Identity.
    pub id: String,
    /// Its machine.
    pub node: String,
    /// Its process there.
    pub pid: i32,
    /// `this` (the one that answers), `alive`, or `silent`: longer than `instance.ttl_s`, so that others take its jobs.
    pub state: String,
    /// When it started, RFC 3339.
    #[schema(format = DateTime)]
    pub started_at: String,
    /// How long ago the database heard it; none on SQLite, where there is one service.
    pub heard_s_ago: Option<u64>,
}
