//! Each shape says what its check says, for texts made of what checks stumble over.
#![expect(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use proptest::prelude::*;
use regex::Regex;
use utoipa::PartialSchema;
use utoipa::openapi::{RefOr, Schema};

use super::*;
use crate::agents::Presets;
use crate::domain::id::{ProjectName, WorkItemId};
use crate::engine::gestures;
use crate::engine::intake;
use crate::engine::views::{AddTask, MakeGesture};

type Refuses = fn(&str) -> bool;
/// What this crate's regex cannot say, and what it means for the text after the last slash.
const LOOKAHEADS: [(&str, Refuses); 2] = [
    ("(?![^/]{65})", |name| name.len() > 64),
    (r"(?![^/]*\.lock$)", |name| name.ends_with(".lock")),
];

/// Whether a text has this shape, as a reader of the document finds it.
fn fits<S: PartialSchema>(text: &str) -> bool {
    let RefOr::T(Schema::Object(shape)) = S::schema() else {
        panic!("no object");
    };
    let length = text.chars().count();
    let (least, most) = (
        shape.min_length.unwrap_or(0),
        shape.max_length.unwrap_or(usize::MAX),
    );
    let mut pattern = shape.pattern.expect("a pattern");
    let mut refused = false;
    for (lookahead, refuses) in LOOKAHEADS {
        if pattern.contains(lookahead) {
            refused |= refuses(text.rsplit('/').next().unwrap_or_default());
            pattern = pattern.replace(lookahead, "");
        }
    }
    let pattern = Regex::new(&pattern).expect("a pattern that this crate knows");
    (least..=most).contains(&length) && !refused && pattern.is_match(text)
}

fn adds(change: impl FnOnce(&mut AddTask)) -> bool {
    let mut task = AddTask {
        title: "x".to_owned(),
        ..AddTask::default()
    };
    change(&mut task);
    let presets = Presets::load(None).expect("the built-in presets");
    intake::check_texts(&task, &presets).is_ok()
}

fn gestures(change: impl FnOnce(&mut MakeGesture)) -> bool {
    let mut make = MakeGesture {
        gesture: "approved".to_owned(),
        person: None,
        comment: None,
        candidate: None,
    };
    change(&mut make);
    gestures::parse(make).is_ok()
}

/// Every check against its shape.
fn agree(text: &str) {
    let owned = || text.to_owned();
    let pairs = [
        ("title", fits::<Title>(text), adds(|t| t.title = owned())),
        (
            "description",
            fits::<Description>(text),
            adds(|t| t.description = owned()),
        ),
        (
            "external_id",
            fits::<ExternalId>(text),
            adds(|t| t.external_id = Some(owned())),
        ),
        (
            "modifies",
            fits::<RepositoryPath>(text),
            adds(|t| t.modifies = vec![owned()]),
        ),
        ("id", fits::<WorkItemName>(text), WorkItemId::parse(text).is_ok()),
        ("task", fits::<TaskName>(text), is_task_name(text)),
        (
            "person",
            fits::<Person>(text),
            gestures(|g| g.person = Some(owned())),
        ),
        (
            "comment",
            fits::<Comment>(text),
            gestures(|g| g.comment = Some(owned())),
        ),
        (
            "candidate",
            fits::<CandidatePrefix>(text),
            gestures(|g| g.candidate = Some(owned())),
        ),
    ];
    for (field, described, accepted) in pairs {
        assert_eq!(described, accepted, "{field}: {text:?}");
    }
}

fn is_task_name(text: &str) -> bool {
    let (project, name) = match text.split_once('/') {
        Some((project, name)) => (Some(project), name),
        None => (None, text),
    };
    project.is_none_or(|p| ProjectName::parse(p).is_ok()) && WorkItemId::parse(name).is_ok()
}

const STUMBLING: [&str; 26] = [
    "a",
    "Z",
    "7",
    "f",
    ".",
    "..",
    "/",
    "-",
    "_",
    " ",
    "\0",
    "\n",
    "\t",
    "\u{7f}",
    "\u{85}",
    "\u{a0}",
    "\u{2028}",
    "\u{3000}",
    "\u{feff}",
    "é",
    "\u{1f600}",
    "lock",
    ".lock",
    "shop/",
    "abcdef0",
    "\\",
];

proptest! {
    #[test]
    fn a_text_is_accepted_when_it_has_the_described_shape_and_only_then(
        parts in prop::collection::vec(prop::sample::select(&STUMBLING[..]), 0..7),
    ) {
        agree(&parts.concat());
    }
}

#[test]
fn lengths_are_counted_in_characters_up_to_the_described_limit() {
    for limit in [
        6,
        7,
        64,
        65,
        100,
        TITLE_MAX,
        EXTERNAL_ID_MAX,
        COMMENT_MAX,
        DESCRIPTION_MAX,
    ] {
        for length in [limit - 1, limit, limit + 1] {
            agree(&"a".repeat(length));
            agree(&"é".repeat(length));
            agree(&" ".repeat(length));
        }
    }
}
