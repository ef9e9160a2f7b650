//! Says which process is meant, and whether it lives. Never trusts a bare pid: pids are reused.

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::sync::OnceLock;

use super::ProcessError;
use super::stat::{self, Stat};
use super::sys;
use crate::domain::run::ProcessIdentity;

/// Whether a process lives, as far as can be seen from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Liveness {
    /// That very process lives.
    Alive,
    /// It has ended, or its pid belongs to another one now.
    Gone,
    /// It was of another boot or another pid namespace: nothing here can be said about its pid.
    Elsewhere,
}

/// What all processes that we can see share.
struct Here {
    boot_id: String,
    pid_namespace: u64,
}

fn here() -> Result<&'static Here, ProcessError> {
    static HERE: OnceLock<Here> = OnceLock::new();
    if let Some(here) = HERE.get() {
        return Ok(here);
    }
    let failed = |path: &str| {
        let path = path.to_owned();
        move |source| ProcessError::Proc { path, source }
    };
    let boot = "/proc/sys/kernel/random/boot_id";
    let namespace = "/proc/self/ns/pid";
    let found = Here {
        boot_id: fs::read_to_string(boot).map_err(failed(boot))?.trim().to_owned(),
        pid_namespace: namespace_of(
            fs::metadata(namespace).map_err(failed(namespace))?.ino(),
            Stat::read(1).map_or(0, |first| first.start_time),
        ),
    };
    Ok(HERE.get_or_init(|| found))
}

/// Which boot of this machine it is.
pub(super) fn boot_id() -> Result<&'static str, ProcessError> {
    here().map(|h| h.boot_id.as_str())
}

/// A namespace that ended leaves its inode to the next one, mostly that of the same container when it starts again. So
/// the start of its first process goes with it. Where that is hidden (`hidepid`), the inode has to do.
fn namespace_of(inode: u64, first_started: u64) -> u64 {
    (inode << 32) | (first_started & u64::from(u32::MAX))
}

/// The identity of a process that is known to be the meant one now: our child, or ourselves.
pub fn identity_of(pid: i32) -> Result<ProcessIdentity, ProcessError> {
    let here = here()?;
    let stat = Stat::read(pid).map_err(|source| ProcessError::Proc {
        path: stat::path(pid),
        source,
    })?;
    Ok(ProcessIdentity {
        boot_id: here.boot_id.clone(),
        pid_namespace: here.pid_namespace,
        pid,
        start_time: stat.start_time,
    })
}

/// The identity of this process.
pub fn own_identity() -> Result<ProcessIdentity, ProcessError> {
    identity_of(std::process::id().cast_signed())
}

/// Whether that very process lives. A zombie does not; if it is our child, it is collected on the way.
/// Where the system refuses to answer, a process counts as alive: nobody may be reaped on a doubt.
pub fn is_alive(identity: &ProcessIdentity) -> Liveness {
    match Held::take(identity) {
        Held::Live(_) => Liveness::Alive,
        Held::Gone => Liveness::Gone,
        Held::Elsewhere => Liveness::Elsewhere,
    }
}

/// A process that was compared with its identity while a descriptor kept its pid from being confused.
pub(super) enum Held {
    /// It lives. No descriptor on kernels without pidfd.
    Live(Option<OwnedFd>),
    /// It does not live any more.
    Gone,
    /// It cannot be judged from here.
    Elsewhere,
}

impl Held {
    /// Opens first, compares then: in the other order the pid could change hands in between.
    pub(super) fn take(identity: &ProcessIdentity) -> Self {
        match here() {
            Ok(h) if h.boot_id == identity.boot_id && h.pid_namespace == identity.pid_namespace => {}
            Ok(_) | Err(_) => return Self::Elsewhere,
        }
        let held = match sys::pidfd_open(identity.pid) {
            Ok(fd) => Some(fd),
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => return Self::Gone,
            Err(_) => None,
        };
        match Stat::read(identity.pid) {
            Ok(stat) if stat.start_time != identity.start_time => Self::Gone,
            Ok(stat) if stat.is_dead() => {
                match &held {
                    Some(fd) => sys::reap_held(fd.as_fd()),
                    None => sys::reap_zombie(identity.pid),
                }
                Self::Gone
            }
            Ok(_) => Self::Live(held),
            Err(error) if is_absent(&error) => Self::Gone,
            Err(_) => Self::Live(held),
        }
    }
}

fn is_absent(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ESRCH)
}

#[cfg(test)]
#[expect(clippy::expect_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_alive_and_a_reused_pid_is_not() {
        let me = own_identity().expect("readable");
        assert_eq!(is_alive(&me), Liveness::Alive);

        let predecessor = ProcessIdentity {
            start_time: me.start_time - 1,
            ..me.clone()
        };
        assert_eq!(is_alive(&predecessor), Liveness::Gone);
    }

    #[test]
    fn a_namespace_with_the_number_of_one_that_has_ended_is_another_one() {
        let inode = 4_026_532_178;
        assert_ne!(namespace_of(inode, 119_466), namespace_of(inode, 119_470));
        assert_ne!(namespace_of(inode, 119_466), namespace_of(inode + 1, 119_466));
    }

    #[test]
    fn a_process_of_another_boot_or_namespace_is_not_judged_by_its_pid() {
        let me = own_identity().expect("readable");
        let other_boot = ProcessIdentity {
            boot_id: "another".into(),
            ..me.clone()
        };
        let other_namespace = ProcessIdentity {
            pid_namespace: me.pid_namespace + 1,
            ..me
        };
        assert_eq!(is_alive(&other_boot), Liveness::Elsewhere);
        assert_eq!(is_alive(&other_namespace), Liveness::Elsewhere);
    }
}
