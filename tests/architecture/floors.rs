//! The floors of the house, and who may know whom.

use std::sync::LazyLock;

use regex::Regex;

use super::source::{Finding, Source, balanced};

/// A module knows those on lower floors. Those on one floor do not know each other.
const FLOORS: [(&str, u8); 17] = [
    ("failpoint", 0),
    ("domain", 0),
    ("schema", 1),
    ("process", 1),
    ("store", 1),
    ("settings", 1),
    ("git", 2),
    ("integrations", 2),
    ("agents", 2),
    ("gates", 3),
    ("engine", 3),
    ("actors", 4),
    ("http", 5),
    ("cli", 5),
    ("app", 6),
    ("main", 7),
    ("lib", 7),
];

/// Neighbours that do know each other, and why.
const SIDEWAYS: [(&str, &str, &str); 3] = [
    ("integrations", "git", "the local forge is git itself"),
    ("engine", "gates", "gates lie on the engine's floor, below it"),
    ("store", "schema", "the schema is generated for the store"),
];

fn floor(module: &str) -> Option<u8> {
    FLOORS
        .iter()
        .find(|(name, _)| *name == module)
        .map(|(_, floor)| *floor)
}

fn may_know(from: &str, to: &str) -> bool {
    from == to || floor(to) < floor(from) || SIDEWAYS.iter().any(|(a, b, _)| (*a, *b) == (from, to))
}

static ROOTED: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"\b(?:crate|orch)\s*::\s*(\{|\*|\w+\s*!?)").unwrap());
static CLIMBING: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"\b((?:super\s*::\s*)+)(\{|\*|\w+)").unwrap());
static WORD: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"^\s*(\*|\w+)").unwrap());

/// The crate's top-level names that a text mentions, each with its place. "*" is all of them.
fn mentions(source: &Source) -> Vec<(usize, String)> {
    let mut mentions = Vec::new();
    for found in ROOTED.captures_iter(&source.code) {
        collect(&source.code, found.get(1).unwrap(), &mut mentions);
    }
    let depth = source.modules().len();
    for found in CLIMBING.captures_iter(&source.code) {
        // A module within the file climbs once more before it is at the root.
        if found[1].matches("super").count() >= depth {
            let mut names = Vec::new();
            collect(&source.code, found.get(2).unwrap(), &mut names);
            mentions.extend(names.into_iter().filter(|(_, name)| floor(name).is_some()));
        }
    }
    mentions
}

fn collect(code: &str, first: regex::Match<'_>, into: &mut Vec<(usize, String)>) {
    let at = first.start();
    if first.as_str() != "{" {
        into.push((at, first.as_str().to_owned()));
        return;
    }
    let inside = &code[at..at + balanced(&code[at..], '{', '}')];
    let (mut depth, mut start) = (0_u32, 1);
    for (offset, c) in inside.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if (c == ',' && depth == 1) || depth == 0 {
            if let Some(word) = WORD.captures(&inside[start.min(offset)..offset]) {
                into.push((at + start + word.get(1).unwrap().start(), word[1].to_owned()));
            }
            start = offset + 1;
        }
    }
}

pub fn no_import_upward(source: &Source) -> Vec<Finding> {
    let from = source.module();
    let mut findings = Vec::new();
    for (at, name) in mentions(source) {
        if name.ends_with('!') {
            continue;
        }
        if floor(&name).is_none() {
            findings.push(source.found_at(
                at,
                format!("{name} is not on the map of floors: import modules by name"),
            ));
        } else if !may_know(from, &name) {
            findings.push(source.found_at(
                at,
                format!("{from} must not know {name}: move what both need further down"),
            ));
        }
    }
    if floor(from).is_none() {
        findings.push(source.found_at(0, format!("{from} is not on the map of floors: give it one")));
    }
    findings
}

pub fn schema_in_store_alone(source: &Source) -> Vec<Finding> {
    if source.within(&["store", "schema", "lib"]) {
        return Vec::new();
    }
    let schema = mentions(source).into_iter().filter(|(_, name)| name == "schema");
    schema
        .map(|(at, _)| source.found_at(at, "ask the store for what is needed"))
        .collect()
}
