//! The one writer of a SQLite database: drains a channel, commits many commands in one transaction, each in a
//! savepoint, and answers after the commit. Never answers Ok for what is not durable.

use std::fs::File;
use std::thread::JoinHandle;

use tokio::sync::{mpsc, oneshot};

use super::conn::{Conn, Purpose};
use super::error::StoreError;
use super::place::Place;
use super::transaction::attempt;

/// Writes that may wait before [`StoreError::Saturated`].
pub(super) const QUEUE: usize = 1024;

/// Writes that share a commit at most: bounds what one failing commit takes with it.
const GROUP: usize = 512;

/// How a command's transaction ended, told to it before it answers.
type Fate = Result<(), StoreError>;

/// What a command leaves behind until the commit.
pub(super) struct Pending {
    /// The group's transaction is gone.
    lost: bool,
    /// Sends the answer.
    answer: Box<dyn FnOnce(Fate)>,
}

/// Given a connection it runs; given an error it answers with that.
type Run = Box<dyn FnOnce(Result<&mut Conn, StoreError>) -> Pending + Send>;

/// What the writer is told.
pub(super) enum Message {
    /// Run this.
    Run(Run),
    /// Take no more, finish what waits, checkpoint, end.
    Stop,
}

/// Packs a command with the place where its answer is awaited.
pub(super) fn command<T, E, F>(f: F) -> (Message, oneshot::Receiver<Result<T, E>>)
where
    T: Send + 'static,
    E: From<StoreError> + Send + 'static,
    F: FnOnce(&mut Conn) -> Result<T, E> + Send + 'static,
{
    let (sender, receiver) = oneshot::channel();
    let run: Run = Box::new(move |conn| {
        let (result, lost) = match conn {
            Ok(conn) => {
                let attempt = attempt(conn, f);
                (attempt.result, attempt.lost)
            }
            Err(error) => (Err(E::from(error)), false),
        };
        let answer = Box::new(move |fate: Fate| {
            let answer = match (result, fate) {
                (Ok(_), Err(error)) => Err(E::from(error)),
                (result, Ok(()) | Err(_)) => result,
            };
            // Nobody waits any more: the write stands all the same.
            drop(sender.send(answer));
        });
        Pending { lost, answer }
    });
    (Message::Run(run), receiver)
}

/// Starts the writer on its connection. It keeps the lock for as long as it lives.
pub(super) fn spawn(
    place: Place,
    conn: Conn,
    lock: File,
) -> Result<(mpsc::Sender<Message>, JoinHandle<()>), StoreError> {
    let (sender, inbox) = mpsc::channel(QUEUE);
    let writer = Writer {
        place,
        conn: Some(conn),
        inbox,
        _lock: lock,
    };
    std::thread::Builder::new()
        .name("orch-store".to_owned())
        .spawn(move || writer.work())
        .map(|handle| (sender, handle))
        .map_err(|e| StoreError::Database {
            why: format!("the writer thread could not be started: {e}"),
        })
}

struct Writer {
    place: Place,
    /// None after a transaction was lost: connected again for the next group.
    conn: Option<Conn>,
    inbox: mpsc::Receiver<Message>,
    /// Dropped last: the system frees it, here or with the process.
    _lock: File,
}

impl Writer {
    fn work(mut self) {
        while let Some(message) = self.inbox.blocking_recv() {
            match message {
                Message::Run(first) => self.group(first),
                Message::Stop => self.inbox.close(),
            }
        }
        if let Some(conn) = &mut self.conn {
            // A checkpoint that fails loses nothing: the next start reads the log.
            drop(conn.batch("PRAGMA wal_checkpoint(TRUNCATE)"));
        }
    }

    /// One transaction: `first` and whatever waits behind it.
    fn group(&mut self, first: Run) {
        let conn = match begin(&mut self.conn, &self.place) {
            Ok(conn) => conn,
            Err(error) => return self.refuse(first, &error),
        };
        let mut stop = false;
        let mut next = Some(first);
        let mut waiting = Vec::new();
        let mut lost = false;
        while let Some(run) = next.take() {
            let pending = run(Ok(conn));
            lost = pending.lost;
            waiting.push(pending.answer);
            if lost || waiting.len() == GROUP {
                break;
            }
            match self.inbox.try_recv() {
                Ok(Message::Run(run)) => next = Some(run),
                Ok(Message::Stop) => stop = true,
                Err(_) => {}
            }
        }
        if stop {
            self.inbox.close();
        }
        let fate = self.close(lost);
        for answer in waiting {
            answer(fate.clone());
        }
    }

    /// Answers all that wait, so that nobody waits for as long as the others before them together.
    fn refuse(&mut self, first: Run, error: &StoreError) {
        let mut next = Some(first);
        while let Some(run) = next.take() {
            let pending = run(Err(error.clone()));
            (pending.answer)(Ok(()));
            match self.inbox.try_recv() {
                Ok(Message::Run(run)) => next = Some(run),
                Ok(Message::Stop) => self.inbox.close(),
                Err(_) => {}
            }
        }
    }

    /// Commits. Where that fails the connection is given up: a new one knows nothing of the old transaction.
    fn close(&mut self, lost: bool) -> Fate {
        let committed = match &mut self.conn {
            Some(conn) if !lost => conn.commit().map_err(StoreError::from),
            Some(_) | None => Err(StoreError::NotCommitted {
                why: "another write in the same transaction made the database give it up".to_owned(),
            }),
        };
        committed.map_err(|error| {
            self.conn = None;
            match error.at(&self.place.to_string()) {
                full @ (StoreError::DiskFull { .. } | StoreError::NotCommitted { .. }) => full,
                other => StoreError::NotCommitted {
                    why: other.to_string(),
                },
            }
        })
    }
}

/// A connection with an open transaction.
fn begin<'a>(held: &'a mut Option<Conn>, place: &Place) -> Result<&'a mut Conn, StoreError> {
    let conn = match held.take() {
        Some(conn) => conn,
        None => Conn::establish(place, Purpose::Write)?,
    };
    let conn = held.insert(conn);
    conn.begin_immediate()
        .map_err(|e| StoreError::from(e).at(&place.to_string()))?;
    Ok(conn)
}
