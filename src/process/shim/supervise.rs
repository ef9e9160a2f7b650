//! Lives through a run: one loop over output, signals and time. Decisions are [`Course`]'s; here they are carried
//! out. Never returns while anything of the tree is alive.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::process;
use std::time::{Duration, Instant};

use super::Ended;
use super::agent::Agent;
use super::course::{Course, Limits, Order};
use super::log::{CappedLog, Lines};
use crate::process::stat::Stat;
use crate::process::sys::{self, Ending, Reaped};
use crate::process::tree;
use crate::process::{LaunchSpec, RunLease};

const READ_BYTES: usize = 64 * 1024;
/// A pipe holds no more than this unless root enlarged it; more than it is never waiting when all writers are dead.
const LAST_READS: usize = (1 << 20) / READ_BYTES;

/// One of the program's two pipes.
struct Stream {
    pipe: Option<File>,
    lines: Lines,
}

/// A run that goes on.
pub struct Supervision {
    agent_pid: i32,
    streams: [Stream; 2],
    signals: File,
    log: CappedLog,
    course: Course,
    lease: Option<RunLease>,
    ending: Option<Ending>,
    childless: bool,
    leftovers: BTreeSet<i32>,
    buffer: Vec<u8>,
}

impl Supervision {
    /// Begins with a program that was just started.
    pub fn new(spec: &LaunchSpec, agent: Agent, signals: File, log: CappedLog) -> Self {
        Self {
            agent_pid: agent.pid,
            streams: agent.outputs.map(|pipe| Stream {
                pipe: Some(pipe),
                lines: Lines::default(),
            }),
            signals,
            log,
            course: Course::new(Limits::from(spec), Instant::now()),
            lease: spec.lease.clone(),
            ending: None,
            childless: false,
            leftovers: BTreeSet::new(),
            buffer: vec![0; READ_BYTES],
        }
    }

    /// Returns when the program and all that descended from it are dead.
    pub fn run(mut self) -> io::Result<Ended> {
        loop {
            self.look_at_lease();
            match self.course.next(Instant::now(), self.childless) {
                Order::Wait => {}
                Order::Terminate => self.signal_tree(|_, members| tree::terminate(members)),
                Order::Kill => self.signal_tree(tree::kill),
                Order::Finish => break,
            }
            self.wait_and_take(self.course.wait(Instant::now()))?;
            self.reap()?;
        }
        self.read_the_rest();
        Ok(Ended {
            // The course finishes only after the program's own end was seen.
            ending: self.ending.unwrap_or(Ending::Signal(libc::SIGKILL)),
            cause: self.course.into_cause(),
            leftover_processes: u32::try_from(self.leftovers.len()).unwrap_or(u32::MAX),
            kept: self.log.finish(),
        })
    }

    /// Read only when it would have expired: nothing wakes a run whose service lives.
    fn look_at_lease(&mut self) {
        let now = Instant::now();
        if let Some(lease) = self.lease.as_ref().filter(|_| self.course.is_lease_due(now)) {
            self.course.leased(now + lease.left());
        }
    }

    fn wait_and_take(&mut self, at_most: Option<Duration>) -> io::Result<()> {
        let [out, err] = &self.streams;
        let files = [
            out.pipe.as_ref().map(AsFd::as_fd),
            err.pipe.as_ref().map(AsFd::as_fd),
            Some(self.signals.as_fd()),
        ];
        let [out, err, signals] = sys::wait_readable(files, at_most)?;
        for (number, readable) in [out, err].into_iter().enumerate() {
            if readable && self.read(number) > 0 {
                self.course.output(Instant::now());
            }
        }
        if signals {
            // An end that was there before the request counts as the program's own.
            self.reap()?;
            self.take_signals();
        }
        Ok(())
    }

    /// Reads once from a pipe, into the log. Zero when there was nothing, or the pipe has ended.
    fn read(&mut self, number: usize) -> usize {
        let Stream { pipe, lines } = &mut self.streams[number];
        let Some(file) = pipe else { return 0 };
        match file.read(&mut self.buffer) {
            Ok(n) if n > 0 => {
                lines.push(number, &self.buffer[..n], &mut self.log);
                n
            }
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                ) =>
            {
                0
            }
            Ok(_) | Err(_) => {
                lines.flush(number, &mut self.log);
                *pipe = None;
                0
            }
        }
    }

    /// Somebody outside the tree may hold a pipe open for ever: what is in it is taken, its end is not awaited.
    fn read_the_rest(&mut self) {
        for number in 0..self.streams.len() {
            for _ in 0..LAST_READS {
                if self.read(number) == 0 {
                    break;
                }
            }
            self.streams[number].lines.flush(number, &mut self.log);
        }
    }

    fn take_signals(&mut self) {
        while let Some((number, _)) = sys::take_signal(&mut self.signals) {
            // HUP is heard and passed over: a closed terminal ends no run.
            if number == libc::SIGTERM || number == libc::SIGINT {
                self.course.stop_requested();
            }
        }
    }

    /// Collects every ended child: the program, and orphans of its tree.
    fn reap(&mut self) -> io::Result<()> {
        loop {
            match sys::reap_any()? {
                Reaped::Nothing => return Ok(()),
                Reaped::NoChildren => {
                    self.childless = true;
                    return Ok(());
                }
                Reaped::Child(pid, ending) if pid == self.agent_pid && self.ending.is_none() => {
                    self.ending = Some(ending);
                    self.course.program_ended(Instant::now());
                }
                Reaped::Child(..) => {}
            }
        }
    }

    fn signal_tree(&mut self, send: impl FnOnce(i32, &[Stat])) {
        let shim = process::id().cast_signed();
        match tree::descendants(shim) {
            Ok(members) => {
                if self.course.has_program_ended() {
                    self.leftovers.extend(members.iter().map(|m| m.pid));
                }
                send(shim, &members);
            }
            Err(error) => {
                // Without /proc the program's own group is all that can be reached.
                writeln!(io::stderr(), "orch shim: cannot walk /proc: {error}").ok();
                sys::signal_pid(-self.agent_pid, libc::SIGKILL).ok();
            }
        }
    }
}
