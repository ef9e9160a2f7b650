//! The pipeline: stages as data, gates by name. Validates once; never evaluates a gate.

mod default;
mod validate;

use std::fmt;

use serde::{Deserialize, Serialize};

use super::id::StageName;
pub use default::DefaultPipeline;
pub use validate::{PipelineError, StageDraft};

/// Who works in a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Turns the request into requirements and a test plan.
    Analyst,
    /// Decides how it is built.
    Architect,
    /// Builds it.
    Developer,
    /// Judges it.
    Reviewer,
    /// Tests it.
    Tester,
    /// Brings it to staging and production.
    Deployer,
}

impl Role {
    /// All roles.
    pub const ALL: [Role; 6] = [
        Self::Analyst,
        Self::Architect,
        Self::Developer,
        Self::Reviewer,
        Self::Tester,
        Self::Deployer,
    ];

    /// The word stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Analyst => "analyst",
            Self::Architect => "architect",
            Self::Developer => "developer",
            Self::Reviewer => "reviewer",
            Self::Tester => "tester",
            Self::Deployer => "deployer",
        }
    }
    /// The inverse of [`Role::as_str`].
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|r| r.as_str() == text)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A gate, by what it looks at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GateKind {
    /// The four analysis artifacts exist and are not empty.
    AnalysisComplete,
    /// A person approved the task during this visit of the stage. `analysis_approved` or `human_approved`.
    HumanApproved,
    /// At least one `06-adr/ADR-*.md`.
    ArchitectureDone,
    /// The forge's statuses of the head all succeeded, and the branch differs from `main`.
    CiGreen,
    /// The project's test command exits 0 in a clean worktree of the head.
    TestsLocal,
    /// The pull request has an approving review of the head.
    ReviewApproved,
    /// `12-review.md` has `verdict: APPROVED`.
    ReviewerVerdict,
    /// `13-test-report.md` has `result: PASS`.
    TestsPassed,
    /// Rebased onto `main` and tested as exactly that tree.
    BranchMergeable,
    /// `15-staging-log.md` has `staging_status: SUCCESS`.
    StagingStatus,
    /// Staging runs the candidate's revision.
    StagingImageFresh,
    /// `14-deploy-log.md` has `deploy_status: SUCCESS`.
    DeployStatus,
    /// A program of the project: exit 0 green, 1 red, anything else unknown; stdout is the reason.
    Command {
        /// Program and arguments.
        argv: Vec<String>,
        /// Seconds after which it is stopped and the gate is unknown.
        timeout_s: u64,
    },
}

/// Names under which gates are registered, for configuration and for messages.
pub const GATE_NAMES: [&str; 13] = [
    "analysis_complete",
    "analysis_approved",
    "human_approved",
    "architecture_done",
    "ci_green",
    "tests_local",
    "review_approved",
    "reviewer_verdict",
    "tests_passed",
    "branch_mergeable",
    "staging_status",
    "staging_image_fresh",
    "deploy_status",
];

impl GateKind {
    /// The gate registered under `name`, if any. `command` gates are given as tables, not by name.
    pub fn by_name(name: &str) -> Option<Self> {
        Some(match name {
            "analysis_complete" => Self::AnalysisComplete,
            "analysis_approved" | "human_approved" => Self::HumanApproved,
            "architecture_done" => Self::ArchitectureDone,
            "ci_green" => Self::CiGreen,
            "tests_local" => Self::TestsLocal,
            "review_approved" => Self::ReviewApproved,
            "reviewer_verdict" => Self::ReviewerVerdict,
            "tests_passed" => Self::TestsPassed,
            "branch_mergeable" => Self::BranchMergeable,
            "staging_status" => Self::StagingStatus,
            "staging_image_fresh" => Self::StagingImageFresh,
            "deploy_status" => Self::DeployStatus,
            _ => return None,
        })
    }
}

/// A gate in a stage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GateSpec {
    /// Its name, unique in the stage.
    pub name: String,
    /// What it looks at.
    pub kind: GateKind,
}

impl GateSpec {
    /// A gate registered by name.
    pub fn named(name: &str) -> Option<Self> {
        GateKind::by_name(name).map(|kind| Self {
            name: name.to_owned(),
            kind,
        })
    }
}

/// What a red gate means for the task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnRed {
    /// The same role again; spends attempts.
    Retry,
    /// Back to an earlier stage; spends developer retries.
    RollBack {
        /// Where to.
        to: StageName,
    },
}

/// A stage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stage {
    /// Its name.
    pub name: StageName,
    /// Who works here; nobody in `created` and in the terminal stage.
    pub role: Option<Role>,
    /// The gates to leave, in order.
    pub gates: Vec<GateSpec>,
    /// What a red gate means.
    pub on_red: OnRed,
    /// Leaving this stage merges the candidate. Exactly one stage does.
    pub merges: bool,
    /// In this stage a person's Confirm Deploy is asked for before the merge.
    pub confirm: bool,
    /// The stage after it; none for the terminal one.
    pub next: Option<StageName>,
}

/// A validated pipeline: a walk from its first stage to its terminal one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Pipeline {
    stages: Vec<Stage>,
}

/// The stage every task begins in: waits for its start signal.
pub const CREATED: &str = "created";

impl Pipeline {
    /// The stages in walking order.
    pub fn stages(&self) -> &[Stage] {
        &self.stages
    }

    /// The stage of that name. Absent when a project's pipeline changed under a task.
    pub fn stage(&self, name: &StageName) -> Option<&Stage> {
        self.stages.iter().find(|s| s.name == *name)
    }

    /// Where a task begins.
    pub fn first(&self) -> &Stage {
        &self.stages[0]
    }

    /// The stage after `name`; none after the terminal one.
    pub fn next(&self, name: &StageName) -> Option<&Stage> {
        self.stage(name)
            .and_then(|s| s.next.as_ref())
            .and_then(|n| self.stage(n))
    }

    /// The stage in which the candidate is made mergeable: the one with `branch_mergeable`, else the merging one.
    pub fn merge_gate_stage(&self) -> &Stage {
        let gated = |s: &&Stage| s.gates.iter().any(|g| g.kind == GateKind::BranchMergeable);
        self.stages
            .iter()
            .find(gated)
            .or_else(|| self.stages.iter().find(|s| s.merges))
            .unwrap_or(&self.stages[0])
    }

    /// Where rejected work goes back to: the developer's stage, else the first one with a role.
    pub fn development(&self) -> Option<&Stage> {
        let of = |s: &&Stage| s.role == Some(Role::Developer);
        self.stages
            .iter()
            .find(of)
            .or_else(|| self.stages.iter().find(|s| s.role.is_some()))
    }
}
