//! A fresh database on the PostgreSQL server that `ORCH_TEST_POSTGRES` names. In CI its absence is a failure; elsewhere
//! the test says that it was not run, and why.

use std::io::Write as _;

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text};
use orch::store::scratch::Scratch;

const SERVER: &str = "ORCH_TEST_POSTGRES";

/// A database of its own; gone when dropped.
pub struct Postgres(Scratch);

impl Postgres {
    /// None where there is no server.
    pub fn fresh() -> Option<Self> {
        if !Self::is_there() {
            return None;
        }
        let server = std::env::var(SERVER).unwrap();
        let name = format!("orch_test_{}", uuid::Uuid::new_v4().simple());
        Some(Self(Scratch::make(&server, &name).unwrap()))
    }

    /// Whether there is a server. Where there is none that is said on stderr, whatever is captured.
    pub fn is_there() -> bool {
        let there = std::env::var_os(SERVER).is_some();
        if !there {
            assert!(
                std::env::var_os("CI").is_none(),
                "CI needs a PostgreSQL server: {SERVER} is not set, see .ci/run"
            );
            let thread = std::thread::current();
            let test = thread.name().unwrap_or("a test").to_owned();
            let said = writeln!(std::io::stderr(), "not run: {test}: {SERVER} is not set");
            said.unwrap();
        }
        there
    }

    pub fn url(&self) -> &str {
        self.0.url()
    }

    /// How many databases of the server have a name like this.
    pub fn databases_like(&self, pattern: &str) -> i64 {
        #[derive(QueryableByName)]
        struct Count {
            #[diesel(sql_type = BigInt)]
            n: i64,
        }
        let mut conn = PgConnection::establish(self.url()).unwrap();
        let counted: Count = diesel::sql_query("SELECT count(*) AS n FROM pg_database WHERE datname LIKE $1")
            .bind::<Text, _>(pattern)
            .get_result(&mut conn)
            .unwrap();
        counted.n
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // A server that has gone away took it along.
        drop(self.0.drop_database());
    }
}
