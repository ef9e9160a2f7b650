//! Turns the choice of an agent (a preset's name or a command) into a program, arguments and environment.
//! Never goes through a shell and never looks whether the program exists.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;

use super::{AgentChoice, AgentError, COMMAND, Preset, Presets, PromptDelivery};
use crate::agents::usage::UsageFormat;

/// The longest prompt given as an argument, bytes. Linux takes 128 KiB for one (`MAX_ARG_STRLEN`).
pub const MAX_ARGUMENT: usize = 100 * 1024;

/// The prompt, and where it was or will be written.
#[derive(Clone, Copy, Debug)]
pub struct PromptInput<'a> {
    /// The text.
    pub text: &'a str,
    /// Its file in the run directory.
    pub file: &'a Path,
}

/// What to start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AgentCommand {
    /// The agent's name, as stored with the run: the preset's, or `command`.
    pub name: String,
    /// The program.
    pub program: String,
    /// Its arguments.
    pub args: Vec<String>,
    /// Variables to add to its environment.
    pub env: BTreeMap<String, String>,
    /// The prompt file becomes its standard input.
    pub stdin: bool,
    /// The stream it prints.
    pub usage_format: UsageFormat,
}

/// The command for a choice.
///
/// A `command` replaces the preset's program and arguments; the preset, if one is named too, still gives its
/// environment and usage format. A command says by its placeholders how it takes the prompt (`{prompt}`,
/// `{prompt_file}`, else standard input); where `prompt` asks for an argument or a file that no placeholder takes,
/// it is appended. `ORCH_PROMPT_FILE` is always set, `ORCH_MODEL` when there is a model.
///
/// # Errors
/// See [`AgentError`].
pub fn resolve(
    choice: &AgentChoice,
    presets: &Presets,
    prompt: PromptInput<'_>,
    workdir: &Path,
) -> Result<AgentCommand, AgentError> {
    let preset = preset_of(choice, presets)?;
    let name = preset.map_or(COMMAND, |(name, _)| name);
    let values = Values {
        name,
        model: choice.model.as_deref().filter(|m| !m.trim().is_empty()),
        prompt: argument_text(prompt)?,
        prompt_file: utf8(prompt.file)?,
        workdir: utf8(workdir)?,
    };
    let (template, delivery) = match (&choice.command, preset) {
        (Some(command), _) => command_argv(command, choice.prompt)?,
        (None, Some((_, preset))) => preset_argv(preset, choice.prompt, values.model.is_some()),
        (None, None) => {
            return Err(AgentError::NothingChosen {
                known: presets.names(),
            });
        }
    };
    let mut argv = Vec::with_capacity(choice.wrapper.len() + template.len());
    for element in &choice.wrapper {
        argv.push(values.fill(element)?);
    }
    for element in &template {
        argv.push(values.fill(element)?);
    }
    let mut argv = argv.into_iter();
    let program = argv.next().filter(|p| !p.trim().is_empty());
    let mut env = preset.map(|(_, p)| p.env.clone()).unwrap_or_default();
    env.extend(choice.env.clone());
    env.insert("ORCH_PROMPT_FILE".to_owned(), values.prompt_file.to_owned());
    if let Some(model) = values.model {
        env.insert("ORCH_MODEL".to_owned(), model.to_owned());
    }
    Ok(AgentCommand {
        name: name.to_owned(),
        program: program.ok_or(AgentError::EmptyCommand { key: "wrapper" })?,
        args: argv.collect(),
        env,
        stdin: delivery == PromptDelivery::Stdin,
        usage_format: preset.map_or(UsageFormat::None, |(_, p)| p.usage),
    })
}

/// The preset a choice names; `command` names none.
fn preset_of<'a>(
    choice: &'a AgentChoice,
    presets: &'a Presets,
) -> Result<Option<(&'a str, &'a Preset)>, AgentError> {
    let Some(name) = choice.preset.as_deref() else {
        return Ok(None);
    };
    match presets.get(name) {
        Some(preset) => Ok(Some((name, preset))),
        None if name == COMMAND => Ok(None),
        None => Err(AgentError::UnknownPreset {
            name: name.to_owned(),
            known: format!("{}, {COMMAND}", presets.names()),
        }),
    }
}

fn preset_argv(
    preset: &Preset,
    wish: Option<PromptDelivery>,
    with_model: bool,
) -> (Vec<String>, PromptDelivery) {
    let delivery = wish.unwrap_or(preset.prompt);
    let mut argv = vec![preset.program.clone()];
    argv.extend_from_slice(&preset.args);
    if with_model {
        argv.extend_from_slice(&preset.model_args);
    }
    match delivery {
        PromptDelivery::Stdin => argv.extend_from_slice(&preset.stdin_args),
        PromptDelivery::File => append(&mut argv, &preset.file_args, PROMPT_FILE),
        PromptDelivery::Argument => append(&mut argv, &preset.argument_args, PROMPT),
    }
    (argv, delivery)
}

fn command_argv(
    command: &[String],
    wish: Option<PromptDelivery>,
) -> Result<(Vec<String>, PromptDelivery), AgentError> {
    if command.first().is_none_or(|program| program.trim().is_empty()) {
        return Err(AgentError::EmptyCommand { key: "command" });
    }
    let takes = |placeholder: &str| command.iter().any(|a| a.contains(placeholder));
    let delivery = match wish {
        Some(delivery) => delivery,
        None if takes(PROMPT) => PromptDelivery::Argument,
        None if takes(PROMPT_FILE) => PromptDelivery::File,
        None => PromptDelivery::Stdin,
    };
    let mut argv = command.to_vec();
    match delivery {
        PromptDelivery::Stdin => {}
        PromptDelivery::File if takes(PROMPT_FILE) => {}
        PromptDelivery::File => argv.push(PROMPT_FILE.to_owned()),
        PromptDelivery::Argument if takes(PROMPT) => {}
        PromptDelivery::Argument => argv.push(PROMPT.to_owned()),
    }
    Ok((argv, delivery))
}

fn append(argv: &mut Vec<String>, args: &[String], otherwise: &str) {
    if args.is_empty() {
        argv.push(otherwise.to_owned());
    } else {
        argv.extend_from_slice(args);
    }
}

const MODEL: &str = "{model}";
const PROMPT: &str = "{prompt}";
const PROMPT_FILE: &str = "{prompt_file}";
const WORKDIR: &str = "{workdir}";

/// What stands for the placeholders.
struct Values<'a> {
    name: &'a str,
    model: Option<&'a str>,
    prompt: Cow<'a, str>,
    prompt_file: &'a str,
    workdir: &'a str,
}

impl Values<'_> {
    /// One pass: what is put in is not searched again, so a prompt that holds `{model}` stays as it is. Any other
    /// braces are the command's own.
    fn fill(&self, element: &str) -> Result<String, AgentError> {
        let mut out = String::with_capacity(element.len());
        let mut rest = element;
        while let Some(at) = rest.find('{') {
            out.push_str(&rest[..at]);
            rest = &rest[at..];
            let known = [MODEL, PROMPT, PROMPT_FILE, WORKDIR];
            let Some(found) = known.into_iter().find(|p| rest.starts_with(p)) else {
                out.push('{');
                rest = &rest[1..];
                continue;
            };
            let no_model = || AgentError::NoModel {
                name: self.name.to_owned(),
            };
            out.push_str(match found {
                MODEL => self.model.ok_or_else(no_model)?,
                PROMPT => &self.prompt,
                PROMPT_FILE => self.prompt_file,
                _ => self.workdir,
            });
            rest = &rest[found.len()..];
        }
        out.push_str(rest);
        Ok(out)
    }
}

/// The prompt as an argument may carry it: not too long, without NUL, and never taken for an option.
fn argument_text(prompt: PromptInput<'_>) -> Result<Cow<'_, str>, AgentError> {
    if prompt.text.len() > MAX_ARGUMENT {
        let file = utf8(prompt.file)?;
        return Ok(format!("Read the file {file} and do what it says.").into());
    }
    let mut text = Cow::Borrowed(prompt.text);
    if text.contains('\0') {
        text = text.replace('\0', "\u{fffd}").into();
    }
    if text.starts_with('-') {
        text = format!("\n{text}").into();
    }
    Ok(text)
}

fn utf8(path: &Path) -> Result<&str, AgentError> {
    path.to_str().ok_or_else(|| AgentError::PathNotUtf8 {
        path: path.display().to_string(),
    })
}
