//! One test binary: a folder per promise.

mod settings;
mod store;
