//! What happens when restarting does not help: the process ends, and its own supervisor (systemd, the
//! container) starts it again. Never returns to a half-alive service.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use super::policy::Exhausted;

/// The exit code of an escalation (`EX_SOFTWARE` of sysexits).
pub const EXIT_ESCALATED: i32 = 70;

/// A log that cannot be written must not keep a broken service alive.
const FLUSH_LIMIT: Duration = Duration::from_secs(5);

/// Why the service gives up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// A singleton died more often than is borne.
    #[error("{} died too often, last of: {}", .0.name, .0.last_cause)]
    ChildExhausted(Exhausted),
    /// The supervisor's own code panicked.
    #[error("the supervisor panicked: {0}")]
    SupervisorPanicked(String),
    /// The supervisor's thread has not run for so long: an actor on it blocks.
    #[error("the supervisor's thread was blocked for {0:?}")]
    ArbiterBlocked(Duration),
}

/// What to do when the service gives up; done once, whoever asks first.
#[derive(Clone)]
pub struct Escalation(Arc<Inner>);

struct Inner {
    act: Box<dyn Fn(&Reason) + Send + Sync>,
    raised: AtomicBool,
}

impl Escalation {
    /// Ends the process with [`EXIT_ESCALATED`] after `flush_logs`, or without it when that hangs.
    pub fn exit(flush_logs: impl Fn() + Send + Sync + 'static) -> Self {
        Self::by(move |reason| {
            // Started before anything that may block.
            let _ = thread::Builder::new().name("escalation".into()).spawn(|| {
                thread::sleep(FLUSH_LIMIT);
                std::process::exit(EXIT_ESCALATED)
            });
            let _ = catch_unwind(AssertUnwindSafe(|| {
                slog_scope::crit!("escalating: {}", reason; "exit_code" => EXIT_ESCALATED);
                flush_logs();
            }));
            std::process::exit(EXIT_ESCALATED)
        })
    }

    /// Does `act` instead. Whatever it does, the supervisor restarts nothing afterwards.
    pub fn by(act: impl Fn(&Reason) + Send + Sync + 'static) -> Self {
        Self(Arc::new(Inner {
            act: Box::new(act),
            raised: AtomicBool::new(false),
        }))
    }

    /// Gives up. Later calls do nothing.
    pub(super) fn raise(&self, reason: &Reason) {
        if !self.0.raised.swap(true, Ordering::SeqCst) {
            (self.0.act)(reason);
        }
    }

    /// Whether the service has been given up.
    pub(super) fn raised(&self) -> bool {
        self.0.raised.load(Ordering::SeqCst)
    }
}

impl fmt::Debug for Escalation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Escalation")
            .field("raised", &self.raised())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;

    use super::*;

    #[test]
    fn who_asks_second_is_not_heard() {
        let count = Arc::new(AtomicU32::new(0));
        let seen = Arc::clone(&count);
        let escalation = Escalation::by(move |_| {
            seen.fetch_add(1, Ordering::SeqCst);
        });
        for _ in 0..2 {
            escalation.clone().raise(&Reason::ArbiterBlocked(Duration::ZERO));
        }
        assert_eq!(count.load(Ordering::SeqCst), 1);
    }
}
