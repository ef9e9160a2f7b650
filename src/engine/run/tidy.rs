//! Takes down what a run stood on, after keeping what is nowhere else. Never writes about its job.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::domain::job::Claim;
use crate::domain::run::{Run, RunStep, StopCause};
use crate::domain::task::Task;
use crate::git::{GitError, Repository, WipName};
use crate::process::{self, RunState};
use crate::store::{Store, runs};

use super::super::check;
use super::super::{Engine, EngineError, ProjectHandle, blocking};
use super::finish::author;
use super::{far, run_dir, worktree};

/// Keeps what a run left uncommitted or unpushed on a WIP ref, then removes its worktree and what its checks left.
/// Answers where the work is kept. Safe to repeat, also at the same time.
pub(super) async fn put_away(
    engine: &Engine,
    project: &Arc<ProjectHandle>,
    task: &Task,
    run: &Run,
    claim: Claim,
) -> Result<Option<String>, EngineError> {
    check::sweep(engine, project, claim).await?;
    // A worktree that is still elsewhere must not be removed here.
    far::bring_back(engine, project, claim).await?;
    let task_id = &task.work_item_id;
    let tidy = Tidy {
        store: engine.store().clone(),
        project: project.clone(),
        path: worktree(engine, claim),
        run_dir: run_dir(engine, claim),
        name: WipName::new(task_id, run.id),
        message: format!("{task_id} {}: unfinished work of run {}", run.stage, run.id),
        run: run.clone(),
    };
    // Goes on to its end when nobody waits any more: whoever comes next must not find half a worktree and take that
    // for the work.
    let alone = engine.tidying(claim).await;
    blocking(move || {
        let kept = tidy.put_away();
        drop(alone);
        kept
    })
    .await
}

/// Where a run's directory has a copy of its kept work.
pub(in crate::engine) fn wip_copy(run_dir: &Path) -> PathBuf {
    run_dir.join("wip.bundle")
}

/// What a run may have left behind.
#[derive(Clone, Copy)]
enum Left {
    /// No agent worked there.
    Nothing,
    /// Whatever is in its worktree.
    Everything,
    /// What lies beside the commits that were delivered.
    Rest,
}

/// Says in a run's folder that its worktree was looked through for work, and that what was found is kept.
const SEEN_THROUGH: &str = "seen-through";

struct Tidy {
    store: Store,
    project: Arc<ProjectHandle>,
    path: PathBuf,
    run_dir: PathBuf,
    name: WipName,
    message: String,
    run: Run,
}

impl Tidy {
    fn put_away(&self) -> Result<Option<String>, EngineError> {
        let id = self.run.id;
        let now = self.store.read_blocking(move |tx| runs::by_id(tx, id))?;
        let mut kept = now.and_then(|run| run.wip_ref);
        // What a removal that was cut off has left is no work.
        let seen_through = self.run_dir.join(SEEN_THROUGH);
        let to_look = kept.is_none() && !seen_through.exists();
        if !self.path.exists() {
            // An agent may have removed its folder; what it had committed there is still known to the clone.
            if self.run.start_sha.is_some()
                && let Ok(repo) = self.project.repository()
            {
                if to_look {
                    kept = self.keep(&repo)?;
                }
                repo.remove_worktree(&self.path)?;
            }
            return Ok(kept);
        }
        let repo = self.project.repository()?;
        // Noted before anything is removed: what is saved after that is no longer all.
        if to_look {
            kept = self.keep(&repo)?;
            std::fs::create_dir_all(&self.run_dir)
                .and_then(|()| std::fs::write(&seen_through, ""))
                .map_err(EngineError::file(&seen_through))?;
        }
        repo.remove_worktree(&self.path)?;
        Ok(kept)
    }

    fn keep(&self, repo: &Repository) -> Result<Option<String>, EngineError> {
        match self.left()? {
            Left::Nothing => Ok(None),
            left @ (Left::Everything | Left::Rest) => self.save(repo, left),
        }
    }

    fn left(&self) -> Result<Left, EngineError> {
        // A run that ended well has pushed all that its HEAD names.
        if self.run.step >= RunStep::Evaluated && self.run.error.is_none() && self.run.end_sha.is_some() {
            return Ok(match self.run.role {
                Some(_) => Left::Rest,
                None => Left::Nothing,
            });
        }
        // What stands in the worktree of an agent that never was is Orch's own.
        let worked = match process::look(&self.run_dir, self.run.shim.as_ref())? {
            RunState::NotLaunched => false,
            RunState::Ended(exit) => !matches!(exit.cause, Some(StopCause::NotStarted { .. })),
            RunState::Running(_) | RunState::Lost(_) | RunState::Elsewhere(_) => true,
        };
        Ok(if worked { Left::Everything } else { Left::Nothing })
    }

    fn save(&self, repo: &Repository, left: Left) -> Result<Option<String>, EngineError> {
        let author = author(self.run.role.map_or("agent", |r| r.as_str()));
        let save = || match left {
            Left::Rest => repo.save_rest(&self.path, &self.name, &self.message, &author),
            Left::Everything | Left::Nothing => repo.save_wip(&self.path, &self.name, &self.message, &author),
        };
        // From where it is gone on when its HEAD is lost.
        let from = match left {
            Left::Rest => &self.run.end_sha,
            Left::Everything | Left::Nothing => &self.run.start_sha,
        };
        let saved = match (save(), from) {
            (Ok(saved), _) => saved,
            // The folder is there, only the clone's knowledge of it is gone.
            (Err(GitError::WorktreeLost { .. }), Some(from)) if self.path.is_dir() => {
                repo.readopt_worktree(&self.path, from)?;
                save()?
            }
            // An agent that destroyed its own checkout left nothing that git could keep.
            (Err(GitError::WorktreeLost { .. }), _) => None,
            (Err(_), Some(from)) if repo.is_beheaded(&self.path) => {
                repo.readopt_worktree(&self.path, from)?;
                save()?
            }
            (Err(e), _) => return Err(e.into()),
        };
        let Some(wip) = saved else { return Ok(None) };
        // For the day on which the clone is destroyed. The ref is what counts: a copy that cannot be made costs nothing.
        let _ = repo.copy_wip(&wip, &wip_copy(&self.run_dir));
        let (id, name) = (self.run.id, wip.name.to_string());
        let noted = name.clone();
        // Lost: the run was closed by a predecessor, and names its work already.
        let _ = self.store.write_blocking(move |tx| runs::keep(tx, id, &noted))?;
        Ok(Some(name))
    }
}

/// Removes a folder and all in it; an absent one is fine.
pub(super) async fn remove_dir(dir: PathBuf) -> Result<(), EngineError> {
    blocking(
        move || match deed!("remove a folder of a run", std::fs::remove_dir_all(&dir)) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(EngineError::file(dir)(e)),
            Ok(()) | Err(_) => Ok(()),
        },
    )
    .await
}
