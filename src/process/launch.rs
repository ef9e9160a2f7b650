//! Starts a shim. Never a second one for the same run directory, and never waits for it.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::process::{Command, Stdio};

use super::files::{self, BEGUN, EXIT, FORBIDDEN, LAUNCH, LOCK, SHIM, SHIM_ERRORS, failed};
use super::identity::identity_of;
use super::{LaunchSpec, ProcessError};
use crate::domain::run::ProcessIdentity;

/// A shim that was started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaunchedShim {
    /// Who it is. To be recorded before anything else is done.
    pub identity: ProcessIdentity,
}

/// Starts `<orch_exe> shim <run_dir>`, which runs `spec`. `orch_exe` may be `/proc/self/exe`: that is this very
/// version, also after the file was replaced by an upgrade. Creates the run directory if there is none.
///
/// The directory's lock is taken here and inherited by the shim, so of two launches one is refused, however
/// close together they are.
pub fn launch(run_dir: &Path, orch_exe: &Path, spec: &LaunchSpec) -> Result<LaunchedShim, ProcessError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(run_dir)
        .map_err(failed("create", run_dir))?;
    let run_dir = run_dir.canonicalize().map_err(failed("find", run_dir))?;

    let Some(held) = HeldLock::take(&run_dir)? else {
        return Err(ProcessError::AlreadyLaunched { run_dir });
    };
    if was_launched(&run_dir) || run_dir.join(FORBIDDEN).exists() {
        return Err(ProcessError::AlreadyLaunched { run_dir });
    }

    files::write_json(&run_dir.join(LAUNCH), spec)?;
    let errors_path = run_dir.join(SHIM_ERRORS);
    let errors = files::private()
        .open(&errors_path)
        .map_err(failed("create", &errors_path))?;
    // Nothing here may need code to run between fork and exec: std can then use posix_spawn, whose cost does not
    // grow with our memory.
    let mut shim = Command::new(orch_exe);
    shim.arg("shim")
        .arg(&run_dir)
        .env_clear()
        .stdin(held.handed_on(&run_dir)?)
        .stdout(Stdio::null())
        .stderr(errors);
    let shim = deed!("start a shim", shim.spawn()).map_err(|source| ProcessError::Shim {
        exe: orch_exe.to_owned(),
        source,
    })?;
    held.keep();
    // Not collected yet, so the pid is still its own even if it has ended already.
    let identity = identity_of(shim.id().cast_signed())?;
    Ok(LaunchedShim { identity })
}

/// What forbidding a launch found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forbidden {
    /// Nothing was started, and nothing will be.
    Yes,
    /// A shim has been started: look at it.
    Launched,
    /// One is starting at this moment: ask again.
    Starting,
}

/// Makes sure that nothing is started in a run directory any more: a launch may be under way on another thread when its
/// run is taken away.
pub fn forbid(run_dir: &Path) -> Result<Forbidden, ProcessError> {
    if !run_dir.exists() {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(run_dir)
            .map_err(failed("create", run_dir))?;
    }
    let held = HeldLock::take(run_dir)?;
    match (held, was_launched(run_dir)) {
        (Some(_held), false) => {
            let path = run_dir.join(FORBIDDEN);
            files::private().open(&path).map_err(failed("create", &path))?;
            Ok(Forbidden::Yes)
        }
        (Some(_) | None, true) => Ok(Forbidden::Launched),
        (None, false) => Ok(Forbidden::Starting),
    }
}

/// The lock of a run directory, held by this process.
///
/// Given back by name, not by closing: a child that another thread is starting has a copy of every open file until it
/// has become its program, and a lock lasts as long as its last copy.
struct HeldLock {
    file: File,
    kept: bool,
}

impl HeldLock {
    /// None if somebody else holds it.
    fn take(run_dir: &Path) -> Result<Option<Self>, ProcessError> {
        let path = run_dir.join(LOCK);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(failed("open", &path))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Self { file, kept: false })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(source)) => Err(failed("lock", &path)(source)),
        }
    }

    /// What a shim inherits: the same lock, not a second one.
    fn handed_on(&self, run_dir: &Path) -> Result<File, ProcessError> {
        self.file
            .try_clone()
            .map_err(failed("hand on", &run_dir.join(LOCK)))
    }

    /// A shim has it now.
    fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for HeldLock {
    fn drop(&mut self) {
        if !self.kept {
            // Closing follows, and gives it back a moment later where this fails.
            drop(self.file.unlock());
        }
    }
}

/// Nobody holds the lock: no shim lives there, and none is starting.
pub(super) fn is_deserted(run_dir: &Path) -> bool {
    matches!(HeldLock::take(run_dir), Ok(Some(_)))
}

/// No shim lives in a run directory, and none is starting there.
pub fn is_idle(run_dir: &Path) -> bool {
    !run_dir.exists() || is_deserted(run_dir)
}

/// A shim has got as far as starting its program, or as recording that it could not.
pub(super) fn was_launched(run_dir: &Path) -> bool {
    [SHIM, EXIT, BEGUN].iter().any(|file| run_dir.join(file).exists())
}
