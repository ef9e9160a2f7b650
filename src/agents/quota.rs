//! When a provider says that it may be asked again, as agent CLIs and HTTP servers word it. A time without a day is
//! the next such time, or the one that has just passed: whoever reads it does so after it was printed. Never decides what
//! follows.
//!
//! Forms, with where they are printed: `Retry-After: 120` and an HTTP date (RFC 9110, 10.2.3), `usage limit
//! reached|1761234567`, `resets 3pm (Europe/Berlin)` and `resets Nov 22, 3pm` (claude), `try again in 2 days 3 hours
//! 5 minutes` and `try again at Nov 22nd, 2026 3:05 PM` (codex), `Please retry in 27.5s` and `"retryDelay": "27s"` (gemini).

use std::sync::LazyLock;
use std::time::Duration;

use jiff::civil::{Date, Time};
use jiff::fmt::rfc2822;
use jiff::tz::TimeZone;
use regex::{Captures, Regex};

use crate::domain::time::Timestamp;

/// No limit lasts longer than a week; what says otherwise was misread.
const LONGEST: Duration = Duration::from_secs(8 * 86_400);
/// A clock time that passed no longer ago is that one, not tomorrow's: limits without a day are of a few hours.
const JUST_PASSED: Duration = Duration::from_secs(1_800);

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
    DATED,
    r"(?i)\b(?:resets?|reset|try again)(?:\s+(?:at|on))?\s+(?:[a-z]{3,9},?\s+)?(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]{0,6}\.?\s+([0-9]{1,2})(?:st|nd|rd|th)?\b(?:,?\s+([0-9]{4})\b)?(?:(?:,|\s+at|,\s+at)?\s+([0-9]{1,2})(?::([0-9]{2}))?(?::[0-9]{2})?\s*([ap]m)?\b)?(?:\s*\(([A-Za-z_]+(?:/[A-Za-z_+-]+){0,2})\))?"
);
pattern!(
    CLOCK,
    r"(?i)\b(?:resets?|reset|try again)(?:\s+at)?\s+([0-9]{1,2})(?::([0-9]{2}))?\s*([ap]m)?(?:\s*\(([A-Za-z_]+(?:/[A-Za-z_+-]+){0,2})\))?"
);

/// The last time that the text names, never before `now`; none where it names none, or none that can be. Exact forms are
/// asked first.
pub fn resets_at(text: &str, now: Timestamp) -> Option<Timestamp> {
    let later = |seconds: i64| u64::try_from(seconds).ok().map(|s| now + Duration::from_secs(s));
    let last = |pattern, read: &dyn Fn(&Captures<'_>) -> Option<Timestamp>| last(pattern, text, now, read);
    None.or_else(|| {
        last(&EPOCH, &|found| {
            number(found, 1).map(|s| Timestamp(s.saturating_mul(1_000_000)))
        })
    })
    .or_else(|| {
        last(&HEADER, &|found| {
            number(found, 1).map_or_else(|| http_date(word(found, 2)?), later)
        })
    })
    .or_else(|| last(&DELAY, &|found| number(found, 1).and_then(later)))
    .or_else(|| last(&STAMP, &|found| word(found, 1).and_then(stamp)))
    .or_else(|| {
        last(&RELATIVE, &|found| {
            word(found, 1).map(|parts| now + Duration::from_secs(added(parts)))
        })
    })
    .or_else(|| last(&DATED, &|found| dated(found, now)))
    .or_else(|| last(&CLOCK, &|found| clock(found, now)))
}

/// The last time of a form that can be meant: one that cannot hides no other. What has passed is now.
fn last(
    pattern: &Option<Regex>,
    text: &str,
    now: Timestamp,
    read: &dyn Fn(&Captures<'_>) -> Option<Timestamp>,
) -> Option<Timestamp> {
    let found = pattern.as_ref()?.captures_iter(text).filter_map(|c| read(&c));
    let meant = found.filter(|at| *at <= now + LONGEST && *at > now - LONGEST);
    meant.last().map(|at| at.max(now))
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
    let seconds = found.into_iter().flatten().map(|part| {
        let unit = match part[2].to_lowercase().as_bytes() {
            [b'd', ..] => 86_400,
            [b'h', ..] => 3_600,
            [b'm', ..] => 60,
            _ => 1,
        };
        let fraction = u64::from(part[0].contains('.'));
        let whole = part[1].parse::<u64>().unwrap_or(0).saturating_mul(unit);
        whole.saturating_add(fraction)
    });
    seconds.fold(0, u64::saturating_add)
}

fn http_date(text: &str) -> Option<Timestamp> {
    let at = rfc2822::parse(&text.replace("GMT", "+0000")).ok()?;
    Some(Timestamp(at.timestamp().as_microsecond()))
}

fn stamp(text: &str) -> Option<Timestamp> {
    let at: jiff::Timestamp = text.replacen(' ', "T", 1).parse().ok()?;
    Some(Timestamp(at.as_microsecond()))
}

/// The time of day in the groups from `at` on: hour, minute, half of the day. Without minutes or half of the day a number
/// is no time of day.
fn time_of_day(found: &Captures<'_>, at: usize) -> Option<Time> {
    let hour = i8::try_from(number(found, at)?).ok()?;
    let minute = number(found, at + 1).map_or(Some(0), |m| i8::try_from(m).ok())?;
    let hour = match word(found, at + 2).map(str::to_lowercase).as_deref() {
        Some("am") if (1..=12).contains(&hour) => hour % 12,
        Some("pm") if (1..=12).contains(&hour) => hour % 12 + 12,
        None if word(found, at + 1).is_some() => hour,
        Some(_) | None => return None,
    };
    Time::new(hour, minute, 0, 0).ok()
}

/// The named zone, else UTC; none for a name that nobody knows.
fn zone(name: Option<&str>) -> Option<TimeZone> {
    match name {
        Some(name) => TimeZone::get(name).ok(),
        None => Some(TimeZone::UTC),
    }
}

const MONTHS: [&str; 12] = [
    "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
];

/// A day with its time; without one its beginning, without a year the one that is nearest.
fn dated(found: &Captures<'_>, now: Timestamp) -> Option<Timestamp> {
    let name = word(found, 1)?.to_lowercase();
    let month = MONTHS.iter().zip(1_i8..).find(|(month, _)| **month == name)?.1;
    let day = i8::try_from(number(found, 2)?).ok()?;
    let time = match word(found, 4) {
        Some(_) => time_of_day(found, 4)?,
        None => Time::midnight(),
    };
    let zone = zone(word(found, 7))?;
    let here = jiff::Timestamp::from_microsecond(now.0)
        .ok()?
        .to_zoned(zone.clone());
    let at = |year: i16| {
        let date = Date::new(year, month, day).ok()?;
        let at = date.to_datetime(time).to_zoned(zone.clone()).ok()?;
        Some(Timestamp(at.timestamp().as_microsecond()))
    };
    match number(found, 3) {
        Some(year) => at(i16::try_from(year).ok()?),
        None => {
            let years = [-1, 0, 1].map(|n| here.year().saturating_add(n));
            years
                .into_iter()
                .filter_map(at)
                .min_by_key(|at| at.0.abs_diff(now.0))
        }
    }
}

/// The next time that a clock shows this, in the named zone, else in UTC; today's where it has just passed.
fn clock(found: &Captures<'_>, now: Timestamp) -> Option<Timestamp> {
    let time = time_of_day(found, 1)?;
    let here = jiff::Timestamp::from_microsecond(now.0)
        .ok()?
        .to_zoned(zone(word(found, 4))?);
    let today = here.with().time(time).build().ok()?;
    let days = [today.yesterday().ok(), Some(today.clone()), today.tomorrow().ok()];
    let times = days.into_iter().flatten();
    let mut times = times.map(|at| Timestamp(at.timestamp().as_microsecond()));
    times.find(|at| *at > now - JUST_PASSED)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use proptest::prelude::*;

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
            (
                "You've hit your limit · resets Nov 22, 3pm (UTC)",
                Some(27 * 3_600),
            ),
            (
                "You've hit your weekly limit · resets Nov 25 at 9:30am (Europe/Berlin)",
                Some(3 * 86_400 + 20 * 3_600 + 1_800),
            ),
            ("resets Nov 23", Some(36 * 3_600)),
            (
                "You've hit your usage limit. Try again at Nov 22nd, 2026 3:05 PM.",
                Some(27 * 3_600 + 300),
            ),
            ("try again at 3:05 PM.", Some(3 * 3_600 + 300)),
            ("try again at Sat, Nov 28 2026 12:00", Some(7 * 86_400)),
            // Read a little after it was printed: it is over, and not tomorrow's.
            ("resets 11:55am (UTC)", Some(0)),
            ("resets 12pm (UTC)", Some(0)),
            ("resets 11:30am (UTC)", Some(86_400 - 1_800)),
            ("try again at Nov 21st, 2026 11:00 AM", Some(0)),
            ("retry-after: Sat, 21 Nov 2026 11:50:00 GMT", Some(0)),
            ("Claude AI usage limit reached|1795262000", Some(0)),
            // What cannot be meant hides nothing else.
            ("limit reached|9999999999 · resets 3pm (UTC)", Some(3 * 3_600)),
            ("Retry-After: 9999999\nretry-after: 60", Some(60)),
            ("retry-after: 60\nRetry-After: 9999999", Some(60)),
            ("resets Feb 30, 3pm; resets 3pm (UTC)", Some(3 * 3_600)),
            ("resets 3pm (UTC), not resets 3pm (Nowhere/Land)", Some(3 * 3_600)),
            // The last word counts.
            ("retry-after: 5\nretry-after: 50", Some(50)),
            // No time.
            ("too many requests", None),
            ("resets 25pm", None),
            ("try again at 9", None),
            ("resets 3pm (Nowhere/Land)", None),
            ("try again in 900 days", None),
            ("limit reached|9999999999", None),
            ("try again at Nov 22nd, 2027 3:05 PM", None),
            ("resets Dec 24, 3pm", None),
            ("resets Nov 22, 25pm", None),
            ("reset May 4 things", None),
            ("the test resets 3 counters", None),
        ];
        for (text, seconds) in table {
            assert_eq!(in_seconds(text), seconds, "{text:?}");
        }
    }

    #[test]
    fn around_midnight_and_new_year_the_nearest_day_is_meant() {
        let at = |text: &str| Timestamp(text.parse::<jiff::Timestamp>().unwrap().as_microsecond());
        let table = [
            ("2026-11-22T00:05:00Z", "resets 11:59pm (UTC)", 0),
            ("2026-11-21T23:50:00Z", "resets 12am (UTC)", 600),
            ("2026-12-31T22:00:00Z", "resets Jan 1, 1am (UTC)", 3 * 3_600),
            ("2027-01-01T00:10:00Z", "resets Dec 31, 11:50pm (UTC)", 0),
        ];
        for (now, text, seconds) in table {
            let now = at(now);
            let found = resets_at(text, now).map(|found| (found.0 - now.0) / 1_000_000);
            assert_eq!(found, Some(seconds), "{text:?}");
        }
    }

    /// Texts that are nearly of a form.
    fn nearly() -> impl Strategy<Value = String> {
        let words = prop::sample::select(vec![
            "resets",
            "reset",
            "try again",
            "at",
            "in",
            "on",
            "Nov",
            "Dec",
            "Feb",
            "Jan 1st,",
            "29",
            "31",
            "22nd,",
            "2026",
            "2028",
            "9999",
            "3pm",
            "12am",
            "13pm",
            "23:59",
            "24:00",
            "3:05 PM",
            "(UTC)",
            "(Europe/Berlin)",
            "(No/Where)",
            "limit reached|",
            "1795269600",
            "9999999999",
            "0000000000",
            "Retry-After:",
            "120",
            "9999999",
            "-5",
            "retryDelay",
            "\"retryDelay\": \"27s\"",
            "2 days",
            "99999 days 9999999 hours",
            "5m30s",
            "27.5s",
            ",",
            "·",
            "\n",
            "2026-11-22T00:00:00Z",
            "2026-02-30T25:61:00+99:99",
            "Sat, 21 Nov 2026 12:10:00 GMT",
        ]);
        let glue = prop::sample::select(vec!["", " ", " ", "\t"]);
        prop::collection::vec((words, glue), 0..12).prop_map(|parts| {
            parts
                .into_iter()
                .map(|(word, glue)| format!("{word}{glue}"))
                .collect()
        })
    }

    proptest! {
        #[test]
        fn no_text_panics_or_names_a_time_before_now_or_beyond_eight_days(
            text in prop_oneof![nearly(), ".{0,200}", "\\PC{0,200}"],
            seconds in 0_i64..4_102_444_800,
        ) {
            let now = Timestamp(seconds * 1_000_000);
            if let Some(at) = resets_at(&text, now) {
                prop_assert!(at >= now && at <= now + LONGEST, "{text:?} at {now}: {at}");
            }
        }
    }
}
