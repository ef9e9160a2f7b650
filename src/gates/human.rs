//! `analysis_approved`: a person moved the issue to *Approved* during this visit of the stage. `review_approved`: a person
//! approved the branch head at the forge.

use crate::domain::gate::Verdict;

pub(super) fn approved(by: Option<&str>) -> Verdict {
    match by {
        Some(person) => Verdict::green(format!("approved by {person}")),
        None => Verdict::pending("waits for a person's approval"),
    }
}

pub(super) fn reviewed(said: Option<&Verdict>) -> Verdict {
    said.cloned()
        .unwrap_or_else(|| Verdict::unknown("this forge keeps no reviews: use reviewer_verdict"))
}
