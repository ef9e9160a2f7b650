//! Whether a failure that costs an attempt is tried again, and the circuit breaker of its scope. Decides on counts;
//! who counts is the store.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::classify::Class;
use super::id::{BatchId, ProjectId};
use super::time::Timestamp;

/// Whose failures are counted together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// All tasks of a project that are in no batch: over its last day.
    Project(ProjectId),
    /// The tasks of a batch: over its whole life.
    Batch(BatchId),
}

/// The window of a project's retries.
pub const WINDOW: Duration = Duration::from_secs(86_400);

impl fmt::Display for Scope {
    /// As stored: `project:3`, `batch:spring-cleaning`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Project(id) => write!(f, "project:{id}"),
            Self::Batch(id) => write!(f, "batch:{id}"),
        }
    }
}

impl Scope {
    /// The inverse of its display.
    pub fn parse(text: &str) -> Option<Self> {
        match text.split_once(':')? {
            ("project", id) => id.parse().ok().map(|id| Self::Project(ProjectId(id))),
            ("batch", id) => BatchId::parse(id).ok().map(Self::Batch),
            _ => None,
        }
    }
}

/// How much may be tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// `retry.enabled`: somebody agreed that failed work is tried again by itself.
    pub consent: bool,
    /// `retry.scope_limit`: retries in a scope, over a batch's life or a project's last day.
    pub scope: u32,
    /// `retry.task_limit`: retries of a task in one visit of a stage.
    pub task: u32,
    /// `breaker.failures`: failures in a row that open the breaker.
    pub failures: u32,
    /// `breaker.half_open_s`: after that one job is let through.
    pub half_open: Duration,
}

/// What was tried again so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// In the scope.
    pub scope: u32,
    /// For this task in this visit of its stage.
    pub task: u32,
    /// The attempts that the job itself may cost are used up.
    pub attempts_spent: bool,
}

/// Why something is tried again or not. The words are part of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Retries are switched off.
    ConsentNotGiven,
    /// The scope has used up its retries.
    GlobalRetryLimitReached,
    /// Too many failures in a row: it stays queued until the breaker lets it through.
    CircuitBreakerOpen,
    /// It would only fail again.
    PermanentFailure,
    /// This task, or this job, has used up its retries.
    MaxRetriesReached,
    /// Tried again.
    UnderRetryLimit,
}

impl Reason {
    /// All of them, in the order in which they are asked.
    pub const ALL: [Reason; 6] = [
        Self::ConsentNotGiven,
        Self::GlobalRetryLimitReached,
        Self::CircuitBreakerOpen,
        Self::PermanentFailure,
        Self::MaxRetriesReached,
        Self::UnderRetryLimit,
    ];

    /// The inverse of [`Reason::as_str`].
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == text)
    }

    /// The word stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ConsentNotGiven => "consent_not_given",
            Self::GlobalRetryLimitReached => "global_retry_limit_reached",
            Self::CircuitBreakerOpen => "circuit_breaker_open",
            Self::PermanentFailure => "permanent_failure",
            Self::MaxRetriesReached => "max_retries_reached",
            Self::UnderRetryLimit => "under_retry_limit",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Decision {
    /// Whether another attempt is made now.
    pub should_retry: bool,
    /// Why.
    pub reason: Reason,
    /// Retries of this task in this visit of its stage so far.
    pub retry_count: u32,
}

/// Decides; the first reason that stands against it wins.
pub fn decide(limits: Limits, counts: Counts, breaker: &Breaker, class: Class) -> Decision {
    let reason = if !limits.consent {
        Reason::ConsentNotGiven
    } else if counts.scope >= limits.scope {
        Reason::GlobalRetryLimitReached
    } else if breaker.opened_at.is_some() {
        Reason::CircuitBreakerOpen
    } else if matches!(class, Class::Permanent(_)) {
        Reason::PermanentFailure
    } else if counts.task >= limits.task || counts.attempts_spent {
        Reason::MaxRetriesReached
    } else {
        Reason::UnderRetryLimit
    };
    Decision {
        should_retry: reason == Reason::UnderRetryLimit,
        reason,
        retry_count: counts.task,
    }
}

/// The pause after so many attempts: twice as long each time, up to 64 times the first.
pub fn pause(first: Duration, before: i32) -> Duration {
    let doublings = u32::try_from(before.clamp(0, 6)).unwrap_or(0);
    first * 2_u32.pow(doublings)
}

/// The circuit breaker of a scope.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Breaker {
    /// Failures since the last success.
    pub failures: u32,
    /// Since when no job of the scope is claimed; none: it is closed.
    pub opened_at: Option<Timestamp>,
}

/// What a breaker did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Nothing.
    Stays,
    /// People are told once.
    Opened,
    /// The trial failed: it waits as long again.
    Reopened,
    /// Jobs are claimed again.
    Closed,
}

/// What a breaker lets through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// Every job.
    Closed,
    /// None before then.
    Open(Timestamp),
    /// One job, as a trial.
    HalfOpen,
}

impl Breaker {
    /// After an attempt of the scope failed in a way that counts.
    pub fn failed(self, limits: Limits, now: Timestamp) -> (Self, Change) {
        let failures = self.failures.saturating_add(1);
        match self.opened_at {
            // What had begun before it opened tells nothing new.
            Some(since) if now < since + limits.half_open => (Self { failures, ..self }, Change::Stays),
            Some(_) => (
                Self {
                    failures,
                    opened_at: Some(now),
                },
                Change::Reopened,
            ),
            None if failures >= limits.failures => (
                Self {
                    failures,
                    opened_at: Some(now),
                },
                Change::Opened,
            ),
            None => (
                Self {
                    failures,
                    opened_at: None,
                },
                Change::Stays,
            ),
        }
    }

    /// After an attempt of the scope ended well.
    pub fn succeeded(self) -> (Self, Change) {
        let change = match self.opened_at {
            Some(_) => Change::Closed,
            None => Change::Stays,
        };
        (Self::default(), change)
    }

    /// What may be claimed now.
    pub fn gate(self, half_open: Duration, now: Timestamp) -> Gate {
        match self.opened_at {
            None => Gate::Closed,
            Some(since) if now < since + half_open => Gate::Open(since + half_open),
            Some(_) => Gate::HalfOpen,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::classify::{Lasting, Passing};

    const LIMITS: Limits = Limits {
        consent: true,
        scope: 50,
        task: 3,
        failures: 5,
        half_open: Duration::from_secs(1800),
    };

    fn at(seconds: i64) -> Timestamp {
        Timestamp(seconds * 1_000_000)
    }

    fn counts(scope: u32, task: u32) -> Counts {
        Counts {
            scope,
            task,
            attempts_spent: false,
        }
    }

    #[test]
    fn the_first_reason_against_it_wins() {
        let open = Breaker {
            failures: 5,
            opened_at: Some(at(0)),
        };
        let closed = Breaker::default();
        let permanent = Class::Permanent(Lasting::Auth);
        let off = Limits {
            consent: false,
            ..LIMITS
        };
        let spent = Counts {
            attempts_spent: true,
            ..counts(0, 0)
        };
        let table = [
            (off, counts(50, 3), open, permanent, Reason::ConsentNotGiven),
            (
                LIMITS,
                counts(50, 3),
                open,
                permanent,
                Reason::GlobalRetryLimitReached,
            ),
            (LIMITS, counts(49, 3), open, permanent, Reason::CircuitBreakerOpen),
            (LIMITS, counts(49, 3), closed, permanent, Reason::PermanentFailure),
            (
                LIMITS,
                counts(49, 3),
                closed,
                Class::Ordinary,
                Reason::MaxRetriesReached,
            ),
            (LIMITS, spent, closed, Class::Ordinary, Reason::MaxRetriesReached),
            (
                LIMITS,
                counts(49, 2),
                closed,
                Class::Ordinary,
                Reason::UnderRetryLimit,
            ),
            (
                LIMITS,
                counts(0, 0),
                closed,
                Class::Transient(Passing::Node),
                Reason::UnderRetryLimit,
            ),
        ];
        for (limits, counts, breaker, class, reason) in table {
            let decision = decide(limits, counts, &breaker, class);
            assert_eq!(decision.reason, reason);
            assert_eq!(decision.should_retry, reason == Reason::UnderRetryLimit);
            assert_eq!(decision.retry_count, counts.task);
        }
    }

    #[test]
    fn each_pause_is_twice_as_long_up_to_a_bound() {
        let pauses = [-1, 0, 1, 2, 6, 7].map(|before| pause(Duration::from_secs(5), before).as_secs());
        assert_eq!(pauses, [5, 5, 10, 20, 320, 320]);
    }

    #[test]
    fn a_breaker_opens_after_failures_in_a_row_and_a_success_closes_it() {
        let mut breaker = Breaker::default();
        for n in 1..5 {
            let change;
            (breaker, change) = breaker.failed(LIMITS, at(n));
            assert_eq!(
                (change, breaker.gate(LIMITS.half_open, at(n))),
                (Change::Stays, Gate::Closed)
            );
        }
        // A success in between begins the row anew.
        let (fresh, change) = breaker.succeeded();
        assert_eq!((fresh, change), (Breaker::default(), Change::Stays));
        let (open, change) = breaker.failed(LIMITS, at(5));
        assert_eq!((change, open.opened_at), (Change::Opened, Some(at(5))));
        let (closed, change) = open.succeeded();
        assert_eq!((closed, change), (Breaker::default(), Change::Closed));
    }

    #[test]
    fn an_open_breaker_lets_one_through_after_a_while_and_waits_again_when_that_fails() {
        let open = Breaker {
            failures: 5,
            opened_at: Some(at(100)),
        };
        assert_eq!(open.gate(LIMITS.half_open, at(1899)), Gate::Open(at(1900)));
        assert_eq!(open.gate(LIMITS.half_open, at(1900)), Gate::HalfOpen);
        // An attempt that had begun before it opened.
        let (still, change) = open.failed(LIMITS, at(200));
        assert_eq!((still.opened_at, change), (Some(at(100)), Change::Stays));
        let (again, change) = still.failed(LIMITS, at(2000));
        assert_eq!((again.opened_at, change), (Some(at(2000)), Change::Reopened));
        assert_eq!(again.gate(LIMITS.half_open, at(3799)), Gate::Open(at(3800)));
    }
}
