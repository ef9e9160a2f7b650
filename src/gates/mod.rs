//! Gates: what must be green to leave a stage. One file per family, registered by kind.
//!
//! A gate looks at a [`Snapshot`] that was read beforehand and answers. It never runs anything and never
//! writes, so the reaper and the reconciler may ask it at any time. Where an answer needs a program to run
//! first (tests, a project's own check, the rebase), the gate says which [`Check`] and stays pending.

mod analysis;
mod artifact;
mod check;
mod ci;
mod human;
mod mergeable;
mod staging;
mod verdicts;

use std::collections::BTreeMap;

use crate::domain::evidence::Evidence;
use crate::domain::front_matter;
use crate::domain::gate::{GateState, Verdict};
use crate::domain::id::{CodeTree, PatchId, Sha, StageName, Visit};
use crate::domain::pipeline::{GateKind, GateSpec, Pipeline, Role, Stage};
use crate::domain::walk::Answer;

/// The branch head that is judged, and what it is judged against.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Branch head at the forge.
    pub head: Sha,
    /// Its tree without artifacts.
    pub code_tree: CodeTree,
    /// Tip of `main`.
    pub main: Sha,
    /// The code tree of `main`.
    pub main_tree: CodeTree,
    /// `main` holds commits that the branch does not have.
    pub behind: bool,
    /// The patch id of the branch against `main`.
    pub patch_id: Option<PatchId>,
}

/// Files under the task's artifact folder at the branch head: name relative to it → content.
/// What could not be read (too large) is kept with the reason.
pub type Artifacts = BTreeMap<String, Result<Vec<u8>, String>>;

/// The latest run of the stage's role that ended well during this visit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunProof {
    /// Who.
    pub role: Option<Role>,
    /// Code tree it was given.
    pub given: Option<CodeTree>,
    /// Code tree it left.
    pub left: Option<CodeTree>,
}

/// All that gates may look at, read before they are asked.
#[derive(Clone, Debug)]
pub struct Snapshot<'a> {
    /// The project's pipeline.
    pub pipeline: &'a Pipeline,
    /// The stage to leave.
    pub stage: &'a Stage,
    /// The visit of that stage.
    pub visit: Visit,
    /// Who is judged.
    pub candidate: Candidate,
    /// What the agents left.
    pub artifacts: Artifacts,
    /// The latest evidence of each gate, over all stages.
    pub evidence: Vec<Evidence>,
    /// The person who approved during this visit.
    pub approved_by: Option<String>,
    /// Proof of work in this visit.
    pub run: Option<RunProof>,
    /// The project's test command.
    pub test_command: Option<String>,
    /// What is run to bring a candidate to staging and to check it there; none: there is no staging.
    pub staging: Option<String>,
    /// What is asked which revision staging runs; none: nobody knows.
    pub revision: Option<String>,
    /// The project has no CI at all (`ci = "none"`).
    pub no_ci: bool,
    /// What the forge's CI says of the branch head (`ci = "forge"`); none: the test command stands for CI.
    pub checks: Option<Verdict>,
    /// What people say of the branch head at the forge; none: it keeps no reviews.
    pub reviews: Option<Verdict>,
    /// How the deploy of this visit ended, where the project's hook deploys; none: a deployer writes a log.
    pub deploy: Option<Verdict>,
}

impl Snapshot<'_> {
    fn latest(&self, gate: &str) -> Option<&Evidence> {
        self.evidence
            .iter()
            .filter(|e| e.gate == gate)
            .max_by_key(|e| e.id)
    }
}

/// Something that has to run before a gate can answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Check {
    /// The project's test command, in a clean worktree of the head.
    Tests(String),
    /// A program of the project.
    Command {
        /// The gate's name.
        name: String,
        /// Program and arguments.
        argv: Vec<String>,
        /// Seconds.
        timeout_s: u64,
    },
    /// Rebase onto `main` if needed, and test exactly that tree.
    Mergeable,
    /// Deploy the candidate to staging and check it there.
    Staging,
    /// Ask staging which revision it runs.
    Fresh,
}

/// A gate's answer, and what has to run before it can give a better one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The answer.
    pub answer: Answer,
    /// What has to run first.
    pub needs: Option<Check>,
}

impl Asked {
    fn plain(gate: &GateSpec, verdict: Verdict) -> Self {
        Self {
            answer: Answer {
                gate: gate.clone(),
                verdict,
                void_stage: None,
            },
            needs: None,
        }
    }
    fn needs(gate: &GateSpec, what: &str, check: Check) -> Self {
        let verdict = Verdict::pending(format!("{what} has not run for this candidate"));
        Self {
            answer: Answer {
                gate: gate.clone(),
                verdict,
                void_stage: None,
            },
            needs: Some(check),
        }
    }
    fn void(gate: &GateSpec, stage: StageName, reason: String) -> Self {
        Self {
            answer: Answer {
                gate: gate.clone(),
                verdict: Verdict::red(reason),
                void_stage: Some(stage),
            },
            needs: None,
        }
    }
}

/// The name under which a test run is kept as evidence; no gate can have it.
pub const TESTS: &str = ":tests";

/// The artifact that a gate reads its word from, if it reads one.
pub fn artifact_of(kind: &GateKind) -> Option<&'static str> {
    match kind {
        GateKind::ReviewerVerdict => Some(front_matter::REVIEW.file),
        GateKind::TestsPassed => Some(front_matter::TEST_REPORT.file),
        GateKind::DeployStatus => Some(front_matter::DEPLOY_LOG.file),
        GateKind::StagingStatus => Some(front_matter::STAGING_LOG.file),
        GateKind::AnalysisComplete
        | GateKind::HumanApproved
        | GateKind::ArchitectureDone
        | GateKind::CiGreen
        | GateKind::TestsLocal
        | GateKind::ReviewApproved
        | GateKind::BranchMergeable
        | GateKind::StagingImageFresh
        | GateKind::Command { .. } => None,
    }
}

/// Asks the gates in order; stops after the first that is not green.
pub fn ask(gates: &[&GateSpec], snapshot: &Snapshot<'_>) -> Vec<Asked> {
    let mut asked = Vec::with_capacity(gates.len());
    for gate in gates {
        let answer = ask_one(gate, snapshot);
        let green = answer.answer.verdict.state == GateState::Green;
        asked.push(answer);
        if !green {
            break;
        }
    }
    asked
}

fn ask_one(gate: &GateSpec, s: &Snapshot<'_>) -> Asked {
    match &gate.kind {
        GateKind::AnalysisComplete => Asked::plain(gate, analysis::complete(&s.artifacts)),
        GateKind::ArchitectureDone => Asked::plain(gate, analysis::architecture(&s.artifacts)),
        GateKind::HumanApproved => Asked::plain(gate, human::approved(s.approved_by.as_deref())),
        GateKind::CiGreen => ci::green(gate, s),
        GateKind::TestsLocal => ci::tests_local(gate, s),
        GateKind::ReviewerVerdict => Asked::plain(gate, verdicts::reviewer(&gate.name, s)),
        GateKind::TestsPassed => Asked::plain(gate, verdicts::tester(&gate.name, s)),
        GateKind::DeployStatus => match &s.deploy {
            Some(verdict) => Asked::plain(gate, verdict.clone()),
            None => Asked::plain(gate, verdicts::deployer(&gate.name, s)),
        },
        GateKind::BranchMergeable => mergeable::mergeable(gate, s),
        GateKind::Command { argv, timeout_s } => check::command(gate, argv, *timeout_s, s),
        GateKind::ReviewApproved => Asked::plain(gate, human::reviewed(s.reviews.as_ref())),
        GateKind::StagingStatus => staging::status(gate, s),
        GateKind::StagingImageFresh => staging::fresh(gate, s),
    }
}
