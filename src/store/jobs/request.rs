//! What a claimer says of itself. Never reads a row.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::domain::budget::Limits;
use crate::domain::id::{InstanceId, NodeName, ProjectId};
use crate::domain::pipeline::Role;
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

/// A node that a service has, its own or one that it reaches by ssh.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// Its name.
    pub node: NodeName,
    /// Agents that may run there at once, whoever claims for it.
    pub slots: usize,
    /// What it is.
    pub labels: BTreeSet<String>,
}

/// Where the claimer's agents can run, and what they need there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Nodes {
    /// Agents that may run on the claimer's own node at once; none: as many as over all.
    pub own_slots: Option<usize>,
    /// What that node is.
    pub own_labels: BTreeSet<String>,
    /// The nodes that it reaches by ssh, the best one first.
    pub ssh: Vec<Offer>,
    /// What a node has to be for the agent of a role, where a project says so.
    pub wanted: BTreeMap<(ProjectId, Role), BTreeSet<String>>,
}

impl Nodes {
    /// What a node has to be for a job of this project and role.
    pub fn wanted_by(&self, project: ProjectId, role: Option<Role>) -> BTreeSet<String> {
        let wanted = role.and_then(|role| self.wanted.get(&(project, role)));
        wanted.cloned().unwrap_or_default()
    }

    /// Nothing here can keep a job waiting that the limit over all lets through.
    pub fn limit_nothing(&self) -> bool {
        self.own_slots.is_none() && self.ssh.is_empty() && self.wanted.is_empty()
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
    /// Production is not watched now.
    pub no_watch: bool,
    /// After this an open breaker lets one job through.
    pub half_open: Duration,
    /// What agents may cost.
    pub budgets: Budgets,
    /// Where agents can run.
    pub nodes: Nodes,
    /// Reserved jobs that may run at once.
    pub reserved_ceiling: usize,
    /// Claims at most.
    pub limit: usize,
}
