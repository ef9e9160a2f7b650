//! By what a failure is known again: the rule that matched and the error it saw, without what differs from time to time.
//! What an agent wrote about its work is not part of that: it never says the same twice.

use std::fmt;
use std::sync::LazyLock;

use regex::Regex;
use sha2::{Digest as _, Sha256};

use super::rules::{Match, MatchedBy};
use super::text::{ErrorText, REPORTS};

/// Lines of the output's end that count where nothing else tells.
const LINES: usize = 5;

/// What differs from one attempt to the next: folders, ids, hashes, addresses, times, counts. Whatever has a digit in it
/// may be one of them.
static VARYING: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(concat!(
        r"(?i)\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b",
        r"|(?:~|\B)(?:/[\w.@+~-]+){2,}/?",
        r"|\b\w*[0-9]\w*(?:[.:,-]\w*[0-9]\w*)*",
        r"|\b[0-9a-f]{12,}\b",
    ))
    .ok()
});

/// Rule and normalised error, hashed: 32 hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Fingerprint(String);

impl Fingerprint {
    /// Of a failure of which the rules say this.
    pub fn of(found: &Match, text: &ErrorText) -> Self {
        let mut hash = Sha256::new();
        hash.update(found.strategy.as_bytes());
        hash.update(format!(" {:?}", text.exit_code()));
        for line in std::iter::once(text.first_line()).chain(seen(found, text)) {
            hash.update(b"\n");
            hash.update(normalised(line).as_bytes());
        }
        Self(
            hash.finalize()[..16]
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect(),
        )
    }

    /// As stored.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What was seen of the error beside the first line.
fn seen<'a>(found: &'a Match, text: &'a ErrorText) -> Vec<&'a str> {
    match &found.by {
        // How it ended says it all.
        MatchedBy::ExitCode(_) | MatchedBy::Signal(_) => Vec::new(),
        MatchedBy::Pattern(words) => vec![words],
        MatchedBy::Nothing if text.first_line().contains(REPORTS) => Vec::new(),
        MatchedBy::Nothing => {
            let lines = text.tail().lines().rev().map(str::trim);
            lines
                .filter(|line| !line.is_empty() && !is_event(line))
                .take(LINES)
                .collect()
        }
    }
}

/// A line of an agent's stream; the error in it, if it is one, is what the agent reports.
fn is_event(line: &str) -> bool {
    line.starts_with("{\"") && line.ends_with('}')
}

/// The line without what differs from time to time.
fn normalised(line: &str) -> String {
    let line = match VARYING.as_ref() {
        Some(varying) => varying.replace_all(line, "#"),
        None => line.into(),
    };
    line.split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .to_lowercase()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use crate::domain::repair::{Rules, SHIPPED};

    fn of(text: &str) -> Fingerprint {
        let text = ErrorText::parse(text);
        let rules = Rules::parse(SHIPPED).unwrap();
        Fingerprint::of(&rules.matching(&text, None), &text)
    }

    #[test]
    fn the_same_failure_has_the_same_fingerprint_whatever_its_numbers() {
        let first =
            of("exit code 1\n[12:01:07] run 4 in /w/31-2 at 0xdeadbeef\nerror: a1b2c3d4e5 is missing");
        assert_eq!(
            first,
            of("exit code 1\n[12:44:59] run 5 in /w/31-3 at 0xfeed\nError:  a1b2c3d4e6 is missing")
        );
        assert_ne!(
            first,
            of("exit code 1\n[12:01:07] run 4 in /w/31-2 at 0xdeadbeef\nerror: it is there")
        );
        assert_eq!(first.as_str().len(), 32);
        for (one, other) in [
            (
                "cannot read /tmp/tmp.XaBcDe/src/a.rs",
                "cannot read /tmp/tmp.QwErTy/src/a.rs",
            ),
            ("at 2026-11-22T04:20:00Z: no", "at 2026-11-23T11:02:59.120Z: no"),
            ("request req_011CTaaXyz refused", "request req_09ffKmQa refused"),
            (
                "session 2f1c9a3e-0b1d-4c55-9d7e-aaaaaaaaaaaa is gone",
                "session bbbbbbbb-cccc-dddd-eeee-ffffffffffff is gone",
            ),
        ] {
            let of = |line: &str| of(&format!("exit code 1\n{line}"));
            assert_eq!(of(one), of(other));
        }
        let of = |line: &str| of(&format!("exit code 1\n{line}"));
        assert_ne!(of("error: src/a.rs is missing"), of("error: src/b.rs is missing"));
    }

    #[test]
    fn what_an_agent_says_on_its_way_does_not_count() {
        let says = |words: &str, id: u32| {
            format!(
                "{{\"type\":\"assistant\",\"message\":{{\"id\":\"msg_{id}\",\"content\":\"{words}\"}}}}\n\
                 {{\"type\":\"result\",\"session_id\":\"s-{id}\",\"result\":\"{words}\"}}"
            )
        };
        let (one, other) = (says("I read the tests", 1), says("Now the orders", 2));
        for ended in [
            // By its exit, by what the agent reports of itself, by the words of a rule, by what a program beside it says.
            "exit code 143 SIGTERM (timeout after 1800s)",
            "exit code 137 SIGKILL",
            "exit code 1, but the agent reports: claude: error_during_execution: the tool broke",
            "exit code 1\nfatal: out of memory, malloc failed",
            "exit code 1\nerror: the model is away",
        ] {
            assert_eq!(
                of(&format!("{ended}\n{one}")),
                of(&format!("{ended}\n{other}")),
                "{ended}"
            );
        }
        let reports = |what: &str| {
            of(&format!(
                "exit code 1, but the agent reports: claude: {what}\n{one}"
            ))
        };
        assert_ne!(reports("the tool broke"), reports("the prompt is too long"));
        // As text, after an exit that says what happened.
        let ended = "exit code 143 SIGTERM (timeout after 1800s)";
        assert_eq!(
            of(&format!("{ended}\nstill reading")),
            of(&format!("{ended}\nnow the orders"))
        );
    }

    #[test]
    fn only_the_end_counts_and_the_rule_does() {
        let tail = "a\nb\nc\nd\ne";
        assert_eq!(
            of(&format!("exit code 1\nbegan well\n{tail}")),
            of(&format!("exit code 1\nbegan badly\n{tail}"))
        );
        let text = ErrorText::parse("exit code 1");
        let found = Rules::default().matching(&text, None);
        let other = Match {
            strategy: "oom".into(),
            ..found.clone()
        };
        assert_ne!(Fingerprint::of(&found, &text), Fingerprint::of(&other, &text));
        assert_ne!(of("exit code 1"), of("exit code 2"));
    }
}
