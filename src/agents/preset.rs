//! The known agents as data, and how a project chooses one. Never knows an agent's name in code.

mod command;

pub use command::{AgentCommand, MAX_ARGUMENT, PromptInput, resolve};

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::usage::UsageFormat;

/// The name of an agent that is a bare command.
pub const COMMAND: &str = "command";

const BUILTIN: &str = include_str!("../../config/agents.toml");

/// An agent that cannot be started as configured.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AgentError {
    /// No preset of that name.
    #[error("there is no agent preset {name:?}; known: {known} (or give agent.command)")]
    UnknownPreset {
        /// The name.
        name: String,
        /// The names that exist.
        known: String,
    },
    /// Neither a preset nor a command.
    #[error("no agent is chosen: set agent.preset to one of {known}, or agent.command")]
    NothingChosen {
        /// The names that exist.
        known: String,
    },
    /// A command without a program.
    #[error("agent.{key} is empty: its first element is the program to start")]
    EmptyCommand {
        /// `command` or `wrapper`.
        key: &'static str,
    },
    /// `{model}` without a model.
    #[error("the command of agent {name:?} uses {{model}}, but no model is set: set agent.model")]
    NoModel {
        /// The agent.
        name: String,
    },
    /// A path that cannot stand in an argument.
    #[error("the path {path:?} is not UTF-8: use a data directory with a plain name")]
    PathNotUtf8 {
        /// The path, as far as it can be shown.
        path: String,
    },
    /// Presets that cannot be read.
    #[error("the agent presets in {source_name} cannot be read: {why}")]
    BadPresets {
        /// The file.
        source_name: String,
        /// The parser's words.
        why: String,
    },
}

/// How an agent gets its prompt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PromptDelivery {
    /// On standard input.
    #[default]
    Stdin,
    /// As the path of a file.
    File,
    /// As an argument; a prompt past [`MAX_ARGUMENT`] is replaced by a line that points to the file.
    Argument,
}

/// What a project chose.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AgentChoice {
    /// A preset's name.
    pub preset: Option<String>,
    /// Program and arguments, instead of the preset's.
    pub command: Option<Vec<String>>,
    /// How the prompt is passed, instead of the preset's way.
    pub prompt: Option<PromptDelivery>,
    /// The model.
    pub model: Option<String>,
    /// Variables added to the agent's environment.
    pub env: BTreeMap<String, String>,
    /// Put before the program: `["bwrap", …]`.
    pub wrapper: Vec<String>,
}

/// A way to start an agent, as written in `config/agents.toml`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preset {
    /// The program.
    pub program: String,
    /// Arguments that are always given.
    #[serde(default)]
    pub args: Vec<String>,
    /// Arguments given when a model is set.
    #[serde(default)]
    pub model_args: Vec<String>,
    /// How the prompt is passed.
    #[serde(default)]
    pub prompt: PromptDelivery,
    /// Arguments that make it read standard input.
    #[serde(default)]
    pub stdin_args: Vec<String>,
    /// Arguments that point to the prompt file.
    #[serde(default)]
    pub file_args: Vec<String>,
    /// Arguments that hold the prompt.
    #[serde(default)]
    pub argument_args: Vec<String>,
    /// Variables it needs.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// The stream it prints.
    #[serde(default)]
    pub usage: UsageFormat,
}

/// The presets of an installation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Presets(BTreeMap<String, Preset>);

impl Presets {
    /// The presets that come with Orch.
    ///
    /// # Errors
    /// Never for a released build: the tests read them.
    pub fn builtin() -> Result<Self, AgentError> {
        read("config/agents.toml (built in)", BUILTIN, toml::Table::new())
    }

    /// The presets of an installation: the built-in ones, with the operator's file laid over them if there is one.
    ///
    /// # Errors
    /// [`AgentError::BadPresets`], naming the file, and the line or key where it can be read.
    pub fn load(file: Option<&Path>) -> Result<Self, AgentError> {
        let builtin = Self::builtin()?;
        let Some(file) = file else { return Ok(builtin) };
        let name = format!("agent.presets_file {}", file.display());
        let text = std::fs::read_to_string(file).map_err(|e| bad(&name, &e))?;
        builtin.overlaid(&name, &text)
    }

    /// The same presets with an operator's file laid over them: each key given replaces that key of the preset
    /// (a list as a whole), and a new name is a new preset.
    ///
    /// # Errors
    /// [`AgentError::BadPresets`], naming `source_name` and the line or key.
    pub fn overlaid(&self, source_name: &str, text: &str) -> Result<Self, AgentError> {
        let base = toml::Table::try_from(&self.0).map_err(|e| bad(source_name, &e))?;
        read(source_name, text, base)
    }

    /// The names, for messages.
    pub fn names(&self) -> String {
        let names: Vec<&str> = self.0.keys().map(String::as_str).collect();
        names.join(", ")
    }

    /// The preset of that name.
    pub fn get(&self, name: &str) -> Option<&Preset> {
        self.0.get(name)
    }
}

fn bad(source_name: &str, why: &dyn std::fmt::Display) -> AgentError {
    AgentError::BadPresets {
        source_name: source_name.to_owned(),
        why: why.to_string().trim_end().to_owned(),
    }
}

fn read(source_name: &str, text: &str, mut base: toml::Table) -> Result<Presets, AgentError> {
    let given: toml::Table = toml::from_str(text).map_err(|e| bad(source_name, &e))?;
    for (name, value) in given {
        match (base.get_mut(&name), value) {
            (Some(toml::Value::Table(preset)), toml::Value::Table(keys)) => preset.extend(keys),
            (_, value) => {
                base.insert(name, value);
            }
        }
    }
    let mut presets = BTreeMap::new();
    for (name, value) in base {
        let preset: Preset = value
            .try_into()
            .map_err(|e: toml::de::Error| bad(source_name, &format!("[{name}]: {e}")))?;
        if preset.program.trim().is_empty() {
            return Err(bad(source_name, &format!("[{name}]: program is empty")));
        }
        presets.insert(name, preset);
    }
    Ok(Presets(presets))
}
