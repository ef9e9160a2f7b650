//! A thread that notices when the supervisor's own thread is blocked: then nobody there could notice anything,
//! and nothing there could be replaced. Never restarts anything; it escalates.

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedSender;

use super::escalation::{Escalation, Reason};
use super::registry::Event;

/// A limit is waited for in so many parts: when the machine or the whole process was suspended, only one part
/// passes at a stroke, and the others give the supervisor time to answer.
pub(super) const PARTS: u32 = 4;

/// Watches until the supervisor is gone.
pub(super) fn start(events: UnboundedSender<Event>, limit: Duration, escalation: Escalation) {
    let watcher = thread::Builder::new().name("watchdog".into());
    let spawned = watcher.spawn(move || watch(&events, limit, &escalation));
    if let Err(error) = spawned {
        slog_scope::error!("no watchdog: a blocked supervisor will not be noticed"; "error" => %error);
    }
}

fn watch(events: &UnboundedSender<Event>, limit: Duration, escalation: &Escalation) {
    let part = limit / PARTS;
    while answered(events, part) {
        thread::sleep(part);
    }
    if !events.is_closed() {
        escalation.raise(&Reason::ArbiterBlocked(limit));
    }
}

/// Asks once and waits up to four parts.
fn answered(events: &UnboundedSender<Event>, part: Duration) -> bool {
    let (reply, answer) = channel();
    if events.send(Event::Probe(reply)).is_err() {
        return false;
    }
    for _ in 0..PARTS {
        match answer.recv_timeout(part) {
            Ok(()) => return true,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return false,
        }
    }
    false
}
