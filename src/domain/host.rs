//! When a disk is too full and a clock too far off. Decides by what was measured and by how it stood before, so that
//! a value that swings around a limit is told once. Never measures, never tells.

use std::time::Duration;

/// Clock difference above which people are told.
pub const SKEW: Duration = Duration::from_secs(60);
/// How far below it the difference must be to count as mended.
const SKEW_MARGIN: Duration = Duration::from_secs(10);
/// How far below a limit a disk must be to count as below it. Thousandths.
const DISK_MARGIN: u32 = 20;

/// How full a disk may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Above this people are told. Percent.
    pub alert_percent: u32,
    /// Above this nothing is claimed that needs room. Percent.
    pub stop_percent: u32,
}

/// How a part of the host stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Nothing is to be said.
    #[default]
    Fine,
    /// People are told.
    Alert,
    /// Nothing is claimed.
    Stop,
}

impl Level {
    /// The word stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fine => "fine",
            Self::Alert => "alert",
            Self::Stop => "stop",
        }
    }

    /// The inverse of [`Level::as_str`].
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Fine, Self::Alert, Self::Stop]
            .into_iter()
            .find(|level| level.as_str() == text)
    }
}

/// Judges a disk of which so many thousandths are used.
pub fn disk(was: Level, used_permille: u32, limits: Limits) -> Level {
    let above = |percent: u32, level: Level| {
        let margin = if was >= level { DISK_MARGIN } else { 0 };
        used_permille > (percent * 10).saturating_sub(margin)
    };
    if above(limits.stop_percent, Level::Stop) {
        Level::Stop
    } else if above(limits.alert_percent, Level::Alert) {
        Level::Alert
    } else {
        Level::Fine
    }
}

/// Judges a clock that differs by so many microseconds from the database's. It never stops a claim: every time that
/// decides is the database's.
pub fn clock(was: Level, ahead_us: i64) -> Level {
    let limit = match was {
        Level::Fine => SKEW,
        Level::Alert | Level::Stop => SKEW - SKEW_MARGIN,
    };
    if Duration::from_micros(ahead_us.unsigned_abs()) > limit {
        Level::Alert
    } else {
        Level::Fine
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        alert_percent: 85,
        stop_percent: 95,
    };

    #[test]
    fn a_disk_rises_at_its_limits_and_falls_a_margin_below_them() {
        use Level::{Alert, Fine, Stop};
        let table = [
            (Fine, 850, Fine),
            (Fine, 851, Alert),
            (Fine, 951, Stop),
            (Alert, 950, Alert),
            (Alert, 951, Stop),
            (Alert, 831, Alert),
            (Alert, 830, Fine),
            (Stop, 931, Stop),
            (Stop, 930, Alert),
            (Stop, 831, Alert),
            (Stop, 100, Fine),
            (Stop, 1000, Stop),
        ];
        for (was, used, expected) in table {
            assert_eq!(disk(was, used, LIMITS), expected, "{was:?} at {used}");
        }
    }

    #[test]
    fn a_disk_that_swings_around_a_limit_rises_once() {
        let mut was = Level::Fine;
        let mut rises = 0;
        for used in [849, 852, 848, 853, 840, 851, 829, 852] {
            let now = disk(was, used, LIMITS);
            rises += usize::from(now > was);
            was = now;
        }
        assert_eq!(rises, 2, "again only after it had fallen below the margin");
    }

    #[test]
    fn a_clock_is_off_above_a_minute_in_either_direction() {
        use Level::{Alert, Fine};
        let s = |s: i64| s * 1_000_000;
        let table = [
            (Fine, s(60), Fine),
            (Fine, s(61), Alert),
            (Fine, s(-61), Alert),
            (Alert, s(55), Alert),
            (Alert, s(-50), Fine),
            (Fine, i64::MIN, Alert),
        ];
        for (was, ahead, expected) in table {
            assert_eq!(clock(was, ahead), expected, "{was:?} at {ahead}");
        }
    }
}
