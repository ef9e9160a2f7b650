//! What was healed, as it is shown.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Something that Orch healed by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HealingView {
    /// Grows.
    pub id: i64,
    /// When, RFC 3339.
    #[schema(format = DateTime)]
    pub at: String,
    /// Who healed: monitor, supervisor, start, reaper, lease, reconciler, node lost.
    pub kind: String,
    /// What was stuck.
    pub subject: String,
    /// Why it was.
    pub why: String,
    /// What was done.
    pub action: String,
    /// How long it was stuck, where that is known, milliseconds.
    pub stuck_ms: Option<i64>,
}
