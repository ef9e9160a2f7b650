//! The first process of a pid namespace. A container that starts Orch as its PID 1 gets a small process there, which
//! starts the same command below itself, hands on the signals that it is sent, collects what the namespace leaves
//! behind, and ends with its child. Never does anything beside: so it cannot collect what somebody else waits for.

use std::fs;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::{CommandExt, parent_id};
use std::process::{Command, ExitCode};

use super::sys::{self, Ending, Reaped, Sender};

/// Of this namespace.
const FIRST: u32 = 1;

/// Whether this process is the first of its pid namespace.
pub fn is_first() -> bool {
    std::process::id() == FIRST
}

/// Whether [`main`] started this process: its namespace, and every agent in it, ends together with it.
pub fn is_above() -> bool {
    let program = |pid: &str| fs::metadata(format!("/proc/{pid}/exe")).map(|file| (file.dev(), file.ino()));
    parent_id() == FIRST
        && match (program("1"), program("self")) {
            (Ok(first), Ok(own)) => first == own,
            (Err(_), _) | (_, Err(_)) => false,
        }
}

/// The whole life of such a process. To be called first in `main`, with a single thread.
///
/// Ends as its child ended, with 128 and the signal's number where a signal ended that; with 71 if the system refuses
/// what it needs.
pub fn main() -> ExitCode {
    match run() {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            // Where nobody reads, there is nobody to tell.
            writeln!(io::stderr(), "orch: cannot start below PID 1: {error}").ok();
            ExitCode::from(71)
        }
    }
}

fn run() -> io::Result<u8> {
    let mut signals = sys::catch_signals()?;
    let mut args = std::env::args_os();
    let mut command = Command::new("/proc/self/exe");
    command
        .arg0(args.next().unwrap_or_else(|| "orch".into()))
        .args(args);
    sys::tie_to_this_process(&mut command);
    let child = command.spawn()?.id().cast_signed();
    loop {
        sys::wait_readable([Some(signals.as_fd())], None)?;
        while let Some((signal, sender)) = sys::take_signal(&mut signals) {
            match sender {
                // One that has just ended is collected below.
                Sender::Process if signal != libc::SIGCHLD => drop(sys::signal_pid(child, signal)),
                // A terminal tells its whole foreground group, the child too.
                Sender::Process | Sender::Kernel => {}
            }
        }
        while let Reaped::Child(pid, ending) = sys::reap_any()? {
            if pid == child {
                return Ok(match ending {
                    Ending::Code(code) => u8::try_from(code).unwrap_or(u8::MAX),
                    Ending::Signal(signal) => u8::try_from(128 + signal).unwrap_or(u8::MAX),
                });
            }
        }
    }
}
