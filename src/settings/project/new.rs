//! The text of a new project's file, commented for the person who will edit it.

use toml::Value;

use super::Project;

/// What `orch init` knows about a new project.
#[derive(Clone, Debug)]
pub struct NewProject<'a> {
    /// Its name, and that of the file.
    pub name: &'a str,
    /// Work items are called `<prefix>-<number>`.
    pub prefix: &'a str,
    /// Path or URL of the repository.
    pub repo: &'a str,
    /// The branch that is delivered to.
    pub main: &'a str,
    /// The test command, where one is known.
    pub test_command: Option<&'a str>,
    /// The id of the project in Plane whose issues become tasks.
    pub plane_project: Option<&'a str>,
    /// Who works.
    pub agent: NewAgent<'a>,
}

/// Who works in a new project.
#[derive(Clone, Debug)]
pub enum NewAgent<'a> {
    /// A preset.
    Preset(&'a str),
    /// Program and arguments.
    Command(&'a [String]),
}

impl Project {
    /// The commented file of a new project. [`Project::parse`] accepts it where the parts are usable.
    pub fn render_new(new: &NewProject<'_>) -> String {
        let text = |s: &str| Value::String(s.to_owned()).to_string();
        let tests = match new.test_command {
            Some(command) => format!("test_command = {}", text(command)),
            None => "# test_command = \"make test\"".to_owned(),
        };
        let agent = match new.agent {
            NewAgent::Preset(preset) => format!(
                "preset = {}\n# Or any program of yours, instead of a preset:\n# command = [\"my-agent\", \"--quiet\"]",
                text(preset)
            ),
            NewAgent::Command(command) => format!("command = {}", Value::from(command.to_vec())),
        };
        let tracker = match new.plane_project {
            Some(id) => format!("tracker = \"plane\"\nplane_project = {}", text(id)),
            None => "# tracker = \"plane\"\n# plane_project = \"…\"".to_owned(),
        };
        let (name, prefix) = (text(new.name), text(new.prefix));
        let (repo, main) = (text(new.repo), text(new.main));
        format!(
            r#"# A project under Orch's care. The file is read when the service starts.

# The name of this file without .toml.
name = {name}
# Tasks are called <prefix>-001, <prefix>-002, …
prefix = {prefix}
# Path (from this file's folder) or URL of the git repository.
repo = {repo}
# The branch that work is delivered to.
main = {main}
# Run with `sh -c` in a clean worktree; exit 0 means that the candidate is good. It also stands for CI where
# there is none. Without it Orch merges nothing: it waits for a person's merge. ("true": nothing to run.)
{tests}
# Whose issues become tasks: those of a project in Plane, by its id; without it the built-in tracker's.
{tracker}

# Who works. [agents.reviewer], [agents.developer], … change it for one role.
[agent]
{agent}
# model = "…"
# timeout_s = 1800
# prompt = "stdin"            # or "file", "argument"
# wrapper = ["bwrap", "…"]    # put before the command
# env = {{ NAME = "value" }}    # the agent sees nothing else of the service's secrets

# How it is deployed.
[deploy]
# Ask a person for Confirm Deploy before anything reaches the main branch.
require_manual_approve = true
# "merge": the merge is the deploy. "agent": the deployer's agent deploys and leaves a log.
by = "merge"

# A pipeline of its own, instead of the default one (analysis, architecture, development, review, testing,
# deploy-staging, deploy):
#
# [[stage]]
# name = "development"
# role = "developer"
# gates = ["ci_green"]
#
# [[stage]]
# name = "review"
# role = "reviewer"
# gates = ["reviewer_verdict", "branch_mergeable"]
# rollback_to = "development"
# confirm = true
#
# [[stage]]
# name = "done"
"#
        )
    }
}
