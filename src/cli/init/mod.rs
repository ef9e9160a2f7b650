//! `orch init`: puts a repository under Orch's care by writing its project file. Needs no service, changes nothing
//! in the repository, and never overwrites a file.

mod gitea;

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::Path;

use clap::Args;
use serde_json::json;

use super::Global;
use super::exit::{Exit, Failure};
use crate::agents::Presets;
use crate::domain::id::{BranchName, ProjectName};
use crate::git::{self, GitError};
use crate::settings::project::{self, NewAgent, NewProject};
use crate::settings::{Project, Settings, data_dir};

use gitea::{Hook, at_gitea};

const EXAMPLES: &str = "\
Examples:
  orch init                                        this folder, the agent that is installed
  orch init --repo ~/src/shop --test \"make test\" --agent codex
  orch init --repo git@git.example.org:team/shop.git --name shop --main develop
  orch init --gitea team/shop --plane 466f86a0-188f-422a-9829-30cfab484979 --webhook-to https://orch.example.org
  orch init --agent-command my-agent --quiet       any program; it reads the prompt on stdin

It writes one commented file, <projects_dir>/<name>.toml, and prints what to do next. With --webhook-to it also has the
repository at Gitea tell that address what happens in it.";

/// What `init` takes.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct InitArgs {
    /// The repository: a folder or a URL.
    #[arg(long, default_value = ".")]
    repo: String,
    /// The repository at the Gitea or Forgejo of the setting gitea.url.
    #[arg(long, value_name = "OWNER/NAME", conflicts_with = "repo")]
    gitea: Option<String>,
    /// The id of the project in Plane whose issues become tasks; it stands in the address of its page.
    #[arg(long, value_name = "ID")]
    plane: Option<String>,
    /// This service's address as Gitea reaches it: makes the webhook there.
    #[arg(long, value_name = "URL", requires = "gitea")]
    webhook_to: Option<String>,
    /// The project's name; else the repository's.
    #[arg(long)]
    name: Option<String>,
    /// Tasks are called <PREFIX>-<number>; else made from the name.
    #[arg(long)]
    prefix: Option<String>,
    /// Shell command that tests a candidate in a clean worktree; exit 0 is good.
    #[arg(long, value_name = "CMD")]
    test: Option<String>,
    /// Who works: claude, codex, gemini, opencode, cursor; else the first of them that is installed.
    #[arg(long, value_name = "PRESET", conflicts_with = "agent_command")]
    agent: Option<String>,
    /// Who works: any program with its arguments. Comes last.
    #[arg(long, value_name = "ARGV", num_args = 1.., allow_hyphen_values = true)]
    agent_command: Option<Vec<String>>,
    /// The branch that is delivered to; else main or master.
    #[arg(long, value_name = "BRANCH")]
    main: Option<String>,
}

/// What will be written.
struct Plan {
    name: ProjectName,
    prefix: String,
    repo: String,
    main: BranchName,
    agent: Agent,
    test: Option<String>,
    plane_project: Option<String>,
}

enum Agent {
    Preset(String),
    Command(Vec<String>),
}

pub(super) fn run(args: &InitArgs, global: &Global) -> Result<Exit, Failure> {
    let (settings, _) = global.settings()?;
    let plan = plan(args, &settings)?;
    let path = settings.projects_dir.join(format!("{}.toml", plan.name));
    let text = Project::render_new(&NewProject {
        name: plan.name.as_str(),
        prefix: &plan.prefix,
        repo: &plan.repo,
        main: plan.main.as_str(),
        test_command: plan.test.as_deref(),
        plane_project: plan.plane_project.as_deref(),
        agent: match &plan.agent {
            Agent::Preset(preset) => NewAgent::Preset(preset),
            Agent::Command(argv) => NewAgent::Command(argv),
        },
    });
    let usable = Project::parse(&text, &path, &settings);
    // The file does not exist, so its lines are of no use to anybody.
    let project = usable.map_err(|e| {
        let problems: Vec<_> = e.problems.iter().map(|p| p.problem.as_str()).collect();
        Failure::Usage(format!(
            "the project would not be usable: {}",
            problems.join("; ")
        ))
    })?;
    if path.exists() {
        return Err(exists(&path));
    }
    own_prefix(&plan, &settings)?;
    let hook = Hook::asked(args, &project, &settings)?;
    if settings.projects_dir.starts_with(&settings.data_dir) {
        let shown = settings.data_dir.display();
        data_dir::ensure(&settings.data_dir)
            .map_err(|e| Failure::Refused(format!("data_dir {shown} cannot be made: {e}; choose another")))?;
    }
    write_new(&path, &text)?;
    let hook = hook.map(|hook| hook.make(&path)).transpose()?;
    tell(&plan, &path, hook, global)
}

fn plan(args: &InitArgs, settings: &Settings) -> Result<Plan, Failure> {
    let usage = |e: &dyn std::fmt::Display| Failure::Usage(e.to_string());
    let repo = match &args.gitea {
        Some(name) => at_gitea(name, settings)?,
        None => absolute(&args.repo)?,
    };
    let name = args.name.clone().unwrap_or_else(|| name_of(&repo));
    let name = ProjectName::parse(&name).map_err(|e| usage(&format!("{e}; give another with --name")))?;
    let prefix = args.prefix.clone().unwrap_or_else(|| prefix_of(&name));
    let agent = agent(args, settings)?;
    let main = match &args.main {
        Some(main) => vec![BranchName::parse(main).map_err(|e| usage(&e))?],
        None => vec![BranchName::trusted("main"), BranchName::trusted("master")],
    };
    Ok(Plan {
        main: checked_main(&repo, main, settings)?,
        name,
        prefix,
        repo,
        agent,
        test: args.test.clone(),
        plane_project: args.plane.clone(),
    })
}

/// A folder as its absolute path; anything else as it is.
fn absolute(repo: &str) -> Result<String, Failure> {
    let path = Path::new(repo);
    if !path.exists() {
        return Ok(repo.to_owned());
    }
    let path = path.canonicalize()?;
    let text = path.to_str().map(str::to_owned);
    text.ok_or_else(|| Failure::Refused(format!("{} is not UTF-8: rename it", path.display())))
}

/// The repository's last part, as far as a project may be called so.
fn name_of(repo: &str) -> String {
    let trimmed = repo.trim_end_matches('/');
    let trimmed = trimmed.strip_suffix("/.git").unwrap_or(trimmed);
    let last = trimmed.rsplit(['/', ':']).next().unwrap_or(trimmed);
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() {
            c.to_ascii_lowercase()
        } else {
            '-'
        }
    };
    let name: String = last
        .strip_suffix(".git")
        .unwrap_or(last)
        .chars()
        .map(plain)
        .collect();
    name.trim_matches('-').to_owned()
}

fn prefix_of(name: &ProjectName) -> String {
    let plain = name.as_str().chars().filter(char::is_ascii_alphanumeric);
    plain.take(10).map(|c| c.to_ascii_uppercase()).collect()
}

/// The first of these branches that the repository has.
fn checked_main(repo: &str, candidates: Vec<BranchName>, settings: &Settings) -> Result<BranchName, Failure> {
    let mut missing = None;
    for main in candidates {
        match git::Origin::of(repo, settings).and_then(|origin| git::check_origin(&origin, &main)) {
            Ok(_) => return Ok(main),
            Err(e @ GitError::MainMissing { .. }) => {
                missing.get_or_insert(e);
            }
            Err(e) => return Err(Failure::Refused(e.to_string())),
        }
    }
    let why = missing.map(|e| e.to_string()).unwrap_or_default();
    Err(Failure::Refused(format!("{why} with --main")))
}

fn agent(args: &InitArgs, settings: &Settings) -> Result<Agent, Failure> {
    if let Some(argv) = &args.agent_command {
        return Ok(Agent::Command(argv.clone()));
    }
    let presets = Presets::load(settings.agent.presets_file.as_deref());
    let presets = presets.map_err(|e| Failure::Usage(e.to_string()))?;
    if let Some(name) = &args.agent {
        return match presets.get(name) {
            Some(_) => Ok(Agent::Preset(name.clone())),
            None => Err(Failure::Usage(format!(
                "there is no agent preset {name:?}: use one of {}, or --agent-command",
                presets.names()
            ))),
        };
    }
    let names = presets.names();
    let installed = |name: &&str| {
        presets
            .get(name)
            .is_some_and(|p| super::doctor::on_path(&p.program).is_some())
    };
    match names.split(", ").find(installed) {
        Some(name) => Ok(Agent::Preset(name.to_owned())),
        None => Err(Failure::Usage(format!(
            "none of {names} is installed: choose who works with --agent or --agent-command"
        ))),
    }
}

/// Two projects with one prefix would share the names of their tasks.
fn own_prefix(plan: &Plan, settings: &Settings) -> Result<(), Failure> {
    // Other projects' mistakes are told by `doctor` and `serve`; they do not stand in the way of this one.
    let others = project::load_all(&settings.projects_dir, settings).unwrap_or_default();
    match others.iter().find(|p| p.prefix == plan.prefix) {
        Some(other) => Err(Failure::Refused(format!(
            "prefix {} is that of project {}: give another with --prefix",
            plan.prefix, other.name
        ))),
        None => Ok(()),
    }
}

fn exists(path: &Path) -> Failure {
    Failure::Refused(format!(
        "{} exists and is not overwritten: edit it, or give another --name",
        path.display()
    ))
}

fn write_new(path: &Path, text: &str) -> Result<(), Failure> {
    let failed = |e: io::Error| match e.kind() {
        io::ErrorKind::AlreadyExists => exists(path),
        _ => Failure::Refused(format!(
            "cannot write {}: {e}; check projects_dir",
            path.display()
        )),
    };
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(path)
        .map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)
}

fn tell(plan: &Plan, path: &Path, hook: Option<String>, global: &Global) -> Result<Exit, Failure> {
    let agent = match &plan.agent {
        Agent::Preset(preset) => preset.clone(),
        Agent::Command(argv) => argv.join(" "),
    };
    let repo = git::mask_url(&plan.repo);
    let screen = global.screen();
    if global.json {
        let said = json!({
            "project": plan.name.as_str(), "prefix": plan.prefix, "repo": repo,
            "main": plan.main.as_str(), "agent": agent, "file": path.display().to_string(),
            "plane_project": plan.plane_project, "webhook": hook,
        });
        screen.line(&said.to_string())?;
        return Ok(Exit::Ok);
    }
    let (name, prefix) = (plan.name.as_str(), &plan.prefix);
    let add = format!("orch task add \"…\" --project {name}");
    let mut lines = vec![format!(
        "Project {} written to {}",
        screen.bold(name),
        path.display()
    )];
    lines.extend(
        plan.plane_project
            .as_ref()
            .map(|id| format!("  issues      of the project {id} in Plane")),
    );
    lines.extend(hook.map(|hook| format!("  webhook     {hook}")));
    lines.extend([
        format!("  repository  {repo}, delivers to {}", plan.main),
        format!("  tasks       {prefix}-001, {prefix}-002, …"),
        format!("  agent       {agent}"),
        match &plan.test {
            Some(command) => format!("  tests       {command}"),
            None => "  tests       none: set test_command there, or merge by hand".to_owned(),
        },
        String::new(),
        "Next:".to_owned(),
        format!("  {:<40} check that everything is there", "orch doctor"),
        format!(
            "  {:<40} start the service (restart it, if it runs)",
            "orch serve"
        ),
        match &plan.plane_project {
            Some(_) => "  In Plane: a webhook for issues to <this service>/webhook/plane, then move an issue to In Progress".to_owned(),
            None => format!("  {add:<40} give it work"),
        },
    ]);
    screen.line(&lines.join("\n"))?;
    Ok(Exit::Ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_project_is_called_like_its_repository() {
        for (repo, name) in [
            ("/home/ann/My Shop", "my-shop"),
            ("/srv/shop.git/", "shop"),
            ("/srv/shop/.git", "shop"),
            ("git@git.example.org:team/shop.git", "shop"),
            ("https://git.example.org/team/Shop_2", "shop-2"),
        ] {
            assert_eq!(name_of(repo), name);
        }
        assert_eq!(prefix_of(&ProjectName::trusted("tally-words-2000")), "TALLYWORDS");
    }
}
