//! The program that stands for a far agent in its run's own shim: it prints what the agent prints, ends as the agent
//! ends, and ends the agent when it is told to end. Never outlives its shim.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Child, ChildStdout, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::{FarRun, QUICK, scripts};
use crate::domain::run::{ExitRecord, StopCause};
use crate::process::ssh::BROKEN;
use crate::process::{ProcessError, RunLease, files, sys};

/// As a shell says that TERM ended a program.
const TERMINATED: u8 = 143;
/// The machine does not answer.
const OFFLINE: u8 = 255;
/// Nothing of an agent could be started, or is known any more.
const LOST: u8 = 126;
/// The script's word for a shim that is gone.
const SHIM_GONE: i32 = 3;
/// The script's word for a turn that is over.
const NEXT_TURN: i32 = 5;
/// The same, where the agent printed more than its log there holds.
const PRINTS_ON: i32 = 6;
/// The longest turn, seconds, and the script's looks in three of them.
const TURN_S: u64 = 30;
const LOOKS_IN_3_S: u64 = 10;
/// Before a connection that broke is made again.
const AGAIN_AFTER: Duration = Duration::from_secs(1);
const READ_BYTES: usize = 64 * 1024;

/// The whole life of `orch far <run_dir>`. To be called first in `main`, with a single thread. Ends as the agent ended;
/// with 255 when its machine does not answer.
pub fn main(run_dir: &Path) -> ExitCode {
    let far = match FarRun::read(run_dir) {
        Ok(Some(far)) => far,
        Ok(None) => return ended(LOST, "this run has no node"),
        Err(error) => return ended(LOST, &error.to_string()),
    };
    let signals = match sys::catch_signals() {
        Ok(signals) => signals,
        Err(error) => return ended(LOST, &format!("signals cannot be caught: {error}")),
    };
    // The agent there is looked after as long as this machine's service is, and no longer.
    let lease = match files::read_launch(run_dir) {
        Ok(spec) => spec.and_then(|spec| spec.lease),
        Err(error) => return ended(LOST, &error.to_string()),
    };
    let mut drive = Drive { far, signals, lease };
    let end = match drive.far.orch.clone() {
        Some(orch) => drive.follow(&orch),
        None => drive.connect(),
    };
    match end {
        End::Code(code) => ExitCode::from(code),
        End::Told => {
            // Where it cannot be reached its own limits end it, and whoever takes its work ends it first.
            let gone = drive.far.end();
            let said = gone.err().map_or(String::new(), |error| error.to_string());
            ended(TERMINATED, &said)
        }
        End::Offline(why) => {
            drop(drive.far.end());
            let node = &drive.far.node;
            ended(
                OFFLINE,
                &format!("worker offline: node {node}: {why} (ssh exit 255)"),
            )
        }
        End::Lost(why) => ended(LOST, &why),
    }
}

fn ended(code: u8, why: &str) -> ExitCode {
    if !why.is_empty() {
        writeln!(io::stderr(), "orch: {why}").ok();
    }
    ExitCode::from(code)
}

/// Why there is nothing more to wait for.
enum End {
    /// The agent ended.
    Code(u8),
    /// We were told to end it.
    Told,
    /// The machine does not answer.
    Offline(String),
    /// What became of it is not known.
    Lost(String),
}

struct Drive {
    far: FarRun,
    signals: File,
    /// What this run stands under here.
    lease: Option<RunLease>,
}

impl Drive {
    /// Without this program there: the agent runs under one connection.
    fn connect(&mut self) -> End {
        let (run_dir, grace) = (self.far.run_dir(), self.far.grace_s.to_string());
        let limit = self.far.limit_s.to_string();
        let words = [run_dir.as_str(), &limit, &grace, scripts::END, &self.far.owner];
        let mut command = self.far.target.command(scripts::START, &words);
        command.stdin(Stdio::null());
        sys::tie_to_this_process(&mut command);
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(error) => return End::Offline(format!("the program ssh cannot be started: {error}")),
        };
        loop {
            if self.is_told(None) {
                return End::Told;
            }
            match child.try_wait() {
                Ok(None) => {}
                Ok(Some(status)) => {
                    return match status.code() {
                        Some(BROKEN) | None => End::Offline("the connection broke".to_owned()),
                        Some(code) => End::Code(u8::try_from(code).unwrap_or(LOST)),
                    };
                }
                Err(error) => return End::Lost(error.to_string()),
            }
        }
    }

    /// With it: the agent runs under a shim there, and is followed over as many connections as it takes.
    fn follow(&mut self, orch: &str) -> End {
        let (run_dir, lease) = (self.far.run_dir(), self.lease.clone());
        let launched = self.persist(|far| {
            let script = [scripts::RENEW, scripts::LAUNCH].concat();
            far.ask(
                "starting",
                &script,
                &[&run_dir, &age(lease.as_ref()), orch],
                &[],
                QUICK,
            )
        });
        match launched {
            Ok(_) => {}
            // It is the node that cannot start anything.
            Err(End::Lost(why)) => return End::Offline(why),
            Err(end) => return end,
        }
        let mut seen: u64 = 0;
        let mut silent: Option<Instant> = None;
        loop {
            let before = seen;
            let code = match self.print_from(&mut seen) {
                Ok(code) => code,
                Err(end) => return end,
            };
            match code {
                Some(0) => return self.result(),
                Some(SHIM_GONE) => {
                    return End::Lost("the agent's shim is gone and left no exit record".to_owned());
                }
                Some(NEXT_TURN) => {
                    silent = None;
                    continue;
                }
                Some(PRINTS_ON) => {
                    silent = None;
                    let node = &self.far.node;
                    let said = "the agent prints on, beyond what its log there holds until it ends";
                    writeln!(io::stderr(), "orch: node {node}: {said}").ok();
                    continue;
                }
                Some(_) | None => {}
            }
            if seen > before {
                silent = None;
            }
            let since = *silent.get_or_insert_with(Instant::now);
            if since.elapsed() > self.patience() {
                return End::Offline(format!("silent for {} s", self.far.offline_after_s));
            }
            if self.is_told(Some(AGAIN_AFTER)) {
                return End::Told;
            }
            if self.answers() {
                silent = None;
            }
        }
    }

    fn answers(&self) -> bool {
        self.far.target.call(":", &[], &[], QUICK).is_ok()
    }

    fn patience(&self) -> Duration {
        Duration::from_secs(self.far.offline_after_s)
    }

    /// Prints the log from where it was seen, over one connection. Answers how that ended.
    fn print_from(&mut self, seen: &mut u64) -> Result<Option<i32>, End> {
        let (run_dir, offset) = (self.far.run_dir(), seen.to_string());
        let turn_s = (self.far.offline_after_s / 3).clamp(1, TURN_S);
        let rounds = (turn_s * LOOKS_IN_3_S / 3).to_string();
        let script = [scripts::RENEW, scripts::FOLLOW].concat();
        let words = [run_dir.as_str(), &age(self.lease.as_ref()), &offset, &rounds];
        let mut command = self.far.target.command(&script, &words);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        sys::tie_to_this_process(&mut command);
        let lost = |error: io::Error| End::Lost(error.to_string());
        let mut child = command.spawn().map_err(lost)?;
        let printed = match child.stdout.take() {
            Some(stdout) => self.print(stdout, seen),
            None => Ok(()),
        };
        if let Err(end) = printed {
            drop(child.kill());
            drop(child.wait());
            return Err(end);
        }
        code_of(&mut child).map_err(lost)
    }

    fn print(&mut self, mut stdout: ChildStdout, seen: &mut u64) -> Result<(), End> {
        let lost = |error: io::Error| End::Lost(error.to_string());
        let mut buffer = vec![0; READ_BYTES];
        loop {
            let files = [Some(stdout.as_fd()), Some(self.signals.as_fd())];
            let [readable, signalled] = sys::wait_readable(files, None).map_err(lost)?;
            if signalled && self.is_told(Some(Duration::ZERO)) {
                return Err(End::Told);
            }
            if !readable {
                continue;
            }
            match stdout.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(n) => {
                    *seen += n as u64;
                    let mut out = io::stdout();
                    out.write_all(&buffer[..n])
                        .and_then(|()| out.flush())
                        .map_err(lost)?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(lost(error)),
            }
        }
    }

    /// How the agent ended.
    fn result(&mut self) -> End {
        let run_dir = self.far.run_dir();
        let said = match self.persist(|far| far.ask("the exit", scripts::RESULT, &[&run_dir], &[], QUICK)) {
            Ok(said) => said,
            Err(end) => return end,
        };
        let exit: ExitRecord = match serde_json::from_slice(&said.stdout) {
            Ok(exit) => exit,
            Err(error) => return End::Lost(format!("its exit record is damaged: {error}")),
        };
        match &exit.cause {
            Some(StopCause::NotStarted { why }) => {
                writeln!(io::stderr(), "orch: node {}: {why}", self.far.node).ok();
            }
            Some(StopCause::LeaseExpired { after_s }) => {
                return End::Offline(format!("nobody here could look after the agent for {after_s} s"));
            }
            Some(
                StopCause::Timeout { .. }
                | StopCause::Stall { .. }
                | StopCause::Startup { .. }
                | StopCause::Stopped,
            )
            | None => {}
        }
        let code = exit.code.or(exit.signal.map(|signal| 128 + signal));
        End::Code(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(LOST))
    }

    /// Asks until the machine answers, or was silent for too long.
    fn persist<T>(&mut self, ask: impl Fn(&FarRun) -> Result<T, ProcessError>) -> Result<T, End> {
        let began = Instant::now();
        loop {
            match ask(&self.far) {
                Ok(said) => return Ok(said),
                Err(ProcessError::Offline { why, .. }) if began.elapsed() > self.patience() => {
                    return Err(End::Offline(why));
                }
                Err(ProcessError::Offline { .. }) => {}
                Err(error) => return Err(End::Lost(error.to_string())),
            }
            if self.is_told(Some(AGAIN_AFTER)) {
                return Err(End::Told);
            }
        }
    }

    /// Waits until something happens, at most so long; whether we were told to end.
    fn is_told(&mut self, at_most: Option<Duration>) -> bool {
        let deadline = at_most.map(|most| Instant::now() + most);
        loop {
            let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
            if sys::wait_readable([Some(self.signals.as_fd())], left).is_err() {
                thread::sleep(AGAIN_AFTER);
            }
            let mut heard = false;
            while let Some((number, _)) = sys::take_signal(&mut self.signals) {
                if number == libc::SIGTERM || number == libc::SIGINT {
                    return true;
                }
                heard = true;
            }
            match left {
                None if heard => return false,
                Some(left) if left.is_zero() => return false,
                None | Some(_) => {}
            }
        }
    }
}

/// For how many seconds the service here was not heard of, rounded up; 0 without a lease.
fn age(lease: Option<&RunLease>) -> String {
    let passed = lease.map_or(0, |lease| lease.ttl.saturating_sub(lease.left()).as_secs() + 1);
    passed.to_string()
}

fn code_of(child: &mut Child) -> io::Result<Option<i32>> {
    Ok(child.wait()?.code())
}
