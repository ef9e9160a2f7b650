//! The store keeps its promises, on SQLite always and on PostgreSQL where `ORCH_TEST_POSTGRES` names a server.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![expect(clippy::print_stdout, reason = "what was not run is said")]

#[macro_use]
pub mod support;

mod claims;
mod deploys;
mod jobs;
mod leases;
mod news;
mod notices;
mod opening;
mod plans;
mod records;
mod retention;
mod runs;
mod tasks;
mod writer;
