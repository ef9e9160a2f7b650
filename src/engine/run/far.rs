//! A run whose agent works on a node that is reached by ssh: its worktree is carried there before it is started, and
//! back before anything looks at its work. What follows its exit knows nothing of it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use slog_scope::warn;

use crate::agents::preset::AgentCommand;
use crate::domain::id::NodeName;
use crate::domain::job::Claim;
use crate::git::{Back, GitError};
use crate::process::far::FarRun;
use crate::process::{self, LaunchSpec, SshTarget};
use crate::settings::SshNode;

use super::super::{Engine, EngineError, ProjectHandle, blocking};
use super::agent::{command_at, environment, launch_spec};
use super::prepare::PROMPT_FILE;
use super::{Attempt, run_dir, worktree};

/// Beyond the limits of a run after which its far shim ends it by itself: nobody reached it.
const UNREACHED: Duration = Duration::from_secs(120);
/// What it takes to reach a node once more when its agent is to be ended.
pub(super) const REACH: Duration = Duration::from_secs(30);
/// Pauses before what a node has not given back is asked for again, milliseconds.
const AGAIN_AFTER_MS: [u64; 3] = [500, 2000, 8000];
/// Says in a run's folder that its node has nothing of it any more that is not here.
const BACK: &str = "far.back";
/// Says there that the node has nothing of it at all.
const FORGOTTEN: &str = "far.gone";

/// What carrying a run to its node came to.
pub(super) enum Carried {
    /// It can be started by this.
    There(Box<LaunchSpec>),
    /// It cannot, for a reason of the node.
    Refused(String),
    /// The node is not configured any more.
    Unknown,
}

/// Carries the prepared worktree and the prompt to the node. Done again until the run's shim was started.
pub(super) async fn carry(engine: &Engine, a: &Attempt, node: &NodeName) -> Result<Carried, EngineError> {
    let Some(known) = engine.settings().nodes.find(node) else {
        return Ok(Carried::Unknown);
    };
    let run_dir = a.run_dir(engine);
    let mut far = far_run(engine, a, known);
    far.write(&run_dir)?;
    let (project, path, prompt) = (a.project.clone(), a.worktree(engine), run_dir.join(PROMPT_FILE));
    let carried = blocking(move || {
        let prompt = std::fs::read(&prompt).map_err(EngineError::file(&prompt))?;
        let greeting = project.repository()?.carry(&path, &mut far, &prompt)?;
        Ok::<_, EngineError>((far, greeting))
    });
    let (far, greeting) = match carried.await {
        Ok(carried) => carried,
        Err(EngineError::Git(e)) => return refused(node, e),
        Err(e) => return Err(e),
    };
    let command = command_at(engine, a, (Path::new(&far.prompt()), Path::new(&far.worktree())))?;
    let spec = far_spec(engine, a, &far, &command, greeting.env)?;
    far.write(&run_dir)?;
    let put = blocking(move || Ok::<_, EngineError>(far.put(&spec)));
    match put.await? {
        Ok(()) => {}
        Err(e @ process::ProcessError::Offline { .. }) => {
            return Ok(Carried::Refused(format!("exit code 255 (node {node}: {e})")));
        }
        Err(e) => return Ok(Carried::Refused(e.to_string())),
    }
    Ok(Carried::There(Box::new(near_spec(engine, a)?)))
}

/// What git could not do there counts as a failure of the attempt on that node, in the words of an exit.
fn refused(node: &NodeName, error: GitError) -> Result<Carried, EngineError> {
    match error {
        GitError::Unreachable { why, .. } => Ok(Carried::Refused(offline(node.as_str(), &why))),
        GitError::Failed { what, code, stderr } => {
            let code = code.strip_prefix("exit ").unwrap_or("126");
            let why = format!("exit code {code} ({what}: {stderr})");
            Ok(Carried::Refused(why))
        }
        other => Err(EngineError::Git(other)),
    }
}

fn offline(node: &str, why: &str) -> String {
    format!("exit code 255 (worker offline: node {node} by ssh: {why})")
}

fn far_run(engine: &Engine, a: &Attempt, node: &SshNode) -> FarRun {
    FarRun {
        node: node.name.to_string(),
        target: SshTarget {
            host: node.host.clone(),
            port: node.port,
            identity_file: node.identity_file.clone(),
            known_hosts_file: node.known_hosts_file.clone(),
        },
        root: node.root.clone(),
        project: a.project.config.name.to_string(),
        name: format!("{}-{}", a.claim.job, a.claim.epoch),
        orch: node.orch.clone(),
        grace_s: engine.settings().agent.kill_grace.as_secs(),
        offline_after_s: node.offline.as_secs(),
    }
}

/// What runs there. Its own limits only end what nobody reaches any more: those that count are held here.
fn far_spec(
    engine: &Engine,
    a: &Attempt,
    far: &FarRun,
    command: &AgentCommand,
    login: Vec<(String, String)>,
) -> Result<LaunchSpec, EngineError> {
    let near = launch_spec(engine, a, command)?;
    Ok(LaunchSpec {
        env: environment(engine, a, command, login.into_iter())?,
        cwd: far.worktree().into(),
        stdin: command.stdin.then(|| far.prompt().into()),
        timeout: near.timeout.map(|limit| limit + UNREACHED),
        stall: None,
        startup: None,
        lease: Some(far.lease()),
        // Of a log that is still written the first half stands in one file.
        log_cap_bytes: near.log_cap_bytes.saturating_mul(2),
        ..near
    })
}

/// What runs here and stands for it, under the limits of the run.
fn near_spec(engine: &Engine, a: &Attempt) -> Result<LaunchSpec, EngineError> {
    let run_dir = a.run_dir(engine);
    let run_dir = std::path::absolute(&run_dir).map_err(EngineError::file(&run_dir))?;
    let known = ["HOME", "PATH", "USER", "LOGNAME", "SSH_AUTH_SOCK"].map(str::to_owned);
    let command = super::agent::command(engine, a)?;
    let near = launch_spec(engine, a, &command)?;
    Ok(LaunchSpec {
        program: engine.exe().display().to_string(),
        args: vec!["far".to_owned(), run_dir.display().to_string()],
        env: process::allowed_env(
            &known,
            process::inherited_env(),
            &std::collections::BTreeMap::new(),
        ),
        cwd: run_dir,
        stdin: None,
        kill_grace: near.kill_grace * 2 + REACH / 2,
        ..near
    })
}

/// How long the tree of a run may take to end.
pub(super) fn patience(engine: &Engine, run_dir: &Path) -> Duration {
    let usual = engine.settings().agent.kill_grace * 2;
    match FarRun::is_in(run_dir) {
        true => usual * 2 + REACH,
        false => usual,
    }
}

/// Brings the work of a far run into its worktree here, once. None for a run whose agent worked here.
///
/// # Errors
/// `Unreachable` of git when the node does not answer: it keeps the work, and is asked again.
pub(super) async fn bring_back(
    engine: &Engine,
    project: &Arc<ProjectHandle>,
    claim: Claim,
) -> Result<Option<Back>, EngineError> {
    let dir = run_dir(engine, claim);
    let Some(far) = FarRun::read(&dir)? else {
        return Ok(None);
    };
    let back = dir.join(BACK);
    if back.exists() {
        return Ok(Some(Back::Brought));
    }
    let node = NodeName::parse(&far.node).ok();
    if node.is_none_or(|node| engine.settings().nodes.find(&node).is_none()) {
        warn!(
            "node {} is not configured any more: what run {} left there is given up",
            far.node, far.name
        );
        return Ok(Some(Back::Gone));
    }
    let (project, path) = (project.clone(), worktree(engine, claim));
    let alone = engine.tidying(claim).await;
    let brought = blocking(move || {
        let _alone = alone;
        let brought = project.repository()?.bring_back(&path, &far)?;
        std::fs::write(&back, "").map_err(EngineError::file(&back))?;
        if let Err(e) = forget(&far, &dir) {
            warn!(
                "what run {} left on node {} is removed later: {}",
                far.name, far.node, e
            );
        }
        Ok::<_, EngineError>(brought)
    });
    brought.await.map(Some)
}

/// What is out of reach on a node that is away is looked for again by each sweep, and keeps nobody waiting.
pub(super) fn or_later(
    engine: &Engine,
    claim: Claim,
    cleaned: Result<(), EngineError>,
) -> Result<(), EngineError> {
    match cleaned {
        Err(EngineError::Git(e @ GitError::Unreachable { .. })) if FarRun::is_in(&run_dir(engine, claim)) => {
            warn!(
                "what run {}-{} left is fetched when its node answers again: {}",
                claim.job, claim.epoch, e
            );
            Ok(())
        }
        cleaned => cleaned,
    }
}

/// Removes on the nodes what is left of runs whose work is here, where that could not be done at once. Answers what
/// could not be.
pub(in crate::engine) async fn sweep(engine: &Engine) -> Result<Vec<String>, EngineError> {
    if engine.settings().nodes.ssh.is_empty() {
        return Ok(Vec::new());
    }
    let runs = engine.settings().data_dir.join("runs");
    blocking(move || {
        let mut trouble = Vec::new();
        for dir in std::fs::read_dir(&runs).into_iter().flatten().flatten() {
            let dir = dir.path();
            if !dir.join(BACK).exists() || dir.join(FORGOTTEN).exists() {
                continue;
            }
            if let Some(far) = FarRun::read(&dir)?
                && let Err(e) = forget(&far, &dir)
            {
                trouble.push(format!("run {} on node {}: {e}", far.name, far.node));
            }
        }
        Ok::<_, EngineError>(trouble)
    })
    .await
}

fn forget(far: &FarRun, dir: &Path) -> Result<(), EngineError> {
    far.forget()?;
    let forgotten = dir.join(FORGOTTEN);
    std::fs::write(&forgotten, "").map_err(EngineError::file(&forgotten))
}

/// The same for a run that ended well; asks several times. The reason of a node that does not answer at all.
pub(super) async fn take_over(
    engine: &Engine,
    a: &Attempt,
) -> Result<Result<Option<Back>, String>, EngineError> {
    let mut pauses = AGAIN_AFTER_MS.into_iter();
    loop {
        let why = match bring_back(engine, &a.project, a.claim).await {
            Err(EngineError::Git(GitError::Unreachable { why, .. })) => why,
            other => return other.map(Ok),
        };
        match pauses.next() {
            Some(ms) => tokio::time::sleep(Duration::from_millis(ms)).await,
            None => {
                let node = a.job.agent_node.as_ref().map_or("?", NodeName::as_str);
                return Ok(Err(offline(node, &why)));
            }
        }
    }
}
