//! An actor that dies, of whatever, is noticed and started anew; one that cannot be helped is escalated.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::panic, reason = "the actors here die on purpose")]

mod deaths;
mod escalation;
mod frozen;
mod lives;
mod patient;
mod told;
mod whole_service;
