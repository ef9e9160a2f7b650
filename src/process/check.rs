//! Runs a project's own command (a test command, a command gate) to its end, under the same shim as an agent.
//! Never a second way to run things: it is launch, watch and read in one call.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::runtime::Handle;

use super::{LaunchSpec, ProcessError, ProcessWatch, RunLease, files, launch, stop};
use crate::domain::run::{ExitRecord, ProcessIdentity};

/// A command to run.
#[derive(Clone, Debug)]
pub struct CheckSpec {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// Where it runs.
    pub cwd: PathBuf,
    /// Its whole environment.
    pub env: Vec<(String, String)>,
    /// How long it may run.
    pub timeout: Duration,
    /// Time between TERM and KILL.
    pub kill_grace: Duration,
    /// Size its log may reach.
    pub log_cap_bytes: u64,
    /// How much of the end of its output is wanted, bytes.
    pub tail_bytes: u64,
    /// Ends it when its service is not heard any more.
    pub lease: Option<RunLease>,
    /// A run directory of its own, fresh for each time the command is to run.
    pub run_dir: PathBuf,
}

/// How a command ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckResult {
    /// Its exit.
    pub exit: ExitRecord,
    /// The end of its output.
    pub output_tail: String,
}

/// How long a shim that was just started may take to say who it is.
const STARTING: Duration = Duration::from_secs(10);

/// The shim of a launch that somebody else made; none when its exit is recorded already.
async fn said_by_shim(run_dir: &Path) -> Result<Option<ProcessIdentity>, ProcessError> {
    loop {
        if let Some(record) = files::read_shim(run_dir)? {
            return Ok(Some(record.shim));
        }
        if files::read_exit(run_dir)?.is_some() {
            return Ok(None);
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Runs a command and returns its exit. Dropping the future stops it.
///
/// The same command in the same run directory runs once: a call after a crash of the service goes on watching, or
/// returns the exit that was recorded meanwhile.
pub async fn run(orch_exe: &Path, check: &CheckSpec) -> Result<CheckResult, ProcessError> {
    let run_dir = &check.run_dir;
    let spec = check.launch_spec();
    let shim = match launch(run_dir, orch_exe, &spec) {
        Ok(launched) => Some(launched.identity),
        Err(ProcessError::AlreadyLaunched { .. }) if files::read_launch(run_dir)?.as_ref() == Some(&spec) => {
            // A shim that starts says who it is within milliseconds; until then there is nothing to watch.
            let said = tokio::time::timeout(STARTING, said_by_shim(run_dir)).await;
            said.unwrap_or(Ok(None))?
        }
        Err(error) => return Err(error),
    };
    if let Some(shim) = shim {
        let guard = StopOnDrop(Some(shim.clone()));
        ProcessWatch::open(&shim).wait().await;
        guard.disarm();
    }
    let exit = files::read_exit(run_dir)?.ok_or_else(|| ProcessError::NoExit {
        run_dir: run_dir.clone(),
    })?;
    let output_tail = files::output_tail(run_dir, check.tail_bytes)?;
    Ok(CheckResult { exit, output_tail })
}

impl CheckSpec {
    fn launch_spec(&self) -> LaunchSpec {
        let (program, args) = match self.argv.split_first() {
            Some((program, args)) => (program.clone(), args.to_vec()),
            None => (String::new(), Vec::new()),
        };
        LaunchSpec {
            program,
            args,
            env: self.env.clone(),
            cwd: self.cwd.clone(),
            stdin: None,
            log_cap_bytes: self.log_cap_bytes,
            timeout: Some(self.timeout),
            stall: None,
            startup: None,
            kill_grace: self.kill_grace,
            lease: self.lease.clone(),
            once: false,
        }
    }
}

/// Holds whoever must not outlive the interest in it.
struct StopOnDrop(Option<ProcessIdentity>);

impl StopOnDrop {
    fn disarm(mut self) {
        self.0 = None;
    }
}

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        let Some(shim) = self.0.take() else { return };
        // The shim sees to the rest by itself; a refused signal leaves it to its timeout.
        stop(&shim).ok();
        if let Ok(runtime) = Handle::try_current() {
            // Somebody has to collect it, or it stays a zombie.
            runtime.spawn(async move { ProcessWatch::open(&shim).wait().await });
        }
    }
}
