//! Tasks, their status, and the gestures of people.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::id::{BranchName, CodeTree, ProjectId, Sha, StageName, TaskId, TaskVersion, Visit, WorkItemId};
use super::time::Timestamp;

/// Where a task stands, beside its stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskStatus {
    /// Being worked on.
    Active,
    /// A person has to decide.
    WaitingHuman,
    /// An agent asked a question.
    NeedsInput,
    /// Stopped until a person acts.
    Blocked,
    /// Over: cancelled.
    Cancelled,
    /// Over: delivered.
    Done,
}

impl TaskStatus {
    /// All statuses.
    pub const ALL: [TaskStatus; 6] = [
        Self::Active,
        Self::WaitingHuman,
        Self::NeedsInput,
        Self::Blocked,
        Self::Cancelled,
        Self::Done,
    ];

    /// The word stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::WaitingHuman => "waiting_human",
            Self::NeedsInput => "needs_input",
            Self::Blocked => "blocked",
            Self::Cancelled => "cancelled",
            Self::Done => "done",
        }
    }
    /// The inverse of [`TaskStatus::as_str`].
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.as_str() == text)
    }
    /// Nothing more will happen to the task.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Cancelled | Self::Done)
    }
}

impl fmt::Display for TaskStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where a task came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TrackerKind {
    /// The built-in tracker.
    Local,
    /// Plane.
    Plane,
}

impl TrackerKind {
    /// The word stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Plane => "plane",
        }
    }
    /// The inverse of [`TrackerKind::as_str`].
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Local, Self::Plane]
            .into_iter()
            .find(|t| t.as_str() == text)
    }
}

/// What a person can do to a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Gesture {
    /// Start, or unpark.
    InProgress,
    /// The human gate of analysis.
    Approved,
    /// Back with it.
    Rejected,
    /// Deploy that very candidate.
    ConfirmDeploy,
    /// Park: a person must answer.
    NeedsInput,
    /// Park: blocked by a person.
    Blocked,
    /// The issue was cancelled or deleted.
    Cancelled,
}

impl Gesture {
    /// All gestures.
    pub const ALL: [Gesture; 7] = [
        Self::InProgress,
        Self::Approved,
        Self::Rejected,
        Self::ConfirmDeploy,
        Self::NeedsInput,
        Self::Blocked,
        Self::Cancelled,
    ];

    /// The word stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InProgress => "in-progress",
            Self::Approved => "approved",
            Self::Rejected => "rejected",
            Self::ConfirmDeploy => "confirm-deploy",
            Self::NeedsInput => "needs-input",
            Self::Blocked => "blocked",
            Self::Cancelled => "cancelled",
        }
    }
    /// The inverse of [`Gesture::as_str`].
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|g| g.as_str() == text)
    }
}

/// A task as stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Task {
    /// Identity.
    pub id: TaskId,
    /// Its project.
    pub project_id: ProjectId,
    /// The name people use.
    pub work_item_id: WorkItemId,
    /// Where it came from.
    pub tracker: TrackerKind,
    /// Its name there; unique per tracker.
    pub external_id: String,
    /// One line.
    pub title: String,
    /// What is wanted.
    pub description: String,
    /// Its branch.
    pub branch: BranchName,
    /// Where in the pipeline.
    pub stage: StageName,
    /// How it stands there.
    pub status: TaskStatus,
    /// Grows with every change of stage or status.
    pub version: TaskVersion,
    /// Grows with every entry into a stage.
    pub visit: Visit,
    /// Since when in this stage.
    pub stage_entered_at: Timestamp,
    /// Rollbacks that counted.
    pub developer_retries: i32,
    /// Why it waits or is blocked.
    pub reason: Option<String>,
    /// Branch head offered for the next stage.
    pub candidate: Option<Sha>,
    /// Its tree without artifacts.
    pub code_tree: Option<CodeTree>,
    /// Evidence packet (JSON) for the next developer job.
    pub evidence: Option<String>,
    /// Higher goes first.
    pub priority: i32,
    /// Agent preset that overrides the roles' own.
    pub executor: Option<String>,
    /// Paths it changes; tasks that touch the same paths do not run at the same time.
    pub modifies: Vec<String>,
    /// When it was created.
    pub created_at: Timestamp,
    /// Last change.
    pub updated_at: Timestamp,
    /// When it was done or cancelled.
    pub finished_at: Option<Timestamp>,
}

/// True when one path list touches the other: equal paths, or one a folder of the other.
pub fn overlaps(a: &[String], b: &[String]) -> bool {
    let inside = |x: &str, y: &str| x == y || x.strip_prefix(y).is_some_and(|rest| rest.starts_with('/'));
    let trim = |p: &str| p.trim_start_matches("./").trim_end_matches('/').to_owned();
    a.iter().map(|x| trim(x)).any(|x| {
        b.iter()
            .map(|y| trim(y))
            .any(|y| inside(&x, &y) || inside(&y, &x))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_overlap_when_equal_or_nested_but_not_when_one_name_merely_begins_like_the_other() {
        let list = |p: &[&str]| p.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
        assert!(overlaps(&list(&["src/a.rs"]), &list(&["src/"])));
        assert!(overlaps(&list(&["./src"]), &list(&["src/a/b.rs", "x"])));
        assert!(!overlaps(&list(&["src"]), &list(&["src2/a.rs"])));
        assert!(!overlaps(&list(&[]), &list(&["src"])));
    }
}
