//! The single checks, in the order in which a person would look.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::Path;

use super::{Check, State, on_path};
use crate::agents::Presets;
use crate::cli::Global;
use crate::cli::chosen::{program, roles};
use crate::cli::client::converse;
use crate::cli::exit::Failure;
use crate::domain::host::{Level, disk as level};
use crate::engine::host::{self, Reading};
use crate::git;
use crate::settings::data_dir::probe;
use crate::settings::project;
use crate::settings::{Project, Settings};
use crate::store::Store;

pub(super) fn all(global: &Global) -> Vec<Check> {
    let mut checks = Vec::new();
    let settings = match global.settings() {
        Ok((settings, warnings)) => {
            checks.push(Check::new("settings", State::Ok, "readable and consistent"));
            checks.extend(
                warnings
                    .iter()
                    .map(|w| Check::new("settings", State::Warn, w.to_string())),
            );
            settings
        }
        Err(failure) => {
            let lines = failure.to_string();
            checks.extend(lines.lines().map(|l| Check::new("settings", State::Fail, l)));
            return checks;
        }
    };
    checks.extend(disks(&settings));
    checks.push(folder("data_dir", &settings.data_dir));
    checks.push(folder("repos_dir", &settings.repos_dir));
    checks.push(database(&settings));
    checks.push(git_program());
    checks.extend(super::nodes::nodes(&settings));
    checks.extend(projects(&settings));
    checks.push(service(global));
    checks
}

/// A full disk is the first suspect when checks are red without a reason.
fn disks(settings: &Settings) -> Vec<Check> {
    let (parts, trouble) = host::disks(settings);
    let limits = settings.host.limits;
    let mut checks = Vec::new();
    for part in parts {
        let Reading::Used(used) = part.reading else {
            continue;
        };
        let found = format!("{} is {} full", part.what, host::percent(used));
        checks.push(match level(Level::Fine, used, limits) {
            Level::Fine => Check::new("disk", State::Ok, found),
            Level::Alert => Check::new("disk", State::Warn, format!("{found}: `orch prune` makes room")),
            Level::Stop => Check::new(
                "disk",
                State::Fail,
                format!(
                    "{found}: above {} % nothing is claimed; make room, for example with `orch prune`",
                    limits.stop_percent
                ),
            ),
        });
    }
    checks.extend(
        trouble
            .iter()
            .map(|why| Check::new("disk", State::Warn, why.as_str())),
    );
    checks
}

/// Tried by writing: rights, read-only mounts and full disks all show.
fn folder(key: &'static str, folder: &Path) -> Check {
    let shown = folder.display();
    if !folder.exists() {
        let parent = folder.ancestors().find(|p| p.exists()).unwrap_or(folder);
        return match probe(parent) {
            Ok(()) => Check::new(key, State::Ok, format!("{shown} will be created by the service")),
            Err(e) => Check::new(
                key,
                State::Fail,
                format!("{shown} cannot be created: {e}; choose another {key}"),
            ),
        };
    }
    match probe(folder) {
        Ok(()) => Check::new(key, State::Ok, format!("{shown} is writable")),
        Err(e) if e.kind() == ErrorKind::StorageFull => Check::new(
            key,
            State::Fail,
            format!("{shown}: the disk is full; free some space"),
        ),
        Err(e) => Check::new(
            key,
            State::Fail,
            format!("{shown} is not writable: {e}; give this user the right, or choose another {key}"),
        ),
    }
}

fn database(settings: &Settings) -> Check {
    let url = &settings.database.url;
    let pending = Store::check_use(url).and_then(|()| Store::pending(url));
    match pending {
        Ok(pending) if pending.is_empty() => {
            Check::new("database", State::Ok, "answers, with this version's schema")
        }
        Ok(pending) => Check::new(
            "database",
            State::Warn,
            format!(
                "not applied yet: {}; `orch migrate` does it, and `orch serve` too",
                pending.join(", ")
            ),
        ),
        Err(e) => Check::new("database", State::Fail, e.to_string()),
    }
}

fn git_program() -> Check {
    match on_path("git") {
        Some(path) => Check::new("git", State::Ok, path.display().to_string()),
        None => Check::new("git", State::Fail, "not found on PATH: install git"),
    }
}

fn projects(settings: &Settings) -> Vec<Check> {
    let dir = settings.projects_dir.display();
    match project::load_all(&settings.projects_dir, settings) {
        Ok(projects) if projects.is_empty() => {
            let found = format!("none in {dir}: `orch init` puts a repository under care");
            vec![Check::new("projects", State::Warn, found)]
        }
        Ok(projects) => projects.iter().flat_map(|p| one_project(p, settings)).collect(),
        Err(e) => {
            let lines = e.to_string();
            lines
                .lines()
                .map(|l| Check::new("projects", State::Fail, l))
                .collect()
        }
    }
}

fn one_project(project: &Project, settings: &Settings) -> Vec<Check> {
    let name = format!("project {}", project.name);
    let repo = match git::Origin::of(&project.repo, settings)
        .and_then(|origin| git::check_origin(&origin, &project.main))
    {
        Ok(_) => {
            let found = format!("{} has {}", git::mask_url(&project.repo), project.main);
            Check::new(name.as_str(), State::Ok, found)
        }
        Err(e) => Check::new(name.as_str(), State::Fail, e.to_string()),
    };
    let presets = match Presets::load(settings.agent.presets_file.as_deref()) {
        Ok(presets) => presets,
        Err(e) => return vec![repo, Check::new(name, State::Fail, e.to_string())],
    };
    let programs: BTreeSet<_> = roles(project)
        .into_iter()
        .map(|role| program(project.agent(role), &presets))
        .collect();
    let mut checks = vec![repo];
    checks.extend(super::forge::forge(project, settings));
    if project.test_command.is_none() {
        let found = format!(
            "no test_command in {}: Orch merges nothing and waits for a person's merge",
            project.source.display()
        );
        checks.push(Check::new(format!("{name}: merge"), State::Warn, found));
    }
    checks.extend(programs.into_iter().map(|program| agent(&name, program)));
    checks.extend(super::plane::plane(project, settings));
    checks
}

fn agent(project: &str, program: Result<String, String>) -> Check {
    let check = format!("{project}: agent");
    match program {
        Ok(program) => match on_path(&program) {
            Some(path) => Check::new(check, State::Ok, format!("{program} is {}", path.display())),
            None => {
                let found =
                    format!("{program} is not found on this PATH: install it, or choose another [agent]");
                Check::new(check, State::Fail, found)
            }
        },
        Err(why) => Check::new(check, State::Fail, why),
    }
}

fn service(global: &Global) -> Check {
    let asked = global.client().and_then(|client| {
        let base = client.base().to_owned();
        converse(client.get("/ready")).map(|_| base)
    });
    match asked {
        Ok(base) => Check::new("service", State::Ok, format!("ready at {base}")),
        Err(failure @ Failure::NoService(_)) => Check::new("service", State::Warn, failure.to_string()),
        Err(failure) => Check::new("service", State::Fail, failure.to_string()),
    }
}
