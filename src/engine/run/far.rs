//! A run whose agent works on a node that is reached by ssh: its worktree is carried there before it is started, and
//! back before anything looks at its work. What follows its exit knows nothing of it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use slog_scope::warn;

use crate::agents::preset::AgentCommand;
use crate::domain::id::NodeName;
use crate::domain::job::Claim;
use crate::git::{Back, Carry, GitError};
use crate::process::far::FarRun;
use crate::process::{self, LaunchSpec, ProcessError, SshTarget};
use crate::settings::SshNode;
use crate::store::flags;

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
/// The key of the database's name on nodes.
const OWNER: &str = "nodes.owner";
/// Says in a run's folder that its node has nothing of it any more that is not here.
pub(super) const BACK: &str = "far.back";
/// What stands in it when nobody waits for the work any more.
pub(super) const GIVEN_UP: &str = "given up";
/// What stands in it when there was no worktree.
const GONE: &str = "gone";
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
    let mut far = far_run(engine, a, known, owner(engine).await?)?;
    far.write(&run_dir)?;
    let (project, path, prompt) = (a.project.clone(), a.worktree(engine), run_dir.join(PROMPT_FILE));
    // A predecessor in this process may not be done with it.
    let alone = engine.tidying(a.claim).await;
    let carried = blocking(move || {
        let _alone = alone;
        let prompt = std::fs::read(&prompt).map_err(EngineError::file(&prompt))?;
        let carried = project.repository()?.carry(&path, &mut far, &prompt)?;
        Ok::<_, EngineError>((far, carried))
    });
    let (far, greeting) = match carried.await? {
        (far, Carry::There(greeting)) => (far, greeting),
        (_, Carry::Refused(e)) => return Ok(Carried::Refused(refused(node, &e))),
    };
    if is_given_up(&run_dir) {
        return Ok(Carried::Refused(offline(node.as_str(), "it was given up")));
    }
    let command = command_at(engine, a, (Path::new(&far.prompt()), Path::new(&far.worktree())))?;
    let spec = far_spec(engine, a, &far, &command, greeting.env)?;
    far.write(&run_dir)?;
    let put = blocking(move || Ok::<_, EngineError>(far.put(&spec)));
    match put.await? {
        Ok(()) => Ok(Carried::There(Box::new(near_spec(engine, a)?))),
        Err(ProcessError::Offline { why, .. }) => Ok(Carried::Refused(offline(node.as_str(), &why))),
        Err(e) => Ok(Carried::Refused(unfit(node, "126", &e.to_string()))),
    }
}

/// What could not be done there counts as a failure of the attempt on that node, in the words of an exit that say so to
/// the rules.
fn refused(node: &NodeName, error: &GitError) -> String {
    match error {
        GitError::Unreachable { why, .. } => offline(node.as_str(), why),
        GitError::Failed { what, code, stderr } => {
            let code = code.strip_prefix("exit ").unwrap_or("126");
            unfit(node, code, &format!("{what}: {stderr}"))
        }
        other => unfit(node, "126", &other.to_string()),
    }
}

/// It answers, and cannot be given work: to a job that is the same as if it did not.
fn unfit(node: &NodeName, code: &str, why: &str) -> String {
    format!("exit code {code} (worker offline: node {node}: {why})")
}

fn offline(node: &str, why: &str) -> String {
    format!("exit code 255 (worker offline: node {node} by ssh: {why})")
}

/// What the database is called on nodes, for good: its first service's id.
async fn owner(engine: &Engine) -> Result<String, EngineError> {
    let known = engine.store().read(|tx| flags::get(tx, OWNER)).await?;
    if let Some(owner) = known {
        return Ok(owner);
    }
    let id = engine.instance().to_string();
    let kept = engine.store().write(move |tx| flags::keep_first(tx, OWNER, &id));
    Ok(kept.await?)
}

/// A configured machine, as ssh is told of it.
pub(super) fn target(node: &SshNode) -> SshTarget {
    SshTarget {
        host: node.host.clone(),
        port: node.port,
        identity_file: node.identity_file.clone(),
        known_hosts_file: node.known_hosts_file.clone(),
    }
}

fn far_run(engine: &Engine, a: &Attempt, node: &SshNode, owner: String) -> Result<FarRun, EngineError> {
    let command = super::agent::command(engine, a)?;
    let near = launch_spec(engine, a, &command)?;
    // Nothing may live there when others are free to take the run.
    let offline = near
        .lease
        .map_or(node.offline, |lease| lease.ttl.min(node.offline));
    let limit = near.timeout.unwrap_or(engine.settings().agent.timeout_cap) + UNREACHED;
    Ok(FarRun {
        node: node.name.to_string(),
        target: target(node),
        root: node.root.clone(),
        project: a.project.config.name.to_string(),
        name: format!("{}-{}", a.claim.job, a.claim.epoch),
        owner,
        orch: node.orch.clone(),
        grace_s: engine.settings().agent.kill_grace.as_secs(),
        offline_after_s: offline.as_secs(),
        limit_s: limit.as_secs(),
    })
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
        once: false,
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
    if let Some(known) = known_back(&back)? {
        return Ok(Some(known));
    }
    let (project, path) = (project.clone(), worktree(engine, claim));
    let alone = engine.tidying(claim).await;
    let brought = blocking(move || {
        let _alone = alone;
        let brought = project.repository()?.bring_back(&path, &far)?;
        process::far::note(&back, word(brought))?;
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

fn word(back: Back) -> &'static str {
    match back {
        Back::Brought => "brought",
        Back::Gone => GONE,
    }
}

/// What an earlier look came to, if there was one.
pub(super) fn known_back(note: &Path) -> Result<Option<Back>, EngineError> {
    match std::fs::read_to_string(note) {
        Ok(text) if text == GONE || text == GIVEN_UP => Ok(Some(Back::Gone)),
        Ok(_) => Ok(Some(Back::Brought)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(EngineError::file(note)(e)),
    }
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
/// could not be. Those that are `silent` are not asked.
pub(in crate::engine) async fn sweep(
    engine: &Engine,
    mut silent: Vec<SshTarget>,
) -> Result<Vec<String>, EngineError> {
    let runs = engine.settings().data_dir.join("runs");
    blocking(move || {
        let mut trouble = Vec::new();
        for dir in std::fs::read_dir(&runs).into_iter().flatten().flatten() {
            let dir = dir.path();
            if !dir.join(BACK).exists() || dir.join(FORGOTTEN).exists() {
                continue;
            }
            let far = match FarRun::read(&dir) {
                Ok(Some(far)) => far,
                Ok(None) => continue,
                Err(e) => {
                    trouble.push(e.to_string());
                    continue;
                }
            };
            // Once is enough to know that a machine does not answer.
            if silent.contains(&far.target) {
                continue;
            }
            if let Err(e) = forget(&far, &dir) {
                let offline = matches!(e, EngineError::Process(ProcessError::Offline { .. }));
                // Nobody expects a node back that was given up.
                if offline && is_given_up(&dir) {
                    silent.push(far.target);
                    continue;
                }
                trouble.push(format!("run {} on node {}: {e}", far.name, far.node));
                if offline {
                    silent.push(far.target);
                }
            }
        }
        Ok::<_, EngineError>(trouble)
    })
    .await
}

fn is_given_up(dir: &Path) -> bool {
    std::fs::read_to_string(dir.join(BACK)).is_ok_and(|text| text == GIVEN_UP)
}

fn forget(far: &FarRun, dir: &Path) -> Result<(), EngineError> {
    // Its agent may work there to this day.
    if is_given_up(dir) {
        far.end()?;
    }
    far.forget()?;
    process::far::note(&dir.join(FORGOTTEN), "")?;
    Ok(())
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
            Ok(Some(Back::Gone)) if is_given_up(&run_dir(engine, a.claim)) => {
                return Ok(Err(offline(node(a), "it was given up")));
            }
            other => return other.map(Ok),
        };
        match pauses.next() {
            Some(ms) => tokio::time::sleep(Duration::from_millis(ms)).await,
            None => return Ok(Err(offline(node(a), &why))),
        }
    }
}

fn node(a: &Attempt) -> &str {
    a.job.agent_node.as_ref().map_or("?", NodeName::as_str)
}

/// The machine that has the work of a run and was not asked for it yet.
pub(in crate::engine) async fn asked(engine: &Engine, claim: Claim) -> Option<SshTarget> {
    let dir = run_dir(engine, claim);
    let target = move || {
        let far = FarRun::read(&dir).ok().flatten();
        Ok::<_, EngineError>(far.filter(|_| !dir.join(BACK).exists()).map(|far| far.target))
    };
    blocking(target).await.ok().flatten()
}
