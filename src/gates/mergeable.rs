//! `branch_mergeable`: on top of `main`, tested as exactly that tree, and the earlier verdicts still hold for it.

use super::{Asked, Check, Snapshot};
use crate::domain::gate::{GateState, Verdict};
use crate::domain::id::StageName;
use crate::domain::pipeline::{GateKind, GateSpec};

pub(super) fn mergeable(gate: &GateSpec, s: &Snapshot<'_>) -> Asked {
    if let Some((stage, name)) = void_verdict(s) {
        let reason = format!("{name} of {stage} is void: the code changed after it was given");
        return Asked::void(gate, stage, reason);
    }
    let c = &s.candidate;
    let tested = s
        .latest(&gate.name)
        // Tests are about code: an artifact on top of it voids them not, a change of code or of main does.
        .filter(|e| {
            e.code_tree == c.code_tree && e.base.as_ref() == Some(&c.main) && e.command == s.test_command
        });
    match tested {
        Some(evidence) if evidence.verdict.state == GateState::Red => {
            Asked::plain(gate, evidence.verdict.clone())
        }
        Some(evidence) if evidence.verdict.state == GateState::Green && !c.behind => Asked::plain(
            gate,
            Verdict::green(format!(
                "{} is on main {} and tested",
                c.head.short(),
                c.main.short()
            )),
        ),
        Some(_) | None => Asked::needs(gate, "rebase and re-test", Check::Mergeable),
    }
}

/// The first earlier verdict that is not bound to this candidate: neither its code tree nor its patch is the same.
fn void_verdict(s: &Snapshot<'_>) -> Option<(StageName, String)> {
    // A stage that has this gate itself asks its other gates in the same breath.
    let own = s.stage.gates.iter().any(|g| g.kind == GateKind::BranchMergeable);
    let before = s
        .pipeline
        .stages()
        .iter()
        .take_while(|stage| stage.name != s.stage.name);
    for stage in before.chain((!own).then_some(s.stage)) {
        for gate in &stage.gates {
            if !matches!(gate.kind, GateKind::ReviewerVerdict | GateKind::TestsPassed) {
                continue;
            }
            let holds = s.latest(&gate.name).is_some_and(|e| {
                let same_patch = e.patch_id.is_some() && e.patch_id == s.candidate.patch_id;
                e.verdict.state == GateState::Green && (e.code_tree == s.candidate.code_tree || same_patch)
            });
            if !holds {
                return Some((stage.name.clone(), gate.name.clone()));
            }
        }
    }
    None
}
