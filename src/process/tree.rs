//! Finds and signals what descends from a process. Never signals a stranger: each is compared while held.
//!
//! A walk of `/proc` is a snapshot of something that moves: who was missed is found by the next walk, so callers
//! repeat until nothing is left.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::os::fd::AsFd;

use libc::c_int;

use super::stat::{self, Stat};
use super::sys;

/// All living descendants of a process, itself excluded.
pub(super) fn descendants(root: i32) -> io::Result<Vec<Stat>> {
    let mut children: HashMap<i32, Vec<Stat>> = HashMap::new();
    for process in stat::all()? {
        children.entry(process.parent).or_default().push(process);
    }
    let mut found = Vec::new();
    let mut parents = vec![root];
    while let Some(parent) = parents.pop() {
        for child in children.remove(&parent).unwrap_or_default() {
            parents.push(child.pid);
            if !child.is_dead() {
                found.push(child);
            }
        }
    }
    Ok(found)
}

/// Asks each to end. Stopped ones are continued, or they could not hear it.
pub(super) fn terminate(members: &[Stat]) {
    for member in members {
        signal(member, libc::SIGTERM);
        signal(member, libc::SIGCONT);
    }
}

/// Ends each at once, and their process groups: a chain of processes that only fork and exit is faster than any
/// walk, but cannot outrun a signal to its group. Groups below a shim hold nothing but its descendants, because
/// the shim began a session.
pub(super) fn kill(root: i32, members: &[Stat]) {
    let groups: BTreeSet<i32> = members.iter().map(|m| m.group).collect();
    for group in groups.into_iter().filter(|&g| g > 1 && g != root) {
        // Whoever it does not reach is gone, or is signalled by itself below.
        sys::signal_pid(-group, libc::SIGKILL).ok();
    }
    for member in members {
        signal(member, libc::SIGKILL);
    }
}

/// Failures mean that the process ended meanwhile; who could not be signalled is found by the next walk.
fn signal(member: &Stat, signal: c_int) {
    let held = sys::pidfd_open(member.pid);
    let same = Stat::read(member.pid).is_ok_and(|now| now.start_time == member.start_time);
    match held {
        Ok(fd) if same => sys::signal_held(fd.as_fd(), signal).ok(),
        Err(error) if same && error.raw_os_error() != Some(libc::ESRCH) => {
            sys::signal_pid(member.pid, signal).ok()
        }
        Ok(_) | Err(_) => None,
    };
}
