//! The command line: a client of the service's API, and the few commands that work without a service.
//! Never opens the database of a running service, and never panics on a closed pipe.

mod batch;
mod breaker;
mod budget;
mod chosen;
mod client;
mod completions;
mod config;
pub mod demo;
mod deploy;
mod doctor;
mod events;
mod exit;
mod given;
mod healed;
mod inbox;
mod init;
mod job;
mod lease;
mod migrate;
mod node;
mod outbox;
mod project;
mod prune;
mod queue;
mod reap;
mod repair;
mod run;
mod screen;
mod serve;
mod task;
mod text;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::settings::{LoadOptions, Settings, Warning};
use client::Client;
use exit::{Exit, Failure};
use screen::{Screen, When};
pub use serve::Service;

const AFTER_HELP: &str = "\
Try it:
  orch demo                             a whole delivery, with a scripted agent, in a minute
Use it:
  orch init --agent claude              put the repository in this folder under Orch's care
  orch serve                            start the service
  orch task add \"Fix the login page\"    give it work
  orch task list                        see where everything stands
  orch run logs -f ORCH-001               watch the agent

Exit codes:
  0   done
  1   refused, failed, or without effect
  2   wrong usage or wrong configuration
  3   no service answers
  4   no such task, job, run, project or agent preset
  70  something broke inside; after `serve`: start it again
  130 `demo` was interrupted";

/// Delivers the work of coding agents: stages, quality gates, fenced merges, confirmed deploys.
#[derive(Debug, Parser)]
#[command(name = "orch", version, after_help = AFTER_HELP, max_term_width = 110)]
#[command(arg_required_else_help = true, subcommand_required = true)]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// Options that every command takes.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Options for every command")]
pub struct Global {
    /// Print JSON on stdout, exactly as the API gives it; errors are JSON on stderr.
    #[arg(long, global = true)]
    json: bool,
    /// Read this configuration file (else the one that ORCH_CONFIG names).
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where the service is, instead of where server.listen says.
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "ORCH_API_URL",
        hide_env_values = true
    )]
    api_url: Option<String>,
    /// When to colour.
    #[arg(long, global = true, value_name = "WHEN", value_enum, default_value_t)]
    color: When,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start the service.
    Serve(serve::ServeArgs),
    /// Show a whole delivery in a temporary place, with a scripted agent.
    Demo(demo::DemoArgs),
    /// Put a repository under Orch's care.
    Init(init::InitArgs),
    /// Add tasks, look at them, decide about them.
    #[command(subcommand)]
    Task(task::TaskCommand),
    /// Submit tasks together, look at them, resume or cancel them.
    #[command(subcommand)]
    Batch(batch::BatchCommand),
    /// Look at the queue, pause it, resume it.
    Queue(queue::QueueArgs),
    /// Look at a job, try it again, cancel it, move it in the queue.
    #[command(subcommand)]
    Job(job::JobCommand),
    /// Look at deploys, let a revision out of quarantine.
    #[command(subcommand)]
    Deploy(deploy::DeployCommand),
    /// Look at merge leases, release one.
    #[command(subcommand)]
    Lease(lease::LeaseCommand),
    /// Look at failures and how they are answered.
    #[command(subcommand)]
    Repair(repair::RepairCommand),
    /// Look at scopes that failed too often in a row, let one work again.
    #[command(subcommand)]
    Breaker(breaker::BreakerCommand),
    /// Show what agents cost, and what they may.
    Budget,
    /// Look at the machines on which agents run, give one back what repair took.
    #[command(subcommand)]
    Node(node::NodeCommand),
    /// Settle jobs whose executor died, or say which would be.
    Reap(reap::ReapArgs),
    /// Remove what was kept for long enough, or say what would go.
    Prune(prune::PruneArgs),
    /// Look at what agents did and what they print.
    #[command(subcommand)]
    Run(run::RunCommand),
    /// Look at the projects under care.
    #[command(subcommand)]
    Project(project::ProjectCommand),
    /// Look at what could not be told yet, and send it again.
    Outbox(outbox::OutboxArgs),
    /// What trackers and forges delivered, and applying again what could not be applied.
    Inbox(inbox::InboxArgs),
    /// Show what happened, and what happens.
    Events(events::EventsArgs),
    /// Show what was stuck, and how it was healed.
    Healed(healed::HealedArgs),
    /// Show the settings and where each comes from.
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// Check everything that Orch needs, and say what to do.
    Doctor(doctor::DoctorArgs),
    /// Bring the database to this version's schema.
    Migrate(migrate::MigrateArgs),
    /// Print a completion script for a shell.
    Completions(completions::CompletionsArgs),
}

impl Global {
    fn screen(&self) -> Screen {
        Screen::new(self.color)
    }

    fn client(&self) -> Result<Client, Failure> {
        Client::new(self)
    }

    /// The settings, from this process's environment and folder.
    fn settings(&self) -> Result<(Settings, Vec<Warning>), Failure> {
        let cwd = std::env::current_dir()
            .map_err(|e| Failure::Refused(format!("this folder cannot be used: {e}; change to another")))?;
        let text = |s: std::ffi::OsString| s.to_string_lossy().into_owned();
        let options = LoadOptions {
            config_file: self.config.clone(),
            env: std::env::vars_os()
                .map(|(name, value)| (text(name), text(value)))
                .collect(),
            cwd,
        };
        Settings::load(options).map_err(|e| Failure::Usage(e.to_string()))
    }
}

/// Runs what the command line asks for. The whole program, once `main` knows that it is not a shim.
pub fn main(service: Service) -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(e) => {
            // A reader that has gone is no reason to fail.
            let _ = e.print();
            return if e.use_stderr() { Exit::Usage } else { Exit::Ok }.into();
        }
    };
    let as_json = cli.global.json;
    match dispatch(cli, service) {
        Ok(code) => code,
        Err(failure) => failure.report(as_json).into(),
    }
}

fn dispatch(cli: Cli, service: Service) -> Result<ExitCode, Failure> {
    let global = &cli.global;
    let exit = match cli.command {
        Command::Serve(args) => return serve::run(&args, global, service),
        Command::Demo(mut args) => {
            args.json |= global.json;
            let done = demo::run(args, global.screen().is_colored());
            return done.map_err(|e| Failure::Refused(format!("{e:#}")));
        }
        Command::Init(args) => init::run(&args, global),
        Command::Task(command) => task::run(command, global),
        Command::Batch(command) => batch::run(&command, global),
        Command::Queue(args) => queue::run(&args, global),
        Command::Job(command) => job::run(&command, global),
        Command::Deploy(command) => deploy::run(&command, global),
        Command::Lease(command) => lease::run(&command, global),
        Command::Repair(command) => repair::run(&command, global),
        Command::Breaker(command) => breaker::run(&command, global),
        Command::Budget => budget::run(global),
        Command::Node(command) => node::run(&command, global),
        Command::Reap(args) => reap::run(&args, global),
        Command::Prune(args) => prune::run(&args, global),
        Command::Run(command) => run::run(&command, global),
        Command::Project(command) => project::run(&command, global),
        Command::Outbox(args) => outbox::run(&args, global),
        Command::Inbox(args) => inbox::run(&args, global),
        Command::Events(args) => events::run(&args, global),
        Command::Healed(args) => healed::run(&args, global),
        Command::Config(command) => config::run(&command, global),
        Command::Doctor(args) => doctor::run(&args, global),
        Command::Migrate(args) => migrate::run(&args, global),
        Command::Completions(args) => completions::run(&args, global),
    };
    exit.map(ExitCode::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
