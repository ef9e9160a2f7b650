//! `ci_green` and `tests_local`. Where CI is not the forge's, the project's test command stands for it.

use super::{Asked, Check, Snapshot, TESTS};
use crate::domain::gate::Verdict;
use crate::domain::pipeline::GateSpec;

pub(super) fn green(gate: &GateSpec, s: &Snapshot<'_>) -> Asked {
    if s.candidate.code_tree == s.candidate.main_tree {
        return Asked::plain(
            gate,
            Verdict::red("the branch does not differ from main: no code was changed"),
        );
    }
    if s.no_ci {
        return Asked::plain(gate, Verdict::green("the project has no CI"));
    }
    match &s.checks {
        Some(said) => Asked::plain(gate, said.clone()),
        None => tests_local(gate, s),
    }
}

pub(super) fn tests_local(gate: &GateSpec, s: &Snapshot<'_>) -> Asked {
    let Some(command) = &s.test_command else {
        return Asked::plain(
            gate,
            Verdict::unknown("the project sets no test_command, so nothing can be run"),
        );
    };
    let bound = s
        .latest(TESTS)
        .filter(|e| e.code_tree == s.candidate.code_tree && e.command.as_deref() == Some(command));
    match bound {
        Some(evidence) if evidence.verdict.state.is_final() => Asked::plain(gate, evidence.verdict.clone()),
        Some(_) | None => Asked::needs(gate, "the test command", Check::Tests(command.clone())),
    }
}
