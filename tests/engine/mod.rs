//! What the engine promises, asked of the engine itself: no actors, a settable clock, real git, processes and rows.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::panic, reason = "a test fails by panicking")]

mod at_gitea;
mod attempts;
mod batches;
mod budgets;
mod crash;
mod driving;
mod from_forge;
mod from_plane;
mod host_watch;
pub mod house;
mod leases;
mod left_over;
mod lost;
mod merging;
mod nodes;
mod pruning;
mod reaper;
mod reconciling;
mod repairing;
mod rescue;
mod staging;
mod stopped;
mod styles;
mod superseded;
mod telling;
mod to_plane;
mod waiting;
mod walking;
mod watching;
