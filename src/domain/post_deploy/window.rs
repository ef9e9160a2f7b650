//! The window in which production is watched: when each look is due, and what the looks say together.

use std::time::Duration;

use super::Health;
use crate::domain::time::Timestamp;

/// How long, and how often, production is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Looks.
    pub probes: u16,
    /// Time over which they are spread.
    pub window: Duration,
    /// Time after the deploy in which nobody looks.
    pub warm_up: Duration,
}

impl Plan {
    /// Failures in a row that mean a verdict.
    pub const IN_A_ROW: usize = 3;
    /// Good looks that a healthy window ends with.
    pub const LAST: usize = 5;

    /// Time between two looks.
    pub fn interval(&self) -> Duration {
        self.window / u32::from(self.probes.max(1))
    }

    /// When a look is due.
    pub fn at(&self, start: Timestamp, slot: u16) -> Timestamp {
        start + self.warm_up + self.interval() * u32::from(slot)
    }

    /// When the window is over at the latest.
    pub fn until(&self, start: Timestamp) -> Timestamp {
        start + self.warm_up + self.window
    }

    /// As many failures as this mean a verdict: 5 of 30. Never fewer than in a row: with few looks, one would be enough.
    pub fn too_many(&self) -> usize {
        usize::from(self.probes).div_ceil(6).max(Self::IN_A_ROW)
    }

    /// So many looks have to have been made: 24 of 30.
    pub fn enough(&self) -> usize {
        (usize::from(self.probes) * 4).div_ceil(5)
    }
}

/// What came of one look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probe {
    /// Production answered as it should.
    Good,
    /// It did not, and why.
    Failed(String),
    /// Nobody looked: neither a failure nor a look that counts.
    Missing,
}

/// Which look comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// One is due now.
    Now {
        /// The first that is not known; those between the two are missing.
        from: u16,
        /// The one that is due.
        slot: u16,
    },
    /// The window is over, and its end is missing.
    Gone {
        /// The first that is missing.
        from: u16,
    },
    /// None before then.
    At(Timestamp),
    /// There is none any more.
    Complete,
}

/// Which look is due, after `made` of them. One whose time has passed by more than an interval is missing: the service was
/// down.
pub fn due(plan: &Plan, start: Timestamp, made: usize, now: Timestamp) -> Due {
    let from = u16::try_from(made).unwrap_or(u16::MAX);
    if from >= plan.probes {
        return Due::Complete;
    }
    if plan.at(start, from) > now {
        return Due::At(plan.at(start, from));
    }
    let in_time = |slot: &u16| plan.at(start, *slot) + plan.interval() >= now;
    match (from..plan.probes).find(in_time) {
        Some(slot) => Due::Now { from, slot },
        None => Due::Gone { from },
    }
}

/// A verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    /// What it is.
    pub health: Health,
    /// One line.
    pub why: String,
}

/// What the looks say together, in the order of their slots. None: there is more to be seen. A gap between failures is no
/// recovery: what failed before and after it failed in a row.
pub fn judge(plan: &Plan, looks: &[Probe]) -> Option<Judged> {
    let looks = looks.get(..usize::from(plan.probes)).unwrap_or(looks);
    let judged = |health, why| Some(Judged { health, why });
    let mut row = 0;
    let mut failed = 0;
    for look in looks {
        match look {
            Probe::Good => row = 0,
            Probe::Failed(_) => {
                row += 1;
                failed += 1;
            }
            Probe::Missing => {}
        }
        if row >= Plan::IN_A_ROW {
            return judged(
                Health::Degraded,
                format!("{row} probes in a row failed{}", last_words(looks)),
            );
        }
        if failed >= plan.too_many() {
            return judged(
                Health::Degraded,
                format!("{failed} of {} probes failed{}", plan.probes, last_words(looks)),
            );
        }
    }
    if looks.len() < usize::from(plan.probes) {
        return None;
    }
    let valid = looks.iter().filter(|look| **look != Probe::Missing).count();
    if valid < plan.enough() {
        return judged(
            Health::Inconclusive,
            format!(
                "{valid} of {} probes were made, and it takes {}",
                plan.probes,
                plan.enough()
            ),
        );
    }
    let last = looks.iter().rev().take(Plan::LAST);
    if !last.clone().all(|look| *look == Probe::Good) {
        return judged(
            Health::Inconclusive,
            format!("not all of the last {} probes were good", last.count()),
        );
    }
    judged(
        Health::Healthy,
        format!("{} of {} probes were good", valid - failed, plan.probes),
    )
}

/// Why the last one that failed did.
fn last_words(looks: &[Probe]) -> String {
    let why = looks.iter().rev().find_map(|look| match look {
        Probe::Failed(why) => Some(why),
        Probe::Good | Probe::Missing => None,
    });
    why.map(|why| format!("; the last: {why}")).unwrap_or_default()
}
