//! `staging_status`, `staging_image_fresh`: what Orch itself saw at staging in this visit, for this very code. What an agent
//! writes about it proves nothing.

use super::artifact::{Expected, verdict};
use super::{Asked, Check, Snapshot};
use crate::domain::evidence::Evidence;
use crate::domain::gate::{GateState, Verdict};
use crate::domain::pipeline::GateSpec;

const STAGING: Expected = Expected {
    artifact: "15-staging-log.md",
    key: "staging_status",
    green: "SUCCESS",
    red: &["FAILED"],
};

/// Green when Orch deployed and checked this code in this visit, and the log in git says so too.
pub(super) fn status(gate: &GateSpec, s: &Snapshot<'_>) -> Asked {
    let Some(command) = &s.staging else {
        return not_set_up(
            gate,
            "the project has no [staging]: nothing can be deployed to staging",
        );
    };
    match proof(gate, s, command) {
        Some(e) if e.verdict.state == GateState::Green => match verdict(&s.artifacts, &STAGING) {
            log if log.state == GateState::Green => Asked::plain(gate, e.verdict.clone()),
            log => Asked::plain(gate, log),
        },
        Some(e) if e.verdict.state == GateState::Red => Asked::plain(gate, e.verdict.clone()),
        Some(_) | None => Asked::needs(gate, "staging", Check::Staging),
    }
}

/// Green when staging says in this visit that it runs this code.
pub(super) fn fresh(gate: &GateSpec, s: &Snapshot<'_>) -> Asked {
    let Some(source) = &s.revision else {
        return not_set_up(gate, "[staging] has no revision_command and no revision_url");
    };
    match proof(gate, s, source) {
        Some(e) if e.verdict.state.is_final() => Asked::plain(gate, e.verdict.clone()),
        Some(_) | None => Asked::needs(gate, "the question what staging runs", Check::Fresh),
    }
}

/// Orch's own evidence. An artifact commit leaves it; another visit, other code and other commands do not.
fn proof<'a>(gate: &GateSpec, s: &'a Snapshot<'_>, command: &str) -> Option<&'a Evidence> {
    s.latest(&gate.name).filter(|e| {
        e.visit == s.visit && e.code_tree == s.candidate.code_tree && e.command.as_deref() == Some(command)
    })
}

fn not_set_up(gate: &GateSpec, why: &str) -> Asked {
    Asked::plain(gate, Verdict::unknown(why))
}
