//! One test binary: a folder per promise.

mod git;
mod process;
mod settings;
mod store;
