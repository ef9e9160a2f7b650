//! One connection, whichever the backend. Transactions are opened and closed here, never by table functions.

use diesel::connection::{AnsiTransactionManager, SimpleConnection, TransactionManager};
use diesel::pg::Pg;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::{Connection, PgConnection, QueryResult, RunQueryDsl, SqliteConnection};

use super::error::StoreError;
use super::place::{Place, patient};

/// A connection inside a transaction. Table functions take it; [`super::Store`] hands it out.
///
/// The `on!` macro matches it and compiles one text per backend, which gives the whole of Diesel's language
/// (`on_conflict`, `returning`, `for_update`) and each backend's own statement cache.
pub enum Conn {
    /// SQLite.
    Sqlite(SqliteConnection),
    /// PostgreSQL.
    Pg(PgConnection),
}

/// What a new connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Looks at a database that may be anything: changes nothing by itself.
    Inspect,
    /// The one writer of SQLite, or any connection of PostgreSQL.
    Write,
    /// Reads only.
    Read,
}

type Manager = AnsiTransactionManager;

impl Conn {
    /// Connects and sets what every connection of that purpose needs.
    pub(super) fn establish(place: &Place, purpose: Purpose) -> Result<Self, StoreError> {
        Self::connect(place, purpose).map_err(|e| e.at(&place.to_string()))
    }

    fn connect(place: &Place, purpose: Purpose) -> Result<Self, StoreError> {
        match place {
            Place::Sqlite(path) => {
                let mut c = SqliteConnection::establish(&path.to_string_lossy())?;
                c.batch_execute("PRAGMA busy_timeout = 5000; PRAGMA foreign_keys = ON;")?;
                match purpose {
                    Purpose::Inspect => {}
                    Purpose::Write => c.batch_execute(
                        // Temporary means what savepoints may have to undo: on disk it is written for every command.
                        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA cache_size = -16000; \
                         PRAGMA wal_autocheckpoint = 4000; PRAGMA temp_store = MEMORY;",
                    )?,
                    Purpose::Read => c.batch_execute("PRAGMA query_only = ON;")?,
                }
                Ok(Self::Sqlite(c))
            }
            Place::Postgres(url) => {
                let mut c = PgConnection::establish(&patient(url))?;
                c.batch_execute("SET application_name = 'orch'; SET client_min_messages = warning;")?;
                Ok(Self::Pg(c))
            }
        }
    }

    /// Opens the outermost transaction. SQLite takes the write lock at once: a transaction that reads first
    /// and writes later fails as locked, whatever the busy timeout.
    pub(super) fn begin_immediate(&mut self) -> QueryResult<()> {
        match self {
            Self::Sqlite(c) => Manager::begin_transaction_sql(c, "BEGIN IMMEDIATE"),
            Self::Pg(c) => <Manager as TransactionManager<PgConnection>>::begin_transaction(c),
        }
    }

    /// Opens a transaction, or a savepoint inside one.
    pub(super) fn begin(&mut self) -> QueryResult<()> {
        on!(self, c => Manager::begin_transaction(c))
    }

    /// Commits the transaction, or releases the savepoint.
    pub(super) fn commit(&mut self) -> QueryResult<()> {
        on!(self, c => Manager::commit_transaction(c))
    }

    /// Rolls back the transaction, or the savepoint.
    pub(super) fn rollback(&mut self) -> QueryResult<()> {
        on!(self, c => Manager::rollback_transaction(c))
    }

    /// How many transactions and savepoints are open; none when that cannot be told any more.
    pub(super) fn depth(&mut self) -> Option<u32> {
        let status = on!(self, c => Manager::transaction_manager_status_mut(c).transaction_depth());
        status
            .ok()
            .map(|depth| depth.map_or(0, std::num::NonZeroU32::get))
    }

    /// Rolls back until only `depth` transactions and savepoints are open.
    pub(super) fn roll_back_to(&mut self, depth: u32) -> Result<(), StoreError> {
        let lost = || StoreError::NotCommitted {
            why: "the transaction was ended by the database".to_owned(),
        };
        loop {
            match self.depth() {
                Some(open) if open == depth => return Ok(()),
                Some(open) if open > depth => on!(self, c => Manager::rollback_transaction(c))?,
                Some(_) | None => return Err(lost()),
            }
        }
    }

    /// Runs statements that return nothing.
    pub(super) fn batch(&mut self, sql: &str) -> QueryResult<()> {
        on!(self, c => c.batch_execute(sql))
    }

    /// Makes concurrent transactions that take the same key wait for each other, until they end.
    /// SQLite has one writer and needs no lock.
    pub(super) fn serialize_on(&mut self, key: Serial) -> QueryResult<()> {
        match self {
            Self::Sqlite(_) => Ok(()),
            Self::Pg(c) => Lock(key).execute(c).map(drop),
        }
    }
}

/// What is done by one transaction at a time. The numbers are keys of PostgreSQL advisory locks.
#[derive(Clone, Copy, Debug)]
pub(super) enum Serial {
    /// Counting what runs, then claiming.
    Claim = 0x0063_0001,
    /// Looking for a cycle, then adding a dependency.
    Dependency = 0x0063_0002,
    /// Taking the next number of a pull request.
    PullRequest = 0x0063_0003,
    /// Migrating.
    Migration = 0x0063_0004,
    /// Looking which paths are being changed, then claiming a job that changes some.
    Paths = 0x0063_0005,
    /// Changing a circuit breaker, letting a trial through it, or writing into the audit of retries.
    Breaker = 0x0063_0006,
}

/// Takes the lock until the transaction ends. A statement of its own, because a query of plain text is prepared anew
/// each time.
struct Lock(Serial);

impl QueryId for Lock {
    type QueryId = Self;
    // The key is part of the text.
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<C> RunQueryDsl<C> for Lock {}

impl QueryFragment<Pg> for Lock {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("SELECT pg_advisory_xact_lock(");
        out.push_sql(&(self.0 as i64).to_string());
        out.push_sql(")");
        Ok(())
    }
}
