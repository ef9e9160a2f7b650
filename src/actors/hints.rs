//! Turns the engine's hints into messages. A hint that is lost costs time only.

use std::time::Duration;

use slog_scope::warn;
use tokio::sync::mpsc::UnboundedReceiver;

use crate::domain::id::ProjectId;
use crate::engine::{Hint, spare};

use super::inbox::Apply;
use super::notifier::Deliver;
use super::queue::QueueJobs;
use super::repair::WriteAudit;
use super::{AddressBook, TakenAway};

/// Forwards hints until the engine is gone.
pub async fn forward(mut hints: UnboundedReceiver<Hint>, book: AddressBook) {
    while let Some(hint) = hints.recv().await {
        match hint {
            Hint::Jobs => book.queue.do_send(QueueJobs),
            Hint::Outbox => book.notifier.do_send(Deliver),
            Hint::Inbox => book.inbox.do_send(Apply),
            Hint::Audit => book.repair.do_send(WriteAudit),
            Hint::Spare(project) => {
                actix_rt::spawn(provide_spare(project, book.clone()));
            }
            Hint::Stop(claim) => {
                if let Some(monitor) = book.monitor_of(claim) {
                    monitor.do_send(TakenAway);
                }
            }
        }
    }
}

/// An agent that was just started, or the next one, has the machine for itself until then.
const SETTLED: Duration = Duration::from_millis(100);

async fn provide_spare(project: ProjectId, book: AddressBook) {
    tokio::time::sleep(SETTLED).await;
    if book.claims()
        && let Err(e) = spare::provide(&book.engine, project).await
    {
        // The next start makes its own worktree, and asks again.
        warn!("no spare worktree: {}", e);
    }
}
