//! Disks that are small or read-only for everybody, root included: file systems of their own, where this user may
//! mount some.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

/// A file system in memory; unmounted when dropped. Make it before the service that uses it.
pub struct Mount {
    place: TempDir,
}

/// A case that this machine does not allow: never silently green.
pub fn not_run(case: &str, why: &str) {
    // Past the test harness, which keeps what a green test prints to itself.
    let _ = writeln!(std::io::stderr(), "not run: {case}: {why}");
}

fn mount(args: &[&str], place: &Path) -> bool {
    let done = Command::new("mount").args(args).arg(place).output();
    done.is_ok_and(|o| o.status.success())
}

impl Mount {
    /// One of this size; none where this user may not mount.
    pub fn tmpfs(size: &str) -> Option<Self> {
        let place = tempfile::Builder::new().prefix("orch-mount-").tempdir().unwrap();
        let size = format!("size={size}");
        mount(&["-t", "tmpfs", "-o", &size, "orch-test"], place.path()).then_some(Self { place })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.place.path()
    }

    /// Lets nobody write, or everybody again.
    pub fn read_only(&self, on: bool) {
        let how = if on { "remount,ro" } else { "remount,rw" };
        assert!(mount(&["-o", how], self.path()), "{how}");
    }

    /// Leaves no room.
    pub fn fill(&self) {
        let mut file = fs::File::create(self.path().join("filler")).unwrap();
        while file.write_all(&[0; 4096]).is_ok() {}
    }

    /// Makes room again.
    pub fn empty(&self) {
        fs::remove_file(self.path().join("filler")).unwrap();
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Lazily: whoever still has a file open there must not keep the test's folder.
        let _ = Command::new("umount").arg("-l").arg(self.path()).output();
    }
}
