//! Starts the program of a run. Never waits for it: the shim collects all its children in one place.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::process::LaunchSpec;
use crate::process::orphans::MARK;
use crate::process::sys;

/// Names and reasons longer than this would outgrow the space reserved for the record.
const WHY_CHARS: usize = 300;

/// A program that runs.
pub struct Agent {
    /// Its pid, which is also its process group.
    pub pid: i32,
    /// Its standard output and standard error; reads return at once.
    pub outputs: [File; 2],
}

/// Why there is none.
#[derive(Debug, PartialEq, Eq)]
pub struct NotStarted {
    /// As a shell would say it: 127 when the program does not exist, 126 otherwise.
    pub code: i32,
    /// The system's reason, and what it is about.
    pub why: String,
}

impl NotStarted {
    /// For reasons other than a missing program.
    pub fn refused(why: impl AsRef<str>) -> Self {
        Self {
            code: 126,
            why: why.as_ref().chars().take(WHY_CHARS).collect(),
        }
    }

    fn from_system(error: &io::Error, about: &str) -> Self {
        let text = error.to_string();
        let reason = text
            .split_once(" (os error")
            .map_or(text.as_str(), |(reason, _)| reason);
        Self::refused(format!("{reason}: {about}"))
    }
}

impl Agent {
    /// Starts it in a process group of its own, to die with the shim.
    pub fn start(spec: &LaunchSpec, run_dir: &Path) -> Result<Self, NotStarted> {
        // Asked first, because the system gives the same answer as for a missing program.
        if !spec.cwd.is_dir() {
            return Err(NotStarted::refused(format!(
                "not a directory: {}",
                spec.cwd.display()
            )));
        }
        let stdin = match &spec.stdin {
            None => Stdio::null(),
            Some(path) => open(path)?.into(),
        };
        let mut command = Command::new(&spec.program);
        command
            .args(&spec.args)
            .env_clear()
            .envs(spec.env.iter().map(|(name, value)| (name, value)))
            .env(MARK, run_dir)
            .current_dir(&spec.cwd)
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        sys::tie_to_this_process(&mut command);

        let child = command.spawn().map_err(|error| {
            let not_started = NotStarted::from_system(&error, &spec.program);
            match error.kind() {
                io::ErrorKind::NotFound => NotStarted {
                    code: 127,
                    ..not_started
                },
                _ => not_started,
            }
        })?;
        let pid = child.id().cast_signed();
        let pipes = [child.stdout.map(OwnedFd::from), child.stderr.map(OwnedFd::from)];
        let [Some(stdout), Some(stderr)] = pipes else {
            return Err(NotStarted::refused("no pipes were made for its output"));
        };
        let outputs = [File::from(stdout), File::from(stderr)];
        for output in &outputs {
            sys::set_nonblocking(output.as_fd()).map_err(|e| NotStarted::from_system(&e, "its output"))?;
        }
        Ok(Self { pid, outputs })
    }
}

fn open(path: &Path) -> Result<File, NotStarted> {
    File::open(path).map_err(|error| NotStarted::from_system(&error, &path.display().to_string()))
}
