//! `command`: a project's own program. Exit 0 green, 1 red, anything else unknown; its stdout is the reason.

use super::{Asked, Check, Snapshot};
use crate::domain::pipeline::GateSpec;

pub(super) fn command(gate: &GateSpec, argv: &[String], timeout_s: u64, s: &Snapshot<'_>) -> Asked {
    let line = argv.join(" ");
    // A program may look at artifacts too, so its answer is bound to the very commit.
    let bound = s
        .latest(&gate.name)
        .filter(|e| e.candidate == s.candidate.head && e.command.as_deref() == Some(line.as_str()));
    match bound {
        Some(evidence) if evidence.verdict.state.is_final() => Asked::plain(gate, evidence.verdict.clone()),
        Some(_) | None => {
            let check = Check::Command {
                name: gate.name.clone(),
                argv: argv.to_vec(),
                timeout_s,
            };
            Asked::needs(gate, &format!("command {:?}", gate.name), check)
        }
    }
}
