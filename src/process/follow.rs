//! Follows the log of a run while it is written, through all its parts (see `shim::log`). Never waits, and never reads
//! anything twice; what was overwritten before anybody looked is passed over.

use std::cmp::Reverse;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use super::files::{OUTPUT, SEGMENTS};

/// Bytes by which a segment is known again: two segments do not begin alike, they begin with lines of other times.
const KNOWN_BY: u64 = 256;
const READ_BYTES: usize = 64 * 1024;

/// A log that is followed.
#[derive(Debug)]
pub struct OutputFollower {
    head: Part,
    segments: [Part; 2],
    /// The segment that was written last; none while the head is.
    newest: Option<usize>,
}

impl OutputFollower {
    /// Follows the log of a run directory from its beginning.
    pub fn new(run_dir: &Path) -> Self {
        let part = |name| Part {
            path: run_dir.join(name),
            at: 0,
            begins: Vec::new(),
        };
        Self {
            head: part(OUTPUT),
            segments: SEGMENTS.map(part),
            newest: None,
        }
    }

    /// Gives what was printed since the last look, in its order. What cannot be read (full disk) is as if it was not there.
    pub fn read(&mut self, mut take: impl FnMut(&[u8])) {
        let newest = match self.newest {
            Some(newest) => newest,
            None => {
                let begun = self.segments[0].path.exists();
                self.head.read_on(&mut take);
                // Joined to the head at the end of the run, segments would be read twice.
                if !begun {
                    return;
                }
                self.older()
            }
        };
        let other = 1 - newest;
        // Both were begun anew: what stood in between is gone.
        if self.segments[newest].is_anew() {
            take(b"\n");
            self.segments.iter_mut().for_each(Part::forget);
            let older = self.older();
            for turn in [older, 1 - older] {
                self.segments[turn].read_on(&mut take);
            }
            self.newest = Some(1 - older);
            return;
        }
        self.segments[newest].read_on(&mut take);
        if self.segments[other].is_anew() {
            self.segments[other].forget();
        }
        let turned = self.segments[other].read_on(&mut take) > 0;
        self.newest = Some(if turned { other } else { newest });
    }

    /// The segment that was written before the other; it is full, where they were written at once.
    fn older(&self) -> usize {
        let written = |n: usize| {
            let about = std::fs::metadata(&self.segments[n].path)?;
            Ok::<_, io::Error>((about.modified()?, Reverse(about.len())))
        };
        match (written(0), written(1)) {
            (Ok(first), Ok(second)) => usize::from(second < first),
            (_, _) => 0,
        }
    }
}

/// A file of the log.
#[derive(Debug)]
struct Part {
    path: PathBuf,
    /// Up to where it was read.
    at: u64,
    /// Its first bytes.
    begins: Vec<u8>,
}

impl Part {
    /// Whether it holds something else than when it was read.
    fn is_anew(&self) -> bool {
        let look = || -> io::Result<bool> {
            let file = File::open(&self.path)?;
            let shorter = file.metadata()?.len() < self.at;
            let mut begins = Vec::new();
            file.take(self.begins.len() as u64).read_to_end(&mut begins)?;
            Ok(shorter || begins != self.begins)
        };
        look().unwrap_or(false)
    }

    fn forget(&mut self) {
        self.at = 0;
        self.begins.clear();
    }

    /// Reads on to its end; how much that was.
    fn read_on(&mut self, take: &mut impl FnMut(&[u8])) -> u64 {
        let from = self.at;
        // What was read before something failed is read.
        drop(self.read_to_end(take));
        self.at - from
    }

    fn read_to_end(&mut self, take: &mut impl FnMut(&[u8])) -> io::Result<()> {
        let mut file = File::open(&self.path)?;
        file.seek(SeekFrom::Start(self.at))?;
        let mut buffer = vec![0; READ_BYTES];
        loop {
            let read = match file.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(read) => read,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(e),
            };
            if let Some(missing) = KNOWN_BY
                .checked_sub(self.at)
                .filter(|_| self.begins.len() as u64 == self.at)
            {
                let known = usize::try_from(missing).unwrap_or(0).min(read);
                self.begins.extend_from_slice(&buffer[..known]);
            }
            self.at += read as u64;
            take(&buffer[..read]);
        }
    }
}

#[cfg(test)]
#[expect(clippy::expect_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use crate::process::shim::log::{CappedLog, Lines};

    const CAP: u64 = 8192;

    /// A log of numbered lines, looked at after each so many of them; the numbers that were seen.
    fn seen(lines: usize, every: usize) -> Vec<usize> {
        let dir = tempfile::tempdir().expect("a directory");
        let mut log = CappedLog::create(dir.path(), CAP);
        let mut stream = Lines::default();
        let mut follower = OutputFollower::new(dir.path());
        let mut bytes = Vec::new();
        for n in 1..=lines {
            stream.push(0, format!("line {n}\n").as_bytes(), &mut log);
            if n % every == 0 {
                follower.read(|chunk| bytes.extend_from_slice(chunk));
            }
        }
        follower.read(|chunk| bytes.extend_from_slice(chunk));
        // Joined to the head, nothing is new.
        log.finish();
        follower.read(|chunk| bytes.extend_from_slice(chunk));
        let text = String::from_utf8(bytes).expect("UTF-8");
        let number = |line: &str| line.strip_prefix("line ").and_then(|n| n.parse().ok());
        let whole = text.lines().filter(|line| !line.is_empty());
        whole.map(|line| number(line).expect("a whole line")).collect()
    }

    #[test]
    fn every_line_is_read_once_however_often_the_parts_of_a_log_take_turns() {
        for every in [1, 7, 50] {
            let all: Vec<usize> = (1..=5_000).collect();
            assert!(seen(5_000, every) == all, "every {every} lines");
        }
        let short: Vec<usize> = (1..=100).collect();
        assert!(seen(100, 100) == short, "below the cap");
    }

    #[test]
    fn what_was_overwritten_is_passed_over_and_the_rest_comes_in_its_order() {
        for every in [400, 700, 1_000, 1_250] {
            let seen = seen(5_000, every);
            assert!(
                seen.is_sorted_by(|a, b| a < b),
                "every {every} lines: out of order, or twice"
            );
            assert_eq!(seen.last(), Some(&5_000), "every {every} lines");
        }
    }
}
