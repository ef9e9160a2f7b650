//! The database's clock, by which instances on several machines agree on what is late.

use diesel::prelude::*;
use diesel::sql_types::BigInt;

use super::{Conn, StoreError};
use crate::domain::time::Timestamp;

#[derive(QueryableByName)]
struct Now {
    #[diesel(sql_type = BigInt)]
    us: i64,
}

/// The time on the database's server. SQLite has none of its own: it is the caller's.
///
/// # Errors
/// See [`StoreError`].
pub fn now(conn: &mut Conn, own: Timestamp) -> Result<Timestamp, StoreError> {
    match conn {
        Conn::Sqlite(_) => Ok(own),
        Conn::Pg(c) => {
            let text = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS us";
            let now: Now = diesel::sql_query(text).get_result(c)?;
            Ok(Timestamp(now.us))
        }
    }
}
