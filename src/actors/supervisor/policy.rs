//! How much dying is borne, and how long a child waits before it is started again. Never reads a clock.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use backon::{BackoffBuilder, ExponentialBuilder};

/// At most `restarts` in any span of `within`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Intensity {
    /// Restarts that are borne; the next death is one too many.
    pub restarts: u32,
    /// Deaths older than this are forgotten.
    pub within: Duration,
}

impl Intensity {
    /// So many restarts in a child's whole life.
    pub const fn lifetime(restarts: u32) -> Self {
        Self {
            restarts,
            within: Duration::MAX,
        }
    }
}

impl Default for Intensity {
    fn default() -> Self {
        Self {
            restarts: 3,
            within: Duration::from_secs(60),
        }
    }
}

/// Waits between restarts: none before the first, then `min`, doubling up to `max`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// Before the second restart.
    pub min: Duration,
    /// Never longer than this.
    pub max: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            min: Duration::from_millis(200),
            max: Duration::from_secs(10),
        }
    }
}

impl Backoff {
    fn before_restart(&self, nth: usize) -> Duration {
        let Some(doublings) = nth.checked_sub(2) else {
            return Duration::ZERO;
        };
        ExponentialBuilder::new()
            .with_min_delay(self.min)
            .with_max_delay(self.max)
            .without_max_times()
            .build()
            .nth(doublings)
            .unwrap_or(self.max)
    }
}

/// A child that has died more often than its policy bears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exhausted {
    /// The child.
    pub name: String,
    /// The incarnation that died last.
    pub incarnation: u64,
    /// Restarts in its whole life.
    pub restarts: u64,
    /// What it died of last.
    pub last_cause: String,
}

/// Called on the supervisor's task, so it must be short: send a message, no more.
pub(super) type OnExhausted = Box<dyn FnOnce(Exhausted) + Send>;

/// Where a child runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Placement {
    /// On the supervisor's arbiter.
    Shared,
    /// On an arbiter that is made for each incarnation and stopped after it.
    OwnArbiter,
}

/// What a child's deaths lead to, and where it runs.
pub struct Policy {
    pub(super) intensity: Intensity,
    pub(super) placement: Placement,
    /// `None`: escalate.
    pub(super) on_exhausted: Option<OnExhausted>,
}

impl Policy {
    /// The service cannot do without it: past the intensity the process ends.
    pub fn singleton(intensity: Intensity) -> Self {
        Self {
            intensity,
            placement: Placement::Shared,
            on_exhausted: None,
        }
    }

    /// One of many: past the intensity it is given up and `on_exhausted` settles what it stood for. The service
    /// goes on. The callback must be short: send a message, no more.
    pub fn budget(intensity: Intensity, on_exhausted: impl FnOnce(Exhausted) + Send + 'static) -> Self {
        Self {
            intensity,
            placement: Placement::Shared,
            on_exhausted: Some(Box::new(on_exhausted)),
        }
    }

    /// Gives the child a thread of its own, so that it may be replaced even while it blocks.
    pub fn on_own_arbiter(self) -> Self {
        Self {
            placement: Placement::OwnArbiter,
            ..self
        }
    }
}

/// The answer to a death.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Restart(Duration),
    Exhausted,
}

/// The recent deaths of one child.
#[derive(Debug)]
pub(super) struct Window {
    intensity: Intensity,
    deaths: VecDeque<Instant>,
}

impl Window {
    pub(super) fn new(intensity: Intensity) -> Self {
        Self {
            intensity,
            deaths: VecDeque::new(),
        }
    }

    /// Notes a death and decides what follows.
    pub(super) fn note(&mut self, now: Instant, backoff: Backoff) -> Verdict {
        let forgotten = |death: &Instant| now.saturating_duration_since(*death) >= self.intensity.within;
        while self.deaths.front().is_some_and(forgotten) {
            self.deaths.pop_front();
        }
        self.deaths.push_back(now);
        if self.deaths.len() > self.intensity.restarts as usize {
            Verdict::Exhausted
        } else {
            Verdict::Restart(backoff.before_restart(self.deaths.len()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const BACKOFF: Backoff = Backoff {
        min: Duration::from_millis(100),
        max: Duration::from_millis(300),
    };

    #[test]
    fn the_first_restart_is_immediate_and_the_next_ones_wait_twice_as_long_up_to_the_limit() {
        let waits: Vec<_> = (1..=5)
            .map(|nth| BACKOFF.before_restart(nth).as_millis())
            .collect();
        assert_eq!(waits, [0, 100, 200, 300, 300]);
    }

    #[test]
    fn one_death_more_than_the_restarts_borne_exhausts() {
        let start = Instant::now();
        let mut window = Window::new(Intensity {
            restarts: 3,
            within: MS * 1000,
        });
        for nth in 0..3 {
            assert_ne!(
                window.note(start + MS * nth, BACKOFF),
                Verdict::Exhausted,
                "death {nth}"
            );
        }
        assert_eq!(window.note(start + MS * 3, BACKOFF), Verdict::Exhausted);
    }

    #[test]
    fn deaths_that_lie_apart_are_forgotten_and_restarted_at_once() {
        let start = Instant::now();
        let mut window = Window::new(Intensity {
            restarts: 1,
            within: MS * 1000,
        });
        for nth in 0..20 {
            let verdict = window.note(start + MS * 1000 * nth, BACKOFF);
            assert_eq!(verdict, Verdict::Restart(Duration::ZERO), "death {nth}");
        }
        assert_eq!(window.deaths.len(), 1, "the window keeps only what it needs");
    }

    #[test]
    fn a_lifetime_budget_never_forgets() {
        let start = Instant::now();
        let mut window = Window::new(Intensity::lifetime(1));
        assert_eq!(window.note(start, BACKOFF), Verdict::Restart(Duration::ZERO));
        assert_eq!(
            window.note(start + MS * 1_000_000_000, BACKOFF),
            Verdict::Exhausted
        );
    }
}
