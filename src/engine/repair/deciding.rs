//! Whether a failure is tried again: counted in its scope, decided, and written into the audit.

use super::{Case, Failure};
use crate::domain::job::JobEnd;
use crate::domain::repair::plan::Plan;
use crate::domain::repair::settle::{Budget, Ends, settle};
use crate::domain::retry::{self, Change, Counts, Decision, Reason, Scope};
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
        let job = &self.a.job;
        let budget = Budget {
            limits: self.f.limits,
            counts: self.counts,
            breaker,
            class: self.f.class,
            attempts: job.attempts,
            transient: job.transient_attempts,
            max_transient: job.max_transient_attempts,
            retry_delay: self.f.retry_delay,
        };
        let settled = settle(plan, &budget, self.now);
        let decision = settled.decision;
        let event = match settled.breaker {
            None => AuditEvent::Transient,
            Some((breaker, change)) => {
                self.note(breaker, change)?;
                match decision.should_retry {
                    true => AuditEvent::Retry,
                    false => AuditEvent::Refused,
                }
            }
        };
        let error = self.f.error.clone();
        let explained = |reason| format!("{error} ({reason})");
        let notes = plan.notes.clone();
        let timeout_percent = plan.timeout_percent.and_then(|p| i32::try_from(p).ok());
        let end = match settled.ends {
            Ends::Parked(available_at) => JobEnd::Snooze {
                reason: error,
                available_at,
            },
            Ends::Transient(available_at) => JobEnd::RetryTransient { error, available_at },
            Ends::Retry(available_at) => {
                self.counts.scope += 1;
                self.counts.task += 1;
                JobEnd::Retry {
                    error,
                    available_at,
                    notes,
                    timeout_percent,
                }
            }
            Ends::TriedInVain(available_at) => JobEnd::Retry {
                error: explained(decision.reason),
                available_at,
                notes,
                timeout_percent,
            },
            // A trial is no blind one all the same.
            Ends::Held(available_at) => JobEnd::Held {
                error: explained(decision.reason),
                available_at,
                notes,
                timeout_percent,
            },
            Ends::Failed => JobEnd::Failed(match (decision.reason, &plan.stop) {
                (Reason::MaxRetriesReached | Reason::CircuitBreakerOpen, _) => error,
                (_, Some(stop)) => format!("{error}: {stop}"),
                (reason, None) => explained(reason),
            }),
        };
        self.audit(event, decision)?;
        Ok((end, decision))
    }

    /// Keeps what the failure did to the breaker. People are told once that it opened.
    fn note(&mut self, breaker: retry::Breaker, change: Change) -> Result<(), Abort> {
        retries::put(self.tx, self.scope, &breaker)?;
        let event = match change {
            Change::Opened => AuditEvent::Opened,
            Change::Reopened => AuditEvent::Reopened,
            Change::Stays | Change::Closed => return Ok(()),
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
        Ok(())
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
