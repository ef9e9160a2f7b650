//! The store as the rest of the service sees it: commands in, answers after the commit.

use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use tokio::sync::mpsc::{Sender, error::TrySendError};
use tokio::sync::{Semaphore, oneshot};

use crate::failpoint::{self, Side};

use super::conn::{Conn, Purpose};
use super::error::StoreError;
use super::migrations;
use super::news::{self, Listener};
use super::open::{check_header, check_use, lock_file, prepare};
use super::place::{Place, patient};
use super::pool::Connected;
use super::writer::{self, Message};

/// Readers of a SQLite file. Each is a thread that waits for the disk.
const READERS: u32 = 4;
/// Connections to PostgreSQL, for reading and writing.
const CONNECTIONS: u32 = 8;

/// Commands that wait for a connection, of those who do not wait for room: each is a thread.
const WAITING: usize = 64;

/// The database of a running service. Cheap to clone; [`Store::close`] ends it for all clones.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    /// SQLite's writer; PostgreSQL writes through the pool.
    writer: Option<WriterHandle>,
    pool: Connected,
    /// For those who do not wait for room, where there is no writer whose queue has one.
    room: Semaphore,
    place: Place,
}

struct WriterHandle {
    sender: Sender<Message>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store")
            .field("place", &self.inner.place)
            .finish_non_exhaustive()
    }
}

impl Store {
    /// Opens the database, creating and migrating it as needed. Blocks; call it before serving.
    ///
    /// # Errors
    /// One line that names the file or server and says what to do: see [`StoreError`].
    pub fn open(url: &str) -> Result<Self, StoreError> {
        let place = Place::parse(url)?;
        let writer = match &place {
            Place::Sqlite(path) => {
                let lock = lock_file(path)?;
                let conn = prepare(&place)?;
                let (sender, thread) = writer::spawn(place.clone(), conn, lock)?;
                Some(WriterHandle {
                    sender,
                    thread: Mutex::new(Some(thread)),
                })
            }
            Place::Postgres(_) => {
                prepare(&place)?;
                None
            }
        };
        let pool = match writer {
            Some(_) => Connected::new(&place, Purpose::Read, READERS),
            None => Connected::new(&place, Purpose::Write, CONNECTIONS),
        };
        Ok(Self {
            inner: Arc::new(Inner {
                writer,
                pool,
                room: Semaphore::new(WAITING),
                place,
            }),
        })
    }

    /// The names of migrations that the database does not have yet. Changes nothing.
    ///
    /// # Errors
    /// As [`Store::open`], but a database in use is no obstacle.
    pub fn pending(url: &str) -> Result<Vec<String>, StoreError> {
        let place = Place::parse(url)?;
        if let Place::Sqlite(path) = &place {
            if !path.exists() {
                return Ok(migrations::known(&place));
            }
            check_header(path)?;
        }
        let mut conn = Conn::establish(&place, Purpose::Inspect)?;
        migrations::pending(&mut conn, &place)
    }

    /// Whether a service could write to the database now. Changes nothing.
    ///
    /// # Errors
    /// As [`Store::open`], but a service that uses the database is no obstacle.
    pub fn check_use(url: &str) -> Result<(), StoreError> {
        check_use(&Place::parse(url)?)
    }

    /// Migrates without serving; returns the names of what was applied.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn migrate(url: &str) -> Result<Vec<String>, StoreError> {
        Self::check_use(url)?;
        let pending = Self::pending(url)?;
        Self::open(url)?.close_blocking();
        Ok(pending)
    }

    /// Whether other services may work on the same database.
    pub fn is_shared(&self) -> bool {
        match self.inner.place {
            Place::Sqlite(_) => false,
            Place::Postgres(_) => true,
        }
    }

    /// The file or server, without a password.
    pub fn place(&self) -> String {
        self.inner.place.to_string()
    }

    /// Runs a command that writes; answers when it is durable. Waits while the queue is full.
    /// Dropping the future does not take the command back.
    ///
    /// # Errors
    /// The command's own, or the store's when nothing was kept.
    pub async fn write<T, E, F>(&self, f: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
        F: FnOnce(&mut Conn) -> Result<T, E> + Send + 'static,
    {
        let (f, written) = between_points(f);
        written.told(match &self.inner.writer {
            Some(writer) => {
                let (message, answer) = writer::command(f);
                writer.sender.send(message).await.map_err(|_| closed())?;
                answered(answer.await)
            }
            None => self.pooled(f).await,
        })
    }

    /// As [`Store::write`], but never waits for room.
    ///
    /// # Errors
    /// [`StoreError::Saturated`] when too many writes wait; else as [`Store::write`].
    pub async fn try_write<T, E, F>(&self, f: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
        F: FnOnce(&mut Conn) -> Result<T, E> + Send + 'static,
    {
        let (f, written) = between_points(f);
        let Some(writer) = &self.inner.writer else {
            let Ok(_room) = self.inner.room.try_acquire() else {
                return Err(E::from(StoreError::Saturated));
            };
            return written.told(self.pooled(f).await);
        };
        let (message, answer) = writer::command(f);
        writer.sender.try_send(message).map_err(|e| match e {
            TrySendError::Full(_) => E::from(StoreError::Saturated),
            TrySendError::Closed(_) => closed(),
        })?;
        written.told(answered(answer.await))
    }

    /// Runs a command that only reads, in one snapshot.
    ///
    /// # Errors
    /// The command's own, or the store's.
    pub async fn read<T, E, F>(&self, f: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
        F: FnOnce(&mut Conn) -> Result<T, E> + Send + 'static,
    {
        self.pooled(f).await
    }

    /// As [`Store::write`], for threads without a runtime.
    ///
    /// # Errors
    /// As [`Store::write`].
    pub fn write_blocking<T, E, F>(&self, f: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
        F: FnOnce(&mut Conn) -> Result<T, E> + Send + 'static,
    {
        let (f, written) = between_points(f);
        written.told(match &self.inner.writer {
            Some(writer) => {
                let (message, answer) = writer::command(f);
                writer.sender.blocking_send(message).map_err(|_| closed())?;
                answered(answer.blocking_recv())
            }
            None => self.inner.pool.run(f),
        })
    }

    /// As [`Store::read`], for threads without a runtime.
    ///
    /// # Errors
    /// As [`Store::read`].
    pub fn read_blocking<T, E, F>(&self, f: F) -> Result<T, E>
    where
        E: From<StoreError>,
        F: FnOnce(&mut Conn) -> Result<T, E>,
    {
        self.inner.pool.run(f)
    }

    /// Calls `heard` whenever something was committed that another service may wait for, by this service or another
    /// one, and whenever something may have been missed; from a thread of its own, until the listener is dropped. Not
    /// on SQLite, which has one service: there it is none.
    ///
    /// # Errors
    /// When the thread cannot be started. A server that does not answer is tried again and again.
    pub fn listen(&self, heard: impl Fn() + Send + 'static) -> Result<Option<Listener>, StoreError> {
        match &self.inner.place {
            Place::Sqlite(_) => Ok(None),
            Place::Postgres(url) => news::listen(patient(url), heard).map(Some),
        }
    }

    /// Takes no more writes, finishes those that wait, and checkpoints.
    pub async fn close(&self) {
        if let Some(writer) = &self.inner.writer {
            // An error means that it has ended already.
            drop(writer.sender.send(Message::Stop).await);
            let inner = Arc::clone(&self.inner);
            drop(tokio::task::spawn_blocking(move || inner.join()).await);
        }
    }

    /// As [`Store::close`], for threads without a runtime.
    pub fn close_blocking(&self) {
        if let Some(writer) = &self.inner.writer {
            drop(writer.sender.blocking_send(Message::Stop));
            self.inner.join();
        }
    }

    async fn pooled<T, E, F>(&self, f: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
        F: FnOnce(&mut Conn) -> Result<T, E> + Send + 'static,
    {
        let pool = self.inner.pool.clone();
        match tokio::task::spawn_blocking(move || pool.run(f)).await {
            Ok(result) => result,
            Err(_) => Err(closed()),
        }
    }
}

impl Inner {
    fn join(&self) {
        if let Some(writer) = &self.writer
            && let Ok(mut thread) = writer.thread.lock()
            && let Some(thread) = thread.take()
            && thread.thread().id() != std::thread::current().id()
        {
            drop(thread.join());
        }
    }
}

impl Drop for Inner {
    /// The lock is freed after the writer has written all it took.
    fn drop(&mut self) {
        if let Some(writer) = &mut self.writer {
            let (nowhere, _) = tokio::sync::mpsc::channel(1);
            drop(std::mem::replace(&mut writer.sender, nowhere));
        }
        self.join();
    }
}

/// A command whose commit is a fail point, named by the function that asks for it.
fn between_points<T, E, F>(f: F) -> (impl FnOnce(&mut Conn) -> Result<T, E> + Send + 'static, Written)
where
    F: FnOnce(&mut Conn) -> Result<T, E> + Send + 'static,
{
    let name = std::any::type_name::<F>();
    let f = move |conn: &mut Conn| {
        let done = f(conn)?;
        failpoint::reached("commit", name, Side::Before);
        Ok(done)
    };
    (f, Written(name))
}

/// The other side of that commit.
struct Written(&'static str);

impl Written {
    fn told<T, E>(self, answer: Result<T, E>) -> Result<T, E> {
        if answer.is_ok() {
            failpoint::reached("commit", self.0, Side::After);
        }
        answer
    }
}

fn closed<E: From<StoreError>>() -> E {
    E::from(StoreError::Closed)
}

fn answered<T, E: From<StoreError>>(answer: Result<Result<T, E>, oneshot::error::RecvError>) -> Result<T, E> {
    answer.unwrap_or_else(|_| Err(closed()))
}
