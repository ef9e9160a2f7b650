//! Words for people: what agents wrote made harmless, times seen from now, durations, money.
//! Never prints.

use std::borrow::Cow;

use anstream::adapter::StripBytes;

use crate::domain::time::Timestamp;

/// A text without escape sequences and control characters, newline and tab aside.
pub fn clean(text: &str) -> Cow<'_, str> {
    if text.chars().all(is_harmless) {
        return Cow::Borrowed(text);
    }
    let stripped = anstream::adapter::strip_str(text).to_string();
    Cow::Owned(stripped.chars().filter(|c| is_harmless(*c)).collect())
}

/// The same on one line, for a cell of a table.
pub fn line(text: &str) -> String {
    clean(text).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Control characters can drive a terminal; direction marks can make a line read as another.
fn is_harmless(c: char) -> bool {
    let turns_around = matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    matches!(c, '\n' | '\t') || !(c.is_control() || turns_around)
}

/// [`clean`] for bytes that arrive in pieces: sequences and characters may be cut between two of them.
#[derive(Default)]
pub struct Cleaner {
    stripper: StripBytes,
    rest: Vec<u8>,
}

impl Cleaner {
    /// What may be shown of the next piece.
    pub fn next(&mut self, piece: &[u8]) -> String {
        for part in self.stripper.strip_next(piece) {
            self.rest.extend_from_slice(part);
        }
        let cut = self.rest.len() - unfinished(&self.rest);
        let tail = self.rest.split_off(cut);
        let whole = std::mem::replace(&mut self.rest, tail);
        String::from_utf8_lossy(&whole)
            .chars()
            .filter(|c| is_harmless(*c))
            .collect()
    }
}

/// How many bytes at the end are the beginning of a character.
fn unfinished(bytes: &[u8]) -> usize {
    match std::str::from_utf8(&bytes[bytes.len().saturating_sub(4)..]) {
        Ok(_) => 0,
        Err(_) => (1..=bytes.len().min(3))
            .find(|back| {
                let lead = bytes[bytes.len() - back];
                let length = match lead {
                    0xc2..=0xdf => 2,
                    0xe0..=0xef => 3,
                    0xf0..=0xf4 => 4,
                    _ => 0,
                };
                length > *back
            })
            .unwrap_or(0),
    }
}

/// The clock.
pub fn now() -> Timestamp {
    Timestamp(jiff::Timestamp::now().as_microsecond())
}

/// "3m ago", from RFC 3339; the text itself when it is none.
pub fn ago(at: &str, now: Timestamp) -> String {
    let Ok(at_time) = at.parse::<jiff::Timestamp>() else {
        return line(at);
    };
    let us = now.0.saturating_sub(at_time.as_microsecond());
    if us < -1_000_000 {
        return format!("in {}", span(us.saturating_neg() / 1000));
    }
    if us < 1_000_000 {
        return "now".to_owned();
    }
    format!("{} ago", span(us / 1000))
}

/// "840ms", "42s", "3m 20s", "5h 2m", "4d 1h", from milliseconds.
pub fn span(ms: i64) -> String {
    let s = ms / 1000;
    let two = |big: i64, unit: &str, small: i64, small_unit: &str| match small {
        0 => format!("{big}{unit}"),
        small => format!("{big}{unit} {small}{small_unit}"),
    };
    match s {
        ..1 => format!("{}ms", ms.max(0)),
        1..60 => format!("{s}s"),
        60..3600 => two(s / 60, "m", s % 60, "s"),
        3600..86_400 => two(s / 3600, "h", s % 3600 / 60, "m"),
        _ => two(s / 86_400, "d", s % 86_400 / 3600, "h"),
    }
}

/// "$0.12", from micro-USD.
pub fn money(micro_usd: i64) -> String {
    let cents = (micro_usd + 5_000).div_euclid(10_000);
    format!("${}.{:02}", cents.div_euclid(100), cents.rem_euclid(100))
}

/// A part of an address: what is not plain is percent-encoded.
pub fn segment(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~');
    text.bytes()
        .map(|b| {
            if plain(b) {
                char::from(b).to_string()
            } else {
                format!("%{b:02X}")
            }
        })
        .collect()
}

#[cfg(test)]
#[expect(clippy::expect_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn what_an_agent_writes_cannot_drive_the_terminal() {
        let nasty = "a\u{1b}[31mb\u{1b}[0m\u{1b}]0;title\u{7}c\rd\u{9b}2Je\u{8}\u{202e}f\n\tg";
        assert_eq!(clean(nasty), "abcd2Jef\n\tg");
        assert_eq!(line(" two\n words\t"), "two words");
    }

    #[test]
    fn a_sequence_or_a_character_cut_between_two_pieces_is_handled_as_one() {
        let text = "häß\u{1b}[1;31mlich ✓ \u{1b}]8;;http://x\u{7}link\u{1b}]8;;\u{7} 🦀!";
        for size in 1..7 {
            let mut cleaner = Cleaner::default();
            let shown: String = text.as_bytes().chunks(size).map(|p| cleaner.next(p)).collect();
            assert_eq!(shown, "häßlich ✓ link 🦀!", "pieces of {size}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_do_not_stop_the_output() {
        let mut cleaner = Cleaner::default();
        let shown: String = [&b"a\xff\xfe"[..], b"b", b"c"].map(|p| cleaner.next(p)).concat();
        assert!(shown.starts_with('a') && shown.ends_with("bc"), "{shown:?}");
    }

    #[test]
    fn times_are_told_from_now() {
        let at = |text: &str| Timestamp(text.parse::<jiff::Timestamp>().expect("a time").as_microsecond());
        let now = at("2026-03-01T12:00:00Z");
        for (time, told) in [
            ("2026-03-01T12:00:00Z", "now"),
            ("2026-03-01T11:59:18Z", "42s ago"),
            ("2026-03-01T11:56:40Z", "3m 20s ago"),
            ("2026-03-01T07:00:00Z", "5h ago"),
            ("2026-02-25T11:00:00Z", "4d 1h ago"),
            ("2026-03-01T12:01:00Z", "in 1m"),
            ("soon", "soon"),
        ] {
            assert_eq!(ago(time, now), told);
        }
        assert_eq!(span(840), "840ms");
    }

    #[test]
    fn money_and_addresses() {
        assert_eq!(money(123_456), "$0.12");
        assert_eq!(money(12_345_678), "$12.35");
        assert_eq!(segment("ORCH-1/../ä"), "ORCH-1%2F..%2F%C3%A4");
    }
}
