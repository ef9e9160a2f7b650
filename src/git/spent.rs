//! How much git was asked for, and how long somebody waited for it. Never keeps anything about a single call.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What this process has spent on git since it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    /// Processes started.
    pub calls: u64,
    /// Time during which at least one call was under way. Calls side by side count once, so that what is left
    /// of a span of time without it is not git's.
    pub time: Duration,
}

struct Meter {
    spent: Spent,
    under_way: u32,
    since: Option<Instant>,
}

static METER: Mutex<Meter> = Mutex::new(Meter {
    spent: Spent {
        calls: 0,
        time: Duration::ZERO,
    },
    under_way: 0,
    since: None,
});

/// Reads the meter.
pub fn spent() -> Spent {
    let meter = METER.lock().unwrap_or_else(PoisonError::into_inner);
    let begun = meter.since.map_or(Duration::ZERO, |since| since.elapsed());
    Spent {
        time: meter.spent.time + begun,
        ..meter.spent
    }
}

/// Counts as time in git for as long as it lives.
pub(super) struct Waiting(());

impl Waiting {
    /// For a process that is started now.
    pub(super) fn for_new_process() -> Self {
        Self::begin(1)
    }

    /// For an answer of a process that runs already.
    pub(super) fn for_answer() -> Self {
        Self::begin(0)
    }

    fn begin(calls: u64) -> Self {
        let mut meter = METER.lock().unwrap_or_else(PoisonError::into_inner);
        meter.spent.calls += calls;
        meter.under_way += 1;
        if meter.under_way == 1 {
            meter.since = Some(Instant::now());
        }
        Self(())
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut meter = METER.lock().unwrap_or_else(PoisonError::into_inner);
        meter.under_way -= 1;
        if meter.under_way == 0
            && let Some(since) = meter.since.take()
        {
            meter.spent.time += since.elapsed();
        }
    }
}
