//! What the reaper does and would do, as it is shown.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::id::JobId;

/// A job that the next sweep would settle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PlannedReap {
    /// The job.
    pub job_id: i64,
    /// Its task; empty where that could not be read.
    pub task: String,
    /// Who worked at it, and where.
    pub agent: String,
    /// By which rule: `dead process`, `exit recorded`, `backstop`; `unknown` where it could not be looked at.
    pub tier: String,
    /// Why.
    pub why: String,
    /// What would be done.
    pub action: String,
}

impl PlannedReap {
    /// A job that could not be looked at: it is named, and nothing is done to it.
    pub fn unknown(job: JobId, why: &impl std::fmt::Display) -> Self {
        Self {
            job_id: job.0,
            task: String::new(),
            agent: String::new(),
            tier: "unknown".to_owned(),
            why: format!("it could not be looked at: {why}"),
            action: "nothing".to_owned(),
        }
    }
}

/// What a sweep of the reaper would do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReapPlan {
    /// Off means that the reaper does none of it.
    pub enabled: bool,
    /// The jobs, by number.
    pub jobs: Vec<PlannedReap>,
}

/// A job that was settled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReapedView {
    /// The job.
    pub job_id: i64,
    /// Who worked at it.
    pub agent: String,
    /// What became of it.
    pub outcome: String,
}

/// What a sweep of the reaper did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReapReport {
    /// The jobs that were settled.
    pub reaped: Vec<ReapedView>,
    /// What could not be looked at or settled; tried again the next time.
    pub trouble: Vec<String>,
}
