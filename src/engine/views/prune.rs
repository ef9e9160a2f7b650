//! What pruning removes or would remove, as it is shown.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What a sweep removed, or would.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PruneReport {
    /// Nothing was removed: this is what would be.
    pub dry_run: bool,
    /// Finished tasks whose history goes; the tasks themselves stay.
    pub tasks: u64,
    /// Their jobs.
    pub jobs: u64,
    /// Runs of those.
    pub runs: u64,
    /// Their evidence, gestures, deeds and events.
    pub details: u64,
    /// Notices that were sent.
    pub notices: u64,
    /// Healings.
    pub healings: u64,
    /// Boots of the service that stopped.
    pub instances: u64,
    /// Failures that were answered.
    pub incidents: u64,
    /// Entries of the audit of retries.
    pub audit: u64,
    /// Deliveries of webhooks that were applied or ignored.
    pub deliveries: u64,
    /// What was taken from nodes for a while, and given back.
    #[serde(default)]
    pub nodes: u64,
    /// WIP refs.
    pub wip_refs: u64,
    /// Folders of runs.
    pub folders: u64,
    /// Disk that those folders occupy. Bytes.
    pub bytes: u64,
    /// The projects' own commands.
    pub commands: Vec<PruneCommand>,
    /// What could not be removed, and why; tried again the next time.
    pub trouble: Vec<String>,
}

/// A project's own command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PruneCommand {
    /// The project.
    pub project: String,
    /// The command.
    pub command: String,
    /// Whether it succeeded; none where it was not run.
    pub succeeded: Option<bool>,
    /// How it ended, and the last line of what it said.
    pub outcome: Option<String>,
}

impl PruneReport {
    /// True when something was removed.
    pub fn removed_something(&self) -> bool {
        let sums = [self.tasks, self.jobs, self.runs, self.details, self.notices];
        let more = [self.healings, self.instances, self.wip_refs, self.folders];
        let repair = [self.incidents, self.audit, self.nodes, self.deliveries];
        !self.dry_run && sums.iter().chain(&more).chain(&repair).any(|n| *n > 0)
    }
}
