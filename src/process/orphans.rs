//! Ends what is left of a run whose shim was killed: the program dies with its shim, what that had started does not.
//! Found by a mark that every process of a run inherits in its environment; never touches one without it. A process that
//! wiped its environment is not found.

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::files::failed;
use super::{ProcessError, sys};

/// The variable that holds the run directory.
pub(super) const MARK: &str = "ORCH_RUN_DIR";

/// Between two looks at what is still alive.
const PASS: Duration = Duration::from_millis(10);
/// A killed process that is still there after this long hangs in the kernel.
const GIVE_UP: Duration = Duration::from_secs(10);

/// Kills every process that carries the mark of this run directory, and returns once none is left. Only for a run whose
/// shim is gone: a living one ends its tree in better order.
///
/// # Errors
/// A process that does not die, or a `/proc` that cannot be read.
pub async fn end_orphans(run_dir: &Path) -> Result<usize, ProcessError> {
    let run_dir = match run_dir.canonicalize() {
        Ok(dir) => dir,
        // Without a run directory nothing was started.
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(0),
        Err(e) => return Err(failed("find", run_dir)(e)),
    };
    let mark = [MARK.as_bytes(), b"=", run_dir.as_os_str().as_bytes()].concat();
    let deadline = Instant::now() + GIVE_UP;
    let mut ended = 0;
    let mut empty_looks = 0;
    // One look may miss what is just being forked.
    while empty_looks < 2 {
        let found = deed!("kill orphans", kill_marked(&mark))?;
        if found.is_empty() {
            empty_looks += 1;
            continue;
        }
        if Instant::now() > deadline {
            return Err(ProcessError::Unkillable { pids: found });
        }
        ended = ended.max(found.len());
        empty_looks = 0;
        sleep(PASS).await;
    }
    Ok(ended)
}

fn kill_marked(mark: &[u8]) -> Result<Vec<i32>, ProcessError> {
    let proc = |source| ProcessError::Proc {
        path: "/proc".to_owned(),
        source,
    };
    let me = std::process::id().cast_signed();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").map_err(proc)?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|n| n.parse::<i32>().ok()) else {
            continue;
        };
        // Held before it is looked at: in the other order the pid could change hands in between.
        let Ok(held) = sys::pidfd_open(pid) else { continue };
        let environ = fs::read(entry.path().join("environ")).unwrap_or_default();
        if pid != me && environ.split(|b| *b == 0).any(|variable| variable == mark) {
            // One that has just ended has no environment at the next look.
            drop(sys::signal_held(held.as_fd(), libc::SIGKILL));
            found.push(pid);
        }
    }
    Ok(found)
}
