//! Decides how a task goes on: what entering a stage means, and what the answers of its gates mean.
//! Never asks a gate, never writes.

use super::gate::{GateState, Verdict};
use super::id::StageName;
use super::pipeline::{GateKind, GateSpec, OnRed, Pipeline, Role, Stage};

/// What entering a stage sets going.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// An agent works.
    Work(Role),
    /// Nobody works here: the gates are looked at, and what they need is run.
    Look,
    /// A person is asked for Confirm Deploy.
    AskConfirm,
    /// The candidate is merged.
    Merge,
    /// Waits for its start signal.
    Wait,
    /// The walk is over.
    Done,
}

/// What entering `stage` sets going. A deployer works after the merge, every other role before it.
pub fn entry(stage: &Stage) -> Entry {
    if stage.next.is_none() {
        return Entry::Done;
    }
    match stage.role {
        Some(role) if !(stage.merges && role == Role::Deployer) => Entry::Work(role),
        Some(_) | None if stage.merges => before_merge(stage),
        Some(_) | None if stage.gates.is_empty() && stage.name.as_str() == super::pipeline::CREATED => {
            Entry::Wait
        }
        Some(_) | None => Entry::Look,
    }
}

fn before_merge(stage: &Stage) -> Entry {
    if stage.confirm {
        Entry::AskConfirm
    } else {
        Entry::Merge
    }
}

/// The gates of a stage that are asked now. In the stage that merges, the merge stands before `deploy_status`: what comes
/// before it is about a candidate, which there is no longer once main has it.
pub fn gates_to_ask(stage: &Stage, merged: bool) -> &[GateSpec] {
    if !stage.merges {
        return &stage.gates;
    }
    let is_deploy = |g: &GateSpec| g.kind == GateKind::DeployStatus;
    let merge = stage
        .gates
        .iter()
        .position(is_deploy)
        .unwrap_or(stage.gates.len());
    match merged {
        false => &stage.gates[..merge],
        true => &stage.gates[merge..],
    }
}

/// A gate's answer, as far as the walk needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The gate.
    pub gate: GateSpec,
    /// Its answer.
    pub verdict: Verdict,
    /// The earlier stage whose verdict no longer holds for this candidate.
    pub void_stage: Option<StageName>,
}

/// How a task goes on after its gates were asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Onward {
    /// All green: into the next stage.
    Advance(StageName),
    /// All green in the merging stage: merge it.
    Merge,
    /// All green in the merging stage: ask a person first.
    AskConfirm,
    /// Red: the same role again.
    Retry(Answer),
    /// Red: back, with the evidence; counts as a developer retry.
    RollBack(StageName, Answer),
    /// Staging does not run the candidate: the same stage again, with the evidence of nobody's fault.
    Restage(Answer),
    /// Red once too often: blocked until a person acts.
    Escalate(Answer),
    /// A person has to decide.
    WaitHuman(Answer),
    /// Pending or unknown: neither advance nor roll back; asked again later.
    AskAgain(Answer),
}

/// What the decision needs beside the answers.
#[derive(Clone, Copy, Debug)]
pub struct Standing<'a> {
    /// The project's pipeline.
    pub pipeline: &'a Pipeline,
    /// The task's stage.
    pub stage: &'a Stage,
    /// The candidate was merged during this visit.
    pub merged: bool,
    /// Rollbacks so far.
    pub developer_retries: i32,
    /// Rollbacks that are borne.
    pub max_developer_retries: i32,
    /// Visits in which staging was found not to run this code.
    pub stale: i64,
}

/// How often a candidate is deployed to staging again that was not found there.
pub const MAX_RESTAGES: i64 = 3;

/// How the task goes on. The first answer that is not green decides.
pub fn onward(standing: &Standing<'_>, answers: &[Answer]) -> Onward {
    let stage = standing.stage;
    if let Some(answer) = answers.iter().find(|a| a.verdict.state != GateState::Green) {
        return match answer.verdict.state {
            GateState::Red => red(standing, answer),
            GateState::Pending if answer.gate.kind == GateKind::HumanApproved => {
                Onward::WaitHuman(answer.clone())
            }
            GateState::Pending | GateState::Unknown | GateState::Green => Onward::AskAgain(answer.clone()),
        };
    }
    if stage.merges && !standing.merged {
        return if stage.confirm {
            Onward::AskConfirm
        } else {
            Onward::Merge
        };
    }
    match &stage.next {
        Some(next) => Onward::Advance(next.clone()),
        None => Onward::Advance(stage.name.clone()),
    }
}

fn red(standing: &Standing<'_>, answer: &Answer) -> Onward {
    // The code is not at fault: the developer could do nothing about it.
    if answer.gate.kind == GateKind::StagingImageFresh {
        return match standing.stale <= MAX_RESTAGES {
            true => Onward::Restage(answer.clone()),
            false => Onward::Escalate(answer.clone()),
        };
    }
    let to = match (&answer.void_stage, &standing.stage.on_red) {
        (Some(stage), _) => stage.clone(),
        (None, OnRed::RollBack { to }) => to.clone(),
        (None, OnRed::Retry) if standing.stage.role.is_some() => return Onward::Retry(answer.clone()),
        // Nobody works here who could try again: the developer has to.
        (None, OnRed::Retry) => match standing.pipeline.development() {
            Some(stage) => stage.name.clone(),
            None => return Onward::Escalate(answer.clone()),
        },
    };
    if standing.developer_retries >= standing.max_developer_retries {
        Onward::Escalate(answer.clone())
    } else {
        Onward::RollBack(to, answer.clone())
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::expect_used, reason = "a test fails by panicking")]

    use super::super::pipeline::DefaultPipeline;
    use super::*;

    fn standing<'a>(pipeline: &'a Pipeline, stage: &str) -> Standing<'a> {
        let stage = pipeline.stage(&StageName::trusted(stage)).expect("a stage");
        Standing {
            pipeline,
            stage,
            merged: false,
            developer_retries: 0,
            max_developer_retries: 3,
            stale: 0,
        }
    }

    fn answer(gate: &str, verdict: Verdict) -> Answer {
        Answer {
            gate: GateSpec::named(gate).expect("a gate"),
            verdict,
            void_stage: None,
        }
    }

    #[test]
    fn entering_a_stage_sets_going_what_the_table_says() {
        let p = DefaultPipeline {
            deploy_log: true,
            ..DefaultPipeline::default()
        }
        .build();
        let entries: Vec<_> = p.stages().iter().map(entry).collect();
        use Entry::*;
        let expected = [
            Wait,
            Work(Role::Analyst),
            Work(Role::Architect),
            Work(Role::Developer),
            Work(Role::Reviewer),
            Work(Role::Tester),
            Look,
            AskConfirm,
            Done,
        ];
        assert_eq!(entries, expected);
    }

    #[test]
    fn a_red_verdict_goes_back_until_the_retries_are_spent_and_then_escalates() {
        let p = DefaultPipeline::default().build();
        let red = [answer("reviewer_verdict", Verdict::red("no"))];
        let mut s = standing(&p, "review");
        for retries in 0..3 {
            s.developer_retries = retries;
            assert!(matches!(onward(&s, &red), Onward::RollBack(to, _) if to.as_str() == "development"));
        }
        s.developer_retries = 3;
        assert!(matches!(onward(&s, &red), Onward::Escalate(_)));
    }

    #[test]
    fn a_stale_image_is_staged_again_three_times_whatever_the_developer_spent() {
        let p = DefaultPipeline {
            staging: true,
            provenance: true,
            ..DefaultPipeline::default()
        }
        .build();
        let red = [answer("staging_image_fresh", Verdict::red("another"))];
        let mut s = standing(&p, "deploy-staging");
        s.developer_retries = 3;
        for stale in 1..=MAX_RESTAGES {
            s.stale = stale;
            assert!(matches!(onward(&s, &red), Onward::Restage(_)));
        }
        s.stale = MAX_RESTAGES + 1;
        assert!(matches!(onward(&s, &red), Onward::Escalate(_)));
    }

    #[test]
    fn red_in_analysis_is_the_analyst_again() {
        let p = DefaultPipeline::default().build();
        let red = [answer("analysis_complete", Verdict::red("no"))];
        assert!(matches!(
            onward(&standing(&p, "analysis"), &red),
            Onward::Retry(_)
        ));
    }

    #[test]
    fn pending_and_unknown_neither_advance_nor_roll_back() {
        let p = DefaultPipeline::default().build();
        for v in [Verdict::pending("CI runs"), Verdict::unknown("no answer")] {
            assert!(matches!(
                onward(&standing(&p, "development"), &[answer("ci_green", v)]),
                Onward::AskAgain(_)
            ));
        }
        let human = [
            answer("analysis_complete", Verdict::green("")),
            answer("analysis_approved", Verdict::pending("you")),
        ];
        assert!(matches!(
            onward(&standing(&p, "analysis"), &human),
            Onward::WaitHuman(_)
        ));
    }

    #[test]
    fn deploy_asks_before_the_merge_and_advances_after_it() {
        let p = DefaultPipeline::default().build();
        let mut s = standing(&p, "deploy");
        assert_eq!(onward(&s, &[]), Onward::AskConfirm);
        s.merged = true;
        assert_eq!(onward(&s, &[]), Onward::Advance(StageName::trusted("done")));
    }

    #[test]
    fn in_the_merging_stage_gates_are_asked_before_the_merge_or_after_it() {
        let gates: Vec<_> = ["reviewer_verdict", "deploy_status", "human_approved"]
            .iter()
            .filter_map(|n| GateSpec::named(n))
            .collect();
        let mut stage = DefaultPipeline::default().build().merge_gate_stage().clone();
        stage.gates = gates;
        let names = |stage: &Stage, merged| {
            let asked = gates_to_ask(stage, merged).iter();
            asked.map(|g| g.name.clone()).collect::<Vec<_>>().join(" ")
        };
        stage.merges = true;
        assert_eq!(names(&stage, false), "reviewer_verdict");
        assert_eq!(names(&stage, true), "deploy_status human_approved");
        stage.merges = false;
        assert_eq!(
            names(&stage, false),
            "reviewer_verdict deploy_status human_approved"
        );
    }

    #[test]
    fn a_voided_verdict_goes_back_to_the_stage_that_gives_it() {
        let p = DefaultPipeline::default().build();
        let mut a = answer("branch_mergeable", Verdict::red("code changed after the review"));
        a.void_stage = Some(StageName::trusted("review"));
        assert!(
            matches!(onward(&standing(&p, "deploy-staging"), &[a]), Onward::RollBack(to, _) if to.as_str() == "review")
        );
    }
}
