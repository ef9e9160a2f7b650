//! `reviewer_verdict`, `tests_passed`, `deploy_status`: what an agent wrote, bound to the code it wrote it about.

use super::artifact::{Expected, verdict};
use super::{RunProof, Snapshot};
use crate::domain::gate::{GateState, Verdict};
use crate::domain::id::CodeTree;

const REVIEW: Expected = Expected {
    artifact: "12-review.md",
    key: "verdict",
    green: "APPROVED",
    red: &["REQUEST_CHANGES"],
};
const TESTS: Expected = Expected {
    artifact: "13-test-report.md",
    key: "result",
    green: "PASS",
    red: &["FAIL"],
};
const DEPLOY: Expected = Expected {
    artifact: "14-deploy-log.md",
    key: "deploy_status",
    green: "SUCCESS",
    red: &["FAILED"],
};

/// A review is about the code that the reviewer was given: what he changed himself, nobody reviewed.
pub(super) fn reviewer(gate: &str, s: &Snapshot<'_>) -> Verdict {
    bound(s, gate, &REVIEW, |run| run.given.as_ref())
}

/// A test report is about the code that the tester left, his own tests included.
pub(super) fn tester(gate: &str, s: &Snapshot<'_>) -> Verdict {
    bound(s, gate, &TESTS, |run| run.left.as_ref())
}

/// A deploy log is about the code that was merged; writing the log changes none.
pub(super) fn deployer(gate: &str, s: &Snapshot<'_>) -> Verdict {
    bound(s, gate, &DEPLOY, |run| run.left.as_ref())
}

fn bound(
    s: &Snapshot<'_>,
    gate: &str,
    expected: &Expected,
    tree: fn(&RunProof) -> Option<&CodeTree>,
) -> Verdict {
    let Some(run) = &s.run else {
        return Verdict::pending("no agent has ended well in this visit of the stage");
    };
    let verdict = verdict(&s.artifacts, expected);
    if verdict.state == GateState::Green && tree(run) != Some(&s.candidate.code_tree) && !same_patch(s, gate)
    {
        let name = expected.artifact;
        return Verdict::red(format!(
            "{name} is about other code than the candidate's: the code changed with or after it"
        ));
    }
    verdict
}

/// A rebase changes the tree and keeps the patch: what was green for the patch stays green.
fn same_patch(s: &Snapshot<'_>, gate: &str) -> bool {
    s.candidate.patch_id.is_some()
        && s.latest(gate)
            .is_some_and(|e| e.verdict.state == GateState::Green && e.patch_id == s.candidate.patch_id)
}
