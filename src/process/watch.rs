//! Waits for the end of a process, our child or a stranger's. Never ends it.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use tokio::io::unix::AsyncFd;
use tokio::time::sleep;

use super::identity::{Held, Liveness, is_alive};
use super::sys;
use crate::domain::run::ProcessIdentity;

/// How often is looked where the system cannot tell by itself.
const POLL: Duration = Duration::from_millis(200);

/// The end of one process, to be awaited. Dropping it changes nothing for the process.
#[derive(Debug)]
pub struct ProcessWatch {
    identity: ProcessIdentity,
    source: Source,
}

#[derive(Debug)]
enum Source {
    Ended,
    Told(AsyncFd<OwnedFd>),
    /// A kernel without pidfd, or out of descriptors.
    Polled,
}

impl ProcessWatch {
    /// Begins to watch. A process that is gone, or of another boot or pid namespace, counts as ended.
    /// To be called within a tokio runtime.
    pub fn open(identity: &ProcessIdentity) -> Self {
        let source = match Held::take(identity) {
            Held::Live(Some(fd)) => sys::await_held(fd).map_or(Source::Polled, Source::Told),
            Held::Live(None) => Source::Polled,
            Held::Gone | Held::Elsewhere => Source::Ended,
        };
        Self {
            identity: identity.clone(),
            source,
        }
    }

    /// Returns when the process has ended, at once if it had. A child of ours is collected, so that no zombie
    /// stays. May be called again, and dropped at any time.
    pub async fn wait(&self) {
        match &self.source {
            Source::Ended => {}
            Source::Told(fd) => {
                if fd.readable().await.is_ok() {
                    sys::reap_held(fd.get_ref().as_fd());
                } else {
                    self.poll().await;
                }
            }
            Source::Polled => self.poll().await,
        }
    }

    async fn poll(&self) {
        while is_alive(&self.identity) == Liveness::Alive {
            sleep(POLL).await;
        }
    }
}
