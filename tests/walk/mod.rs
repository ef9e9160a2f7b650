//! One task walks from created to done: the real service, the real command line, real repositories.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod agents_that_fail;
mod containers;
mod crashes;
mod database_restarts;
mod default_pipeline;
mod demo;
mod deploys;
mod drain;
mod failures;
mod far_deploys;
mod forgotten;
mod gates;
mod healers;
mod kills;
mod logs;
mod merges;
mod operator;
mod own_pipeline;
mod pruning;
mod questions;
mod races;
mod rescue;
mod self_deploy;
mod spares;
mod ssh_nodes;
mod stopped;
mod ten_tasks;
mod watching;
