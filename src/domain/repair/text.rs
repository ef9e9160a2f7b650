//! The error text of a failed attempt: how it ended, in its first line, and the end of what it printed.

use std::sync::LazyLock;

use regex::Regex;

use crate::domain::quoted;

/// Bytes of the end of an agent's output that rules look at.
pub const OUTPUT_TAIL: usize = 64 * 1024;

/// Bytes of the end in which a program says why it gives up: further up stands what an agent read and wrote.
const LAST_WORDS: usize = 2 * 1024;

/// Stands between how an attempt ended and what its agent reports of it, both in the first line.
pub const REPORTS: &str = ", but the agent reports: ";

/// `exit code 143 SIGTERM (timeout after 1800s)`, as the process layer words it, or what a person types: `exit 143`.
static EXIT: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"(?i)\bexit (?:code |status )?([0-9]{1,3})\b(?:[ :]+(SIG[A-Z0-9]+)\b)?").ok()
});
static SIGNAL: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"\bSIG[A-Z][A-Z0-9]+\b").ok());

/// What rules look at: the first line tells how the attempt ended, the rest is what it printed last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorText {
    text: String,
    exit_code: Option<i32>,
    signal: Option<String>,
}

impl ErrorText {
    /// From the line that says how the attempt ended and the end of its output; escape codes and control characters
    /// are taken out, and no more than [`OUTPUT_TAIL`] bytes of the output stay.
    pub fn new(ended: &str, output: &str) -> Self {
        let first = quoted::one_line(ended, 1000);
        // What the agent says of itself comes after how it ended.
        let how = first.split(REPORTS).next().unwrap_or_default();
        let exit = EXIT.as_ref().and_then(|exit| exit.captures(how));
        let exit_code = exit.as_ref().and_then(|c| c[1].parse().ok());
        let named = exit.and_then(|c| c.get(2)).map(|m| m.as_str().to_uppercase());
        let signal = named.or_else(|| SIGNAL.as_ref()?.find(how).map(|m| m.as_str().to_owned()));
        let tail = quoted::clean_tail(output, OUTPUT_TAIL);
        let text = if tail.is_empty() {
            first
        } else {
            format!("{first}\n{tail}")
        };
        Self {
            text,
            exit_code,
            signal,
        }
    }

    /// From one text, its first line the one that says how the attempt ended.
    pub fn parse(text: &str) -> Self {
        let (first, rest) = text.split_once('\n').unwrap_or((text, ""));
        Self::new(first, rest)
    }

    /// All of it.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The line that says how the attempt ended.
    pub fn first_line(&self) -> &str {
        self.text.lines().next().unwrap_or_default()
    }

    /// What it printed last.
    pub fn tail(&self) -> &str {
        self.text.split_once('\n').map_or("", |(_, rest)| rest)
    }

    /// The end of it, where a program says why it gives up; all of it where it is short.
    pub fn last_words(&self) -> &str {
        let mut from = self.text.len().saturating_sub(LAST_WORDS);
        while !self.text.is_char_boundary(from) {
            from += 1;
        }
        &self.text[from..]
    }

    /// The exit code that the first line names.
    pub fn exit_code(&self) -> Option<i32> {
        self.exit_code
    }

    /// The signal that the first line names: `SIGTERM`.
    pub fn signal(&self) -> Option<&str> {
        self.signal.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_alone_tells_exit_and_signal() {
        let table: [(&str, Option<i32>, Option<&str>); 8] = [
            (
                "exit code 1, but the agent reports: exit code 137 SIGKILL",
                Some(1),
                None,
            ),
            (
                "exit code 143 SIGTERM (timeout after 1800s)",
                Some(143),
                Some("SIGTERM"),
            ),
            ("exit code 0, but the agent reports: no", Some(0), None),
            ("exit 137", Some(137), None),
            ("Exit status 127: command not found", Some(127), None),
            ("no exit code (stopped)", None, None),
            ("killed by SIGKILL", None, Some("SIGKILL")),
            ("exit code 1\nexit code 137 SIGKILL", Some(1), None),
        ];
        for (text, code, signal) in table {
            let text = ErrorText::parse(text);
            assert_eq!((text.exit_code(), text.signal()), (code, signal), "{text:?}");
        }
    }

    #[test]
    fn of_a_long_output_only_its_end_stays_and_no_escape_code() {
        let long = format!("{}\x1b[31mred\x1b[0m end", "x".repeat(3 * OUTPUT_TAIL));
        let text = ErrorText::new("exit code 1", &long);
        assert!(text.tail().ends_with("xred end"), "no escape code is left");
        assert!(
            text.as_str().len() <= OUTPUT_TAIL + 100,
            "{}",
            text.as_str().len()
        );
        assert_eq!(text.first_line(), "exit code 1");
    }
}
