//! Keeps what an agent prints, up to a cap: the beginning and the end, which is where totals are. Never blocks or
//! fails the agent: what cannot be written is dropped and counted.
//!
//! `output.log` takes the first half of the cap. After that two segments of a quarter each take turns, so the last
//! quarter at least is always there. [`CappedLog::finish`] joins them behind a line that says what is missing.

use std::io;
use std::mem;
use std::path::Path;

use super::part::Part;
use crate::process::files::{OUTPUT, SEGMENTS};

const SMALLEST_CAP: u64 = 4096;
/// A line longer than this is written in pieces.
const LONGEST_LINE: usize = 1 << 20;

/// Which pipe something came through.
pub type StreamNumber = usize;

/// What became of the output.
#[derive(Debug, PartialEq, Eq)]
pub struct Kept {
    /// Bytes that the agent printed.
    pub received: u64,
    /// Of these, not in the log.
    pub dropped: u64,
    /// Why the log could not be written, if so.
    pub error: Option<String>,
}

/// The log of one run while it is written.
pub struct CappedLog {
    head: Part,
    /// The segment being written, and the one before it.
    tail: Option<(Part, Part)>,
    segment_cap: u64,
    received: u64,
    error: Option<String>,
    last_stream: StreamNumber,
}

impl CappedLog {
    /// Begins a log in a run directory. Fails at nothing: see [`Kept::error`].
    pub fn create(run_dir: &Path, cap: u64) -> Self {
        let cap = cap.max(SMALLEST_CAP);
        let mut log = Self {
            head: Part::new(run_dir.join(OUTPUT), cap / 2),
            tail: None,
            segment_cap: cap / 4,
            received: 0,
            error: None,
            last_stream: 0,
        };
        // An agent that prints nothing leaves an empty log, not none.
        let created = log.head.create();
        log.note(created);
        log
    }

    /// Writes whole lines where possible. `bytes` should end with a line's end, or be part of a very long line.
    pub fn put(&mut self, stream: StreamNumber, mut bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        self.received += bytes.len() as u64;
        if mem::replace(&mut self.last_stream, stream) != stream {
            let separated = self.current().end_line();
            self.note(separated);
        }
        while !bytes.is_empty() {
            let part = self.current();
            let fits = part.fitting(bytes);
            if fits == 0 {
                self.begin_segment();
                continue;
            }
            let (now, later) = bytes.split_at(fits);
            let written = part.put(now);
            self.note(written);
            bytes = later;
        }
    }

    /// Joins the parts. Segments that cannot be joined are left beside the log.
    pub fn finish(mut self) -> Kept {
        let tail = self.tail.take();
        let kept_later = tail.as_ref().map_or(0, |(newer, older)| older.len + newer.len);
        let missing = self.received - self.head.len - kept_later;
        let before_notice = self.head.len;
        if missing > 0 {
            let notice = format!("[orch] {missing} bytes not kept\n");
            let noticed = self
                .head
                .end_line()
                .and_then(|()| self.head.put(notice.as_bytes()));
            self.note(noticed);
        }
        let notice_len = self.head.len - before_notice;
        if let Some((newer, older)) = tail {
            for segment in [older, newer] {
                let joined = self.head.append(segment);
                self.note(joined);
            }
        }
        Kept {
            received: self.received,
            dropped: (self.received + notice_len).saturating_sub(self.head.len),
            error: self.error,
        }
    }

    fn current(&mut self) -> &mut Part {
        match &mut self.tail {
            Some((newer, _)) => newer,
            None => &mut self.head,
        }
    }

    /// Forgets the older segment and goes on in its place.
    fn begin_segment(&mut self) {
        let (newer, older) = match self.tail.take() {
            Some((newer, older)) => (Part::new(older.path, self.segment_cap), newer),
            None => {
                let segment = |name| Part::new(self.head.path.with_file_name(name), self.segment_cap);
                (segment(SEGMENTS[0]), segment(SEGMENTS[1]))
            }
        };
        self.tail = Some((newer, older));
    }

    fn note(&mut self, result: io::Result<()>) {
        if let Err(error) = result {
            let text = error.to_string();
            let reason = text
                .split_once(" (os error")
                .map_or(text.as_str(), |(reason, _)| reason);
            self.error.get_or_insert_with(|| reason.to_owned());
        }
    }
}

/// Collects what comes through one pipe into whole lines, so that two pipes do not tear each other's.
#[derive(Default)]
pub struct Lines {
    begun: Vec<u8>,
}

impl Lines {
    /// Takes what was read and passes on the lines that are whole.
    pub fn push(&mut self, stream: StreamNumber, bytes: &[u8], log: &mut CappedLog) {
        let whole = bytes
            .iter()
            .rposition(|&b| b == b'\n')
            .map_or(0, |newline| newline + 1);
        let (lines, begun) = bytes.split_at(whole);
        if self.begun.is_empty() {
            log.put(stream, lines);
        } else if !lines.is_empty() {
            self.begun.extend_from_slice(lines);
            self.flush(stream, log);
        }
        self.begun.extend_from_slice(begun);
        if self.begun.len() >= LONGEST_LINE {
            self.flush(stream, log);
        }
    }

    /// Passes on what is there, whole or not.
    pub fn flush(&mut self, stream: StreamNumber, log: &mut CappedLog) {
        log.put(stream, &self.begun);
        self.begun = Vec::new();
    }
}

#[cfg(test)]
#[expect(clippy::expect_used, reason = "a test fails by panicking")]
mod tests {
    use std::fs;

    use super::*;

    /// Feeds lines through a log with a cap, and returns it with what was said of it.
    fn kept(cap: u64, lines: impl Iterator<Item = String>) -> (String, Kept) {
        let dir = tempfile::tempdir().expect("a directory");
        let mut log = CappedLog::create(dir.path(), cap);
        let mut stream = Lines::default();
        for line in lines {
            stream.push(0, line.as_bytes(), &mut log);
        }
        stream.flush(0, &mut log);
        let kept = log.finish();
        let files = fs::read_dir(dir.path()).expect("readable").count();
        assert_eq!(files, 1, "segments were left behind");
        (fs::read_to_string(dir.path().join(OUTPUT)).expect("a log"), kept)
    }

    #[test]
    fn output_below_the_cap_is_kept_as_it_came() {
        let (text, kept) = kept(8192, (0..7).map(|i| format!("{i}{}\n", "x".repeat(1000))));
        assert_eq!(text.lines().count(), 7);
        assert!(!text.contains("[orch]"));
        assert_eq!((kept.received, kept.dropped), (7 * 1002, 0));
    }

    #[test]
    fn beginning_and_end_survive_a_flood_in_whole_lines_and_every_byte_is_accounted_for() {
        let (text, kept) = kept(8192, (0..10_000).map(|i| format!("line {i}\n")));
        let lines: Vec<_> = text.lines().collect();
        let notice = format!("[orch] {} bytes not kept", kept.dropped);
        assert_eq!((lines[0], lines[lines.len() - 1]), ("line 0", "line 9999"));
        assert_eq!(lines.iter().filter(|l| **l == notice).count(), 1);
        let others = lines.iter().filter(|l| **l != notice);
        assert!(others.clone().all(|l| l.starts_with("line ")), "a line was torn");
        let bytes: usize = others.map(|l| l.len() + 1).sum();
        assert_eq!(kept.received, bytes as u64 + kept.dropped);
        assert!(text.len() > 8192 * 5 / 8 && text.len() < 8192 + 100);
    }

    #[test]
    fn one_endless_line_is_cut_not_collected() {
        let (text, kept) = kept(8192, (0..100).map(|_| "x".repeat(50_000)));
        assert!(text.len() < 8192 + 100);
        assert_eq!(kept.received, 5_000_000);
        assert!(text.contains("\n[orch] "));
    }

    #[test]
    fn two_streams_do_not_tear_each_others_lines() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut log = CappedLog::create(dir.path(), 8192);
        let mut streams = [Lines::default(), Lines::default()];
        for (n, bytes) in [
            (0, "out "),
            (1, "err "),
            (0, "one\nout"),
            (1, "one\n"),
            (0, " two"),
        ] {
            streams[n].push(n, bytes.as_bytes(), &mut log);
        }
        streams[0].flush(0, &mut log);
        streams[1].push(1, b"err two\n", &mut log);
        log.finish();
        let text = fs::read_to_string(dir.path().join(OUTPUT)).expect("a log");
        assert_eq!(text, "out one\nerr one\nout two\nerr two\n");
    }
}
