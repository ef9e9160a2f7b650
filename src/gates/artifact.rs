//! Reads one word from an artifact's front matter, never from its prose.

use super::Artifacts;
use crate::domain::front_matter;
use crate::domain::gate::Verdict;

/// What an artifact has to say.
pub(super) struct Expected {
    pub artifact: &'static str,
    pub key: &'static str,
    pub green: &'static str,
    pub red: &'static [&'static str],
}

pub(super) fn verdict(artifacts: &Artifacts, expected: &Expected) -> Verdict {
    match artifacts.get(expected.artifact) {
        Some(Err(why)) => Verdict::red(format!("{}: {why}", expected.artifact)),
        found => {
            let blob = found.and_then(|c| c.as_ref().ok()).map(Vec::as_slice);
            front_matter::verdict_of(
                expected.artifact,
                blob,
                expected.key,
                expected.green,
                expected.red,
            )
        }
    }
}
