//! Runs what gates need to have run: the project's test command, a project's own program. Each in a clean
//! scratch worktree of the very commit, under the shim. Never judges more than the exit.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::domain::gate::Verdict;
use crate::domain::id::{ClaimEpoch, JobId, Sha};
use crate::domain::job::Claim;
use crate::domain::run::{ExitRecord, StopCause};
use crate::process::check::{CheckResult, CheckSpec};
use crate::process::{self, RunState};
use crate::store::{StoreError, jobs};

use super::contain::{Unit, limited};
use super::{Engine, EngineError, ProjectHandle, blocking};

const TAIL_BYTES: u64 = 64 * 1024;

/// What to run, where.
#[derive(Clone, Debug)]
pub struct Check {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// The commit to run it on.
    pub at: Sha,
    /// Stopped after this.
    pub timeout: Duration,
    /// Names its folders: the claim it is run for, and a word.
    pub claim: Claim,
    /// "tests", the gate's name.
    pub label: String,
    /// What it is told of the task in its environment.
    pub about: BTreeMap<String, String>,
}

/// What running it gave.
#[derive(Clone, Debug)]
pub struct Checked {
    /// How it ended.
    pub exit: ExitRecord,
    /// The end of what it printed.
    pub tail: String,
}

impl Checked {
    /// All that it printed is in `tail`.
    pub fn is_whole(&self) -> bool {
        let exit = &self.exit;
        exit.output_bytes <= TAIL_BYTES && exit.dropped_bytes == 0 && exit.log_error.is_none()
    }

    /// For tests: any exit but 0 is red; only what could not be run at all is unknown.
    pub fn tests_verdict(&self) -> Verdict {
        let text = process::exit_text(&self.exit);
        if self.exit.succeeded() {
            return Verdict::green("the test command passed");
        }
        match self.exit.cause {
            Some(StopCause::NotStarted { .. } | StopCause::Stopped | StopCause::LeaseExpired { .. }) => {
                Verdict::unknown(format!("the test command could not be run: {text}"))
            }
            Some(StopCause::Timeout { .. } | StopCause::Stall { .. } | StopCause::Startup { .. }) | None => {
                Verdict::red(format!("the test command failed: {text}{}", self.last_line()))
            }
        }
    }

    /// For a project's own program: 0 green, 1 red, anything else unknown; its output is the reason.
    pub fn command_verdict(&self) -> Verdict {
        let said = self.tail.trim();
        let said: String = if said.is_empty() {
            "it said nothing".into()
        } else {
            one_line(said, 300)
        };
        match (self.exit.code, &self.exit.cause) {
            (Some(0), None) => Verdict::green(said),
            (Some(1), None) => Verdict::red(said),
            _ => Verdict::unknown(format!("{}: {said}", process::exit_text(&self.exit))),
        }
    }

    fn last_line(&self) -> String {
        match self.tail.lines().rev().find(|l| !l.trim().is_empty()) {
            Some(line) => format!(": {}", one_line(line, 200)),
            None => String::new(),
        }
    }
}

/// Text on one line without control characters, capped.
pub fn one_line(text: &str, max: usize) -> String {
    let mut line: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(max)
        .collect();
    if text.chars().count() > max {
        line.push('…');
    }
    line
}

/// Runs a check and removes its folders again. Called again after a crash for the same claim and commit, it goes on
/// watching the one that was started.
///
/// # Errors
/// git's and the process layer's; the check's own failure is an outcome.
pub async fn run(
    engine: &Engine,
    project: &Arc<ProjectHandle>,
    check: Check,
) -> Result<Checked, EngineError> {
    // A command gate is called as its project likes.
    let label: String = check
        .label
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
        .take(64)
        .collect();
    let name = format!(
        "{}-{}-{label}-{}",
        check.claim.job,
        check.claim.epoch,
        check.at.short()
    );
    let worktree = scratch_dir(engine).join(&name);
    let run_dir = checks_dir(engine).join(&name);
    let agent = &engine.settings().agent;
    let spec = CheckSpec {
        argv: check.argv,
        env: process::allowed_env(&agent.env_allow, process::inherited_env(), &check.about),
        cwd: worktree.clone(),
        timeout: check.timeout,
        kill_grace: agent.kill_grace,
        lease: engine.run_lease(),
        log_cap_bytes: agent.log_cap_bytes,
        tail_bytes: TAIL_BYTES,
        run_dir: run_dir.clone(),
    };
    let (handle, path, dir, at) = (project.clone(), worktree.clone(), run_dir.clone(), check.at);
    blocking(move || match process::look(&dir, None)? {
        RunState::NotLaunched => Ok(handle.repository()?.prepare_worktree(&path, &at)?),
        RunState::Running(_) | RunState::Ended(_) | RunState::Lost(_) | RunState::Elsewhere(_) => {
            Ok::<_, EngineError>(())
        }
    })
    .await?;
    let outcome = process::check::run(engine.exe(), &spec).await;
    let handle = project.clone();
    blocking(move || {
        handle.repository()?.remove_worktree(&worktree)?;
        // Its verdict holds what is worth keeping; a folder that stays is swept at the next start.
        let _ = deed!("remove the folder of a check", std::fs::remove_dir_all(&run_dir));
        Ok::<_, EngineError>(())
    })
    .await?;
    let CheckResult { exit, output_tail } = outcome?;
    if exit.ended_by_orch() {
        // Whoever ran it before us died or was told to stop: that says nothing about the candidate.
        return Err(EngineError::Conflict {
            what: "the check was stopped before its end".into(),
        });
    }
    Ok(Checked {
        exit,
        tail: output_tail,
    })
}

/// Removes what checks of a claim that is over left behind, because they were superseded or the service died.
pub(super) async fn sweep(
    engine: &Engine,
    project: &Arc<ProjectHandle>,
    claim: Claim,
) -> Result<(), EngineError> {
    end_all(engine, claim).await?;
    for worktree in left(scratch_dir(engine), claim).await? {
        let handle = project.clone();
        blocking(move || handle.repository()?.remove_worktree(&worktree)).await?;
    }
    Ok(())
}

/// The same where nobody knows whose repository it was. Its worktrees go as plain folders, which are answered: what a
/// repository still says of them is found missing when it is asked for its worktrees.
async fn sweep_unknown(engine: &Engine, claim: Claim) -> Result<Vec<PathBuf>, EngineError> {
    end_all(engine, claim).await?;
    let worktrees = left(scratch_dir(engine), claim).await?;
    for worktree in worktrees.clone() {
        blocking(move || {
            let gone = deed!(
                "remove the worktree of an unknown check",
                std::fs::remove_dir_all(&worktree)
            );
            gone.map_err(EngineError::file(worktree))
        })
        .await?;
    }
    Ok(worktrees)
}

/// What the checks of a claim left in a folder.
async fn left(folder: PathBuf, claim: Claim) -> Result<Vec<PathBuf>, EngineError> {
    let prefix = format!("{}-{}-", claim.job, claim.epoch);
    blocking(move || Ok::<_, EngineError>(below(&folder, &prefix))).await
}

/// Ends what still runs of the checks of a claim, and removes their run folders.
async fn end_all(engine: &Engine, claim: Claim) -> Result<(), EngineError> {
    for run in left(checks_dir(engine), claim).await? {
        super::run::end_tree_in(engine, run.clone(), true, None).await?;
        blocking(move || match std::fs::remove_dir_all(&run) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(EngineError::file(run)(e)),
            Ok(()) | Err(_) => Ok(()),
        })
        .await?;
    }
    Ok(())
}

/// The same for all claims that no job runs under. What was being made when its run was taken away is in no run's
/// care. A folder that is made meanwhile is not in the list, and a claim that is over never comes back. What is left of
/// a job that nobody knows, or of a project without a file, goes too.
///
/// # Errors
/// The database's. What could not be removed is told, and left to the next time.
pub(super) async fn sweep_left_over(engine: &Engine) -> Result<Vec<String>, EngineError> {
    let (scratch, runs) = (scratch_dir(engine), checks_dir(engine));
    let found =
        blocking(move || Ok::<_, EngineError>([below(&scratch, ""), below(&runs, "")].concat())).await?;
    let claims: BTreeSet<Claim> = found.iter().filter_map(|path| claim_in(path)).collect();
    let mut trouble = Vec::new();
    for claim in claims {
        let (live, project) = engine
            .store()
            .read(move |tx| Ok::<_, StoreError>((jobs::holds(tx, claim)?, jobs::project_of(tx, claim.job)?)))
            .await?;
        if live {
            continue;
        }
        let project = project.and_then(|id| engine.project(id).ok());
        let swept = limited(
            engine,
            Unit::Named(of_claim(claim)),
            sweep_one(engine, project.as_ref(), claim),
        );
        match swept.await {
            Ok(None) | Err(EngineError::Hangs) => {}
            Ok(Some(told)) => slog_scope::warn!("{}", told),
            Err(e) => trouble.push(format!("{}: {e}", of_claim(claim))),
        }
    }
    Ok(trouble)
}

/// Answers what people should know of it.
async fn sweep_one(
    engine: &Engine,
    project: Option<&Arc<ProjectHandle>>,
    claim: Claim,
) -> Result<Option<String>, EngineError> {
    let Some(project) = project else {
        let gone = sweep_unknown(engine, claim).await?;
        let gone: Vec<String> = gone.iter().map(|path| path.display().to_string()).collect();
        return Ok((!gone.is_empty()).then(|| {
            format!(
                "{}: no project file says whose they were; removed as plain folders: {}",
                of_claim(claim),
                gone.join(", ")
            )
        }));
    };
    sweep(engine, project, claim).await.map(|()| None)
}

fn of_claim(claim: Claim) -> String {
    format!("checks of job {} (claim {})", claim.job, claim.epoch)
}

/// The claim in the name of a check's folder.
fn claim_in(path: &Path) -> Option<Claim> {
    let mut parts = path.file_name()?.to_str()?.splitn(3, '-').map(str::parse);
    Some(Claim {
        job: JobId(parts.next()?.ok()?),
        epoch: ClaimEpoch(parts.next()?.ok()?),
    })
}

fn below(dir: &Path, prefix: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let ours = entries.filter(|e| e.file_name().to_string_lossy().starts_with(prefix));
    ours.map(|e| e.path()).collect()
}

fn checks_dir(engine: &Engine) -> PathBuf {
    engine.settings().data_dir.join("checks")
}

/// Where scratch worktrees are.
pub(super) fn scratch_dir(engine: &Engine) -> PathBuf {
    engine.settings().data_dir.join("scratch")
}
