//! The database: rows in, domain types out. The only place that knows Diesel.
//!
//! Functions over `&mut Conn`, one file per family of tables, composed by callers inside [`Store::write`]
//! or [`Store::read`]. Every guarded write says what it believed and answers [`Guarded`].
//! Never reads a clock, never decides what a task should do next.

/// Runs the same text against whichever backend `conn` is: each arm is compiled with its own Diesel types.
macro_rules! on {
    ($conn:expr, $c:ident => $body:expr) => {
        match $conn {
            $crate::store::Conn::Sqlite($c) => $body,
            $crate::store::Conn::Pg($c) => $body,
        }
    };
}

/// A condition written literally: a bound parameter would hide it from partial indexes.
/// Unlike `diesel::dsl::sql` it leaves the statement cacheable.
macro_rules! predicate {
    ($(#[$doc:meta])* $name:ident = $sql:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, diesel::query_builder::QueryId, diesel::expression::ValidGrouping)]
        pub(in crate::store) struct $name;

        impl diesel::expression::Expression for $name {
            type SqlType = diesel::sql_types::Bool;
        }
        impl<DB: diesel::backend::Backend> diesel::query_builder::QueryFragment<DB> for $name {
            fn walk_ast<'b>(
                &'b self,
                mut out: diesel::query_builder::AstPass<'_, 'b, DB>,
            ) -> diesel::QueryResult<()> {
                out.push_sql($sql);
                Ok(())
            }
        }
        impl<QS> diesel::expression::AppearsOnTable<QS> for $name {}
        impl<QS> diesel::expression::SelectableExpression<QS> for $name {}
    };
}

mod conn;
mod decode;
mod error;
mod migrations;
mod news;
mod open;
mod place;
mod pool;
mod service;
mod transaction;
mod wire;
mod writer;

pub mod batches;
pub mod clock;
pub mod comments;
pub mod deploys;
pub mod duties;
pub mod events;
pub mod evidence;
pub mod flags;
pub mod gestures;
pub mod healing;
pub mod inbox;
pub mod incidents;
pub mod instances;
pub mod intents;
pub mod jobs;
pub mod leases;
pub mod merge_stops;
pub mod nodes;
pub mod outbox;
pub mod probes;
pub mod projects;
pub mod pull_requests;
pub mod quarantine;
pub mod retention;
pub mod retries;
pub mod runs;
pub mod scratch;
pub mod spend;
pub mod tasks;

pub use conn::Conn;
pub use decode::{Guarded, Listing, readable};
pub use error::{Retry, StoreError};
pub use news::Listener;
pub use service::Store;
