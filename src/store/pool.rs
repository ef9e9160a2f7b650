//! Pools of connections: SQLite's readers, all of PostgreSQL. Blocking; called on blocking threads only.

use std::time::Duration;

use diesel::r2d2::{ManageConnection, Pool};

use super::conn::{Conn, Purpose};
use super::error::StoreError;
use super::place::Place;
use super::transaction::attempt;

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
            .test_on_check_out(matches!(place, Place::Postgres(_)))
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
        let mut conn = self.pool.get().map_err(|e| {
            E::from(StoreError::Unreachable {
                place: self.place.to_string(),
                why: e.to_string(),
            })
        })?;
        attempt(&mut conn, command).result
    }

    /// All connections are at work and no more may be made.
    pub(super) fn is_saturated(&self) -> bool {
        let state = self.pool.state();
        state.idle_connections == 0 && state.connections >= self.pool.max_size()
    }
}
