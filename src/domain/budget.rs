//! What a task, and a project in a day, may cost. Never reads a row, a stream or a clock.

use serde::{Deserialize, Serialize};

use super::run::Usage;
use super::time::Timestamp;

/// Limits in micro-USD; none is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Of a task, since a person last let it go on.
    pub task: Option<i64>,
    /// Of a project, in a day (UTC).
    pub project_day: Option<i64>,
}

impl Limits {
    /// Whether there is any.
    pub fn any(self) -> bool {
        self.task.is_some() || self.project_day.is_some()
    }
}

/// Which limit is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Budget {
    /// That of a task.
    Task,
    /// That of a project's day.
    ProjectDay,
}

/// What counts against the limits at a moment, micro-USD.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    /// By the task, since a person last let it go on.
    pub task: i64,
    /// By the project, on the day.
    pub project_day: i64,
}

/// Microseconds in a day.
const DAY_US: i64 = 24 * 3600 * 1_000_000;

/// The UTC day of a moment, in days since 1970-01-01.
pub fn day_of(at: Timestamp) -> i64 {
    at.0.div_euclid(DAY_US)
}

/// When the day after that of a moment begins (UTC).
pub fn next_day(at: Timestamp) -> Timestamp {
    Timestamp((day_of(at) + 1).saturating_mul(DAY_US))
}

/// Nothing more is to be begun under this limit.
pub fn is_used_up(limit: Option<i64>, counted: i64) -> bool {
    limit.is_some_and(|limit| counted >= limit)
}

/// The limit that a run at work has gone beyond: the task's own before that of its project.
pub fn exceeded(limits: Limits, spent: Spent) -> Option<Budget> {
    let beyond = |limit: Option<i64>, spent: i64| limit.is_some_and(|limit| spent > limit);
    match (
        beyond(limits.task, spent.task),
        beyond(limits.project_day, spent.project_day),
    ) {
        (true, _) => Some(Budget::Task),
        (false, true) => Some(Budget::ProjectDay),
        (false, false) => None,
    }
}

/// What a run that is at work may still cost beyond what is counted of it.
pub fn reserved(reserve: i64, charged: i64) -> i64 {
    (reserve - charged).max(0)
}

/// What counts of a run that has ended: its cost; where nobody knows it, what was reserved for it.
pub fn final_charge(usage: Option<Usage>, reserve: i64) -> i64 {
    usage.and_then(|u| u.cost_micro_usd).unwrap_or(reserve)
}

/// Micro-USD for people: `$1.50`, `$0.000001`.
pub fn dollars(micro_usd: i64) -> String {
    let sign = if micro_usd < 0 { "-" } else { "" };
    let (whole, rest) = (
        micro_usd.unsigned_abs() / 1_000_000,
        micro_usd.unsigned_abs() % 1_000_000,
    );
    let digits = format!("{rest:06}");
    let fraction = digits.trim_end_matches('0');
    format!("{sign}${whole}.{fraction:0<2}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::run::Provenance;

    #[test]
    fn a_day_ends_at_midnight_utc() {
        let table = [
            (0, 0, DAY_US),
            (DAY_US - 1, 0, DAY_US),
            (DAY_US, 1, 2 * DAY_US),
            (-1, -1, 0),
        ];
        for (at, day, next) in table {
            assert_eq!(
                (day_of(Timestamp(at)), next_day(Timestamp(at))),
                (day, Timestamp(next))
            );
        }
    }

    #[test]
    fn a_limit_is_used_up_when_it_is_reached_and_exceeded_beyond_it() {
        let limits = |task, project_day| Limits { task, project_day };
        let table = [
            (limits(None, None), (1_000, 1_000), None),
            (limits(Some(10), None), (10, 10), None),
            (limits(Some(10), None), (11, 11), Some(Budget::Task)),
            (limits(None, Some(10)), (0, 11), Some(Budget::ProjectDay)),
            (limits(Some(10), Some(10)), (11, 11), Some(Budget::Task)),
            (limits(Some(10), Some(10)), (10, 11), Some(Budget::ProjectDay)),
        ];
        for (limits, (task, project_day), over) in table {
            assert_eq!(exceeded(limits, Spent { task, project_day }), over, "{limits:?}");
        }
        assert!(is_used_up(Some(10), 10));
        assert!(!is_used_up(Some(10), 9));
        assert!(!is_used_up(None, i64::MAX));
    }

    #[test]
    fn a_reservation_shrinks_with_what_is_counted_and_stands_for_what_nobody_knows() {
        assert_eq!([reserved(5, 0), reserved(5, 3), reserved(5, 9)], [5, 2, 0]);
        let usage = |cost| Usage {
            tokens_in: 1,
            tokens_out: 1,
            tokens_cached: 0,
            cost_micro_usd: cost,
            provenance: Provenance::Reported,
        };
        assert_eq!(final_charge(Some(usage(Some(3))), 5), 3);
        assert_eq!(final_charge(Some(usage(None)), 5), 5);
        assert_eq!(final_charge(None, 5), 5);
    }

    #[test]
    fn dollars_are_shown_with_at_least_two_digits() {
        let table = [
            (0, "$0.00"),
            (1_500_000, "$1.50"),
            (1, "$0.000001"),
            (-250_000, "-$0.25"),
        ];
        for (micro, shown) in table {
            assert_eq!(dollars(micro), shown);
        }
    }
}
