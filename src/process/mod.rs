//! Runs programs so that their end is known whatever happens to the service: each runs under a shim of its
//! own, a small process that outlives us, enforces the limits, keeps the output and records the exit.
//! Never decides what an exit means, never reads the database, never starts a program any other way.
//!
//! The way of a run: [`launch`] → [`ProcessWatch::wait`] → [`read_exit`]. After a restart of the service
//! [`look`] tells which of these steps is the next. [`check::run`] is all of it in one call, for a project's
//! own commands.

use std::io;
use std::path::PathBuf;

pub mod check;
mod disk;
mod env;
mod exit;
pub mod far;
mod files;
mod follow;
mod identity;
pub mod init;
mod launch;
mod lease;
mod orphans;
pub mod service;
pub mod shim;
mod spec;
mod ssh;
mod stat;
mod stop;
mod sys;
mod tree;
mod watch;

pub use disk::{Disk, disk};
pub use env::{allowed_env, inherited_env};
pub use exit::{exit_remarks, exit_text};
pub use files::{RunState, ShimRecord, look, output_path, output_tail, read_exit, read_shim};
pub use follow::OutputFollower;
pub use identity::{Liveness, identity_of, is_alive, own_identity};
pub use launch::{Forbidden, LaunchedShim, forbid, is_idle, launch};
pub use lease::{Moment, RunLease};
pub use orphans::end_orphans;
pub use spec::LaunchSpec;
pub use ssh::{SshTarget, environment as ssh_environment};
pub use stop::{TreeEnd, kill, kill_tree, stop};
pub use watch::ProcessWatch;

/// What can go wrong around a process, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// A file of the run directory could not be read or written.
    #[error("cannot {doing} {}: {source}; check the disk and the owner of the run directory", path.display())]
    File {
        /// What was tried: "read", "write".
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A file of the run directory does not hold what it must.
    #[error("{} is damaged: {source}; treat the run as lost", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// `/proc` does not tell about a process.
    #[error("cannot read {path}: {source}; orch needs /proc of its own pid namespace")]
    Proc {
        /// The file in `/proc`.
        path: String,
        /// The system's reason.
        source: io::Error,
    },
    /// The shim itself could not be started.
    #[error("cannot start the shim {}: {source}; check that this file is the orch binary", exe.display())]
    Shim {
        /// The binary that was tried.
        exe: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The run directory has seen a launch; a second one must not follow.
    #[error("{} was launched before; look at it, or use a fresh run directory", run_dir.display())]
    AlreadyLaunched {
        /// The run directory.
        run_dir: PathBuf,
    },
    /// The shim ended, and nobody knows how its program did.
    #[error("no exit was recorded in {}; treat the run as lost", run_dir.display())]
    NoExit {
        /// The run directory.
        run_dir: PathBuf,
    },
    /// The system refused a signal.
    #[error("cannot signal process {pid}: {source}; it belongs to another user")]
    Signal {
        /// Its pid.
        pid: i32,
        /// The system's reason.
        source: io::Error,
    },
    /// A node does not answer: what ran there may go on.
    #[error(
        "worker offline: {host} does not answer by ssh ({why}): check the network, its key and the login's key"
    )]
    Offline {
        /// What ssh was given.
        host: String,
        /// ssh's reason.
        why: String,
    },
    /// A node answered, and could not do what was asked of it.
    #[error("node {node}: {what} ended with exit code {code}: {why}")]
    Far {
        /// Its name.
        node: String,
        /// What was asked.
        what: &'static str,
        /// How the script ended.
        code: i32,
        /// Its last complaint.
        why: String,
    },
    /// Processes survived a KILL: they hang in the kernel, mostly on a dead network disk.
    #[error("processes {pids:?} do not die; look at their state (D?) and do not start a successor")]
    Unkillable {
        /// What is left.
        pids: Vec<i32>,
    },
}
