//! `[agent]`, `[agents.<role>]` and `[prompts]`. Never asks whether a preset or a program exists.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::super::Settings;
use super::super::nodes::labels;
use super::table::Table;
use super::{AgentSettings, PromptDelivery};
use crate::domain::pipeline::Role;

/// The default agent and those of single roles, each complete.
pub(super) fn agents(top: &Table<'_>, settings: &Settings) -> (AgentSettings, BTreeMap<Role, AgentSettings>) {
    let default = match top.table("agent") {
        Some(table) => agent(&table, &AgentSettings::default(), settings),
        None => AgentSettings::default(),
    };
    let mut agents = BTreeMap::new();
    if let Some(section) = top.table("agents") {
        for role in Role::ALL {
            if let Some(table) = section.table(role.as_str()) {
                agents.insert(role, agent(&table, &default, settings));
            }
        }
        section.finish();
    }
    (default, agents)
}

/// An agent's settings over those of `base`.
fn agent(table: &Table<'_>, base: &AgentSettings, settings: &Settings) -> AgentSettings {
    let preset = table.text("preset").map(|at| at.value);
    let command = command(table, "command");
    // A role that names its own program has nothing of the other program's options.
    let base = if preset.is_some() || command.is_some() {
        &AgentSettings {
            preset: None,
            command: None,
            prompt: None,
            model: None,
            ..base.clone()
        }
    } else {
        base
    };
    let deliveries = [
        ("stdin", PromptDelivery::Stdin),
        ("file", PromptDelivery::File),
        ("argument", PromptDelivery::Argument),
    ];
    let timeout = table.seconds("timeout_s");
    if let Some(at) = timeout
        .as_ref()
        .filter(|at| at.value > settings.agent.timeout_cap)
    {
        let cap = settings.agent.timeout_cap.as_secs();
        let problem = format!("timeout_s is above agent.timeout_cap_s ({cap}): lower it or raise the cap");
        table.note(at.line, problem);
    }
    let mut env = base.env.clone();
    env.extend(variables(table));
    let agent = AgentSettings {
        preset: preset.or_else(|| base.preset.clone()),
        command: command.or_else(|| base.command.clone()),
        prompt: table
            .word("prompt", &deliveries)
            .map(|at| at.value)
            .or(base.prompt),
        model: table
            .text("model")
            .map(|at| at.value)
            .or_else(|| base.model.clone()),
        timeout: timeout.map(|at| at.value).or(base.timeout),
        stall: table.seconds("stall_s").map(|at| at.value).or(base.stall),
        startup: table.seconds("startup_s").map(|at| at.value).or(base.startup),
        env,
        wrapper: table
            .texts("wrapper")
            .map_or_else(|| base.wrapper.clone(), |at| at.value),
        labels: labels(table, "labels").unwrap_or_else(|| base.labels.clone()),
    };
    table.finish();
    agent
}

/// Program and arguments.
pub(super) fn command(table: &Table<'_>, key: &'static str) -> Option<Vec<String>> {
    let at = table.texts(key)?;
    if at.value.first().is_none_or(|program| program.trim().is_empty()) {
        table.note(
            at.line,
            format!("{key} is empty: give a program and its arguments, or leave it out"),
        );
        return None;
    }
    Some(at.value)
}

pub(super) fn variables(table: &Table<'_>) -> BTreeMap<String, String> {
    let Some(at) = table.text_map("env") else {
        return BTreeMap::new();
    };
    for name in at.value.keys() {
        let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if !plain || name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
            let problem = format!("env: {name:?} is no variable name: use letters, digits and '_'");
            table.note(at.line, problem);
        }
    }
    at.value
}

/// Prompt files by role, relative to `folder`. They must exist now: a run would find out too late.
pub(super) fn prompts(top: &Table<'_>, folder: &Path) -> BTreeMap<Role, PathBuf> {
    let mut prompts = BTreeMap::new();
    let Some(section) = top.table("prompts") else {
        return prompts;
    };
    for role in Role::ALL {
        if let Some(at) = section.text(role.as_str()) {
            let path = folder.join(&at.value);
            if !path.is_file() {
                section.note(
                    at.line,
                    format!("prompts.{role}: there is no file {}", path.display()),
                );
            }
            prompts.insert(role, path);
        }
    }
    section.finish();
    prompts
}
