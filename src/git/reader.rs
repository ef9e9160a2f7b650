//! The process that answers questions about objects. Kept when nobody asks, because starting one costs as much
//! as a hundred answers. Never knows what the answers mean.

use std::io::Write as _;
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use super::child::kill_group;
use super::command::{Git, READING, spawn_error};
use super::error::GitError;
use super::repository::Repository;
use super::spent::Waiting;

const WHAT: &str = "cat-file";

/// What an object is.
pub(super) struct Header {
    pub(super) kind: String,
    pub(super) size: u64,
}

/// The process that nobody asks just now, if there is one.
#[derive(Debug, Default)]
pub(super) struct Idle(Mutex<Option<Process>>);

/// A process, for one who asks. Left to the next one when dropped.
#[derive(Debug)]
pub(super) struct Borrowed {
    /// Gone only while this is dropped.
    process: Option<Process>,
    idle: Arc<Idle>,
}

#[derive(Debug)]
struct Process {
    child: Child,
    stdin: ChildStdin,
    chunks: Receiver<Vec<u8>>,
    unread: Vec<u8>,
    /// It owes the rest of an answer: nobody else can ask it.
    owes: bool,
}

impl Repository {
    /// Ends the process that waits for the next reader: for when none is to be expected soon.
    pub fn rest(&self) {
        drop(self.idle_reader().lock().take());
    }
}

impl Idle {
    fn lock(&self) -> MutexGuard<'_, Option<Process>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Borrowed {
    pub(super) fn take(repository: &Repository) -> Result<Self, GitError> {
        let idle = Arc::clone(repository.idle_reader());
        let left = idle.lock().take().and_then(Process::if_alive);
        let process = match left {
            Some(process) => process,
            None => Process::start(repository.git(WHAT).arg("--batch-command"))?,
        };
        Ok(Self {
            process: Some(process),
            idle,
        })
    }

    pub(super) fn info(&mut self, name: &str) -> Result<Option<Header>, GitError> {
        let process = self.process.as_mut().ok_or_else(|| unexpected("nothing"))?;
        process.owes = true;
        let header = process.ask(&format!("info {name}\n"))?;
        process.owes = false;
        Ok(header)
    }

    /// An object's content. To be asked only for what is known to be small enough.
    pub(super) fn contents(&mut self, name: &str) -> Result<Option<Vec<u8>>, GitError> {
        let process = self.process.as_mut().ok_or_else(|| unexpected("nothing"))?;
        process.owes = true;
        let Some(header) = process.ask(&format!("contents {name}\n"))? else {
            process.owes = false;
            return Ok(None);
        };
        let size = usize::try_from(header.size).map_err(|_| unexpected("a size"))?;
        process.fill(size + 1)?;
        let mut bytes: Vec<u8> = process.unread.drain(..size + 1).collect();
        bytes.pop();
        process.owes = false;
        Ok(Some(bytes))
    }
}

impl Drop for Borrowed {
    fn drop(&mut self) {
        if let Some(process) = self.process.take().filter(|p| !p.owes) {
            let mut idle = self.idle.lock();
            if idle.is_none() {
                *idle = Some(process);
            }
        }
    }
}

impl Process {
    fn start(git: Git) -> Result<Self, GitError> {
        let mut command = git.command()?;
        command.stdin(Stdio::piped()).stderr(Stdio::null());
        let _waiting = Waiting::for_new_process();
        let mut child = command.spawn().map_err(spawn_error)?;
        let (Some(stdin), Some(mut stdout)) = (child.stdin.take(), child.stdout.take()) else {
            kill_group(&mut child);
            return Err(unexpected("no pipes"));
        };
        // Bounded, so that a large object waits in git and not in our memory.
        let (sender, chunks) = mpsc::sync_channel(16);
        thread::spawn(move || {
            use std::io::Read as _;
            let mut buffer = vec![0; 64 << 10];
            while let Ok(n @ 1..) = stdout.read(&mut buffer) {
                if sender.send(buffer[..n].to_vec()).is_err() {
                    return;
                }
            }
        });
        Ok(Self {
            child,
            stdin,
            chunks,
            unread: Vec::new(),
            owes: false,
        })
    }

    fn if_alive(mut self) -> Option<Self> {
        matches!(self.child.try_wait(), Ok(None)).then_some(self)
    }

    fn ask(&mut self, question: &str) -> Result<Option<Header>, GitError> {
        let _waiting = Waiting::for_answer();
        let sent = self
            .stdin
            .write_all(question.as_bytes())
            .and_then(|()| self.stdin.flush());
        sent.map_err(GitError::io("asking git for an object"))?;
        let end = loop {
            if let Some(end) = self.unread.iter().position(|b| *b == b'\n') {
                break end;
            }
            self.fill(self.unread.len() + 1)?;
        };
        let line: Vec<u8> = self.unread.drain(..=end).collect();
        let line = String::from_utf8_lossy(&line);
        let mut words = line.trim_end().rsplitn(3, ' ');
        match (words.next(), words.next(), words.next()) {
            (Some("missing" | "ambiguous"), _, _) => Ok(None),
            (Some(size), Some(kind), Some(_)) => {
                let size = size.parse().map_err(|_| unexpected(&line))?;
                Ok(Some(Header {
                    kind: kind.to_owned(),
                    size,
                }))
            }
            _ => Err(unexpected(&line)),
        }
    }

    fn fill(&mut self, wanted: usize) -> Result<(), GitError> {
        let _waiting = Waiting::for_answer();
        while self.unread.len() < wanted {
            match self.chunks.recv_timeout(READING) {
                Ok(chunk) => self.unread.extend(chunk),
                Err(RecvTimeoutError::Timeout) => {
                    kill_group(&mut self.child);
                    return Err(GitError::TimedOut {
                        what: WHAT.into(),
                        after: READING,
                    });
                }
                Err(RecvTimeoutError::Disconnected) => return Err(unexpected("nothing more")),
            }
        }
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _waiting = Waiting::for_answer();
        // It only reads: there is nothing to wait for.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

pub(super) fn unexpected(answer: &str) -> GitError {
    GitError::Unexpected {
        what: WHAT.into(),
        answer: answer.chars().take(200).collect(),
    }
}
