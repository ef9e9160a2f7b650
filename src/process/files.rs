//! The files of a run directory, through which shim and service talk. Never keeps one open.
//!
//! | file | written by | meaning |
//! |---|---|---|
//! | `lock` | service, then shim | held for the life of the shim |
//! | `launch.json` | service | what to run; mode 0600, it holds the agent's keys |
//! | `begun` | shim | a program that must not be begun twice is about to be started |
//! | `shim.json` | shim | the agent was started |
//! | `output.log` | shim | what the agent printed |
//! | `output.tail.0`, `.1` | shim | its last part while the run goes on, once it is large |
//! | `forbidden` | service | its run was taken away: nothing is to be started |
//! | `exit.tmp` | shim | disk space kept for the record |
//! | `exit.json` | shim | how it ended; the last thing the shim does |
//! | `shim.err` | shim | complaints of the shim itself |

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::identity::{Liveness, is_alive};
use super::launch::is_deserted;
use super::{LaunchSpec, ProcessError};
use crate::domain::run::{ExitRecord, ProcessIdentity};

pub(super) const LOCK: &str = "lock";
pub(super) const LAUNCH: &str = "launch.json";
pub(super) const BEGUN: &str = "begun";
pub(super) const SHIM: &str = "shim.json";
pub(super) const EXIT: &str = "exit.json";
pub(super) const OUTPUT: &str = "output.log";
/// What takes turns in holding the end of a log that is written and fills its first half.
pub(super) const SEGMENTS: [&str; 2] = ["output.tail.0", "output.tail.1"];
pub(super) const FORBIDDEN: &str = "forbidden";
pub(super) const SHIM_ERRORS: &str = "shim.err";

/// What a shim says of itself once its program runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShimRecord {
    /// The shim.
    pub shim: ProcessIdentity,
    /// Pid of the program it started.
    pub agent_pid: i32,
}

/// How a run directory stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunState {
    /// No sign of a shim. One may be starting at this moment: a launch would then be refused.
    NotLaunched,
    /// The shim lives: watch it.
    Running(ProcessIdentity),
    /// The exit is recorded.
    Ended(ExitRecord),
    /// The shim is gone and has recorded nothing.
    Lost(ProcessIdentity),
    /// The shim was of another boot or pid namespace, and has recorded nothing. Without an identity where the machine went
    /// down before what the shim had written of itself reached the disk.
    Elsewhere(Option<ProcessIdentity>),
}

/// How the run in this directory stands. `recorded` is the identity known from elsewhere, if any.
pub fn look(run_dir: &Path, recorded: Option<&ProcessIdentity>) -> Result<RunState, ProcessError> {
    match read_exit(run_dir) {
        Ok(Some(exit)) => return Ok(RunState::Ended(exit)),
        Ok(None) => {}
        // What cannot be read says nothing about how it ended.
        Err(ProcessError::Damaged { .. }) => {}
        Err(e) => return Err(e),
    }
    let shim = match recorded {
        Some(shim) => Some(shim.clone()),
        None => match read_shim(run_dir) {
            Err(ProcessError::Damaged { .. }) if is_deserted(run_dir) => {
                return Ok(RunState::Elsewhere(None));
            }
            record => record?.map(|record| record.shim),
        },
    };
    let Some(shim) = shim else {
        let begun = run_dir.join(BEGUN).exists() && is_deserted(run_dir);
        return Ok(match begun {
            // Whoever began it went down before it could say so.
            true => RunState::Elsewhere(None),
            false => RunState::NotLaunched,
        });
    };
    Ok(match is_alive(&shim) {
        Liveness::Alive => RunState::Running(shim),
        Liveness::Elsewhere => RunState::Elsewhere(Some(shim)),
        // It may have recorded its exit since we looked for one.
        Liveness::Gone => match read_exit(run_dir) {
            Ok(Some(exit)) => RunState::Ended(exit),
            Ok(None) | Err(ProcessError::Damaged { .. }) => RunState::Lost(shim),
            Err(e) => return Err(e),
        },
    })
}

/// The recorded exit, if there is one yet.
pub fn read_exit(run_dir: &Path) -> Result<Option<ExitRecord>, ProcessError> {
    read_json(&run_dir.join(EXIT))
}

/// What the shim said of itself, if it came that far.
pub fn read_shim(run_dir: &Path) -> Result<Option<ShimRecord>, ProcessError> {
    read_json(&run_dir.join(SHIM))
}

pub(super) fn read_launch(run_dir: &Path) -> Result<Option<LaunchSpec>, ProcessError> {
    read_json(&run_dir.join(LAUNCH))
}

/// The log of a run. While the run goes on it holds the beginning, up to half of the cap.
pub fn output_path(run_dir: &Path) -> PathBuf {
    run_dir.join(OUTPUT)
}

/// The last `max` bytes of the log, from the beginning of a line; what is not UTF-8 is replaced.
/// Empty when there is no log.
pub fn output_tail(run_dir: &Path, max: u64) -> Result<String, ProcessError> {
    let path = output_path(run_dir);
    let read = || -> io::Result<(bool, Vec<u8>)> {
        let mut file = File::open(&path)?;
        let begin = file.metadata()?.len().saturating_sub(max);
        file.seek(SeekFrom::Start(begin))?;
        let mut bytes = Vec::new();
        file.take(max).read_to_end(&mut bytes)?;
        Ok((begin > 0, bytes))
    };
    let (cut, bytes) = match read() {
        Ok(read) => read,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(String::new()),
        Err(error) => return Err(failed("read", &path)(error)),
    };
    let first_line = bytes
        .iter()
        .position(|&b| b == b'\n')
        .map_or(0, |newline| newline + 1);
    let whole = if cut { &bytes[first_line..] } else { &bytes[..] };
    Ok(String::from_utf8_lossy(whole).into_owned())
}

pub(super) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, ProcessError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed("read", path)(error)),
    };
    let damaged = |source| ProcessError::Damaged {
        path: path.to_owned(),
        source,
    };
    serde_json::from_slice(&bytes).map(Some).map_err(damaged)
}

/// Writes a file that is either absent or whole, for this user only. Not synced: it is read in the same boot.
pub(super) fn write_json(path: &Path, value: &impl Serialize) -> Result<(), ProcessError> {
    let draft = path.with_extension("draft");
    let write = || -> io::Result<()> {
        private().open(&draft)?.write_all(&serde_json::to_vec(value)?)?;
        fs::rename(&draft, path)
    };
    write().map_err(failed("write", path))
}

/// The same for what has to outlive the machine: when it is told, file, name and folder are on the disk.
pub(super) fn write_durably(path: &Path, bytes: &[u8]) -> Result<(), ProcessError> {
    let draft = path.with_extension("draft");
    let write = || -> io::Result<()> {
        let mut file = private().open(&draft)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        deed!("note what a node has of a run", fs::rename(&draft, path))?;
        let folder = path.parent();
        for folder in [folder, folder.and_then(Path::parent)].into_iter().flatten() {
            File::open(folder)?.sync_all()?;
        }
        Ok(())
    };
    write().map_err(failed("write", path))
}

/// How every file here is opened for writing: anew, and readable by this user only.
pub(super) fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    options
}

pub(super) fn failed(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ProcessError {
    let path = path.to_owned();
    move |source| ProcessError::File { doing, path, source }
}
