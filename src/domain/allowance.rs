//! How many requests a key still has at a service that counts them. Never waits: it says how long to wait.

use std::collections::VecDeque;
use std::time::Duration;

use super::time::Timestamp;

/// The time over which requests are counted.
const WINDOW: Duration = Duration::from_secs(60);
/// Left alone for longer than this, a service is asked again all the same.
const LONGEST: Duration = Duration::from_secs(3600);

/// What one key has spent, by its own count and by the service's, which knows who else uses the key.
#[derive(Clone, Debug)]
pub struct Allowance {
    per_minute: usize,
    spent: VecDeque<Timestamp>,
    /// Requests on their way: the service's last count does not know them.
    under_way: u64,
    told: Option<Told>,
    closed_until: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug)]
struct Told {
    left: u64,
    reset: Timestamp,
}

impl Allowance {
    /// Nothing spent yet.
    pub fn new(per_minute: usize) -> Self {
        Self {
            per_minute,
            spent: VecDeque::new(),
            under_way: 0,
            told: None,
            closed_until: None,
        }
    }

    /// Takes one request out.
    ///
    /// # Errors
    /// How long to wait, when there is none.
    pub fn take(&mut self, now: Timestamp) -> Result<(), Duration> {
        if let Some(until) = self.closed_until.filter(|until| *until > now) {
            return Err(until.since(now));
        }
        // One from the future: the clock was set back.
        while self
            .spent
            .front()
            .is_some_and(|at| now.since(*at) >= WINDOW || *at > now)
        {
            self.spent.pop_front();
        }
        if let Some(first) = self.spent.front().filter(|_| self.spent.len() >= self.per_minute) {
            return Err((*first + WINDOW).since(now));
        }
        if let Some(told) = &mut self.told
            && told.reset > now
        {
            if told.left == 0 {
                return Err(told.reset.since(now).min(WINDOW));
            }
            told.left -= 1;
        }
        self.spent.push_back(now);
        self.under_way += 1;
        Ok(())
    }

    /// A request came to its end, answered or not.
    pub fn ended(&mut self) {
        self.under_way = self.under_way.saturating_sub(1);
    }

    /// The service told what is left until when; asked by a request that is still under way.
    pub fn told(&mut self, left: u64, reset: Timestamp) {
        let others = self.under_way.saturating_sub(1);
        let left = left.saturating_sub(others);
        self.told = Some(Told { left, reset });
    }

    /// The service refused for so long.
    pub fn close(&mut self, after: Duration, now: Timestamp) {
        self.closed_until = Some(now + after.min(LONGEST));
    }
}

#[cfg(test)]
mod tests;
