//! Which programs a project's agents are, as far as configuration tells. Never starts one.

use std::collections::BTreeSet;

use crate::agents::Presets;
use crate::domain::pipeline::Role;
use crate::settings::Project;
use crate::settings::project::AgentSettings;

/// Who works in the project's pipeline.
pub(super) fn roles(project: &Project) -> BTreeSet<Role> {
    project.pipeline.stages().iter().filter_map(|s| s.role).collect()
}

/// The program that is started for an agent, or why none is known.
pub(super) fn program(agent: &AgentSettings, presets: &Presets) -> Result<String, String> {
    if let Some(wrapper) = agent.wrapper.first() {
        return Ok(wrapper.clone());
    }
    if let Some(program) = agent.command.as_ref().and_then(|argv| argv.first()) {
        return Ok(program.clone());
    }
    let known = presets.names();
    match agent.preset.as_deref() {
        Some(name) => match presets.get(name) {
            Some(preset) => Ok(preset.program.clone()),
            None => Err(format!(
                "there is no preset {name:?}: use one of {known}, or a command"
            )),
        },
        None => Err(format!(
            "no agent is chosen: set [agent] preset (one of {known}) or command"
        )),
    }
}

/// A preset that does not exist, by role.
pub(super) fn unknown_preset<'a>(project: &'a Project, presets: &Presets) -> Option<(Role, &'a str)> {
    roles(project).into_iter().find_map(|role| {
        let agent = project.agent(role);
        let name = agent.preset.as_deref().filter(|_| agent.command.is_none())?;
        presets.get(name).is_none().then_some((role, name))
    })
}
