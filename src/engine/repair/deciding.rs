//! Whether a failure is tried again: counted in its scope, decided, and written into the audit.

use super::{Case, Failure};
use crate::domain::classify::Class;
use crate::domain::job::JobEnd;
use crate::domain::repair::plan::{NodeFix, Plan};
use crate::domain::retry::{self, Change, Counts, Decision, Reason, Scope, decide};
use crate::domain::time::Timestamp;
use crate::engine::transition::{self, Abort};
use crate::store::retries::{self, AuditEvent, NewAudit};
use crate::store::{Conn, StoreError};

/// One failure in the transaction that ends its job.
pub(super) struct Deciding<'a> {
    pub tx: &'a mut Conn,
    pub a: &'a Case,
    pub f: &'a Failure,
    pub scope: &'a Scope,
    pub counts: Counts,
    pub now: Timestamp,
}

impl Deciding<'_> {
    /// How the job ends, by the budget of its scope.
    pub(super) fn decide(
        &mut self,
        plan: &Plan,
        breaker: retry::Breaker,
    ) -> Result<(JobEnd, Decision), Abort> {
        let transient =
            matches!(self.f.class, Class::Transient(_)) && self.f.limits.consent && plan.stop.is_none();
        let (job, now) = (&self.a.job, self.now);
        let allowed = Decision {
            should_retry: true,
            reason: Reason::UnderRetryLimit,
            retry_count: self.counts.task,
        };
        if transient && plan.parked {
            let end = JobEnd::Snooze {
                reason: self.f.error.clone(),
                available_at: plan.not_before.unwrap_or(now),
            };
            self.audit(AuditEvent::Transient, allowed)?;
            return Ok((end, allowed));
        }
        if transient && job.transient_attempts < job.max_transient_attempts {
            let end = JobEnd::RetryTransient {
                error: self.f.error.clone(),
                available_at: self.not_before(plan, job.transient_attempts),
            };
            self.audit(AuditEvent::Transient, allowed)?;
            return Ok((end, allowed));
        }
        let (breaker, change) = self.count(breaker)?;
        let mut decision = decide(self.f.limits, self.counts, &breaker, self.f.class);
        if plan.stop.is_some() && self.f.limits.consent {
            // What a person has to look at would keep the scope closed if it stayed queued.
            decision = Decision {
                should_retry: false,
                reason: Reason::PermanentFailure,
                ..decision
            };
        }
        let error = self.f.error.clone();
        let notes = plan.notes.clone();
        let timeout_percent = plan.timeout_percent.and_then(|p| i32::try_from(p).ok());
        let end = match decision.reason {
            Reason::UnderRetryLimit => {
                self.counts.scope += 1;
                self.counts.task += 1;
                JobEnd::Retry {
                    error,
                    available_at: self.not_before(plan, job.attempts - 1),
                    notes,
                    timeout_percent,
                }
            }
            // A trial costs its attempt, or a job that always fails would be every trial and keep the scope closed.
            Reason::CircuitBreakerOpen if change == Change::Reopened && self.counts.attempts_spent => {
                JobEnd::Failed(error)
            }
            Reason::CircuitBreakerOpen if change == Change::Reopened => JobEnd::Retry {
                error: format!("{error} ({})", decision.reason),
                available_at: now,
                notes,
                timeout_percent,
            },
            // It stays queued, and costs nothing: the scope is what is wrong. A trial is no blind one all the same.
            Reason::CircuitBreakerOpen => JobEnd::Held {
                error: format!("{error} ({})", decision.reason),
                available_at: now,
                notes,
                timeout_percent,
            },
            Reason::MaxRetriesReached => JobEnd::Failed(error),
            Reason::ConsentNotGiven | Reason::GlobalRetryLimitReached | Reason::PermanentFailure => {
                JobEnd::Failed(match &plan.stop {
                    Some(stop) => format!("{error}: {stop}"),
                    None => format!("{error} ({})", decision.reason),
                })
            }
        };
        let event = match decision.should_retry {
            true => AuditEvent::Retry,
            false => AuditEvent::Refused,
        };
        self.audit(event, decision)?;
        Ok((end, decision))
    }

    fn not_before(&self, plan: &Plan, before: i32) -> Timestamp {
        let usual = self.now + retry::pause(self.f.retry_delay, before);
        match (plan.not_before, plan.node) {
            (Some(at), _) => at.max(self.now),
            // Another node takes it at once.
            (None, Some(NodeFix::Blacklisted(_))) => self.now,
            (None, Some(NodeFix::Cooled(_) | NodeFix::FewerSlots(_)) | None) => usual,
        }
    }

    /// Counts the failure in its scope. People are told once that the breaker opened.
    fn count(&mut self, breaker: retry::Breaker) -> Result<(retry::Breaker, Change), Abort> {
        let (breaker, change) = breaker.failed(self.f.limits, self.now);
        retries::put(self.tx, self.scope, &breaker)?;
        let event = match change {
            Change::Opened => AuditEvent::Opened,
            Change::Reopened => AuditEvent::Reopened,
            Change::Stays | Change::Closed => return Ok((breaker, change)),
        };
        let decision = Decision {
            should_retry: false,
            reason: Reason::CircuitBreakerOpen,
            retry_count: self.counts.task,
        };
        self.audit(event, decision)?;
        let scope = match self.scope {
            Scope::Project(_) => self.f.project.clone(),
            Scope::Batch(_) => self.scope.to_string(),
        };
        let text = format!(
            "{} failures in a row in {scope}: none of its jobs is started for {} min, then one as a trial; `orch breaker reset {scope}` ends it; the last: {}",
            breaker.failures,
            self.f.limits.half_open.as_secs() / 60,
            self.f.error
        );
        transition::say(self.tx, &self.a.task, "breaker", &text, self.now)?;
        if change == Change::Opened {
            transition::notify(self.tx, &self.a.task, "breaker", &text, self.now)?;
        }
        Ok((breaker, change))
    }

    fn audit(&mut self, event: AuditEvent, decision: Decision) -> Result<(), StoreError> {
        let entry = NewAudit {
            event,
            scope: self.scope,
            task: Some((self.a.task.id, self.a.job.visit)),
            reason: Some(decision.reason),
            retry_count: self.counts.task,
            total: self.counts.scope,
            error: Some(&self.f.error),
        };
        retries::audit(self.tx, &entry, self.now)
    }
}
