//! Ends runs: politely through the shim, or without it. Never touches a process whose identity does not match.

use std::os::fd::AsFd;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::identity::{Held, Liveness};
use super::{ProcessError, ProcessWatch, sys, tree};
use crate::domain::run::ProcessIdentity;

/// Between two looks at what is still alive.
const PASS: Duration = Duration::from_millis(10);
/// A killed process that is still there after this long hangs in the kernel.
const UNKILLABLE_AFTER: Duration = Duration::from_secs(10);

/// How a tree came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TreeEnd {
    /// The shim had ended before.
    WasGone,
    /// The shim ended its tree and itself; the exit is recorded.
    Stopped,
    /// The shim did not answer; it and all below it were killed. No exit is recorded.
    Killed,
    /// Of another boot or pid namespace: not ours to end.
    Elsewhere,
}

/// Asks a shim to end its tree, and returns what it was found to be; does not wait. [`Liveness::Alive`] means
/// that it was asked.
pub fn stop(shim: &ProcessIdentity) -> Result<Liveness, ProcessError> {
    signal(shim, libc::SIGTERM)
}

/// Kills one process, and nothing below it; does not wait.
pub fn kill(process: &ProcessIdentity) -> Result<Liveness, ProcessError> {
    signal(process, libc::SIGKILL)
}

/// Ends a shim and everything below it, and returns once that is dead. `patience` is how long the shim may take
/// before it counts as unresponsive: its own kill grace and a few seconds.
pub async fn kill_tree(shim: &ProcessIdentity, patience: Duration) -> Result<TreeEnd, ProcessError> {
    let watch = ProcessWatch::open(shim);
    match deed!("stop a tree", stop(shim))? {
        Liveness::Alive => {}
        Liveness::Gone => return Ok(TreeEnd::WasGone),
        Liveness::Elsewhere => return Ok(TreeEnd::Elsewhere),
    }
    if timeout(patience, watch.wait()).await.is_ok() {
        return Ok(TreeEnd::Stopped);
    }
    kill_descendants(shim).await?;
    signal(shim, libc::SIGKILL)?;
    match timeout(UNKILLABLE_AFTER, watch.wait()).await {
        Ok(()) => Ok(TreeEnd::Killed),
        Err(_) => Err(ProcessError::Unkillable { pids: vec![shim.pid] }),
    }
}

/// Kills what is below a shim first: while the shim lives, orphans come to it and can be found.
async fn kill_descendants(shim: &ProcessIdentity) -> Result<(), ProcessError> {
    let give_up = Instant::now() + UNKILLABLE_AFTER;
    let mut empty_walks = 0;
    // One walk may miss what moves while it reads.
    while empty_walks < 2 {
        let members = tree::descendants(shim.pid).map_err(|source| ProcessError::Proc {
            path: "/proc".to_owned(),
            source,
        })?;
        if members.is_empty() {
            empty_walks += 1;
            continue;
        }
        if Instant::now() > give_up {
            let pids = members.iter().map(|m| m.pid).collect();
            return Err(ProcessError::Unkillable { pids });
        }
        empty_walks = 0;
        tree::kill(shim.pid, &members);
        sleep(PASS).await;
    }
    Ok(())
}

fn signal(shim: &ProcessIdentity, signal: i32) -> Result<Liveness, ProcessError> {
    let sent = match Held::take(shim) {
        Held::Live(Some(fd)) => sys::signal_held(fd.as_fd(), signal),
        Held::Live(None) => sys::signal_pid(shim.pid, signal),
        Held::Gone => return Ok(Liveness::Gone),
        Held::Elsewhere => return Ok(Liveness::Elsewhere),
    };
    match sent {
        Ok(()) => Ok(Liveness::Alive),
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(Liveness::Gone),
        Err(source) => Err(ProcessError::Signal {
            pid: shim.pid,
            source,
        }),
    }
}
