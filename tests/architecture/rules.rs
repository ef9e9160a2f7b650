//! What may stand where, one function for each rule.

use std::sync::LazyLock;

use regex::Regex;

use super::source::{Finding, Source, balanced};

/// Longer than this, a file holds a second thing.
const LINES: usize = 400;

/// Files that may be longer, and why.
const LONG_FILES: [(&str, &str); 1] = [(
    "src/schema.rs",
    "one entry for each table: generated, and read by no one from top to bottom",
)];

/// Clocks read below the floors that own them, and why.
const CLOCKS: [(&str, &str, &str); 3] = [
    (
        "src/process/",
        "Instant",
        "waits for processes with a deadline: monotonic time, never stored",
    ),
    (
        "src/git/",
        "Instant",
        "waits for git with a deadline: monotonic time, never stored",
    ),
    (
        "src/process/shim",
        "SystemTime",
        "is a process of its own: nobody can hand it the time at which its agent ended",
    ),
];

macro_rules! pattern {
    ($name:ident, $pattern:expr) => {
        static $name: LazyLock<Regex> = LazyLock::new(|| Regex::new($pattern).unwrap());
    };
}

fn find(source: &Source, text: &str, pattern: &Regex, advice: &str) -> Vec<Finding> {
    let finding = |found: regex::Match<'_>| {
        let shown = found.as_str().split_whitespace().collect::<Vec<_>>().join(" ");
        source.found_at(found.start(), format!("`{shown}`: {advice}"))
    };
    pattern.find_iter(text).map(finding).collect()
}

fn only_in(modules: &[&str], source: &Source, pattern: &Regex, advice: &str) -> Vec<Finding> {
    if source.within(modules) {
        Vec::new()
    } else {
        find(source, &source.code, pattern, advice)
    }
}

pattern!(
    DIESEL,
    r"\b(?:diesel|diesel_migrations|libsqlite3_sys|pq_sys)\b\s*(?:::|;|,)"
);
pub fn diesel(source: &Source) -> Vec<Finding> {
    only_in(
        &["store", "schema"],
        source,
        &DIESEL,
        "go through a function of the store",
    )
}

pattern!(ACTIX, r"\bactix(?:_\w+)?\b\s*(?:::|;|,)");
pub fn actix(source: &Source) -> Vec<Finding> {
    only_in(
        &["actors", "http", "app"],
        source,
        &ACTIX,
        "offer a function that an actor or a handler calls",
    )
}

pattern!(AWC, r"\bawc\b\s*(?:::|;|,)");
pub fn awc(source: &Source) -> Vec<Finding> {
    only_in(
        &["integrations", "cli"],
        source,
        &AWC,
        "go through an integration",
    )
}

pattern!(
    IMPURE,
    r"\b(?:tokio|slog|slog_scope|slog_async|futures_util|libc|fail)\b\s*::|\bstd\s*::\s*(?:\{[^;]*)?\b(?:fs|net|process|env|thread|io|os)\b"
);
pub fn pure_domain(source: &Source) -> Vec<Finding> {
    if source.module() == "domain" {
        find(
            source,
            &source.production,
            &IMPURE,
            "the domain decides on values: let a floor above do it",
        )
    } else {
        Vec::new()
    }
}

pattern!(
    COMMAND,
    r"\btokio\s*::\s*process\b|(?:^|[^\w:]|std\s*::\s*)process\s*::\s*(?:\*|Command\b|\{[^}]*\bCommand\b)"
);
pub fn command(source: &Source) -> Vec<Finding> {
    if source.within(&["process", "git"]) {
        return Vec::new();
    }
    find(
        source,
        &source.production,
        &COMMAND,
        "start programs through `process`, git through `git`",
    )
}

pattern!(
    CLOCK,
    r"\b(SystemTime|Instant|Timestamp|Zoned|Utc|Local|OffsetDateTime|DateTime)\s*::\s*now(?:_utc|_local)?\b|\.\s*(elapsed)\s*\("
);
pub fn clock(source: &Source) -> Vec<Finding> {
    if source.within(&["actors", "http", "cli", "app"]) {
        return Vec::new();
    }
    let mut findings = Vec::new();
    for found in CLOCK.captures_iter(&source.production) {
        // What has elapsed is read from the clock of an `Instant`.
        let clock = found.get(1).map_or("Instant", |clock| clock.as_str());
        if !CLOCKS
            .iter()
            .any(|(path, excused, _)| source.path.starts_with(path) && *excused == clock)
        {
            let at = found.get(0).unwrap().start();
            findings.push(source.found_at(at, format!("{clock} is read: take the time as a value")));
        }
    }
    findings
}

pattern!(UNSAFE, r"\bunsafe\b");
pub fn no_unsafe(source: &Source) -> Vec<Finding> {
    // Waits for a socket that only libpq knows.
    if source.path == "src/store/wire.rs" {
        return Vec::new();
    }
    only_in(
        &["process"],
        source,
        &UNSAFE,
        "move it behind a safe function of `process`",
    )
}

pattern!(ATTRIBUTE, r"#!?\[");
pattern!(SILENCED, r"\b(?:allow|expect)\s*\(");
pattern!(REASON, r"\breason\s*=");
pub fn reasoned_lints(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    for found in ATTRIBUTE.find_iter(&source.code) {
        let bracket = &source.code[found.end() - 1..];
        let attribute = &bracket[..balanced(bracket, '[', ']')];
        if SILENCED.is_match(attribute) && !REASON.is_match(attribute) {
            findings.push(source.found_at(found.start(), "write #[expect(lint, reason = \"…\")]"));
        }
    }
    findings
}

pattern!(
    UNWRAP,
    r"\.\s*(?:unwrap|unwrap_err)\s*\(\s*\)|\.\s*(?:expect|expect_err)\s*\("
);
pub fn no_unwrap(source: &Source) -> Vec<Finding> {
    find(source, &source.production, &UNWRAP, "say what happens instead")
}

pattern!(
    ALIAS,
    r"\b(?:SystemTime|Instant|Timestamp|Zoned|Command|process|diesel|actix|actix_rt|actix_web|awc|crate|domain|schema|store|settings|git|integrations|agents|gates|engine|actors|http|cli|app)\s+as\s+[A-Za-z]\w*"
);
pub fn no_alias(source: &Source) -> Vec<Finding> {
    find(
        source,
        &source.code,
        &ALIAS,
        "use the name that everybody looks for",
    )
}

pub fn begins_with_its_job(source: &Source) -> Vec<Finding> {
    if source.raw.starts_with("//!") {
        return Vec::new();
    }
    vec![source.found_at(0, "begin with //! and the module's job")]
}

/// Lines of tests count for nothing.
pub fn short(source: &Source) -> Vec<Finding> {
    let tests = source.code.lines().zip(source.production.lines());
    let tests = tests.filter(|(code, production)| !code.trim().is_empty() && production.trim().is_empty());
    let lines = source.raw.lines().count() - tests.count();
    if lines <= LINES || LONG_FILES.iter().any(|(path, _)| *path == source.path) {
        return Vec::new();
    }
    vec![Finding {
        line: lines,
        ..source.found_at(0, format!("{lines} lines: ask what second thing lives there"))
    }]
}

/// An exception that nothing needs any more.
pub fn stale_exceptions(sources: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, _) in LONG_FILES {
        let long = sources
            .iter()
            .any(|source| source.path == path && source.raw.lines().count() > LINES);
        if !long {
            let what = "is not long any more: take it off the list".to_owned();
            findings.push(Finding {
                rule: "a file stays short",
                path: path.to_owned(),
                line: 1,
                what,
            });
        }
    }
    findings
}
