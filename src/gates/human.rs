//! `analysis_approved`: a person moved the issue to *Approved* during this visit of the stage.

use crate::domain::gate::Verdict;

pub(super) fn approved(by: Option<&str>) -> Verdict {
    match by {
        Some(person) => Verdict::green(format!("approved by {person}")),
        None => Verdict::pending("waits for a person's approval"),
    }
}
