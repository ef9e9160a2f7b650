//! How agents are started, what they are told, and what is read from their output.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod presets;
mod prompts;
mod usage;
