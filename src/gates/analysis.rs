//! `analysis_complete` and `architecture_done`: the documents exist and are not empty.

use super::Artifacts;
use crate::domain::gate::Verdict;

const DOCUMENTS: [&str; 4] = [
    "01-brd.md",
    "02-trz.md",
    "03-acceptance-criteria.md",
    "04-test-plan.yaml",
];

pub(super) fn complete(artifacts: &Artifacts) -> Verdict {
    let missing: Vec<&str> = DOCUMENTS
        .into_iter()
        .filter(|name| !written(artifacts, name))
        .collect();
    if missing.is_empty() {
        Verdict::green("requirements, acceptance criteria and test plan are written")
    } else {
        Verdict::red(format!("missing or empty: {}", missing.join(", ")))
    }
}

pub(super) fn architecture(artifacts: &Artifacts) -> Verdict {
    let is_adr = |n: &str| n.starts_with("06-adr/ADR-") && n.ends_with(".md");
    match artifacts
        .keys()
        .find(|name| is_adr(name) && written(artifacts, name))
    {
        Some(name) => Verdict::green(format!("{name} is written")),
        None => Verdict::red("no 06-adr/ADR-*.md that is not empty"),
    }
}

fn written(artifacts: &Artifacts, name: &str) -> bool {
    match artifacts.get(name) {
        Some(Ok(content)) => content.iter().any(|b| !b.is_ascii_whitespace()),
        // Too large to be read is not empty.
        Some(Err(_)) => true,
        None => false,
    }
}
