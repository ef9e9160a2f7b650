//! A program that runs beside its caller, such as the service that the demo starts: start it, look at its log,
//! end it. Never captures what it says in memory, and never leaves it behind unless told to.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// How long a dropped service may take to end by itself.
const DROP_GRACE: Duration = Duration::from_secs(5);
/// How often a service that was asked to end is looked at.
const LOOK: Duration = Duration::from_millis(10);
/// How much of the log's end is read for [`ServiceChild::log_tail`].
const TAIL_BYTES: u64 = 64 * 1024;

/// Why a service could not be started or ended.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// The log could not be opened.
    #[error("cannot write the service's log {path}: {source}; make its folder writable", path = .path.display())]
    Log {
        /// Where it should be.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The program could not be started.
    #[error("cannot start {program}: {source}", program = .program.display())]
    Start {
        /// The program.
        program: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The system did not say what became of it.
    #[error("cannot tell what became of the service (pid {pid}): {source}; end it by hand")]
    Lost {
        /// Its process.
        pid: u32,
        /// The system's reason.
        source: io::Error,
    },
}

/// What to start.
#[derive(Clone, Debug)]
pub struct ServiceCommand<'a> {
    /// The program.
    pub program: &'a Path,
    /// Its arguments.
    pub args: &'a [OsString],
    /// Its whole environment; nothing of the caller's is added.
    pub env: &'a [(OsString, OsString)],
    /// Where it starts.
    pub cwd: &'a Path,
    /// Takes what it prints; appended to.
    pub log: &'a Path,
}

/// A running service. Ended when dropped.
#[derive(Debug)]
pub struct ServiceChild {
    child: Option<Child>,
    log: PathBuf,
}

/// How a service ended when it was asked to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It had ended before.
    Before,
    /// By itself, within the time given.
    ByItself,
    /// It had to be killed.
    Killed,
}

impl ServiceChild {
    /// Starts it in a process group of its own, so that a Ctrl-C meant for the caller does not reach it.
    ///
    /// # Errors
    /// The log cannot be written, or the program cannot be started.
    pub fn spawn(command: &ServiceCommand<'_>) -> Result<Self, ServiceError> {
        let log_error = |source| ServiceError::Log {
            path: command.log.to_owned(),
            source,
        };
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(command.log)
            .map_err(log_error)?;
        let out = log.try_clone().map_err(log_error)?;
        let child = Command::new(command.program)
            .args(command.args)
            .env_clear()
            .envs(command.env.iter().map(|(k, v)| (k, v)))
            .current_dir(command.cwd)
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(log)
            .spawn()
            .map_err(|source| ServiceError::Start {
                program: command.program.to_owned(),
                source,
            })?;
        Ok(Self {
            child: Some(child),
            log: command.log.to_owned(),
        })
    }

    /// Its process, while it is ours.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// How it ended, when it did.
    ///
    /// # Errors
    /// The system does not say.
    pub fn exited(&mut self) -> Result<Option<ExitStatus>, ServiceError> {
        let Some(child) = self.child.as_mut() else {
            return Ok(None);
        };
        let pid = child.id();
        child
            .try_wait()
            .map_err(|source| ServiceError::Lost { pid, source })
    }

    /// The last lines of its log; empty when it printed nothing or the log is gone.
    pub fn log_tail(&self, lines: usize) -> String {
        let text = read_end(&self.log).unwrap_or_default();
        let all: Vec<&str> = text.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }

    /// Asks it to end, waits, and kills it when it has not ended in time.
    ///
    /// # Errors
    /// The system does not say what became of it.
    pub fn end(&mut self, grace: Duration) -> Result<Ended, ServiceError> {
        let Some(mut child) = self.child.take() else {
            return Ok(Ended::Before);
        };
        let pid = child.id();
        let lost = |source| ServiceError::Lost { pid, source };
        if child.try_wait().map_err(lost)?.is_some() {
            return Ok(Ended::Before);
        }
        ask_to_end(&child);
        let deadline = Instant::now() + grace;
        while Instant::now() < deadline {
            if child.try_wait().map_err(lost)?.is_some() {
                return Ok(Ended::ByItself);
            }
            thread::sleep(LOOK);
        }
        child.kill().map_err(lost)?;
        child.wait().map_err(lost)?;
        Ok(Ended::Killed)
    }

    /// Kills it like a power cut does: nothing of it is asked or told.
    ///
    /// # Errors
    /// The system does not say what became of it.
    pub fn kill(&mut self) -> Result<(), ServiceError> {
        let Some(mut child) = self.child.take() else {
            return Ok(());
        };
        let pid = child.id();
        let killed = child.kill().and_then(|()| child.wait());
        killed
            .map(drop)
            .map_err(|source| ServiceError::Lost { pid, source })
    }

    /// Lets it live on after the caller. Returns its process, so that a person can end it.
    pub fn leave(mut self) -> Option<u32> {
        self.child.take().map(|c| c.id())
    }
}

impl Drop for ServiceChild {
    fn drop(&mut self) {
        // Nobody is left to be told of a failure here.
        let _ended = self.end(DROP_GRACE);
    }
}

fn ask_to_end(child: &Child) {
    let Ok(pid) = libc::pid_t::try_from(child.id()) else {
        return;
    };
    // SAFETY: kill has no memory effects; the child was not yet waited for, so the pid is still its own.
    // A failure means that it has just ended, which the caller sees when it waits.
    unsafe { libc::kill(pid, libc::SIGTERM) };
}

fn read_end(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
    let mut bytes = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    fn start(folder: &Path, script: &str) -> ServiceChild {
        let args = ["-c".into(), script.into()];
        let env = [("PATH".into(), std::env::var_os("PATH").unwrap())];
        ServiceChild::spawn(&ServiceCommand {
            program: Path::new("/bin/sh"),
            args: &args,
            env: &env,
            cwd: folder,
            log: &folder.join("service.log"),
        })
        .unwrap()
    }

    fn wait_until(mut condition: impl FnMut() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while !condition() {
            assert!(Instant::now() < deadline, "the condition never came true");
            thread::sleep(LOOK);
        }
    }

    fn lives(pid: u32) -> bool {
        Path::new(&format!("/proc/{pid}")).exists()
    }

    #[test]
    fn a_service_that_died_says_how_and_leaves_its_last_lines() {
        let folder = tempfile::tempdir().unwrap();
        let mut service = start(folder.path(), "echo one; echo two; echo three >&2; exit 70");
        wait_until(|| service.exited().unwrap().is_some());
        assert_eq!(service.exited().unwrap().unwrap().to_string(), "exit status: 70");
        assert_eq!(service.log_tail(2), "two\nthree");
        assert_eq!(service.end(Duration::ZERO).unwrap(), Ended::Before);
    }

    #[test]
    fn a_service_that_ignores_the_polite_signal_is_killed() {
        let folder = tempfile::tempdir().unwrap();
        let mut service = start(
            folder.path(),
            "trap '' TERM; echo up; while :; do sleep 0.01; done",
        );
        wait_until(|| service.log_tail(1) == "up");
        assert_eq!(service.end(Duration::from_millis(50)).unwrap(), Ended::Killed);
    }

    #[test]
    fn a_dropped_service_is_gone_and_one_that_is_left_lives_on() {
        let folder = tempfile::tempdir().unwrap();
        let service = start(folder.path(), "echo up; exec sleep 60");
        let pid = service.pid().unwrap();
        wait_until(|| service.log_tail(1) == "up");
        drop(service);
        assert!(!lives(pid));

        let left = start(folder.path(), "exec sleep 60");
        let pid = left.leave().unwrap();
        assert!(lives(pid));
        let pid = i32::try_from(pid).unwrap();
        // SAFETY: the process is our own child and was not waited for; neither call touches our memory.
        unsafe {
            libc::kill(pid, libc::SIGKILL);
            libc::waitpid(pid, std::ptr::null_mut(), 0);
        }
    }

    #[test]
    fn nothing_of_the_callers_environment_reaches_the_service() {
        let folder = tempfile::tempdir().unwrap();
        let mut service = start(folder.path(), "env | grep -c CARGO");
        wait_until(|| service.exited().unwrap().is_some());
        assert_eq!(service.log_tail(1), "0");
    }
}
