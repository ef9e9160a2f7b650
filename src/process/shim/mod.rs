//! The shim: the small process between the service and a program it runs. It outlives the service, is parent of
//! every orphan below it, enforces the limits, keeps the output and records the exit as its last deed.
//! Never talks to the service except through the files of its run directory, and never restarts anything.

mod agent;
mod course;
pub(in crate::process) mod log;
mod part;
mod supervise;

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::exit::{record, reserve};
use super::files::{self, BEGUN, LAUNCH, LOCK, SHIM, ShimRecord, failed};
use super::identity::own_identity;
use super::launch::was_launched;
use super::sys::{self, Ending};
use super::{LaunchSpec, ProcessError};
use crate::domain::run::{ExitRecord, StopCause};
use crate::domain::time::Timestamp;
use agent::{Agent, NotStarted};
use log::{CappedLog, Kept};
use supervise::Supervision;

/// How long is tried to record an exit on a full disk.
const RECORD_FOR: Duration = Duration::from_secs(60);
const RECORD_EVERY: Duration = Duration::from_millis(200);

/// Why a shim ends without success. The numbers are those of `sysexits.h`.
#[derive(Debug, thiserror::Error)]
enum ShimError {
    #[error("{0}")]
    Process(#[from] ProcessError),
    #[error("cannot become a shim: {0}")]
    System(io::Error),
    #[error("cannot record the exit: {0}")]
    Unrecorded(io::Error),
}

impl ShimError {
    fn exit_code(&self) -> u8 {
        match self {
            Self::Process(ProcessError::AlreadyLaunched { .. }) => 75,
            Self::Process(_) | Self::System(_) => 71,
            Self::Unrecorded(_) => 73,
        }
    }
}

/// The whole life of a shim. To be called first in `main`: with nothing open, and a single thread.
///
/// Ends with 0 once the exit is recorded, with 75 if the run directory was launched before, with 73 if the exit
/// could not be recorded, and with 71 if the system refuses what a shim needs.
pub fn main(run_dir: &Path) -> ExitCode {
    sys::close_inherited_files();
    match run(run_dir) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Where nobody reads, there is nobody to tell that nobody reads.
            writeln!(io::stderr(), "orch shim: {error}").ok();
            ExitCode::from(error.exit_code())
        }
    }
}

fn run(run_dir: &Path) -> Result<(), ShimError> {
    let run_dir = &run_dir.canonicalize().map_err(failed("find", run_dir))?;
    let _lock = lock(run_dir)?;
    sys::new_session();
    sys::become_subreaper().map_err(ShimError::System)?;
    let signals = sys::catch_signals().map_err(ShimError::System)?;

    let exit = match start(run_dir) {
        Ok((spec, agent)) => {
            // Both are worth having, neither is worth the agent.
            if let Err(error) = announce(run_dir, &agent) {
                writeln!(io::stderr(), "orch shim: {error}").ok();
            }
            if let Err(error) = reserve(run_dir) {
                writeln!(io::stderr(), "orch shim: no space reserved for the exit: {error}").ok();
            }
            let log = CappedLog::create(run_dir, spec.log_cap_bytes);
            let ended = Supervision::new(&spec, agent, signals, log)
                .run()
                .map_err(ShimError::System)?;
            ended.into_record()
        }
        Err(reason) => not_started(reason),
    };
    record_persistently(run_dir, &exit).map_err(ShimError::Unrecorded)
}

/// Takes the run directory for this shim's life: the lock that the service handed over as stdin, or a new one.
fn lock(run_dir: &Path) -> Result<File, ProcessError> {
    let path = run_dir.join(LOCK);
    let open = || -> io::Result<File> {
        let named = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)?;
        let handed = File::from(io::stdin().as_fd().try_clone_to_owned()?);
        let (there, here) = (named.metadata()?, handed.metadata()?);
        let same = (there.dev(), there.ino()) == (here.dev(), here.ino());
        Ok(if same { handed } else { named })
    };
    let lock = open().map_err(failed("open", &path))?;
    match lock.try_lock() {
        Ok(()) if !was_launched(run_dir) => Ok(lock),
        Ok(()) | Err(TryLockError::WouldBlock) => Err(ProcessError::AlreadyLaunched {
            run_dir: run_dir.to_owned(),
        }),
        Err(TryLockError::Error(source)) => Err(failed("lock", &path)(source)),
    }
}

fn start(run_dir: &Path) -> Result<(LaunchSpec, Agent), NotStarted> {
    let spec = match files::read_launch(run_dir) {
        Ok(Some(spec)) => spec,
        Ok(None) => return Err(NotStarted::refused(format!("there is no {LAUNCH}"))),
        Err(error) => return Err(NotStarted::refused(error.to_string())),
    };
    if spec.once {
        let begun = files::write_durably(&run_dir.join(BEGUN), b"");
        begun.map_err(|e| NotStarted::refused(e.to_string()))?;
    }
    let agent = Agent::start(&spec, run_dir)?;
    Ok((spec, agent))
}

fn announce(run_dir: &Path, agent: &Agent) -> Result<(), ProcessError> {
    let record = ShimRecord {
        shim: own_identity()?,
        agent_pid: agent.pid,
    };
    files::write_json(&run_dir.join(SHIM), &record)
}

/// What supervision leaves behind.
struct Ended {
    ending: Ending,
    cause: Option<StopCause>,
    leftover_processes: u32,
    kept: Kept,
}

impl Ended {
    fn into_record(self) -> ExitRecord {
        let (code, signal) = match self.ending {
            Ending::Code(code) => (Some(code), None),
            Ending::Signal(signal) => (None, Some(signal)),
        };
        let used = sys::consumption_of_children();
        ExitRecord {
            code,
            signal,
            cause: self.cause,
            finished_at: wall_clock(),
            peak_memory_bytes: used.peak_memory_bytes,
            cpu_us: used.cpu_us,
            output_bytes: self.kept.received,
            dropped_bytes: self.kept.dropped,
            log_error: self.kept.error,
            leftover_processes: self.leftover_processes,
        }
    }
}

fn not_started(reason: NotStarted) -> ExitRecord {
    ExitRecord {
        code: Some(reason.code),
        signal: None,
        cause: Some(StopCause::NotStarted { why: reason.why }),
        finished_at: wall_clock(),
        peak_memory_bytes: 0,
        cpu_us: 0,
        output_bytes: 0,
        dropped_bytes: 0,
        log_error: None,
        leftover_processes: 0,
    }
}

/// Nobody who could pass the time in may be alive by now.
fn wall_clock() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

fn record_persistently(run_dir: &Path, exit: &ExitRecord) -> io::Result<()> {
    let give_up = Instant::now() + RECORD_FOR;
    loop {
        match record(run_dir, exit) {
            Err(_) if Instant::now() < give_up => thread::sleep(RECORD_EVERY),
            done => return done,
        }
    }
}
