//! Run leases: a file of the service, renewed each time that the database has heard it. The shims of its runs look at it
//! and end their trees when it was not renewed for too long, because others may take those runs then.
//! Never reads the wall clock: what counts is the time since boot, which nobody sets and which goes on in sleep.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::identity::boot_id;
use super::{ProcessError, files, sys};

/// The lease that a run stands under.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunLease {
    /// The file that is renewed.
    pub file: PathBuf,
    /// For how long it holds after each renewal.
    pub ttl: Duration,
}

/// A moment of this machine: comparable among its processes until it is started anew.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    boot_id: String,
    /// `CLOCK_BOOTTIME`.
    since_boot: Duration,
}

impl Moment {
    /// Now.
    ///
    /// # Errors
    /// Without `/proc`.
    pub fn now() -> Result<Self, ProcessError> {
        Ok(Self {
            boot_id: boot_id()?.to_owned(),
            since_boot: sys::time_since_boot(),
        })
    }

    /// How much of `ttl` is left since then; nothing when it was of another boot.
    pub fn left_of(&self, ttl: Duration) -> Duration {
        match boot_id() {
            Ok(boot) if boot == self.boot_id => {
                let passed = sys::time_since_boot().saturating_sub(self.since_boot);
                ttl.saturating_sub(passed)
            }
            Ok(_) | Err(_) => Duration::ZERO,
        }
    }
}

impl RunLease {
    /// Says that the service was heard at `heard`. The moment is that *before* the database was asked: it may not have
    /// answered for long.
    ///
    /// # Errors
    /// The disk's.
    pub fn renew(file: &Path, heard: &Moment) -> Result<(), ProcessError> {
        files::write_json(file, heard)
    }

    /// How long it still holds; zero when it has expired, or cannot be read.
    pub fn left(&self) -> Duration {
        match files::read_json::<Moment>(&self.file) {
            Ok(Some(heard)) => heard.left_of(self.ttl),
            Ok(None) | Err(_) => Duration::ZERO,
        }
    }
}
