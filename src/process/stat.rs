//! Reads `/proc/<pid>/stat` (see `proc_pid_stat(5)`). Never interprets beyond the fields.

use std::fs;
use std::io;

/// The fields of one process that we use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// Process id.
    pub pid: i32,
    /// Field 3.
    pub state: u8,
    /// Field 4.
    pub parent: i32,
    /// Field 5.
    pub group: i32,
    /// Field 22, clock ticks since boot.
    pub start_time: u64,
}

impl Stat {
    /// Reads one process.
    pub fn read(pid: i32) -> io::Result<Self> {
        let text = fs::read(path(pid))?;
        Self::parse(pid, &String::from_utf8_lossy(&text))
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "unknown format"))
    }

    /// The name in field 2 may hold anything, parentheses and spaces too: fields begin after the last one.
    fn parse(pid: i32, text: &str) -> Option<Self> {
        let mut fields = text.rsplit_once(')')?.1.split_ascii_whitespace();
        Some(Self {
            pid,
            state: *fields.next()?.as_bytes().first()?,
            parent: fields.next()?.parse().ok()?,
            group: fields.next()?.parse().ok()?,
            start_time: fields.nth(16)?.parse().ok()?,
        })
    }

    /// Ended, whether collected or not.
    pub fn is_dead(&self) -> bool {
        matches!(self.state, b'Z' | b'X' | b'x')
    }
}

/// Where a process is described.
pub fn path(pid: i32) -> String {
    format!("/proc/{pid}/stat")
}

/// All processes that can be seen now. Some may end, and new ones begin, while this reads.
pub fn all() -> io::Result<Vec<Stat>> {
    let pids = fs::read_dir("/proc")?
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    Ok(pids.filter_map(|pid| Stat::read(pid).ok()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_name_that_imitates_fields_does_not_shift_them() {
        // Behind the name, each field holds its own number.
        let fields: Vec<String> = (4..=52).map(|n| n.to_string()).collect();
        let text = format!("7 (a) S 1 2 (x) R {}\n", fields.join(" "));
        let expected = Stat {
            pid: 7,
            state: b'R',
            parent: 4,
            group: 5,
            start_time: 22,
        };
        assert_eq!(Stat::parse(7, &text), Some(expected));
    }
}
