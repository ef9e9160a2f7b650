//! What a claimer says of itself. Never reads a row.

use std::collections::BTreeSet;

use crate::domain::id::{InstanceId, NodeName, ProjectId};
use crate::domain::time::Timestamp;

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
    /// Reserved jobs that may run at once.
    pub reserved_ceiling: usize,
    /// Claims at most.
    pub limit: usize,
}
