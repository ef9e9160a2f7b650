//! How a failed attempt ends: as its plan says, within what may be tried again. The order in which the two are asked stands
//! here alone. Decides on values; who counts and writes is the engine.

use std::time::Duration;

use super::plan::{NodeFix, Plan};
use crate::domain::classify::Class;
use crate::domain::retry::{Breaker, Change, Counts, Decision, Limits, Reason, decide, pause};
use crate::domain::time::Timestamp;

/// What a failure meets.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// What may be tried again.
    pub limits: Limits,
    /// What was.
    pub counts: Counts,
    /// The breaker of its scope, before this failure.
    pub breaker: Breaker,
    /// The kind of the failure.
    pub class: Class,
    /// Attempts of the job before this one that were counted.
    pub attempts: i32,
    /// Those that passed by themselves, and are counted apart.
    pub transient: i32,
    /// How many of these there may be.
    pub max_transient: i32,
    /// The pause after the first.
    pub retry_delay: Duration,
}

/// What becomes of the job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ends {
    /// It waits until it may go on, and costs nothing.
    Parked(Timestamp),
    /// Again then, at the cost of what passes by itself.
    Transient(Timestamp),
    /// Again then, at the cost of the attempt.
    Retry(Timestamp),
    /// It was the trial of an open breaker, at the cost of the attempt: again when that lets one through.
    TriedInVain(Timestamp),
    /// It waits for the breaker, and costs nothing: the scope is what is wrong.
    Held(Timestamp),
    /// It is over.
    Failed,
}

/// The answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settled {
    /// What becomes of the job.
    pub ends: Ends,
    /// Whether it is tried again, and why.
    pub decision: Decision,
    /// The breaker and what happened to it; none: the failure counts nothing.
    pub breaker: Option<(Breaker, Change)>,
}

/// Settles a failure.
pub fn settle(plan: &Plan, b: &Budget, now: Timestamp) -> Settled {
    let free = |ends| Settled {
        ends,
        decision: Decision {
            should_retry: true,
            reason: Reason::UnderRetryLimit,
            retry_count: b.counts.task,
        },
        breaker: None,
    };
    // It waits until it is told: nothing is tried again that anybody would have to agree to.
    if plan.parked {
        return free(Ends::Parked(plan.not_before.unwrap_or(now)));
    }
    let transient = matches!(b.class, Class::Transient(_)) && b.limits.consent && plan.stop.is_none();
    if transient && b.transient < b.max_transient {
        return free(Ends::Transient(not_before(plan, b, b.transient, now)));
    }
    let (breaker, change) = b.breaker.failed(b.limits, now);
    let mut decision = decide(b.limits, b.counts, &breaker, b.class);
    if plan.stop.is_some() && b.limits.consent {
        // What a person has to look at would keep the scope closed if it stayed queued.
        decision = Decision {
            should_retry: false,
            reason: Reason::PermanentFailure,
            ..decision
        };
    }
    let ends = match decision.reason {
        Reason::UnderRetryLimit => Ends::Retry(not_before(plan, b, b.attempts - 1, now)),
        // A trial costs its attempt, or a job that always fails would be every trial and keep the scope closed.
        Reason::CircuitBreakerOpen if change == Change::Reopened => match b.counts.attempts_spent {
            true => Ends::Failed,
            false => Ends::TriedInVain(now),
        },
        Reason::CircuitBreakerOpen => Ends::Held(now),
        Reason::MaxRetriesReached
        | Reason::ConsentNotGiven
        | Reason::GlobalRetryLimitReached
        | Reason::PermanentFailure => Ends::Failed,
    };
    Settled {
        ends,
        decision,
        breaker: Some((breaker, change)),
    }
}

fn not_before(plan: &Plan, b: &Budget, before: i32, now: Timestamp) -> Timestamp {
    let usual = now + pause(b.retry_delay, before);
    match (plan.not_before, plan.node) {
        (Some(at), _) => at.max(now),
        // Another node takes it at once.
        (None, Some(NodeFix::Blacklisted(_))) => now,
        (None, Some(NodeFix::Cooled(_) | NodeFix::FewerSlots(_)) | None) => usual,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::classify::Passing;

    const NOW: Timestamp = Timestamp(1_000_000_000);

    fn budget() -> Budget {
        Budget {
            limits: Limits {
                consent: true,
                scope: 50,
                task: 3,
                failures: 5,
                half_open: Duration::from_secs(1800),
            },
            counts: Counts::default(),
            breaker: Breaker::default(),
            class: Class::Ordinary,
            attempts: 1,
            transient: 0,
            max_transient: 5,
            retry_delay: Duration::from_secs(5),
        }
    }

    fn open(opened_at: Timestamp) -> Breaker {
        Breaker {
            failures: 5,
            opened_at: Some(opened_at),
        }
    }

    #[test]
    fn what_is_told_when_it_may_go_on_waits_whatever_else_there_is() {
        let until = NOW + Duration::from_secs(60);
        let plan = Plan {
            parked: true,
            not_before: Some(until),
            ..Plan::default()
        };
        let mut spent = budget();
        spent.limits.consent = false;
        spent.counts.attempts_spent = true;
        spent.breaker = open(NOW);
        spent.transient = 5;
        spent.class = Class::Transient(Passing::RateLimit);
        let settled = settle(&plan, &spent, NOW);
        assert_eq!((settled.ends, settled.breaker), (Ends::Parked(until), None));
    }

    #[test]
    fn what_passes_costs_nothing_while_its_budget_lasts() {
        let passing = |transient, consent| {
            let mut b = budget();
            b.class = Class::Transient(Passing::Network);
            b.transient = transient;
            b.limits.consent = consent;
            let settled = settle(&Plan::default(), &b, NOW);
            (settled.ends, settled.breaker.is_some())
        };
        let after = |seconds| NOW + Duration::from_secs(seconds);
        assert_eq!(passing(0, true), (Ends::Transient(after(5)), false));
        assert_eq!(passing(4, true), (Ends::Transient(after(80)), false));
        assert_eq!(passing(5, true), (Ends::Retry(after(5)), true));
        assert_eq!(passing(0, false), (Ends::Failed, true));
    }

    #[test]
    fn an_open_breaker_holds_what_had_begun_and_lets_a_trial_cost_its_attempt() {
        let ends = |breaker, attempts_spent| {
            let mut b = budget();
            b.breaker = breaker;
            b.counts.attempts_spent = attempts_spent;
            settle(&Plan::default(), &b, NOW).ends
        };
        let fourth = Breaker {
            failures: 4,
            opened_at: None,
        };
        let long_ago = open(Timestamp(NOW.0 - 1_800_000_000));
        assert_eq!(ends(fourth, true), Ends::Held(NOW), "it opens");
        assert_eq!(ends(open(NOW), true), Ends::Held(NOW));
        assert_eq!(ends(long_ago, false), Ends::TriedInVain(NOW));
        assert_eq!(ends(long_ago, true), Ends::Failed);
    }

    #[test]
    fn what_a_person_has_to_look_at_fails_and_does_not_wait_for_the_breaker() {
        let plan = Plan {
            stop: Some("look".to_owned()),
            ..Plan::default()
        };
        let mut b = budget();
        b.breaker = open(NOW);
        let settled = settle(&plan, &b, NOW);
        assert_eq!(
            (settled.ends, settled.decision.reason),
            (Ends::Failed, Reason::PermanentFailure)
        );
        b.limits.consent = false;
        assert_eq!(settle(&plan, &b, NOW).decision.reason, Reason::ConsentNotGiven);
    }
}
