//! The database behind the service's back: what dies in the world leaves rows that no walk can leave by itself.

use std::path::PathBuf;

use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use diesel::sql_types::BigInt;

/// Where the rows are.
pub enum Rows {
    Sqlite(PathBuf),
    Postgres(String),
}

#[derive(QueryableByName)]
struct Number {
    #[diesel(sql_type = BigInt)]
    n: i64,
}

impl Rows {
    /// Whether several services could share it.
    pub fn is_shared(&self) -> bool {
        matches!(self, Self::Postgres(_))
    }

    /// Runs statements.
    pub fn run(&self, sql: &str) {
        match self {
            Self::Sqlite(path) => sqlite(path).batch_execute(sql).unwrap(),
            Self::Postgres(url) => postgres(url).batch_execute(sql).unwrap(),
        }
    }

    /// The number that a query selects.
    pub fn number(&self, select: &str) -> i64 {
        let query = diesel::sql_query(format!("SELECT ({select}) AS n"));
        let found: Number = match self {
            Self::Sqlite(path) => query.get_result(&mut sqlite(path)).unwrap(),
            Self::Postgres(url) => query.get_result(&mut postgres(url)).unwrap(),
        };
        found.n
    }
}

fn sqlite(path: &std::path::Path) -> SqliteConnection {
    let mut conn = SqliteConnection::establish(path.to_str().unwrap()).unwrap();
    conn.batch_execute("PRAGMA busy_timeout = 20000").unwrap();
    conn
}

fn postgres(url: &str) -> PgConnection {
    PgConnection::establish(url).unwrap()
}
