//! The connections to a hook on another machine: their records, and how long it was tried to reach it. Never starts one.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::domain::time::Timestamp;
use crate::process::far::reached;
use crate::process::{self, RunState};

/// After a connection that reached the machine.
const AGAIN: Duration = Duration::from_secs(2);
/// Between two tries at most.
const PAUSE: Duration = Duration::from_secs(30);
/// What one try counts for at most: a service that was asleep did not try.
const TRY: Duration = Duration::from_secs(60);
/// How long a machine is tried before it is given up.
pub(super) const OFFLINE: Duration = Duration::from_secs(300);

/// What was tried since the driver began, or reached the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tries {
    /// The first one.
    since: Timestamp,
    /// The last one.
    last: Timestamp,
    /// Time spent on it.
    tried: Duration,
    /// Before the next one.
    pause: Duration,
}

impl Tries {
    /// The connection is gone for the first time: another one is made at once.
    pub(super) fn begin(now: Timestamp) -> Self {
        Self {
            since: now,
            last: now,
            tried: Duration::ZERO,
            pause: Duration::ZERO,
        }
    }

    /// Another one came to nothing, or broke off.
    pub(super) fn again(self, now: Timestamp, reached: bool) -> Self {
        if reached {
            return Self {
                pause: AGAIN,
                ..Self::begin(now)
            };
        }
        Self {
            since: self.since,
            last: now,
            tried: self.tried + now.since(self.last).min(TRY),
            pause: (self.pause * 2).clamp(AGAIN, PAUSE),
        }
    }

    /// Before the next one.
    pub(super) fn pause(self) -> Duration {
        self.pause
    }

    /// No answer for so long that the hook, begun before the first of them, is over whatever it does.
    pub(super) fn are_over(self, began: Option<Timestamp>, longest: Duration) -> bool {
        self.tried >= OFFLINE && self.last.since(began.unwrap_or(self.since)) > longest
    }
}

/// Of what a connection printed.
const TAIL_BYTES: u64 = 64 * 1024;

/// Whether it reached the machine.
pub(super) fn has_reached(dir: &Path) -> bool {
    process::output_tail(dir, TAIL_BYTES).is_ok_and(|output| reached(&output))
}

/// The hook had begun by then, where a connection saw it.
pub(super) fn begun_by(base: &Path) -> Option<Timestamp> {
    let there = records(base).take_while(|dir| dir.exists());
    let mut seen = there.filter(|dir| has_reached(dir));
    seen.find_map(|dir| process::read_exit(&dir).ok().flatten())
        .map(|exit| exit.finished_at)
}

/// Each connection to a hook on another machine has a record of its own: `<base>`, `<base>.1` …
fn records(base: &Path) -> impl Iterator<Item = PathBuf> {
    let first = base.to_owned();
    (0_u32..).map(move |n| match n {
        0 => first.clone(),
        n => {
            let mut name = first.clone().into_os_string();
            name.push(format!(".{n}"));
            name.into()
        }
    })
}

/// The record of the last connection; the first one where there is none.
pub(super) fn last_of(base: &Path) -> PathBuf {
    let there = records(base).take_while(|dir| dir.exists()).last();
    there.unwrap_or_else(|| base.to_owned())
}

/// Where the next launch is recorded: in the last record while nothing was launched there.
pub(super) fn next_of(base: &Path) -> PathBuf {
    let last = last_of(base);
    match process::look(&last, None) {
        Ok(RunState::NotLaunched | RunState::Running(_)) => last,
        Ok(RunState::Ended(_) | RunState::Lost(_) | RunState::Elsewhere(_)) | Err(_) => {
            records(base).find(|dir| !dir.exists()).unwrap_or(last)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(s: i64) -> Timestamp {
        Timestamp(s * 1_000_000)
    }

    #[test]
    fn a_machine_is_given_up_after_real_tries_and_when_its_hook_is_over_for_certain() {
        let longest = Duration::from_secs(1000);
        let mut tries = Tries::begin(at(0));
        assert_eq!(tries.pause(), Duration::ZERO);
        // Asleep for a day: that is one try.
        tries = tries.again(at(86_400), false);
        assert!(!tries.are_over(Some(at(0)), longest));
        for n in 1..=4 {
            tries = tries.again(at(86_400 + 60 * n), false);
        }
        assert!(tries.are_over(Some(at(0)), longest));
        assert!(!tries.are_over(Some(at(86_000)), longest), "it may be at work");
        // Where it was never seen to begin, it may have begun just before.
        let mut never = Tries::begin(at(0));
        for n in 1..=16 {
            never = never.again(at(60 * n), false);
        }
        assert!(!never.are_over(None, longest));
        assert!(never.again(at(1020), false).are_over(None, longest));
        assert!(!never.again(at(1020), true).are_over(None, longest));
    }

    #[test]
    fn the_pauses_grow_until_the_machine_is_reached() {
        let mut tries = Tries::begin(at(0));
        let mut pauses = Vec::new();
        for n in 1..=6 {
            tries = tries.again(at(n), false);
            pauses.push(tries.pause().as_secs());
        }
        assert_eq!(pauses, [2, 4, 8, 16, 30, 30]);
        assert_eq!(tries.again(at(9), true).pause(), AGAIN);
    }
}
