//! Orch delivers the work of coding agents. Folders are layers; a layer knows only those below it.
//! `ARCHITECTURE.md` walks one task through them.

#[macro_use]
pub mod failpoint;

pub mod app;

pub mod cli;
pub mod http;

pub mod actors;

pub mod engine;

pub mod gates;

pub mod agents;
pub mod git;
pub mod integrations;

pub mod process;
mod schema;
pub mod settings;
pub mod store;

pub mod domain;
