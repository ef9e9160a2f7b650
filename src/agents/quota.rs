//! When a provider says that it may be asked again, as agent CLIs and HTTP servers word it. A time without a day is
//! the next such time. Never decides what follows.
//!
//! Forms, with where they are printed: `Retry-After: 120` and an HTTP date (RFC 9110, 10.2.3), `usage limit
//! reached|1761234567` and `resets 3pm (Europe/Berlin)` (claude), `try again in 2 days 3 hours 5 minutes` (codex),
//! `Please retry in 27.5s` and `"retryDelay": "27s"` (gemini).

use std::sync::LazyLock;
use std::time::Duration;

use jiff::civil::Time;
use jiff::fmt::rfc2822;
use jiff::tz::TimeZone;
use regex::{Captures, Regex};

use crate::domain::time::Timestamp;

/// No limit lasts longer than a week; what says otherwise was misread.
const LONGEST: Duration = Duration::from_secs(8 * 86_400);

macro_rules! pattern {
    ($name:ident, $text:literal) => {
        static $name: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new($text).ok());
    };
}

pattern!(EPOCH, r"(?i)limit reached\W{0,3}\|\s*([0-9]{10})\b");
pattern!(
    HEADER,
    r#"(?i)\bretry-after"?\s*[:=]\s*"?(?:([0-9]{1,7})\b|([A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9:]{8} GMT))"#
);
pattern!(DELAY, r#"(?i)"retryDelay"\s*:\s*"([0-9]{1,7})(?:\.[0-9]+)?s""#);
pattern!(
    RELATIVE,
    r"(?i)\b(?:try again|retry|retrying|retry after|resets?|reset)\s+(?:in|after)\s+((?:[0-9]{1,5}[dhm])*[0-9]{1,7}(?:\.[0-9]+)?[dhms]\b|(?:[0-9]{1,7}(?:\.[0-9]+)?\s*(?:days?|d|hours?|hrs?|h|minutes?|mins?|m|seconds?|secs?|s)\b[\s,]*(?:and\s+)?)+)"
);
pattern!(
    PART,
    r"(?i)([0-9]+)(?:\.[0-9]+)?\s*(days?|d|hours?|hrs?|h|minutes?|mins?|m|seconds?|secs?|s)"
);
pattern!(
    STAMP,
    r"(?i)\b(?:resets?|reset|try again|available|retry)\b[^\n]{0,20}?\b([0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]+)?)?(?:Z|[+-][0-9]{2}:[0-9]{2}))"
);
pattern!(
    CLOCK,
    r"(?i)\b(?:resets?|reset|try again)(?:\s+at)?\s+([0-9]{1,2})(?::([0-9]{2}))?\s*([ap]m)?(?:\s*\(([A-Za-z_]+(?:/[A-Za-z_+-]+){0,2})\))?"
);

/// The last time that the text names; none where it names none, or one that cannot be.
pub fn resets_at(text: &str, now: Timestamp) -> Option<Timestamp> {
    let last = |pattern| last(pattern, text);
    let later = |seconds: i64| u64::try_from(seconds).ok().map(|s| now + Duration::from_secs(s));
    let found = None
        .or_else(|| number(&last(&EPOCH)?, 1).map(|s| Timestamp(s.saturating_mul(1_000_000))))
        .or_else(|| {
            let header = last(&HEADER)?;
            number(&header, 1).map_or_else(|| http_date(word(&header, 2)?), later)
        })
        .or_else(|| number(&last(&DELAY)?, 1).and_then(later))
        .or_else(|| word(&last(&STAMP)?, 1).and_then(stamp))
        .or_else(|| word(&last(&RELATIVE)?, 1).map(|parts| now + Duration::from_secs(added(parts))))
        .or_else(|| clock(&last(&CLOCK)?, now))?;
    (found <= now + LONGEST && found > now - LONGEST).then_some(found)
}

fn last<'t>(pattern: &Option<Regex>, text: &'t str) -> Option<Captures<'t>> {
    pattern.as_ref()?.captures_iter(text).last()
}

fn word<'t>(found: &Captures<'t>, at: usize) -> Option<&'t str> {
    found.get(at).map(|group| group.as_str())
}

fn number(found: &Captures<'_>, at: usize) -> Option<i64> {
    word(found, at)?.parse().ok()
}

/// `2 days 3 hours 5 minutes`, in seconds; a part of a second is one more.
fn added(parts: &str) -> u64 {
    let found = PART.as_ref().map(|part| part.captures_iter(parts));
    found
        .into_iter()
        .flatten()
        .map(|part| {
            let unit = match part[2].to_lowercase().as_bytes() {
                [b'd', ..] => 86_400,
                [b'h', ..] => 3_600,
                [b'm', ..] => 60,
                _ => 1,
            };
            let fraction = u64::from(part[0].contains('.'));
            part[1].parse::<u64>().unwrap_or(0).saturating_mul(unit) + fraction
        })
        .sum()
}

fn http_date(text: &str) -> Option<Timestamp> {
    let at = rfc2822::parse(&text.replace("GMT", "+0000")).ok()?;
    Some(Timestamp(at.timestamp().as_microsecond()))
}

fn stamp(text: &str) -> Option<Timestamp> {
    let at: jiff::Timestamp = text.replacen(' ', "T", 1).parse().ok()?;
    Some(Timestamp(at.as_microsecond()))
}

/// The next time that a clock shows this, in the named zone, else in UTC. Without minutes or half of the day a number
/// is no time of day.
fn clock(found: &Captures<'_>, now: Timestamp) -> Option<Timestamp> {
    let hour = i8::try_from(number(found, 1)?).ok()?;
    let minute = number(found, 2).map_or(Some(0), |m| i8::try_from(m).ok())?;
    let hour = match word(found, 3).map(str::to_lowercase).as_deref() {
        Some("am") if (1..=12).contains(&hour) => hour % 12,
        Some("pm") if (1..=12).contains(&hour) => hour % 12 + 12,
        None if word(found, 2).is_some() => hour,
        Some(_) | None => return None,
    };
    let time = Time::new(hour, minute, 0, 0).ok()?;
    let zone = match word(found, 4) {
        Some(name) => TimeZone::get(name).ok()?,
        None => TimeZone::UTC,
    };
    let here = jiff::Timestamp::from_microsecond(now.0).ok()?.to_zoned(zone);
    let today = here.with().time(time).build().ok()?;
    let next = if today > here {
        today
    } else {
        today.tomorrow().ok()?
    };
    Some(Timestamp(next.timestamp().as_microsecond()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-21T12:00:00Z.
    const NOW: Timestamp = Timestamp(1_795_262_400_000_000);

    fn in_seconds(text: &str) -> Option<i64> {
        resets_at(text, NOW).map(|at| (at.0 - NOW.0) / 1_000_000)
    }

    #[test]
    fn the_words_of_providers_name_a_time() {
        assert_eq!(NOW.to_string(), "2026-11-21T12:00:00Z");
        let table = [
            ("Claude AI usage limit reached|1795269600", Some(7_200)),
            ("You've hit your limit · resets 3pm (UTC)", Some(3 * 3_600)),
            ("Your limit will reset at 11am (UTC)", Some(23 * 3_600)),
            (
                "limit reached, resets 3:30pm (Europe/Berlin)",
                Some(2 * 3_600 + 1_800),
            ),
            ("usage limit. Try again at 14:15", Some(2 * 3_600 + 900)),
            (
                "You've hit your usage limit. Try again in 2 days 3 hours 5 minutes.",
                Some(183_900),
            ),
            ("Rate limit reached. Please try again in 1m30s", Some(90)),
            ("Please retry in 27.5s.", Some(28)),
            ("{\"@type\":\"RetryInfo\",\"retryDelay\": \"27s\"}", Some(27)),
            ("HTTP/1.1 429\nRetry-After: 120", Some(120)),
            ("\"retry-after\":\"60\"", Some(60)),
            ("retry-after: Sat, 21 Nov 2026 12:10:00 GMT", Some(600)),
            ("quota exceeded; resets at 2026-11-21T13:00:00Z", Some(3_600)),
            ("resets 2026-11-21T14:00:00+01:00", Some(3_600)),
            // The last word counts.
            ("retry-after: 5\nretry-after: 50", Some(50)),
            // No time.
            ("too many requests", None),
            ("resets 25pm", None),
            ("try again at 9", None),
            ("resets 3pm (Nowhere/Land)", None),
            ("try again in 900 days", None),
            ("limit reached|9999999999", None),
            ("the test resets 3 counters", None),
        ];
        for (text, seconds) in table {
            assert_eq!(in_seconds(text), seconds, "{text:?}");
        }
    }
}
