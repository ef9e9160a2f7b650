//! The words of the product as types, and its decisions as functions of values.
//! Never does I/O, never reads a clock, knows neither Diesel nor actix.

pub mod allowance;
pub mod batch;
pub mod board;
pub mod budget;
pub mod claim;
pub mod classify;
pub mod delivery;
pub mod deploy;
pub mod evidence;
pub mod evidence_packet;
pub mod forge;
pub mod front_matter;
pub mod gate;
pub mod gesture;
pub mod host;
pub mod id;
pub mod inbox;
pub mod job;
pub mod pipeline;
pub mod quoted;
pub mod reap;
pub mod reclaim;
pub mod reconcile;
pub mod records;
pub mod repair;
pub mod retention;
pub mod retry;
pub mod revision;
pub mod run;
pub mod sighting;
pub mod task;
pub mod time;
pub mod usage;
pub mod walk;
pub mod webhook;
