//! Pools of connections: SQLite's readers, all of PostgreSQL. Blocking; called on blocking threads only.

use std::time::Duration;

use diesel::r2d2::{ManageConnection, Pool, PooledConnection};

use super::conn::{Conn, Purpose};
use super::error::StoreError;
use super::place::Place;
use super::transaction::finish;

/// Makes and checks connections.
#[derive(Clone, Debug)]
pub(super) struct Connections {
    place: Place,
    purpose: Purpose,
}

impl ManageConnection for Connections {
    type Connection = Conn;
    type Error = StoreError;

    fn connect(&self) -> Result<Conn, StoreError> {
        Conn::establish(&self.place, self.purpose)
    }

    fn is_valid(&self, conn: &mut Conn) -> Result<(), StoreError> {
        conn.batch("SELECT 1").map_err(StoreError::from)
    }

    fn has_broken(&self, conn: &mut Conn) -> bool {
        conn.depth() != Some(0)
    }
}

/// A pool that runs commands.
#[derive(Clone)]
pub(super) struct Connected {
    place: Place,
    pool: Pool<Connections>,
}

impl Connected {
    /// A pool of at most `size` connections, made as they are needed.
    pub(super) fn new(place: &Place, purpose: Purpose, size: u32) -> Self {
        let pool = Pool::builder()
            .max_size(size)
            .min_idle(Some(0))
            // The begin of a transaction is the test: see `begun`.
            .test_on_check_out(false)
            .connection_timeout(Duration::from_secs(5))
            .build_unchecked(Connections {
                place: place.clone(),
                purpose,
            });
        Self {
            place: place.clone(),
            pool,
        }
    }

    /// Runs a command in its own transaction, waiting for a connection.
    pub(super) fn run<T, E, F>(&self, command: F) -> Result<T, E>
    where
        E: From<StoreError>,
        F: FnOnce(&mut Conn) -> Result<T, E>,
    {
        let mut conn = self.begun()?;
        finish(&mut conn, 0, command).result
    }

    /// A connection with an open transaction. Connections that were lost while they lay in the pool (the server was
    /// restarted) are found out and given up here, before anything was asked of them.
    fn begun(&self) -> Result<PooledConnection<Connections>, StoreError> {
        let unreachable = |why: String| StoreError::Unreachable {
            place: self.place.to_string(),
            why,
        };
        let mut stale = self.pool.max_size();
        loop {
            let mut conn = self.pool.get().map_err(|e| unreachable(e.to_string()))?;
            match conn.begin() {
                Ok(()) => return Ok(conn),
                Err(_) if stale > 0 && conn.depth().is_none() => stale -= 1,
                Err(error) => return Err(StoreError::from(error).at(&self.place.to_string())),
            }
        }
    }
}
