//! A database of its own on a PostgreSQL server, for what must not touch the one that is there: made empty, dropped
//! again. Never opens it; that is [`Store::open`](super::Store::open)'s.

use std::fmt;

use super::conn::{Conn, Purpose};
use super::error::StoreError;
use super::place::Place;

/// Such a database. It stays until [`Scratch::drop_database`].
#[derive(Clone)]
pub struct Scratch {
    server: Place,
    name: String,
    url: String,
}

impl fmt::Debug for Scratch {
    /// Without the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scratch")
            .field("server", &self.server)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Scratch {
    /// Makes an empty database called `name` on the server of `url`, which names any database there that may be
    /// connected to. Blocks.
    ///
    /// # Errors
    /// An address that is none of PostgreSQL, a server that does not answer, a user who may not make databases.
    pub fn make(url: &str, name: &str) -> Result<Self, StoreError> {
        let server = Place::parse(url)?;
        let Place::Postgres(address) = &server else {
            return Err(StoreError::Address {
                url: server.to_string(),
                why: "a server is asked for: give postgres://user@host/database".to_owned(),
            });
        };
        let url = beside(address, name);
        let scratch = Self {
            url,
            name: name.to_owned(),
            server,
        };
        scratch.run(&format!("CREATE DATABASE \"{name}\""))?;
        Ok(scratch)
    }

    /// Its address, with the server's password: never print it.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Removes it with all that is in it; whoever is connected to it is disconnected. Absent is fine. Blocks.
    ///
    /// # Errors
    /// A server that does not answer.
    pub fn drop_database(&self) -> Result<(), StoreError> {
        self.run(&format!("DROP DATABASE IF EXISTS \"{}\" WITH (FORCE)", self.name))
    }

    fn run(&self, sql: &str) -> Result<(), StoreError> {
        let mut conn = Conn::establish(&self.server, Purpose::Inspect)?;
        conn.batch(sql)
            .map_err(|e| StoreError::from(e).at(&self.server.to_string()))
    }
}

/// The same server and parameters, another database.
fn beside(url: &str, name: &str) -> String {
    let (address, parameters) = match url.find(['?', '#']) {
        Some(at) => url.split_at(at),
        None => (url, ""),
    };
    let authority = address.find("://").map_or(0, |at| at + 3);
    let server = match address[authority..].find('/') {
        Some(slash) => &address[..authority + slash],
        None => address,
    };
    format!("{server}/{name}{parameters}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_database_of_the_same_server_keeps_its_parameters() {
        let cases = [
            ("postgres://u:p@h:5432/postgres", "postgres://u:p@h:5432/x"),
            ("postgres://h", "postgres://h/x"),
            ("postgres://h/", "postgres://h/x"),
            (
                "postgresql://u@h/a?sslmode=disable",
                "postgresql://u@h/x?sslmode=disable",
            ),
            (
                "postgres:///a?host=/run/postgresql",
                "postgres:///x?host=/run/postgresql",
            ),
        ];
        for (url, expected) in cases {
            assert_eq!(beside(url, "x"), expected);
        }
    }
}
