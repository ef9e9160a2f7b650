//! How an exit is recorded so that it survives a crash and a full disk, and how it is told to people.
//! Never judges it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::files::{EXIT, private};
use crate::domain::run::{ExitRecord, StopCause};

const DRAFT: &str = "exit.tmp";
const RESERVED_BYTES: usize = 4096;

/// Takes the disk space of the record while there is some, so that a disk filled later cannot prevent it.
pub(super) fn reserve(run_dir: &Path) -> io::Result<()> {
    let mut draft = private().open(run_dir.join(DRAFT))?;
    draft.write_all(&[b' '; RESERVED_BYTES])?;
    draft.sync_all()
}

/// Records the exit: whole and on disk, or not at all. May be repeated until it succeeds.
pub(super) fn record(run_dir: &Path, exit: &ExitRecord) -> io::Result<()> {
    let draft = run_dir.join(DRAFT);
    let text = serde_json::to_vec(exit)?;
    // Not truncated: the reserved block is to be used.
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&draft)?;
    file.write_all(&text)?;
    file.set_len(text.len() as u64)?;
    file.sync_all()?;
    fs::rename(&draft, run_dir.join(EXIT))?;
    File::open(run_dir)?.sync_all()
}

/// One line for people and for repair patterns: `exit code 143 SIGTERM (timeout after 1800s)`.
/// A signal counts as 128 and its number, as in a shell; a program that reports a signal so is named alike.
pub fn exit_text(exit: &ExitRecord) -> String {
    let code = exit.code.or(exit.signal.map(|signal| 128 + signal));
    let mut text = match code {
        Some(code) => format!("exit code {code}"),
        None => "no exit code".to_owned(),
    };
    if let Some(name) = code.and_then(|code| signal_name(code - 128)) {
        text.push(' ');
        text.push_str(name);
    }
    if let Some(cause) = &exit.cause {
        text.push_str(&format!(" ({})", cause_text(cause)));
    }
    text
}

/// What a reader of the run should know beside its exit, one line each.
pub fn exit_remarks(exit: &ExitRecord) -> Vec<String> {
    let (printed, dropped) = (exit.output_bytes, exit.dropped_bytes);
    let log = match &exit.log_error {
        Some(why) => Some(format!(
            "{dropped} of {printed} bytes of its output could not be written: {why}; look at the disk of data_dir"
        )),
        None if dropped > 0 => Some(format!(
            "{dropped} of {printed} bytes of its output were left out in the middle (agent.log_cap_mib)"
        )),
        None => None,
    };
    let left = match exit.leftover_processes {
        0 => None,
        1 => Some("1 process that it left behind was ended".to_owned()),
        n => Some(format!("{n} processes that it left behind were ended")),
    };
    log.into_iter().chain(left).collect()
}

fn cause_text(cause: &StopCause) -> String {
    match cause {
        StopCause::Timeout { after_s } => format!("timeout after {after_s}s"),
        StopCause::Stall { after_s } => format!("stall: no output for {after_s}s"),
        StopCause::Startup { after_s } => format!("startup: no output within {after_s}s"),
        StopCause::Stopped => "stopped".to_owned(),
        StopCause::LeaseExpired { after_s } => {
            format!("its service was not heard by the database for {after_s}s")
        }
        StopCause::NotStarted { why } => why.clone(),
    }
}

fn signal_name(number: i32) -> Option<&'static str> {
    Some(match number {
        libc::SIGHUP => "SIGHUP",
        libc::SIGINT => "SIGINT",
        libc::SIGQUIT => "SIGQUIT",
        libc::SIGILL => "SIGILL",
        libc::SIGTRAP => "SIGTRAP",
        libc::SIGABRT => "SIGABRT",
        libc::SIGBUS => "SIGBUS",
        libc::SIGFPE => "SIGFPE",
        libc::SIGKILL => "SIGKILL",
        libc::SIGUSR1 => "SIGUSR1",
        libc::SIGSEGV => "SIGSEGV",
        libc::SIGUSR2 => "SIGUSR2",
        libc::SIGPIPE => "SIGPIPE",
        libc::SIGALRM => "SIGALRM",
        libc::SIGTERM => "SIGTERM",
        libc::SIGXCPU => "SIGXCPU",
        libc::SIGXFSZ => "SIGXFSZ",
        libc::SIGVTALRM => "SIGVTALRM",
        libc::SIGPROF => "SIGPROF",
        libc::SIGIO => "SIGIO",
        libc::SIGPWR => "SIGPWR",
        libc::SIGSYS => "SIGSYS",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::time::Timestamp;

    fn text(code: Option<i32>, signal: Option<i32>, cause: Option<StopCause>) -> String {
        exit_text(&ExitRecord {
            code,
            signal,
            cause,
            finished_at: Timestamp(0),
            peak_memory_bytes: 0,
            cpu_us: 0,
            output_bytes: 0,
            dropped_bytes: 0,
            log_error: None,
            leftover_processes: 0,
        })
    }

    #[test]
    fn an_exit_is_told_in_one_line() {
        let timeout = Some(StopCause::Timeout { after_s: 1800 });
        let absent = Some(StopCause::NotStarted {
            why: "No such file or directory: claude".into(),
        });
        assert_eq!(text(Some(0), None, None), "exit code 0");
        assert_eq!(text(Some(42), None, None), "exit code 42");
        assert_eq!(text(None, Some(9), None), "exit code 137 SIGKILL");
        assert_eq!(text(Some(137), None, None), "exit code 137 SIGKILL");
        assert_eq!(
            text(None, Some(15), timeout),
            "exit code 143 SIGTERM (timeout after 1800s)"
        );
        assert_eq!(
            text(Some(127), None, absent),
            "exit code 127 (No such file or directory: claude)"
        );
    }
}
