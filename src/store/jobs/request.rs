//! What a claimer says of itself. Never reads a row.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::domain::budget::Limits;
use crate::domain::id::{InstanceId, NodeName, ProjectId};
use crate::domain::time::Timestamp;

/// What agents may cost, as settings and projects say it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Budgets {
    /// Limits of the projects that have any.
    pub limits: BTreeMap<ProjectId, Limits>,
    /// What a run is assumed to cost before it says anything, micro-USD.
    pub reserve: i64,
}

impl Budgets {
    /// The limits of a project.
    pub fn of(&self, project: ProjectId) -> Limits {
        self.limits.get(&project).copied().unwrap_or_default()
    }

    /// Whether there is any.
    pub fn any(&self) -> bool {
        !self.limits.is_empty()
    }
}

/// Who claims, and within which limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimRequest {
    /// The time.
    pub now: Timestamp,
    /// The machine that will run the jobs.
    pub node: NodeName,
    /// The boot of the service.
    pub instance: InstanceId,
    /// Projects whose jobs it can work at; none: all.
    pub known_projects: Option<BTreeSet<ProjectId>>,
    /// Agent jobs that may run at once, over all projects.
    pub max_concurrency: usize,
    /// Agent jobs that may run at once in a project, where it says so itself.
    pub project_concurrency: Vec<(ProjectId, usize)>,
    /// The same for projects that do not; none is no limit.
    pub default_project_concurrency: Option<usize>,
    /// Agent jobs are not claimed now.
    pub paused: bool,
    /// The disk is full.
    pub no_room: bool,
    /// After this an open breaker lets one job through.
    pub half_open: Duration,
    /// What agents may cost.
    pub budgets: Budgets,
    /// Reserved jobs that may run at once.
    pub reserved_ceiling: usize,
    /// Claims at most.
    pub limit: usize,
}
