//! Starts the agent under its shim, waits for its end, and reads what it used.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::time::Duration;

use crate::agents::preset::{self, AgentChoice, AgentCommand, PromptInput};
use crate::agents::usage::{UsageFormat, UsageMeter};
use crate::domain::run::{ExitRecord, RunStep, StopCause};
use crate::domain::usage::UsageReport;
use crate::process::{self, LaunchSpec, ProcessWatch, RunState};
use crate::settings::project::{self, AgentSettings};
use crate::store::runs::RunPatch;

use super::super::look::about;
use super::super::{Engine, EngineError, Hint, blocking, transition};
use super::failed::{self, Again};
use super::prepare::{PROMPT_FILE, role};
use super::{Attempt, Step};

/// The agent is started, and its identity recorded before anything else is done. Died in between: the run
/// directory says that it was started, and by whom.
pub(super) async fn launch(engine: &Engine, a: &mut Attempt) -> Result<Step, EngineError> {
    a.check_hold(engine).await?;
    let run_dir = a.run_dir(engine);
    let command = command(engine, a)?;
    let shim = match process::look(&run_dir, None)? {
        RunState::NotLaunched => {
            let spec = launch_spec(engine, a, &command)?;
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

/// Waits for the recorded exit. The shim holds the limits, so there is nothing to do meanwhile.
pub(super) async fn watch(engine: &Engine, a: &mut Attempt) -> Result<Step, EngineError> {
    let run_dir = a.run_dir(engine);
    loop {
        let exit = match process::look(&run_dir, a.run.shim.as_ref())? {
            RunState::Running(shim) => {
                ProcessWatch::open(&shim).wait().await;
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

pub(super) async fn ended(engine: &Engine, a: &mut Attempt, exit: ExitRecord) -> Result<Step, EngineError> {
    let format = command(engine, a)?.usage_format;
    let dir = a.run_dir(engine);
    let report = blocking(move || meter(&dir, format)).await?;
    let succeeded = exit.succeeded();
    let text = match &exit.cause {
        Some(StopCause::NotStarted { .. }) => not_started(a, &process::exit_text(&exit))?,
        Some(_) | None => process::exit_text(&exit),
    };
    let failure = match (&report.failure, succeeded) {
        (Some(why), true) => Some(format!("{text}, but the agent reports: {why}")),
        (_, true) => None,
        (_, false) => Some(text),
    };
    let patch = RunPatch {
        step: Some(RunStep::Exited),
        exit: Some(exit),
        usage: report.usage,
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

fn meter(run_dir: &Path, format: UsageFormat) -> Result<UsageReport, EngineError> {
    let mut meter = UsageMeter::new(format);
    let path = process::output_path(run_dir);
    let file = match File::open(&path) {
        Ok(file) => file,
        // A log that could not be written (full disk) costs the figures, not the run.
        Err(_) => return Ok(meter.finish()),
    };
    let mut reader = BufReader::new(file);
    loop {
        let read = match reader.fill_buf() {
            Ok([]) | Err(_) => return Ok(meter.finish()),
            Ok(chunk) => {
                meter.bytes(chunk);
                chunk.len()
            }
        };
        reader.consume(read);
    }
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

fn command(engine: &Engine, a: &Attempt) -> Result<AgentCommand, EngineError> {
    let settings = settings_of(a)?;
    let choice = AgentChoice {
        preset: settings.preset,
        command: settings.command,
        prompt: settings.prompt.map(delivery),
        model: settings.model,
        env: settings.env,
        wrapper: settings.wrapper,
    };
    let file = a.run_dir(engine).join(PROMPT_FILE);
    let file = std::path::absolute(&file).map_err(EngineError::file(&file))?;
    let text = std::fs::read_to_string(&file).map_err(EngineError::file(&file))?;
    let invalid = |e: preset::AgentError| EngineError::Invalid { what: e.to_string() };
    let worktree = a.worktree(engine);
    preset::resolve(
        &choice,
        engine.presets(),
        PromptInput {
            text: &text,
            file: &file,
        },
        &worktree,
    )
    .map_err(invalid)
}

fn launch_spec(engine: &Engine, a: &Attempt, command: &AgentCommand) -> Result<LaunchSpec, EngineError> {
    let agent = &engine.settings().agent;
    let (role, own) = (role(a)?, settings_of(a)?);
    let timeout = own
        .timeout
        .or_else(|| agent.timeout_overrides.get(&role).copied())
        .unwrap_or(agent.timeout);
    let prompt = a.run_dir(engine).join(PROMPT_FILE);
    let prompt = std::path::absolute(&prompt).map_err(EngineError::file(&prompt))?;
    let mut extra = command.env.clone();
    let words = [
        ("ORCH_ROLE", role.as_str().to_owned()),
        ("ORCH_STAGE", a.stage.name.to_string()),
        ("ORCH_PROMPT_FILE", prompt.display().to_string()),
    ];
    extra.extend(words.into_iter().map(|(k, v)| (k.to_owned(), v)));
    extra.extend(about(&a.project, &a.task));
    let cwd = a.worktree(engine);
    Ok(LaunchSpec {
        program: command.program.clone(),
        args: command.args.clone(),
        env: process::allowed_env(&agent.env_allow, process::inherited_env(), &extra),
        cwd: std::path::absolute(&cwd).map_err(EngineError::file(&cwd))?,
        stdin: command.stdin.then_some(prompt),
        log_cap_bytes: agent.log_cap_bytes,
        timeout: Some(timeout.min(agent.timeout_cap)),
        stall: positive(own.stall.unwrap_or(agent.stall)),
        startup: positive(own.startup.unwrap_or(agent.startup)),
        kill_grace: agent.kill_grace,
        lease: engine.run_lease(),
    })
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
