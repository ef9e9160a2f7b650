//! The processes that a test started, found by the folder in which they work.

use std::fs;
use std::path::Path;

/// Living processes whose working directory, program or arguments lie below `folder`.
pub fn processes_below(folder: &Path) -> Vec<i32> {
    let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    let name = folder.to_string_lossy().into_owned();
    let me = i32::try_from(std::process::id()).unwrap();
    let pids = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| {
        let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
        let works_there = fs::read_link(entry.path().join("cwd")).is_ok_and(|cwd| cwd.starts_with(&folder));
        let told_of_it = || {
            fs::read(entry.path().join("cmdline")).is_ok_and(|c| String::from_utf8_lossy(&c).contains(&name))
        };
        (pid != me && (works_there || told_of_it())).then_some(pid)
    });
    pids.filter(|&pid| lives(pid)).collect()
}

/// True for a process that is there and is no zombie.
pub fn lives(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // Field 3 stands behind the name, which may hold anything.
    stat.rsplit_once(") ")
        .is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

/// The children of a process, zombies too, whichever of its threads started them.
pub fn children_of(pid: i32) -> Vec<i32> {
    let threads = fs::read_dir(format!("/proc/{pid}/task"))
        .into_iter()
        .flatten()
        .flatten();
    let lists = threads.map(|thread| fs::read_to_string(thread.path().join("children")).unwrap_or_default());
    let children = lists.flat_map(|list| {
        list.split_whitespace()
            .map(|pid| pid.parse().unwrap())
            .collect::<Vec<_>>()
    });
    children.collect()
}

/// Whether a process is the shim of a run or of a check.
pub fn is_shim(pid: i32) -> bool {
    let args = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    args.split(|b| *b == 0).nth(1) == Some(b"shim")
}

/// Kills what is left below a folder of ours.
pub(super) fn kill_all_below(folder: &Path) {
    for _ in 0..50 {
        let left = processes_below(folder);
        if left.is_empty() {
            return;
        }
        for pid in left {
            // SAFETY: kill has no memory effects; the process works in a temporary folder that only we use.
            unsafe { libc::kill(pid, libc::SIGKILL) };
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}
