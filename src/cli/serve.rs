//! `orch serve`: reads settings and projects, then hands over to the composition root.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use clap::Args;

use super::exit::{Exit, Failure};
use super::{Global, chosen, doctor};
use crate::agents::Presets;
use crate::settings::project::{self, Project};
use crate::settings::{Settings, Warning, data_dir};

const EXAMPLES: &str = "\
Examples:
  orch serve                                     settings from ORCH_CONFIG and the environment
  orch --config /etc/orch.toml serve
  ORCH_SERVER_LISTEN=127.0.0.1:8600 orch serve

Wrong settings or projects are listed, one per line, and end it with exit code 2.
What keeps it from starting (a database or a port that is in use) ends it with 1.
SIGTERM and Ctrl-C stop it in order; a second Ctrl-C stops it at once. What happens to
running agents then is the setting `shutdown`. Exit code 70 means: start me again.";

/// What `serve` takes.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct ServeArgs {}

/// Runs the service with settings and projects that were read and validated. The composition root gives it: this
/// floor knows nothing above itself.
pub type Service = fn(Settings, Vec<Project>, Vec<Warning>) -> anyhow::Result<ExitCode>;

pub(super) fn run(_args: &ServeArgs, global: &Global, service: Service) -> Result<ExitCode, Failure> {
    let (settings, mut warnings) = match global.settings() {
        Ok(loaded) => loaded,
        Err(failure) => return Ok(wrong(failure.to_string().lines())),
    };
    let blocked: Vec<_> = [
        ("data_dir", &settings.data_dir),
        ("repos_dir", &settings.repos_dir),
        ("projects_dir", &settings.projects_dir),
    ]
    .into_iter()
    .filter_map(|(key, folder)| no_folder(key, folder))
    .collect();
    // The others lie in data_dir unless they were set.
    if let Some(first) = blocked.first() {
        return Ok(wrong([first]));
    }
    let projects = match project::load_all(&settings.projects_dir, &settings) {
        Ok(projects) => projects,
        Err(e) => return Ok(wrong(e.to_string().lines())),
    };
    let presets = Presets::load(settings.agent.presets_file.as_deref());
    let presets = match presets {
        Ok(presets) => presets,
        Err(e) => return Ok(wrong([e])),
    };
    let unknown: Vec<_> = projects.iter().filter_map(|p| unknown(p, &presets)).collect();
    if !unknown.is_empty() {
        return Ok(wrong(unknown));
    }
    warnings.extend(projects.iter().flat_map(|p| absent(p, &presets)));
    service(settings, projects, warnings).map_err(|e| Failure::Refused(format!("{e:#}")))
}

fn no_folder(key: &str, folder: &Path) -> Option<String> {
    let file = data_dir::obstacle(folder)?.display();
    let folder = folder.display();
    Some(format!(
        "{key} {folder}: {file} is no folder; move it away, or choose another {key}"
    ))
}

/// A preset that nobody knows is a mistake in the file, like an unknown gate.
fn unknown(project: &Project, presets: &Presets) -> Option<String> {
    let (role, name) = chosen::unknown_preset(project, presets)?;
    Some(format!(
        "{}: preset = {name:?} (for the {role}): there is no such agent preset; use one of {}, or a command",
        project.source.display(),
        presets.names()
    ))
}

/// Programs that this service would not find. They may be installed later, so they do not stop it.
fn absent(project: &Project, presets: &Presets) -> Vec<Warning> {
    let origin = project.source.display().to_string();
    let warning = |message| Warning {
        origin: origin.clone(),
        message,
    };
    let programs: BTreeSet<_> = chosen::roles(project)
        .into_iter()
        .map(|role| chosen::program(project.agent(role), presets))
        .collect();
    let absent = programs.into_iter().filter_map(|program| match program {
        Ok(program) if doctor::on_path(&program).is_some() => None,
        Ok(program) => Some(warning(format!(
            "agent {program} is not found on this PATH: its runs will fail until it is installed"
        ))),
        Err(why) => Some(warning(why)),
    });
    absent.collect()
}

fn wrong(problems: impl IntoIterator<Item = impl Display>) -> ExitCode {
    for problem in problems {
        let _ = writeln!(io::stderr(), "orch: {problem}");
    }
    Exit::Usage.into()
}
