//! The demo: its scripted agent does every role's work for real, and its sample project's tests really run.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod agent;
mod fake_service;
mod following;
mod readme;
