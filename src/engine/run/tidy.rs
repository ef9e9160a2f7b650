//! Takes down what a run stood on, after keeping what is nowhere else. Never writes about its job.

use std::path::PathBuf;
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
use super::{run_dir, worktree};

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
        if !self.path.exists() {
            // An agent may have removed its folder; what it had committed there is still known to the clone.
            if self.run.start_sha.is_some()
                && let Ok(repo) = self.project.repository()
            {
                if kept.is_none() && self.may_hold_work()? {
                    kept = self.save(&repo)?;
                }
                repo.remove_worktree(&self.path)?;
            }
            return Ok(kept);
        }
        let repo = self.project.repository()?;
        // Noted before anything is removed: what is saved after that is no longer all.
        if kept.is_none() && self.may_hold_work()? {
            kept = self.save(&repo)?;
        }
        repo.remove_worktree(&self.path)?;
        Ok(kept)
    }

    fn may_hold_work(&self) -> Result<bool, EngineError> {
        // A run that ended well has pushed all it did.
        if self.run.step >= RunStep::Evaluated && self.run.error.is_none() && self.run.end_sha.is_some() {
            return Ok(false);
        }
        // What stands in the worktree of an agent that never was is Orch's own.
        Ok(match process::look(&self.run_dir, self.run.shim.as_ref())? {
            RunState::NotLaunched => false,
            RunState::Ended(exit) => !matches!(exit.cause, Some(StopCause::NotStarted { .. })),
            RunState::Running(_) | RunState::Lost(_) | RunState::Elsewhere(_) => true,
        })
    }

    fn save(&self, repo: &Repository) -> Result<Option<String>, EngineError> {
        let author = author(self.run.role.map_or("agent", |r| r.as_str()));
        let save = || repo.save_wip(&self.path, &self.name, &self.message, &author);
        let saved = match (save(), &self.run.start_sha) {
            (Ok(saved), _) => saved,
            // The folder is there, only the clone's knowledge of it is gone.
            (Err(GitError::WorktreeLost { .. }), Some(start)) if self.path.is_dir() => {
                repo.readopt_worktree(&self.path, start)?;
                save()?
            }
            // An agent that destroyed its own checkout left nothing that git could keep.
            (Err(GitError::WorktreeLost { .. }), _) => None,
            (Err(e), _) => return Err(e.into()),
        };
        let Some(wip) = saved else { return Ok(None) };
        let (id, name) = (self.run.id, wip.name.to_string());
        let noted = name.clone();
        // Lost: the run was closed by a predecessor, and names its work already.
        let _ = self.store.write_blocking(move |tx| runs::keep(tx, id, &noted))?;
        Ok(Some(name))
    }
}
