//! What git is asked to do, against real repositories.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

pub mod repo;

mod clones;
mod commits;
mod costs;
mod heads;
mod loose;
mod mends;
mod merges;
mod pushes;
mod reads;
mod rebases;
mod records;
mod spares;
mod wip;
mod worktrees;
