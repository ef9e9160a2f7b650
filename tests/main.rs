//! One test binary: a folder per promise.

mod agents;
mod engine;
mod git;
mod process;
mod settings;
mod store;
mod supervision;
