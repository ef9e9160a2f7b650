//! What agents cost and may cost, as it is shown. Amounts are micro-USD.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What agents cost, held against what they may.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BudgetView {
    /// The day that is meant, UTC: `2026-11-01`.
    pub day: String,
    /// What a run counts before it says anything, and where nobody knows what it cost.
    pub reserve_micro_usd: i64,
    /// Every project, today.
    pub projects: Vec<SpentView>,
    /// Tasks that are not over and have spent something, since a person last let them go on.
    pub tasks: Vec<SpentView>,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SpentView {
    /// The project's name, or the task's.
    pub name: String,
    /// What is spent.
    pub spent_micro_usd: i64,
    /// What is reserved for its agents that run, beyond that.
    pub reserved_micro_usd: i64,
    /// What may be spent; absent: without limit.
    pub limit_micro_usd: Option<i64>,
}
