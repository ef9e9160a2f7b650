//! Runs a project's hook, once for an attempt and an action: whoever asks again finds the one that was started. It is no
//! child of the service and outlives it. Never decides what its end means for the task.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::domain::deploy::{Said, said};
use crate::domain::run::StopCause;
use crate::domain::time::Timestamp;
use crate::process::far::{FarHook, is_cut, longest, printed};
use crate::process::{self, LaunchSpec, ProcessError, ProcessWatch, RunState, SshTarget};
use crate::settings::project::{Hook, Runner};
use crate::store::deploys::Deploy;

use super::super::look::about;
use super::super::{Engine, EngineError, blocking};
use super::connections::{OFFLINE, Tries, begun_by, has_reached, last_of, next_of};
use super::{Attempt, far};

/// What a hook is to do: the last word of its command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Bring the revision to production.
    Deploy,
    /// Bring back what ran before it.
    Rollback {
        /// When that was decided.
        since: Timestamp,
    },
}

impl Action {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Deploy => "deploy",
            Self::Rollback { .. } => "rollback",
        }
    }

    /// When it was decided.
    fn since(self, deploy: &Deploy) -> Timestamp {
        match self {
            Self::Deploy => deploy.created_at,
            Self::Rollback { since } => since,
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
    /// It may be at work on another machine, and is not followed.
    Cut,
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
    let base = run_dir(engine, action, deploy);
    let mut tries: Option<Tries> = None;
    loop {
        match look(engine, hook, action, deploy).await? {
            Stands::NotStarted => start(engine, a, hook, action, deploy).await?,
            // Whatever time has passed: the machine alone knows, and is asked.
            Stands::Cut => {
                let (now, base) = (engine.now(), base.clone());
                let seen =
                    blocking(move || Ok::<_, EngineError>((has_reached(&last_of(&base)), begun_by(&base))));
                let (reached, began) = seen.await?;
                let tried = tries.map_or_else(|| Tries::begin(now), |tries| tries.again(now, reached));
                if tried.are_over(began, longest(hook.timeout)) {
                    return Ok(gone("the machine of the hook does not answer by ssh"));
                }
                tries = Some(tried);
                tokio::time::sleep(tried.pause()).await;
                start(engine, a, hook, action, deploy).await?;
            }
            Stands::AtWork => wait(engine, action, deploy).await?,
            Stands::Ended(ended) => {
                let (tree, project) = (tree(engine, action, deploy), a.project.clone());
                blocking(move || project.repository()?.remove_worktree(&tree)).await?;
                return Ok(ended);
            }
        }
    }
}

fn gone(why: &str) -> Ended {
    Ended {
        said: Said::AskProduction(why.to_owned()),
        tail: String::new(),
    }
}

/// How the hook stands, as far as is known here. Starts nothing: what was begun on another machine and is followed by nobody
/// counts as gone when it cannot be at work there any more.
///
/// # Errors
/// The process layer's.
pub(super) async fn stands(
    engine: &Engine,
    hook: &Hook,
    action: Action,
    deploy: &Deploy,
) -> Result<Stands, EngineError> {
    let stands = look(engine, hook, action, deploy).await?;
    if !matches!(stands, Stands::Cut) {
        return Ok(stands);
    }
    let last = last_of(&run_dir(engine, action, deploy));
    let followed = blocking(move || Ok::<_, EngineError>(process::read_exit(&last)?));
    let since = followed
        .await?
        .map_or(action.since(deploy), |exit| exit.finished_at);
    Ok(
        match engine.now().since(since) > longest(hook.timeout) + OFFLINE {
            true => Stands::Ended(gone("nobody followed the hook to its end")),
            false => Stands::Cut,
        },
    )
}

async fn look(engine: &Engine, hook: &Hook, action: Action, deploy: &Deploy) -> Result<Stands, EngineError> {
    let gone = |why: &str| Stands::Ended(gone(why));
    let waited = engine.now().since(action.since(deploy));
    let most = hook.timeout + engine.settings().agent.kill_grace + STARTING;
    let far = hook.runner != Runner::Local;
    if !far && !is_here(engine, deploy) {
        // Another machine has its record. It cannot be at work any more when its time is over.
        return Ok(match waited > most {
            true => gone("the machine that ran the hook does not answer"),
            false => Stands::AtWork,
        });
    }
    let base = run_dir(engine, action, deploy);
    let first = base.clone();
    let dir = blocking(move || Ok::<_, EngineError>(last_of(&base))).await?;
    let looked = dir.clone();
    let state = blocking(move || process::look(&looked, None)).await?;
    // The connection is gone, and what it followed is not: it is followed over another one.
    let cut = match &state {
        RunState::Ended(exit) => {
            // No ssh any more says nothing of what was begun over an earlier one.
            is_cut(exit) || (dir != first && matches!(exit.cause, Some(StopCause::NotStarted { .. })))
        }
        RunState::Lost(_) | RunState::Elsewhere(_) => true,
        RunState::NotLaunched | RunState::Running(_) => false,
    };
    if far && cut {
        return Ok(Stands::Cut);
    }
    Ok(match state {
        RunState::NotLaunched => Stands::NotStarted,
        RunState::Running(_) => Stands::AtWork,
        RunState::Ended(exit) => {
            let tail = blocking(move || process::output_tail(&dir, TAIL_BYTES)).await?;
            Stands::Ended(Ended {
                said: said(&exit, &process::exit_text(&exit)),
                tail: engine.settings().without_secrets(&printed(&tail)),
            })
        }
        // The hook died with its shim. What it had started is let alone: production may be among it.
        RunState::Lost(_) => gone("the hook is gone, and its exit was not recorded"),
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
    let (base, tree) = (run_dir(engine, action, deploy), tree(engine, action, deploy));
    let dir = blocking(move || Ok::<_, EngineError>(next_of(&base))).await?;
    if !process::is_idle(&dir) {
        // It was started a moment ago, and says so within milliseconds.
        return said_to_run(&dir).await;
    }
    let spec = match &hook.runner {
        Runner::Local => {
            let (project, at, path) = (a.project.clone(), deploy.revision.clone(), tree.clone());
            blocking(move || {
                let repo = project.repository()?;
                repo.ensure_commits(&[&at])?;
                Ok::<_, EngineError>(repo.prepare_worktree(&path, &at)?)
            })
            .await?;
            launch_spec(engine, a, hook, action, deploy, tree)
        }
        Runner::Ssh(host) => {
            let hook = far_hook(engine, a, hook, action, deploy, host);
            let dir = dir.clone();
            blocking(move || hook.launch_spec(&dir, process::ssh_environment())).await?
        }
    };
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
) -> LaunchSpec {
    let agent = &engine.settings().agent;
    let told = told(a, hook, action, deploy);
    let mut argv = hook.argv.iter().cloned().chain([action.as_str().to_owned()]);
    let program = argv.next().unwrap_or_default();
    LaunchSpec {
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
    }
}

fn far_hook(
    engine: &Engine,
    a: &Attempt,
    hook: &Hook,
    action: Action,
    deploy: &Deploy,
    host: &str,
) -> FarHook {
    let node = engine
        .settings()
        .nodes
        .ssh
        .iter()
        .find(|node| node.name.as_str() == host);
    let target = node.map_or_else(
        || SshTarget {
            host: host.to_owned(),
            port: None,
            identity_file: None,
            known_hosts_file: None,
        },
        far::target,
    );
    let root = node.map_or(".orch", |node| node.root.as_str());
    FarHook {
        target,
        folder: format!(
            "{root}/deploys/{}-{}",
            a.project.config.name,
            name(action, deploy)
        ),
        argv: hook
            .argv
            .iter()
            .cloned()
            .chain([action.as_str().to_owned()])
            .collect(),
        env: told(a, hook, action, deploy),
        limit: hook.timeout,
    }
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
    let dir = last_of(&run_dir(engine, action, deploy));
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
    engine
        .settings()
        .data_dir
        .join("deploys")
        .join(name(action, deploy))
}

fn name(action: Action, deploy: &Deploy) -> String {
    format!("{}-{}-{}", deploy.id.0, deploy.created_at.0, action.as_str())
}

/// Where the revision is checked out for it.
fn tree(engine: &Engine, action: Action, deploy: &Deploy) -> PathBuf {
    let mut name = run_dir(engine, action, deploy).into_os_string();
    name.push("-tree");
    name.into()
}
