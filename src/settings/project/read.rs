//! From a project's text to a [`Project`]: the scalars at the top, and the sections put together.

use std::collections::BTreeMap;
use std::path::Path;

use super::super::Settings;
use super::super::budget::{limit, micro_usd};
use super::super::document::Document;
use super::agents;
use super::deliver::{self, Place};
use super::error::ProjectError;
use super::post_deploy;
use super::stages::{self, Means, Times};
use super::staging;
use super::table::{At, Notes, Table};
use super::tracker;
use super::{AgentSettings, Ci, DeployBy, Project};
use crate::domain::board::Board;
use crate::domain::budget::Limits;
use crate::domain::id::{BranchName, ProjectName};
use crate::domain::pipeline::{DefaultPipeline, Pipeline, Role};

/// A project, and where its name stands.
pub(super) struct Read {
    pub(super) project: Project,
    pub(super) name_line: usize,
    /// Where its prefix stands, or the name that it is made from.
    pub(super) prefix_line: usize,
}

/// Reads a project's text.
pub(super) fn project(text: &str, source: &Path, settings: &Settings) -> Result<Read, ProjectError> {
    let document = Document::parse(text);
    let notes = Notes::default();
    let mut read = None;
    if document.syntax.is_empty() {
        let top = Table::top(&document, &notes);
        read = fields(&top, source, settings, &notes);
        top.finish();
    } else {
        for (line, why) in &document.syntax {
            notes.note(*line, format!("not valid TOML: {why}"));
        }
    }
    let mut error = ProjectError::default();
    for (line, problem) in notes.into_sorted() {
        error.push(source, line, problem);
    }
    match read {
        Some(read) => error.or(read),
        None => Err(error),
    }
}

fn fields(top: &Table<'_>, source: &Path, settings: &Settings, notes: &Notes) -> Option<Read> {
    let folder = source.parent().unwrap_or(Path::new(""));
    let name = name(top, source);
    let prefix = top.parsed("prefix", prefix);
    let wanted = "give the folder or the URL of the git repository";
    let repo = top.require("repo", wanted, top.parsed("repo", |text| repo(text, folder)));
    let (repo, place) = match repo {
        Some(At {
            value: (repo, place),
            line,
        }) => (Some(repo), Some(At { value: place, line })),
        None => (None, None),
    };
    let main = top.parsed("main", |text| {
        BranchName::parse(text).map_err(|e| e.rule.to_owned())
    });
    let test_command = top.text("test_command").map(|at| at.value);
    let prune_command = top.text("prune_command").map(|at| at.value);
    let forge = deliver::forge(top, place.as_ref(), settings);
    let forge_repository = deliver::forge_repository(top, (forge, repo.as_deref()), settings);
    let ci = deliver::ci(top, test_command.is_some(), forge);
    let tracker = deliver::tracker(top, settings);
    let plane_project = tracker::plane_project(top, tracker);
    let states = tracker::states(top);
    let (default_agent, agents) = agents::agents(top, settings);
    let self_hosting = top.switch("self_hosting");
    let deploy = deliver::deploy(top);
    deploy.refuse_unguarded(top, self_hosting.as_ref(), settings);
    let named = name
        .as_ref()
        .map_or_else(|| ProjectName::trusted(""), |at| at.value.clone());
    let place = (&named, repo.as_deref().unwrap_or_default());
    let staging = staging::staging(top, settings);
    let records_ref = staging::records_ref(top, main.as_ref());
    let (merge_gate, merge_style) = deliver::merge(top, place, test_command.is_some(), settings);
    let means = Means {
        ci,
        staging: staging
            .as_ref()
            .and_then(|at| at.value.as_ref())
            .map(stages::Staging::of),
        test_command: test_command.is_some(),
        forge,
        merge_gate,
        deploy_by: deploy.by,
        times: times(&default_agent, &agents, settings),
    };
    if let Some(timeout) = deploy.hook_timeout()
        && timeout + means.times.kill_grace >= means.times.in_all
    {
        let problem = format!(
            "the deploy hook may take {} s, and the reaper ends its job after {}: lower deploy.timeout_s, or raise reaper.max_running_s",
            timeout.as_secs(),
            means.times.in_all.as_secs()
        );
        top.note(top.line_of("deploy"), problem);
    }
    let own = stages::pipeline(top, &means);
    let self_hosting = self_hosting.is_some_and(|at| at.value);
    if let Some(At {
        value: Some(pipeline),
        line,
    }) = &own
    {
        let own = At {
            value: pipeline,
            line: *line,
        };
        deploy.agree_with(top, &own, (self_hosting, settings));
    }
    if let Some(At { line, .. }) = &staging {
        means.refuse_long_staging(top, *line, own.as_ref());
    }
    let watched = post_deploy::Means {
        self_hosting,
        hook: top.table("deploy").is_some_and(|deploy| deploy.has("hook")),
    };
    let post_deploy = post_deploy::post_deploy(top, &watched, settings);
    let prompts = agents::prompts(top, folder);
    let max_concurrency = top
        .whole("max_concurrency", 1)
        .and_then(|at| usize::try_from(at.value).ok());
    let retries = top.whole("max_developer_retries", 0).map(|at| at.value);
    let budget = budget(top, settings);
    if let Some(states) = &states {
        let stages = match &own {
            Some(At { value, .. }) => value.clone(),
            None => Some(default_pipeline(&means, deploy.wants_approval(settings))),
        };
        tracker::refuse_unknown(top, states, stages.as_ref());
    }
    if !notes.are_empty() {
        return None;
    }
    let pipeline = match own {
        Some(At { value, .. }) => value?,
        None => default_pipeline(&means, deploy.wants_approval(settings)),
    };
    let name = name?;
    Some(Read {
        name_line: name.line,
        prefix_line: prefix.as_ref().map_or(name.line, |at| at.line),
        project: Project {
            prefix: prefix.map_or_else(|| default_prefix(&name.value), |at| at.value),
            name: name.value,
            repo: repo?,
            main: main.map_or_else(|| BranchName::trusted("main"), |at| at.value),
            test_command,
            prune_command,
            ci,
            tracker,
            plane_project,
            board: Board::new(states.map(|at| at.value).unwrap_or_default()),
            forge,
            forge_repository,
            deploy: deploy.settle(&pipeline),
            staging: staging.and_then(|at| at.value),
            records_ref,
            post_deploy,
            pipeline,
            agents,
            default_agent,
            max_concurrency,
            max_developer_retries: retries.unwrap_or(settings.max_developer_retries),
            budget,
            self_hosting,
            merge_gate,
            merge_style,
            prompts,
            source: source.to_owned(),
        },
    })
}

/// `[budget]`: what it does not say is as the settings say.
fn budget(top: &Table<'_>, settings: &Settings) -> Limits {
    let limits = settings.budget.limits;
    let Some(own) = top.table("budget") else {
        return limits;
    };
    let usd = |key| {
        own.parsed(key, |text| {
            micro_usd(text).ok_or_else(|| "give USD as a decimal number, such as \"2.50\"".to_owned())
        })
        .map(|at| limit(at.value))
    };
    let limits = Limits {
        task: usd("task_usd").unwrap_or(limits.task),
        project_day: usd("project_day_usd").unwrap_or(limits.project_day),
    };
    own.finish();
    limits
}

fn times(default: &AgentSettings, own: &BTreeMap<Role, AgentSettings>, settings: &Settings) -> Times {
    let of = |role: Role| {
        let agent = own.get(&role).unwrap_or(default);
        (
            role,
            agent.timeout.unwrap_or_else(|| settings.agent.timeout_of(role)),
        )
    };
    Times {
        agents: Role::ALL.into_iter().map(of).collect(),
        check: settings.agent.check_timeout,
        kill_grace: settings.agent.kill_grace,
        in_all: settings
            .reaper
            .max_running
            .saturating_sub(settings.reaper.finalize_grace),
    }
}

fn default_pipeline(means: &Means, confirm: bool) -> Pipeline {
    DefaultPipeline {
        tests_local: means.test_command,
        ci: means.ci != Ci::None,
        staging: means.staging.is_some(),
        provenance: means.staging.as_ref().is_some_and(|s| s.revision),
        merge_gate: means.merge_gate,
        deploy_log: means.deploy_by == DeployBy::Agent,
        hook: means.deploy_by == DeployBy::Hook,
        confirm,
    }
    .build()
}

/// `name`, else the name of the file.
fn name(top: &Table<'_>, source: &Path) -> Option<At<ProjectName>> {
    let parse = |text: &str| ProjectName::parse(text).map_err(|e| e.rule.to_owned());
    let written = top.parsed("name", parse);
    if written.is_some() || top.has("name") {
        return written;
    }
    let stem = source
        .file_stem()
        .map(|s| s.to_string_lossy().into_owned())
        .unwrap_or_default();
    match parse(&stem) {
        Ok(value) => Some(At { value, line: 1 }),
        Err(why) => {
            top.note(
                1,
                format!("the file's name {stem:?} is no project name: {why}; rename it or set name"),
            );
            None
        }
    }
}

fn prefix(text: &str) -> Result<String, String> {
    let plain = text.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
    if plain && text.len() <= 10 && text.starts_with(|c: char| c.is_ascii_uppercase()) {
        Ok(text.to_owned())
    } else {
        Err("use 1 to 10 capital letters and digits, beginning with a letter".to_owned())
    }
}

/// The letters and digits of the name: "my-shop" gives "MYSHOP".
pub(super) fn default_prefix(name: &ProjectName) -> String {
    let plain = name.as_str().chars().filter(char::is_ascii_alphanumeric).take(10);
    plain.map(|c| c.to_ascii_uppercase()).collect()
}

/// A URL as it is; a path made absolute from the file's folder.
fn repo(text: &str, folder: &Path) -> Result<(String, Place), String> {
    const SCHEMES: [&str; 4] = ["https", "http", "ssh", "git"];
    if text.starts_with('-') {
        return Err("must not begin with '-'; write ./ before it".to_owned());
    }
    if text.chars().any(char::is_control) {
        return Err("must not hold control characters".to_owned());
    }
    if let Some(path) = text.strip_prefix("file://") {
        return local(path, folder);
    }
    if let Some((scheme, rest)) = text.split_once("://") {
        // git runs a program for a scheme it does not know.
        let usable = SCHEMES.contains(&scheme) && !rest.is_empty() && !rest.starts_with('-');
        let wanted = || {
            format!(
                "give a path, host:path, or a URL that begins with {}",
                SCHEMES.join(", ")
            )
        };
        return usable.then(|| (text.to_owned(), Place::Away)).ok_or_else(wanted);
    }
    match text.split_once(':') {
        Some((host, path)) if !host.contains('/') => {
            if path.starts_with(':') || path.is_empty() || host.is_empty() {
                return Err("give a path, host:path, or a URL".to_owned());
            }
            Ok((text.to_owned(), Place::Away))
        }
        Some(_) | None => local(text, folder),
    }
}

fn local(path: &str, folder: &Path) -> Result<(String, Place), String> {
    let path: std::path::PathBuf = folder.join(path).components().collect();
    let text = path
        .to_str()
        .ok_or("its folder's name is not UTF-8; give an absolute path")?;
    Ok((text.to_owned(), Place::Here))
}
