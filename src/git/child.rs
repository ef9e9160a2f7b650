//! A running `git` process: feeds it, drains it, waits for its end or for its deadline, and kills it with all it started.
//! Never interprets what it says.

use std::io::{Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use super::error::GitError;
use super::origin::mask_url;

/// What a call may print, bytes.
pub(super) const OUTPUT_LIMIT: usize = 64 << 20;
const STDERR_KEPT: usize = 4096;
/// On a busy machine the last words of a call arrive after its exit.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// What came out of a pipe.
pub(super) enum Heard {
    Out(Vec<u8>),
    Err(Vec<u8>),
    End,
}

/// Starts the threads that feed and drain the child. They end with its pipes.
pub(super) fn listen(child: &mut Child, input: Option<Vec<u8>>) -> Receiver<Heard> {
    let (sender, heard) = mpsc::channel();
    if let Some(out) = child.stdout.take() {
        let sender = sender.clone();
        thread::spawn(move || drain(out, &sender, Heard::Out));
    }
    if let Some(err) = child.stderr.take() {
        thread::spawn(move || drain(err, &sender, Heard::Err));
    }
    if let (Some(mut stdin), Some(input)) = (child.stdin.take(), input) {
        // A child that stops reading early says why by its exit code.
        thread::spawn(move || drop(stdin.write_all(&input)));
    }
    heard
}

fn drain(mut pipe: impl Read, sender: &Sender<Heard>, wrap: fn(Vec<u8>) -> Heard) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(n @ 1..) = pipe.read(&mut buffer) {
        if sender.send(wrap(buffer[..n].to_vec())).is_err() {
            return;
        }
    }
    drop(sender.send(Heard::End));
}

/// Waits for both pipes to end and the child to exit; none when the deadline passed. A process that git left
/// in the background with our pipes open is not waited for.
pub(super) fn collect(
    child: &mut Child,
    heard: &Receiver<Heard>,
    timeout: Duration,
    stdout: &mut Vec<u8>,
    stderr: &mut Vec<u8>,
) -> Result<Option<ExitStatus>, GitError> {
    let deadline = Instant::now() + timeout;
    let mut open = 2;
    let mut pause = Duration::from_micros(50);
    let mut exited: Option<Instant> = None;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(None);
        }
        let patience = if open == 0 {
            pause
        } else {
            Duration::from_millis(100)
        };
        match heard.recv_timeout(patience.min(left)) {
            Ok(Heard::Out(bytes)) => {
                if stdout.len() <= OUTPUT_LIMIT {
                    stdout.extend(bytes);
                }
                continue;
            }
            Ok(Heard::Err(bytes)) => {
                stderr.extend(bytes);
                let excess = stderr.len().saturating_sub(4 * STDERR_KEPT);
                stderr.drain(..excess);
                continue;
            }
            Ok(Heard::End) => {
                open -= 1;
                if open > 0 {
                    continue;
                }
            }
            Err(RecvTimeoutError::Timeout) => pause = (pause * 2).min(Duration::from_millis(5)),
            // The senders are gone: the pipes are closed, only the exit is missing.
            Err(RecvTimeoutError::Disconnected) => {
                thread::sleep(pause);
                pause = (pause * 2).min(Duration::from_millis(5));
            }
        }
        if let Some(status) = child.try_wait().map_err(GitError::io("waiting for git"))?
            && (open == 0 || exited.get_or_insert_with(Instant::now).elapsed() > LAST_WORDS)
        {
            return Ok(Some(status));
        }
    }
}

/// Kills the child with all it started, and reaps it.
pub(super) fn kill_group(child: &mut Child) {
    let mut kill = Command::new("/bin/sh");
    kill.args(["-c", "kill -KILL \"-$0\""])
        .arg(child.id().to_string());
    drop(
        kill.stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status(),
    );
    drop(child.kill());
    drop(child.wait());
}

/// The end of what a call complained of, without passwords.
pub(super) fn tail(stderr: &[u8]) -> String {
    let from = stderr.len().saturating_sub(STDERR_KEPT);
    mask_url(String::from_utf8_lossy(&stderr[from..]).trim())
}
