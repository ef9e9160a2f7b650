//! Where a project's issues are, and what their states are called there.

use std::collections::BTreeMap;

use super::table::{At, Table};
use crate::domain::board::Board;
use crate::domain::pipeline::Pipeline;
use crate::domain::task::TrackerKind;

/// `plane_project`: there where the tracker is Plane, and only there.
pub(super) fn plane_project(top: &Table<'_>, tracker: TrackerKind) -> Option<String> {
    let written = top.parsed("plane_project", id);
    match tracker {
        TrackerKind::Plane => {
            let wanted = "give the id of the project at Plane; it stands in the address of its page";
            top.require("plane_project", wanted, written)
        }
        TrackerKind::Local => {
            if let Some(at) = &written {
                let problem = "plane_project is for tracker = \"plane\": set that, or remove this";
                top.note(at.line, problem);
            }
            None
        }
    }
    .map(|at| at.value)
}

fn id(text: &str) -> Result<String, String> {
    match uuid::Uuid::try_parse(text) {
        Ok(id) => Ok(id.hyphenated().to_string()),
        Err(_) => Err("give the id, such as \"466f86a0-188f-422a-9829-30cfab484979\"".to_owned()),
    }
}

/// `[tracker_states]` as written.
pub(super) fn states(top: &Table<'_>) -> Option<At<BTreeMap<String, String>>> {
    top.text_map("tracker_states")
}

/// Notes what is neither a state nor a stage, and empty names.
pub(super) fn refuse_unknown(
    top: &Table<'_>,
    states: &At<BTreeMap<String, String>>,
    pipeline: Option<&Pipeline>,
) {
    for (key, name) in &states.value {
        if name.trim().is_empty() {
            top.note(
                states.line,
                format!("tracker_states.{key} is empty: give the name of a state"),
            );
        }
        let Some(pipeline) = pipeline else { continue };
        let is_stage = pipeline.stages().iter().any(|s| s.name.as_str() == key);
        if !is_stage && !Board::keys().any(|known| known == key) {
            let known: Vec<_> = Board::keys().collect();
            let problem = format!(
                "tracker_states: {key:?} is neither a stage nor one of {}",
                known.join(", ")
            );
            top.note(states.line, problem);
        }
    }
    if let Some(name) = Board::new(states.value.clone()).clash() {
        let problem = format!(
            "tracker_states: {name:?} is what a person decides and something else too; give each a name of its own"
        );
        top.note(states.line, problem);
    }
}
