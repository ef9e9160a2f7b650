//! Runs a project's hook, once for an attempt and an action: whoever asks again finds the one that was started. It is no
//! child of the service and outlives it. Never decides what its end means for the task.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::domain::deploy::{Said, said};
use crate::process::{self, LaunchSpec, ProcessError, ProcessWatch, RunState};
use crate::settings::project::{Hook, Runner};
use crate::store::deploys::Deploy;

use super::super::look::about;
use super::super::{Engine, EngineError, blocking};
use super::{Attempt, failed};

/// What a hook is to do: the last word of its command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Bring the revision to production.
    Deploy,
    /// Bring back what ran before it.
    Rollback,
}

impl Action {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Deploy => "deploy",
            Self::Rollback => "rollback",
        }
    }
}

/// How a hook ended.
#[derive(Clone, Debug)]
pub(super) struct Ended {
    /// What its end says.
    pub said: Said,
    /// The end of what it printed, without the service's secrets.
    pub tail: String,
}

/// How it stands.
#[derive(Clone, Debug)]
pub(super) enum Stands {
    /// It was started nowhere.
    NotStarted,
    /// It may be at work.
    AtWork,
    /// It is over.
    Ended(Ended),
}

/// Of what a hook printed.
const TAIL_BYTES: u64 = 16 * 1024;
/// How long a shim that was just started may take to say who it is.
const STARTING: Duration = Duration::from_secs(10);
/// Between two looks for that.
const PASS: Duration = Duration::from_millis(20);

/// Starts the hook, or finds it, and waits for its end.
///
/// # Errors
/// `Lost` when the job is somebody else's by now: nothing was started then. The process layer's, git's.
pub(super) async fn run(
    engine: &Engine,
    a: &Attempt,
    hook: &Hook,
    action: Action,
    deploy: &Deploy,
) -> Result<Ended, EngineError> {
    loop {
        match stands(engine, hook, action, deploy).await? {
            Stands::NotStarted => start(engine, a, hook, action, deploy).await?,
            Stands::AtWork => wait(engine, action, deploy).await?,
            Stands::Ended(ended) => {
                let (tree, project) = (tree(engine, action, deploy), a.project.clone());
                blocking(move || project.repository()?.remove_worktree(&tree)).await?;
                return Ok(ended);
            }
        }
    }
}

/// How the hook stands. Starts nothing.
///
/// # Errors
/// The process layer's.
pub(super) async fn stands(
    engine: &Engine,
    hook: &Hook,
    action: Action,
    deploy: &Deploy,
) -> Result<Stands, EngineError> {
    let gone = |why: &str| {
        Stands::Ended(Ended {
            said: Said::AskProduction(why.to_owned()),
            tail: String::new(),
        })
    };
    if !is_here(engine, deploy) {
        // Another machine has its record. It cannot be at work any more when its time is over.
        let most = hook.timeout + engine.settings().agent.kill_grace + STARTING;
        let left = most.saturating_sub(engine.now().since(deploy.created_at));
        return Ok(match left.is_zero() {
            true => gone("the machine that ran the hook does not answer"),
            false => Stands::AtWork,
        });
    }
    let dir = run_dir(engine, action, deploy);
    let looked = dir.clone();
    Ok(match blocking(move || process::look(&looked, None)).await? {
        RunState::NotLaunched => Stands::NotStarted,
        RunState::Running(_) => Stands::AtWork,
        RunState::Ended(exit) => {
            let tail = blocking(move || process::output_tail(&dir, TAIL_BYTES)).await?;
            Stands::Ended(Ended {
                said: said(&exit, &process::exit_text(&exit)),
                tail: engine.settings().without_secrets(&tail),
            })
        }
        // What it had started may live on: production is asked only when nothing can change it any more.
        RunState::Lost(_) => {
            failed::end_tree_in(engine, dir, false, None).await?;
            gone("the hook is gone, and its exit was not recorded")
        }
        RunState::Elsewhere(_) => gone("the hook went down with its machine or container"),
    })
}

/// The deed. Of two that start it one is refused, however close together they are.
async fn start(
    engine: &Engine,
    a: &Attempt,
    hook: &Hook,
    action: Action,
    deploy: &Deploy,
) -> Result<(), EngineError> {
    let (dir, tree) = (run_dir(engine, action, deploy), tree(engine, action, deploy));
    if !process::is_idle(&dir) {
        // It was started a moment ago, and says so within milliseconds.
        return said_to_run(&dir).await;
    }
    let (project, at, path) = (a.project.clone(), deploy.revision.clone(), tree.clone());
    blocking(move || {
        let repo = project.repository()?;
        repo.ensure_commits(&[&at])?;
        Ok::<_, EngineError>(repo.prepare_worktree(&path, &at)?)
    })
    .await?;
    let spec = launch_spec(engine, a, hook, action, deploy, tree)?;
    a.check_hold(engine).await?;
    let exe = engine.exe().to_owned();
    let launched = dir.clone();
    match blocking(move || Ok::<_, EngineError>(process::launch(&launched, &exe, &spec))).await? {
        Ok(_) | Err(ProcessError::AlreadyLaunched { .. }) => said_to_run(&dir).await,
        Err(e) => Err(e.into()),
    }
}

/// Waits until a shim has said that its program runs, or is over.
async fn said_to_run(dir: &Path) -> Result<(), EngineError> {
    let said = async {
        while !process::is_idle(dir) && process::look(dir, None)? == RunState::NotLaunched {
            tokio::time::sleep(PASS).await;
        }
        Ok(())
    };
    match tokio::time::timeout(STARTING, said).await {
        Ok(said) => said,
        Err(_) => Err(EngineError::Conflict {
            what: format!(
                "the shim of a deploy hook does not start: look at {}",
                dir.display()
            ),
        }),
    }
}

fn launch_spec(
    engine: &Engine,
    a: &Attempt,
    hook: &Hook,
    action: Action,
    deploy: &Deploy,
    tree: PathBuf,
) -> Result<LaunchSpec, EngineError> {
    let agent = &engine.settings().agent;
    let told = told(a, hook, action, deploy);
    let mut argv = hook.argv.iter().cloned().chain([action.as_str().to_owned()]);
    let program = argv.next().unwrap_or_default();
    match &hook.runner {
        Runner::Local => {}
        Runner::Ssh(host) => {
            return Err(EngineError::Invalid {
                what: format!("deploy.runner = \"ssh:{host}\" is not there yet"),
            });
        }
    }
    Ok(LaunchSpec {
        program,
        args: argv.collect(),
        env: process::allowed_env(&agent.env_allow, process::inherited_env(), &told),
        cwd: tree,
        stdin: None,
        log_cap_bytes: agent.log_cap_bytes,
        timeout: Some(hook.timeout),
        stall: None,
        startup: None,
        kill_grace: agent.kill_grace,
        // It goes on where the service cannot be heard: an interrupted deploy is worse than one that nobody watches.
        lease: None,
        once: true,
    })
}

/// What a hook is told in its environment.
fn told(a: &Attempt, hook: &Hook, action: Action, deploy: &Deploy) -> BTreeMap<String, String> {
    let mut told = hook.env.clone();
    told.extend(about(&a.project, &a.task));
    told.extend(
        [
            ("ORCH_ACTION", action.as_str().to_owned()),
            ("ORCH_ATTEMPT", deploy.id.0.to_string()),
            ("ORCH_REVISION", deploy.revision.to_string()),
            ("ORCH_PREVIOUS", deploy.previous.clone().unwrap_or_default()),
        ]
        .map(|(name, value)| (name.to_owned(), value)),
    );
    told
}

/// Waits until it has ended, as far as can be seen from here.
async fn wait(engine: &Engine, action: Action, deploy: &Deploy) -> Result<(), EngineError> {
    if !is_here(engine, deploy) {
        tokio::time::sleep(Duration::from_secs(5)).await;
        return Ok(());
    }
    let dir = run_dir(engine, action, deploy);
    if let RunState::Running(shim) = process::look(&dir, None)? {
        ProcessWatch::open(&shim).wait().await;
    }
    Ok(())
}

/// Alone on its database, a service has every hook, whatever its node was called before.
fn is_here(engine: &Engine, deploy: &Deploy) -> bool {
    !engine.store().is_shared() || deploy.node == engine.settings().node
}

/// Where its record is kept. The time keeps the numbers of two databases apart.
fn run_dir(engine: &Engine, action: Action, deploy: &Deploy) -> PathBuf {
    let name = format!("{}-{}-{}", deploy.id.0, deploy.created_at.0, action.as_str());
    engine.settings().data_dir.join("deploys").join(name)
}

/// Where the revision is checked out for it.
fn tree(engine: &Engine, action: Action, deploy: &Deploy) -> PathBuf {
    let mut name = run_dir(engine, action, deploy).into_os_string();
    name.push("-tree");
    name.into()
}
