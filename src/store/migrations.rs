//! Brings a schema up to date. Refuses, untouched, what a newer version or another program has written.

use diesel::migration::{Migration, MigrationSource};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text};
use diesel::sqlite::Sqlite;
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

use super::conn::{Conn, Serial};
use super::error::StoreError;
use super::place::Place;

const SQLITE: EmbeddedMigrations = embed_migrations!("migrations/sqlite");
const POSTGRES: EmbeddedMigrations = embed_migrations!("migrations/postgres");

#[derive(QueryableByName)]
struct Table {
    #[diesel(sql_type = Text)]
    name: String,
}

#[derive(QueryableByName)]
struct Version {
    #[diesel(sql_type = Text)]
    version: String,
}

/// Names and versions of the migrations in this binary.
fn embedded(place: &Place) -> Vec<(String, String)> {
    fn pairs<DB: diesel::backend::Backend>(list: Vec<Box<dyn Migration<DB>>>) -> Vec<(String, String)> {
        list.iter()
            .map(|m| (m.name().to_string(), m.name().version().as_owned().to_string()))
            .collect()
    }
    match place {
        Place::Sqlite(_) => MigrationSource::<Sqlite>::migrations(&SQLITE).map(pairs),
        Place::Postgres(_) => MigrationSource::<Pg>::migrations(&POSTGRES).map(pairs),
    }
    .unwrap_or_default()
}

/// The names of all migrations in this binary.
pub(super) fn known(place: &Place) -> Vec<String> {
    embedded(place).into_iter().map(|(name, _)| name).collect()
}

/// The names of migrations that the database lacks. Writes nothing.
pub(super) fn pending(conn: &mut Conn, place: &Place) -> Result<Vec<String>, StoreError> {
    let here = place.to_string();
    let applied = applied(conn, place).map_err(|e| e.at(&here))?;
    let mut known = embedded(place);
    if let Some(version) = applied.iter().rfind(|v| !known.iter().any(|(_, k)| k == *v)) {
        return Err(StoreError::Newer {
            place: here,
            version: version.clone(),
        });
    }
    known.retain(|(_, version)| !applied.contains(version));
    Ok(known.into_iter().map(|(name, _)| name).collect())
}

/// The versions that the database has, in order.
fn applied(conn: &mut Conn, place: &Place) -> Result<Vec<String>, StoreError> {
    let sql = match conn {
        Conn::Sqlite(_) => "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'",
        Conn::Pg(_) => {
            "SELECT table_name::text AS name FROM information_schema.tables WHERE table_schema = current_schema()"
        }
    };
    // One statement: another service may be migrating.
    let tables = on!(conn, c => diesel::sql_query(sql).load::<Table>(c))?;
    if !tables.iter().any(|t| t.name == "__diesel_schema_migrations") {
        if !tables.is_empty() {
            return Err(StoreError::Foreign {
                place: place.to_string(),
            });
        }
        return Ok(Vec::new());
    }
    let sql = "SELECT version FROM __diesel_schema_migrations ORDER BY version";
    let rows = on!(conn, c => diesel::sql_query(sql).load::<Version>(c))?;
    Ok(rows.into_iter().map(|v| v.version).collect())
}

/// Runs what is pending. Several services may start at once on PostgreSQL: one migrates, the others wait.
pub(super) fn run(conn: &mut Conn, place: &Place) -> Result<(), StoreError> {
    let key = Serial::Migration as i64;
    let result = match conn {
        Conn::Sqlite(c) => c.run_pending_migrations(SQLITE).map(drop),
        Conn::Pg(c) => diesel::sql_query("SELECT pg_advisory_lock($1)")
            .bind::<BigInt, _>(key)
            .execute(c)
            .map_err(Into::into)
            .and_then(|_| c.run_pending_migrations(POSTGRES).map(drop)),
    };
    if let Conn::Pg(c) = conn {
        // The lock ends with this connection in any case.
        drop(
            diesel::sql_query("SELECT pg_advisory_unlock($1)")
                .bind::<BigInt, _>(key)
                .execute(c),
        );
    }
    result.map_err(|e| {
        let why = StoreError::from(diesel::result::Error::QueryBuilderError(e));
        match why.at(&place.to_string()) {
            StoreError::Database { why } => StoreError::Database {
                why: format!("{place} could not be migrated: {why}"),
            },
            known => known,
        }
    })
}
