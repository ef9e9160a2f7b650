//! One test binary: a folder per promise.

mod process;
mod settings;
mod store;
