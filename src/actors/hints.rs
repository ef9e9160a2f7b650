//! Turns the engine's hints into messages. A hint that is lost costs time only.

use tokio::sync::mpsc::UnboundedReceiver;

use crate::engine::Hint;

use super::notifier::Deliver;
use super::queue::QueueJobs;
use super::{AddressBook, TakenAway};

/// Forwards hints until the engine is gone.
pub async fn forward(mut hints: UnboundedReceiver<Hint>, book: AddressBook) {
    while let Some(hint) = hints.recv().await {
        match hint {
            Hint::Jobs => book.queue.do_send(QueueJobs),
            Hint::Outbox => book.notifier.do_send(Deliver),
            Hint::Stop(claim) => {
                if let Some(monitor) = book.monitor_of(claim) {
                    monitor.do_send(TakenAway);
                }
            }
        }
    }
}
