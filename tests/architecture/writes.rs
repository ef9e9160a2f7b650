//! Who may change a task's stage and a job's status: each has one place.

use std::sync::LazyLock;

use regex::Regex;

use super::source::{Finding, Source, balanced};

/// A column of a table, and the ways to write to it.
struct Column {
    table: &'static str,
    name: &'static str,
    /// In an update's `.set(…)`, qualified by the table.
    qualified: Regex,
    /// The same without a table.
    bare: Regex,
    /// As a field of a changeset.
    field: Regex,
    /// In a raw statement.
    raw: Regex,
}

impl Column {
    fn new(table: &'static str, name: &'static str) -> Self {
        let regex = |pattern: String| Regex::new(&pattern).unwrap();
        Self {
            table,
            name,
            qualified: regex(format!(r"\b{table}\s*::\s*(?:dsl\s*::\s*)?{name}\s*\.\s*eq\s*\(")),
            bare: regex(format!(r"(?:^|[^\w:]){name}\s*\.\s*eq\s*\(")),
            field: regex(format!(r"\b{name}\s*:[^:]")),
            raw: regex(format!(
                r"(?i)\bupdate\s+{table}\s+set\b[^;]*?\b(?:{name}\s*=|where\b)"
            )),
        }
    }
}

static STAGE: LazyLock<Column> = LazyLock::new(|| Column::new("tasks", "stage"));
static STATUS: LazyLock<Column> = LazyLock::new(|| Column::new("jobs", "status"));
static UPDATE: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\bupdate\s*\(").unwrap());
static SET: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\.\s*set\s*\(").unwrap());
static CHANGESET: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\bAsChangeset\b").unwrap());

/// Where a file writes to a column.
fn writes(source: &Source, column: &Column) -> Vec<usize> {
    let mut places = Vec::new();
    let code = &source.code;
    for update in UPDATE.find_iter(code) {
        let open = update.end() - 1;
        let target = &code[open..open + balanced(&code[open..], '(', ')')];
        let statement = &code[open..];
        let statement = &statement[..statement.find(';').unwrap_or(statement.len())];
        let Some(set) = SET.find(statement) else { continue };
        let values = &statement[set.end() - 1..];
        let values = &values[..balanced(values, '(', ')')];
        let bare = target.contains(column.table) && column.bare.is_match(values);
        if bare || column.qualified.is_match(values) {
            places.push(update.start());
        }
    }
    for derive in CHANGESET.find_iter(code) {
        let rest = &code[derive.start()..];
        let Some(open) = rest.find('{').filter(|open| rest[..*open].contains("struct")) else {
            continue;
        };
        let fields = &rest[open..open + balanced(&rest[open..], '{', '}')];
        if rest[..open].contains(column.table) && column.field.is_match(fields) {
            places.push(derive.start());
        }
    }
    let raw = column
        .raw
        .find_iter(&source.text)
        .filter(|found| found.as_str().ends_with('='));
    places.extend(raw.map(|found| found.start()));
    places
}

fn only_under(home: &str, source: &Source, column: &Column) -> Vec<Finding> {
    let inside = source.path == format!("{home}.rs") || source.path.starts_with(&format!("{home}/"));
    if inside {
        return Vec::new();
    }
    let what = format!("{}.{} is written: ask {home} for it", column.table, column.name);
    writes(source, column)
        .into_iter()
        .map(|at| source.found_at(at, what.clone()))
        .collect()
}

pub fn stage(source: &Source) -> Vec<Finding> {
    only_under("src/store/tasks", source, &STAGE)
}

pub fn job_status(source: &Source) -> Vec<Finding> {
    only_under("src/store/jobs", source, &STATUS)
}

/// Even at home there is one place only.
pub fn stage_in_one_place(sources: &[Source]) -> Vec<Finding> {
    let all = sources
        .iter()
        .flat_map(|source| writes(source, &STAGE).into_iter().map(move |at| (source, at)));
    let rule = "a task's stage changes in one place";
    all.skip(1)
        .map(|(source, at)| source.found_at(at, "a second place").of(rule))
        .collect()
}
