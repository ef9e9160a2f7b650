//! How full the file system of a folder is. Never judges it.

use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::sys;

/// A file system as it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disk {
    /// Tells file systems apart.
    pub device: u64,
    /// What is used of what this user may use, in thousandths, rounded up, as `df` counts.
    pub used_permille: u32,
}

/// The file system that holds a folder, or will hold it once it is made. One system call.
///
/// # Errors
/// When the folder cannot be looked at.
pub fn disk(folder: &Path) -> io::Result<Disk> {
    let there = folder.ancestors().find(|p| p.exists()).unwrap_or(folder);
    let device = there.metadata()?.dev();
    let path = CString::new(there.as_os_str().as_bytes())?;
    let blocks = sys::blocks(&path)?;
    Ok(Disk {
        device,
        used_permille: permille(blocks.used, blocks.free),
    })
}

fn permille(used: u64, free: u64) -> u32 {
    let all = u128::from(used) + u128::from(free);
    // A file system of no size at all (some of the kernel's own) is never full.
    let share = (u128::from(used) * 1000).checked_div(all).unwrap_or(0);
    let rest = u128::from(all > 0 && share * all < u128::from(used) * 1000);
    u32::try_from(share + rest).unwrap_or(1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_is_counted_of_what_may_be_used_and_rounded_up() {
        let table = [
            ((0, 0), 0),
            ((0, 100), 0),
            ((50, 50), 500),
            ((100, 0), 1000),
            ((1, 10_000_000), 1),
            ((u64::MAX, 0), 1000),
            ((u64::MAX, u64::MAX), 500),
        ];
        for ((used, free), expected) in table {
            assert_eq!(permille(used, free), expected, "{used} used, {free} free");
        }
    }

    #[test]
    fn a_folder_that_is_not_there_yet_has_the_disk_of_the_one_above() {
        let above = std::env::temp_dir();
        let below = above.join("not/there/yet");
        let device = |path: &Path| disk(path).map(|d| d.device).ok();
        assert!(device(&above).is_some());
        assert_eq!(device(&below), device(&above));
    }
}
