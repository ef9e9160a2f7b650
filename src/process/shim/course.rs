//! Decides when a run is to be ended and how hard. Pure: time comes in, orders come out. Never signals anybody.
//!
//! `Running` → (a limit, or a request) → `Terminating` → `Killing` → over as soon as nothing is left alive.
//! `Running` → (the program ended) → `Lingering`, in which its tree may end by itself → `Terminating` → …

use std::time::{Duration, Instant};

use crate::domain::run::StopCause;
use crate::process::LaunchSpec;

/// The longest that a tree may take to end by itself after its program, and again after TERM.
const LINGER_AT_MOST: Duration = Duration::from_secs(2);
/// Between two rounds of KILL.
const KILL_EVERY: Duration = Duration::from_millis(20);

/// The limits of a run.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    timeout: Option<Duration>,
    stall: Option<Duration>,
    startup: Option<Duration>,
    kill_grace: Duration,
    lease: Option<Duration>,
    /// What the program started is not its own: it is let alone when the program ends by itself.
    leaves: bool,
}

impl From<&LaunchSpec> for Limits {
    fn from(spec: &LaunchSpec) -> Self {
        Self {
            timeout: spec.timeout,
            stall: spec.stall,
            startup: spec.startup,
            kill_grace: spec.kill_grace,
            lease: spec.lease.as_ref().map(|lease| lease.ttl),
            leaves: spec.once,
        }
    }
}

/// What is to be done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Nothing but waiting.
    Wait,
    /// TERM to the whole tree.
    Terminate,
    /// KILL to the whole tree; repeated until it is gone.
    Kill,
    /// Nothing is left alive.
    Finish,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Running,
    Lingering { until: Instant },
    Terminating { until: Instant },
    Killing,
}

/// How far a run has come towards its end.
#[derive(Debug)]
pub struct Course {
    limits: Limits,
    started: Instant,
    last_output: Option<Instant>,
    /// Until when the lease holds, as far as it is known.
    leased_until: Instant,
    phase: Phase,
    program_ended: bool,
    stop_requested: bool,
    cause: Option<StopCause>,
}

impl Course {
    /// A program that was started now.
    pub fn new(limits: Limits, now: Instant) -> Self {
        Self {
            limits,
            started: now,
            last_output: None,
            leased_until: now,
            phase: Phase::Running,
            program_ended: false,
            stop_requested: false,
            cause: None,
        }
    }

    /// Something was printed.
    pub fn output(&mut self, now: Instant) {
        self.last_output = Some(now);
    }

    /// Whether it is time to see if the lease was renewed.
    pub fn is_lease_due(&self, now: Instant) -> bool {
        self.phase == Phase::Running && self.limits.lease.is_some() && now >= self.leased_until
    }

    /// The lease holds until then.
    pub fn leased(&mut self, until: Instant) {
        self.leased_until = until;
    }

    /// The service asked for the end.
    pub fn stop_requested(&mut self) {
        self.stop_requested = true;
    }

    /// The program itself ended.
    pub fn program_ended(&mut self, now: Instant) {
        self.program_ended = true;
        if self.phase == Phase::Running {
            self.phase = Phase::Lingering {
                until: now + self.linger(),
            };
        }
    }

    /// Whether the program itself has ended.
    pub fn has_program_ended(&self) -> bool {
        self.program_ended
    }

    /// Why the program was ended, if it did not choose to.
    pub fn into_cause(self) -> Option<StopCause> {
        self.cause
    }

    /// What is to be done. `childless`: nothing of the tree is left.
    pub fn next(&mut self, now: Instant, childless: bool) -> Order {
        let leaves = self.limits.leaves && matches!(self.phase, Phase::Lingering { .. });
        if self.program_ended && (childless || leaves) {
            return Order::Finish;
        }
        match self.phase {
            Phase::Running => {
                let stopped = self.stop_requested.then_some(StopCause::Stopped);
                match stopped.or_else(|| self.overdue(now)) {
                    Some(cause) => {
                        self.cause = Some(cause);
                        self.terminate(now, self.limits.kill_grace)
                    }
                    None => Order::Wait,
                }
            }
            Phase::Lingering { until } if now >= until || self.stop_requested => {
                self.terminate(now, self.linger())
            }
            Phase::Terminating { until } if now >= until => {
                self.phase = Phase::Killing;
                Order::Kill
            }
            Phase::Lingering { .. } | Phase::Terminating { .. } => Order::Wait,
            Phase::Killing => Order::Kill,
        }
    }

    /// How long may be waited for events before asking again; forever when absent.
    pub fn wait(&self, now: Instant) -> Option<Duration> {
        let until = match self.phase {
            Phase::Running => self.deadlines().into_iter().flatten().map(|(at, _)| at).min(),
            Phase::Lingering { until } | Phase::Terminating { until } => Some(until),
            Phase::Killing => return Some(KILL_EVERY),
        };
        until.map(|at| at.saturating_duration_since(now))
    }

    fn terminate(&mut self, now: Instant, grace: Duration) -> Order {
        self.phase = Phase::Terminating { until: now + grace };
        Order::Terminate
    }

    fn linger(&self) -> Duration {
        self.limits.kill_grace.min(LINGER_AT_MOST)
    }

    fn overdue(&self, now: Instant) -> Option<StopCause> {
        let passed = self.deadlines().into_iter().flatten().find(|(at, _)| now >= *at);
        passed.map(|(_, cause)| cause)
    }

    /// The limit on running at all, the one on being silent, and the lease.
    fn deadlines(&self) -> [Option<(Instant, StopCause)>; 3] {
        let Limits {
            timeout,
            stall,
            startup,
            lease,
            leaves: _,
            kill_grace: _,
        } = self.limits;
        // Rounded up: "after 0s" would tell nothing.
        let seconds = |d: Duration| u64::try_from(d.as_millis().div_ceil(1000)).unwrap_or(u64::MAX);
        let whole = timeout.map(|d| (self.started, d, StopCause::Timeout { after_s: seconds(d) }));
        let stalled = |since| stall.map(|d| (since, d, StopCause::Stall { after_s: seconds(d) }));
        let silent = match (self.last_output, startup) {
            (Some(last), _) => stalled(last),
            (None, Some(d)) => Some((self.started, d, StopCause::Startup { after_s: seconds(d) })),
            (None, None) => stalled(self.started),
        };
        // A limit beyond what the clock can express is none.
        let [whole, silent] = [whole, silent]
            .map(|limit| limit.and_then(|(since, d, cause)| Some((since.checked_add(d)?, cause))));
        let expired = |ttl| StopCause::LeaseExpired {
            after_s: seconds(ttl),
        };
        [whole, silent, lease.map(|ttl| (self.leased_until, expired(ttl)))]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    fn course() -> (Course, Instant) {
        let now = Instant::now();
        let limits = Limits {
            timeout: Some(100 * S),
            stall: Some(20 * S),
            startup: Some(5 * S),
            kill_grace: 10 * S,
            lease: None,
            leaves: false,
        };
        (Course::new(limits, now), now)
    }

    #[test]
    fn silence_at_first_is_a_startup_and_silence_later_a_stall() {
        let (mut silent, t) = course();
        assert_eq!(silent.wait(t), Some(5 * S));
        assert_eq!(silent.next(t + 4 * S, false), Order::Wait);
        assert_eq!(silent.next(t + 5 * S, false), Order::Terminate);
        assert_eq!(silent.into_cause(), Some(StopCause::Startup { after_s: 5 }));

        let (mut stalled, t) = course();
        stalled.output(t + 4 * S);
        assert_eq!(stalled.next(t + 23 * S, false), Order::Wait);
        assert_eq!(stalled.next(t + 24 * S, false), Order::Terminate);
        assert_eq!(stalled.into_cause(), Some(StopCause::Stall { after_s: 20 }));
    }

    #[test]
    fn a_talkative_program_meets_its_timeout_then_kill_after_the_grace_until_nothing_is_left() {
        let (mut c, t) = course();
        c.output(t + 99 * S);
        assert_eq!(c.next(t + 100 * S, false), Order::Terminate);
        assert_eq!(c.next(t + 109 * S, false), Order::Wait);
        assert_eq!(c.next(t + 110 * S, false), Order::Kill);
        assert_eq!(c.next(t + 111 * S, false), Order::Kill);
        c.program_ended(t + 111 * S);
        assert_eq!(c.next(t + 111 * S, false), Order::Kill);
        assert_eq!(c.next(t + 111 * S, true), Order::Finish);
        assert_eq!(c.into_cause(), Some(StopCause::Timeout { after_s: 100 }));
    }

    #[test]
    fn what_a_program_leaves_behind_gets_a_short_grace_and_no_cause() {
        let (mut c, t) = course();
        c.program_ended(t);
        assert_eq!(c.next(t + S, false), Order::Wait);
        assert_eq!(c.next(t + 2 * S, false), Order::Terminate);
        assert_eq!(c.next(t + 3 * S, false), Order::Wait);
        assert_eq!(c.next(t + 4 * S, false), Order::Kill);
        assert_eq!(c.into_cause(), None);
    }

    #[test]
    fn a_request_ends_a_running_program_at_once_and_cuts_lingering_short() {
        let (mut running, t) = course();
        running.stop_requested();
        assert_eq!(running.next(t, false), Order::Terminate);
        assert_eq!(running.next(t, false), Order::Wait);
        assert_eq!(running.into_cause(), Some(StopCause::Stopped));

        let (mut lingering, t) = course();
        lingering.program_ended(t);
        lingering.stop_requested();
        assert_eq!(lingering.next(t, false), Order::Terminate);
        assert_eq!(lingering.into_cause(), None);
    }

    #[test]
    fn a_lease_that_was_renewed_holds_and_one_that_was_not_ends_the_run() {
        let (mut c, t) = course();
        c.limits.startup = None;
        c.limits.lease = Some(9 * S);
        assert!(c.is_lease_due(t), "at first it has to be read");
        c.leased(t + 9 * S);
        assert_eq!((c.is_lease_due(t + 8 * S), c.wait(t)), (false, Some(9 * S)));
        assert!(c.is_lease_due(t + 9 * S));
        c.leased(t + 12 * S);
        assert_eq!(c.next(t + 11 * S, false), Order::Wait);
        assert_eq!(c.next(t + 12 * S, false), Order::Terminate);
        assert!(!c.is_lease_due(t + 13 * S), "too late");
        assert_eq!(c.into_cause(), Some(StopCause::LeaseExpired { after_s: 9 }));
    }

    #[test]
    fn without_a_startup_limit_a_stall_counts_from_the_start_and_no_limit_waits_forever() {
        let now = Instant::now();
        let mut limits = Limits {
            timeout: None,
            stall: Some(7 * S),
            startup: None,
            kill_grace: S,
            lease: None,
            leaves: false,
        };
        assert_eq!(Course::new(limits, now).wait(now), Some(7 * S));
        limits.stall = None;
        assert_eq!(Course::new(limits, now).wait(now), None);
        limits.timeout = Some(Duration::MAX);
        assert_eq!(Course::new(limits, now).wait(now), None);
    }
}
