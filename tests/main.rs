//! One test binary: a folder per promise.

mod agents;
mod bad_input;
mod cli;
mod crash;
mod demo;
mod engine;
mod git;
mod gitea;
mod http;
mod instances;
mod model;
mod openapi;
mod outside;
mod plane;
mod process;
mod schedules;
mod settings;
mod store;
mod supervision;
mod support;
mod walk;
mod webhooks;
