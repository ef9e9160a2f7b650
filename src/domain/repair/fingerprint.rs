//! By what a failure is known again: the rule that matched and the error without what differs from time to time.

use std::fmt;
use std::sync::LazyLock;

use regex::Regex;
use sha2::{Digest as _, Sha256};

use super::text::ErrorText;

/// Lines of the output's end that count.
const LINES: usize = 5;

/// What differs from one attempt to the next: ids, hashes, addresses, times, counts.
static VARYING: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"(?i)\b0x[0-9a-f]+\b|\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b|\b[0-9a-f]*[0-9][0-9a-f]{6,}\b|[0-9]+").ok()
});

/// Rule and normalised error, hashed: 32 hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Fingerprint(String);

impl Fingerprint {
    /// Of a failure that the rule of that name matched.
    pub fn of(strategy: &str, text: &ErrorText) -> Self {
        let mut hash = Sha256::new();
        hash.update(strategy.as_bytes());
        hash.update(format!(" {:?}", text.exit_code()));
        let last = text
            .tail()
            .lines()
            .rev()
            .map(str::trim)
            .filter(|line| !line.is_empty());
        for line in std::iter::once(text.first_line()).chain(last.take(LINES)) {
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
mod tests {
    use super::*;

    fn of(text: &str) -> Fingerprint {
        Fingerprint::of("retry", &ErrorText::parse(text))
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
    }

    #[test]
    fn only_the_end_counts_and_the_rule_does() {
        let tail = "a\nb\nc\nd\ne";
        assert_eq!(
            of(&format!("exit code 1\nbegan well\n{tail}")),
            of(&format!("exit code 1\nbegan badly\n{tail}"))
        );
        let text = ErrorText::parse("exit code 1");
        assert_ne!(Fingerprint::of("oom", &text), Fingerprint::of("killed", &text));
        assert_ne!(of("exit code 1"), of("exit code 2"));
    }
}
