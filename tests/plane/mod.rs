//! Plane: the fake one behaves as the real one was seen to, and the client lives with all of that.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod client;
mod fake;
