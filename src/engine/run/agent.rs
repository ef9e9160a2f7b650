//! Starts the agent under its shim, waits for its end, and reads what it used.

use std::path::Path;
use std::time::Duration;

use crate::agents::preset::{self, AgentChoice, AgentCommand, PromptInput};
use crate::domain::budget;
use crate::domain::repair::REPORTS;
use crate::domain::run::{ExitRecord, RunStep, StopCause};
use crate::process::{self, LaunchSpec, ProcessWatch, RunState};
use crate::settings::project::{self, AgentSettings};
use crate::store::runs::RunPatch;

use super::super::look::about;
use super::super::{Engine, EngineError, Hint, blocking, transition};
use super::failed::{self, Again};
use super::far::{self, Carried};
use super::prepare::{PROMPT_FILE, role};
use super::spending::{self, LOOK, Spending};
use super::{Attempt, Step};

/// The agent is started, and its identity recorded before anything else is done. Died in between: the run
/// directory says that it was started, and by whom.
pub(super) async fn launch(engine: &Engine, a: &mut Attempt) -> Result<Step, EngineError> {
    a.check_hold(engine).await?;
    let run_dir = a.run_dir(engine);
    let command = command(engine, a)?;
    let shim = match process::look(&run_dir, None)? {
        RunState::NotLaunched => {
            let node = a.job.agent_node.clone();
            let spec = match node {
                None => launch_spec(engine, a, &command)?,
                Some(node) => match far::carry(engine, a, &node).await? {
                    Carried::There(spec) => *spec,
                    Carried::Refused(why) => {
                        return failed::over(engine, a, &why, Again::IfAttemptsLeft).await;
                    }
                    Carried::Unknown => {
                        let why = format!("node {node} is not configured any more");
                        return failed::over(engine, a, &why, Again::WithoutCost).await;
                    }
                },
            };
            a.check_hold(engine).await?;
            let (exe, dir) = (engine.exe().to_owned(), run_dir.clone());
            Some(
                blocking(move || process::launch(&dir, &exe, &spec))
                    .await?
                    .identity,
            )
        }
        RunState::Running(shim) | RunState::Lost(shim) => Some(shim),
        RunState::Elsewhere(shim) => shim,
        RunState::Ended(_) => process::read_shim(&run_dir).ok().flatten().map(|r| r.shim),
    };
    let patch = RunPatch {
        step: Some(RunStep::Running),
        shim,
        agent: Some(command.name),
        ..RunPatch::default()
    };
    a.record(engine, patch).await?;
    engine.hint(Hint::Spare(a.project.id));
    Ok(Step::On)
}

/// Waits for the recorded exit. The shim holds the limits of time; what the run costs is looked at meanwhile.
pub(super) async fn watch(engine: &Engine, a: &mut Attempt) -> Result<Step, EngineError> {
    let run_dir = a.run_dir(engine);
    loop {
        let exit = match process::look(&run_dir, a.run.shim.as_ref())? {
            RunState::Running(shim) => {
                if let Ended::TooDear = wait(engine, a, &ProcessWatch::open(&shim)).await? {
                    a.check_hold(engine).await?;
                    // What follows is found in its recorded exit, by us or by whoever comes after us.
                    failed::end_tree(engine, &a.run, a.claim).await?;
                }
                continue;
            }
            RunState::Ended(exit) => exit,
            RunState::Lost(_) | RunState::NotLaunched => {
                let why = "the agent's process is gone and left no exit record";
                return failed::over(engine, a, why, Again::IfAttemptsLeft).await;
            }
            // Nobody's fault: the machine or its container went down with the agent.
            RunState::Elsewhere(_) => {
                let why = "the agent went down with its machine or container";
                return failed::over(engine, a, why, Again::WithoutCost).await;
            }
        };
        return ended(engine, a, exit).await;
    }
}

/// Why a run is waited for no longer.
enum Ended {
    /// It has ended.
    ByItself,
    /// It goes beyond what may be spent.
    TooDear,
}

async fn wait(engine: &Engine, a: &mut Attempt, watch: &ProcessWatch) -> Result<Ended, EngineError> {
    let format = command(engine, a)?.usage_format;
    let Some(mut spending) = Spending::begin(a, format, settings_of(a)?.model) else {
        watch.wait().await;
        return Ok(Ended::ByItself);
    };
    while tokio::time::timeout(LOOK, watch.wait()).await.is_err() {
        match spending.look(engine, a).await {
            Ok(Some(_)) => return Ok(Ended::TooDear),
            Ok(None) => {}
            Err(EngineError::Lost) => return Err(EngineError::Lost),
            // The agent's work is not thrown away because the database does not answer: the next look tells the same.
            Err(_) => {}
        }
    }
    Ok(Ended::ByItself)
}

pub(super) async fn ended(engine: &Engine, a: &mut Attempt, exit: ExitRecord) -> Result<Step, EngineError> {
    let format = command(engine, a)?.usage_format;
    let dir = a.run_dir(engine);
    let report = blocking(move || Ok::<_, EngineError>(spending::report(&dir, format))).await?;
    let model = report.model.clone().or(settings_of(a)?.model);
    let usage = report
        .usage
        .map(|usage| spending::priced(engine, usage, model.as_deref()));
    let usage = match exit.dropped_bytes > 0 {
        true => spending::at_least(a.run.usage, usage),
        false => usage,
    };
    let charge = match &exit.cause {
        Some(StopCause::NotStarted { .. }) => 0,
        Some(_) | None => budget::final_charge(usage, engine.settings().budget.reserve),
    };
    let succeeded = exit.succeeded();
    let text = match &exit.cause {
        Some(StopCause::NotStarted { .. }) => not_started(a, &process::exit_text(&exit))?,
        Some(_) | None => process::exit_text(&exit),
    };
    let failure = match (&report.failure, succeeded) {
        // Also where it failed: of a long stream of JSON the last words need not be the ones that tell.
        (Some(why), _) => Some(format!("{text}{REPORTS}{why}")),
        (None, true) => None,
        (None, false) => Some(text),
    };
    let patch = RunPatch {
        step: Some(RunStep::Exited),
        exit: Some(exit),
        usage,
        charge: Some(charge),
        error: failure.clone(),
        ..RunPatch::default()
    };
    let unwritten = patch.exit.as_ref().and_then(|e| e.log_error.clone());
    a.record(engine, patch).await?;
    if let Some(why) = unwritten {
        let text = format!(
            "the log of run {} could not be written: {why}; look at the disk of data_dir",
            a.run.id
        );
        let (task, now) = (a.task.clone(), engine.now());
        let said = engine
            .store()
            .write(move |tx| transition::say(tx, &task, "run", &text, now));
        said.await?;
        engine.committed();
    }
    Ok(Step::On)
}

/// Names the setting by which the program was chosen, and its file.
fn not_started(a: &Attempt, text: &str) -> Result<String, EngineError> {
    let (config, role) = (&a.project.config, role(a)?);
    let section = match config.agents.contains_key(&role) {
        true => format!("[agents.{role}]"),
        false => "[agent]".to_owned(),
    };
    let own = settings_of(a)?;
    let key = match (&a.task.executor, own.wrapper.is_empty(), own.command.is_some()) {
        (_, false, _) => "wrapper",
        (Some(executor), true, _) => {
            return Ok(format!(
                "{text}: the task's executor is {executor:?}; install its program, or give the task another executor"
            ));
        }
        (None, true, true) => "command",
        (None, true, false) => "preset",
    };
    let file = config.source.display();
    Ok(format!(
        "{text}: the agent could not be started; install it, or correct {section} {key} in {file}"
    ))
}

fn settings_of(a: &Attempt) -> Result<AgentSettings, EngineError> {
    let config = &a.project.config;
    let mut settings = config
        .agents
        .get(&role(a)?)
        .unwrap_or(&config.default_agent)
        .clone();
    if let Some(executor) = &a.task.executor {
        settings.preset = Some(executor.clone());
        settings.command = None;
    }
    Ok(settings)
}

pub(super) fn command(engine: &Engine, a: &Attempt) -> Result<AgentCommand, EngineError> {
    let file = a.run_dir(engine).join(PROMPT_FILE);
    let file = std::path::absolute(&file).map_err(EngineError::file(&file))?;
    command_at(engine, a, (&file, &a.worktree(engine)))
}

/// The command of an agent that finds its prompt and its worktree there.
pub(super) fn command_at(
    engine: &Engine,
    a: &Attempt,
    (file, worktree): (&Path, &Path),
) -> Result<AgentCommand, EngineError> {
    let settings = settings_of(a)?;
    let choice = AgentChoice {
        preset: settings.preset,
        command: settings.command,
        prompt: settings.prompt.map(delivery),
        model: settings.model,
        env: settings.env,
        wrapper: settings.wrapper,
    };
    let written = a.run_dir(engine).join(PROMPT_FILE);
    let text = std::fs::read_to_string(&written).map_err(EngineError::file(&written))?;
    let invalid = |e: preset::AgentError| EngineError::Invalid { what: e.to_string() };
    preset::resolve(
        &choice,
        engine.presets(),
        PromptInput { text: &text, file },
        worktree,
    )
    .map_err(invalid)
}

/// What the agent finds in its environment: what is allowed of `source`, and what Orch tells it.
pub(super) fn environment(
    engine: &Engine,
    a: &Attempt,
    command: &AgentCommand,
    source: impl Iterator<Item = (String, String)>,
) -> Result<Vec<(String, String)>, EngineError> {
    let mut extra = command.env.clone();
    let words = [
        ("ORCH_ROLE", role(a)?.as_str().to_owned()),
        ("ORCH_STAGE", a.stage.name.to_string()),
    ];
    extra.extend(words.into_iter().map(|(k, v)| (k.to_owned(), v)));
    extra.extend(about(&a.project, &a.task));
    Ok(process::allowed_env(
        &engine.settings().agent.env_allow,
        source,
        &extra,
    ))
}

pub(super) fn launch_spec(
    engine: &Engine,
    a: &Attempt,
    command: &AgentCommand,
) -> Result<LaunchSpec, EngineError> {
    let agent = &engine.settings().agent;
    let own = settings_of(a)?;
    let timeout = time_limit(engine, a)?;
    // After an attempt that was ended too early all its limits grow alike.
    let longer = |limit: Duration| limit * u32::try_from(a.job.timeout_percent).unwrap_or(100) / 100;
    let prompt = a.run_dir(engine).join(PROMPT_FILE);
    let prompt = std::path::absolute(&prompt).map_err(EngineError::file(&prompt))?;
    let cwd = a.worktree(engine);
    Ok(LaunchSpec {
        program: command.program.clone(),
        args: command.args.clone(),
        env: environment(engine, a, command, process::inherited_env())?,
        cwd: std::path::absolute(&cwd).map_err(EngineError::file(&cwd))?,
        stdin: command.stdin.then_some(prompt),
        log_cap_bytes: agent.log_cap_bytes,
        timeout: Some(longer(timeout).min(agent.timeout_cap)),
        stall: positive(longer(own.stall.unwrap_or(agent.stall))),
        startup: positive(longer(own.startup.unwrap_or(agent.startup))),
        kill_grace: agent.kill_grace,
        lease: engine.run_lease(),
        once: false,
    })
}

/// How long an attempt of this role may take, before repair made it longer: as the project, the role's setting or the
/// setting for all says.
pub(in crate::engine) fn time_limit(engine: &Engine, a: &Attempt) -> Result<Duration, EngineError> {
    let agent = &engine.settings().agent;
    let (role, own) = (role(a)?, settings_of(a)?);
    let of_role = || agent.timeout_overrides.get(&role).copied();
    Ok(own.timeout.or_else(of_role).unwrap_or(agent.timeout))
}

fn delivery(chosen: project::PromptDelivery) -> preset::PromptDelivery {
    match chosen {
        project::PromptDelivery::Stdin => preset::PromptDelivery::Stdin,
        project::PromptDelivery::File => preset::PromptDelivery::File,
        project::PromptDelivery::Argument => preset::PromptDelivery::Argument,
    }
}

fn positive(limit: Duration) -> Option<Duration> {
    (limit > Duration::ZERO).then_some(limit)
}
