//! Real programs under the real shim.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod checks;
mod ends;
mod launching;
mod leases;
mod output;
mod support;
mod trees;
mod watching;
