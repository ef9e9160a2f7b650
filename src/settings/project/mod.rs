//! Projects: one TOML file each, read and validated at start. Every error names file and line.
//! Never touches the repository, and never asks whether an agent's preset exists.

mod agents;
mod deliver;
mod error;
mod hook;
mod new;
mod post_deploy;
mod read;
mod revision;
mod stages;
mod staging;
pub(super) mod table;
mod tracker;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use error::{ProjectError, ProjectProblem};
pub use hook::{Hook, Runner};
pub use new::{NewAgent, NewProject};
pub use post_deploy::PostDeploy;
pub use revision::RevisionSource;
pub use staging::ProjectStaging;

use super::Settings;
use crate::domain::board::Board;
use crate::domain::budget::Limits;
use crate::domain::forge::{MergeStyle, RepositoryName};
use crate::domain::id::{BranchName, ProjectName};
use crate::domain::pipeline::{Pipeline, Role};
use crate::domain::records::RefName;
use crate::domain::task::TrackerKind;

/// A repository under Orch's care.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Project {
    /// Its name; also the name of its file.
    pub name: ProjectName,
    /// Work items are called `<prefix>-<number>`.
    pub prefix: String,
    /// Absolute path or URL of the git repository. Never begins with '-'.
    pub repo: String,
    /// The branch that is delivered to.
    pub main: BranchName,
    /// Run by `sh -c` in a clean worktree.
    pub test_command: Option<String>,
    /// Run by `sh -c` in the bare clone when Orch prunes.
    pub prune_command: Option<String>,
    /// Who says whether CI is green.
    pub ci: Ci,
    /// Where its tasks come from.
    pub tracker: TrackerKind,
    /// The project's id at Plane; there is one where the tracker is Plane, and only there.
    pub plane_project: Option<String>,
    /// The tracker's names for states.
    pub board: Board,
    /// Where its branches and pull requests live.
    pub forge: ForgeKind,
    /// Its repository at Gitea; there is one where the forge is Gitea, and only there.
    pub forge_repository: Option<RepositoryName>,
    /// Its stages.
    pub pipeline: Pipeline,
    /// Agents of roles that have settings of their own, `[agent]` already filled in.
    pub agents: BTreeMap<Role, AgentSettings>,
    /// The agent of every other role.
    pub default_agent: AgentSettings,
    /// Agents at the same time in this project; none: the service's limit alone.
    pub max_concurrency: Option<usize>,
    /// Rollbacks after which a task is escalated.
    pub max_developer_retries: i32,
    /// What its agents may cost.
    pub budget: Limits,
    /// The project is Orch itself: never deployed without Confirm Deploy.
    pub self_hosting: bool,
    /// How it is deployed.
    pub deploy: ProjectDeploy,
    /// How it is brought to staging; none: deploy-staging is the merge gate alone.
    pub staging: Option<ProjectStaging>,
    /// Where what Orch writes about a task goes after the merge; none: onto the task's branch.
    pub records_ref: Option<RefName>,
    /// How production is watched after a deploy; none: nobody watches.
    pub post_deploy: Option<PostDeploy>,
    /// Candidates are rebased and tested before the merge. Off, as without a test command: Orch waits for a person's
    /// merge.
    pub merge_gate: bool,
    /// How Orch gets a candidate into `main`.
    pub merge_style: MergeStyle,
    /// Files that replace a role's prompt template.
    pub prompts: BTreeMap<Role, PathBuf>,
    /// The file it was read from.
    pub source: PathBuf,
}

/// Who says whether CI is green.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ci {
    /// Nobody: the project has no CI.
    None,
    /// The project's test command stands for it.
    Tests,
    /// The forge's commit statuses.
    Forge,
}

/// Where branches and pull requests live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForgeKind {
    /// The built-in forge, on a repository of this machine.
    Local,
    /// Gitea or Forgejo.
    Gitea,
}

impl ForgeKind {
    /// The word in configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Gitea => "gitea",
        }
    }
}

/// How a project is deployed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProjectDeploy {
    /// A person's Confirm Deploy is asked for; always what the pipeline's stages say.
    pub require_manual_approve: bool,
    /// Who deploys.
    pub by: DeployBy,
    /// The program that does, where one does.
    pub hook: Option<Hook>,
    /// Who says which revision production runs.
    pub revision: Option<RevisionSource>,
}

/// Who deploys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeployBy {
    /// Nobody: the merge is the deploy.
    Merge,
    /// The deployer's agent, which leaves a deploy log.
    Agent,
    /// The project's hook.
    Hook,
}

/// How a prompt reaches an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PromptDelivery {
    /// On its standard input.
    Stdin,
    /// As a file whose path it is given.
    File,
    /// As its last argument.
    Argument,
}

/// The agent of a role.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AgentSettings {
    /// A preset's name.
    pub preset: Option<String>,
    /// Program and arguments; not empty.
    pub command: Option<Vec<String>>,
    /// How the prompt reaches it.
    pub prompt: Option<PromptDelivery>,
    /// Model, where the program lets one choose.
    pub model: Option<String>,
    /// Time that a run may take; not above `agent.timeout_cap_s`.
    pub timeout: Option<Duration>,
    /// Silence after which it is stopped.
    pub stall: Option<Duration>,
    /// Silence after its start after which it is stopped.
    pub startup: Option<Duration>,
    /// Further variables of its environment.
    pub env: BTreeMap<String, String>,
    /// Program and arguments put before the command, such as `bwrap …`.
    pub wrapper: Vec<String>,
    /// What a node has to be for it.
    pub labels: BTreeSet<String>,
}

impl Project {
    /// Parses one project. `source` is its file, for messages and for relative paths.
    ///
    /// # Errors
    /// Everything that is wrong with it, each with its line.
    pub fn parse(text: &str, source: &Path, settings: &Settings) -> Result<Self, ProjectError> {
        read::project(text, source, settings).map(|read| read.project)
    }

    /// Reads one project's file.
    ///
    /// # Errors
    /// As [`Project::parse`]; also a file that cannot be read, or whose name is not the project's.
    pub fn load(path: &Path, settings: &Settings) -> Result<Self, ProjectError> {
        Self::load_with_lines(path, settings).map(|read| read.project)
    }

    fn load_with_lines(path: &Path, settings: &Settings) -> Result<read::Read, ProjectError> {
        let text = text_of(path).map_err(|why| ProjectError::one(path, 1, why))?;
        let read = read::project(&text, path, settings)?;
        let name = read.project.name.as_str();
        if path.file_stem().is_some_and(|stem| stem == name) {
            return Ok(read);
        }
        let problem = format!(
            "the project is called {name:?}: name its file {name}.toml, or give it the name of this one"
        );
        Err(ProjectError::one(path, read.name_line, problem))
    }

    /// The agent of a role.
    pub fn agent(&self, role: Role) -> &AgentSettings {
        self.agents.get(&role).unwrap_or(&self.default_agent)
    }

    /// Time that a run of this role may take: what the project says, else what the settings say.
    pub fn timeout(&self, role: Role, settings: &Settings) -> Duration {
        self.agent(role)
            .timeout
            .unwrap_or_else(|| settings.agent.timeout_of(role))
    }
}

/// Reads every project file in `dir`, by name. A folder that does not exist holds no projects.
///
/// # Errors
/// Everything that is wrong with any of them. Two projects with one prefix are wrong too: their work items
/// would share names.
pub fn load_all(dir: &Path, settings: &Settings) -> Result<Vec<Project>, ProjectError> {
    let mut error = ProjectError::default();
    let mut projects: Vec<Project> = Vec::new();
    for path in project_files(dir)? {
        match Project::load_with_lines(&path, settings) {
            Ok(read::Read {
                project, prefix_line, ..
            }) => match projects.iter().find(|p| p.prefix == project.prefix) {
                Some(other) => error.push(
                    &path,
                    prefix_line,
                    format!(
                        "prefix {:?} is also that of {}: give each project its own",
                        project.prefix,
                        other.source.display()
                    ),
                ),
                None => projects.push(project),
            },
            Err(more) => error.problems.extend(more.problems),
        }
    }
    error.or(projects)
}

/// A pipe in the place of a file would keep the start waiting for ever.
fn text_of(path: &Path) -> Result<String, String> {
    let unreadable = |e: std::io::Error| match e.kind() {
        std::io::ErrorKind::InvalidData => "is not UTF-8: save it as UTF-8".to_owned(),
        _ => format!("cannot read the file: {e}; give this user the right to read it, or remove it"),
    };
    if !path.metadata().map_err(unreadable)?.is_file() {
        return Err("is no file: move it away, or give it another ending".to_owned());
    }
    std::fs::read_to_string(path).map_err(unreadable)
}

fn project_files(dir: &Path) -> Result<Vec<PathBuf>, ProjectError> {
    let unreadable = |e: std::io::Error| {
        let problem =
            format!("cannot read the folder: {e}; give this user the right, or choose another projects_dir");
        ProjectError::one(dir, 1, problem)
    };
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(unreadable(e)),
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(unreadable)?.path();
        let hidden = path
            .file_name()
            .is_some_and(|n| n.to_string_lossy().starts_with('.'));
        if path.extension().is_some_and(|e| e == "toml") && !hidden {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}
