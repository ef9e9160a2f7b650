//! `orch completions`: a script for the shell.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::exit::{Exit, Failure};
use super::{Cli, Global};

const EXAMPLES: &str = "\
Examples:
  orch completions bash > ~/.local/share/bash-completion/completions/orch
  orch completions zsh  > ~/.zfunc/_orch
  orch completions fish > ~/.config/fish/completions/orch.fish";

/// What `completions` takes.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct CompletionsArgs {
    /// The shell.
    shell: Shell,
}

pub(super) fn run(args: &CompletionsArgs, global: &Global) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "orch", &mut script);
    global.screen().write(&script)?;
    Ok(Exit::Ok)
}
