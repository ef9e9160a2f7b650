//! Unfinished work that was kept: listed, shown, and restored as a branch of the project's repository.
//! Never touches main, a task's branch or anybody's working copy, and never gives up what is kept.

mod deed;

use std::path::PathBuf;
use std::sync::Arc;

use crate::domain::id::{BranchName, RunId, Sha};
use crate::domain::job::{Claim, Job, JobStatus};
use crate::domain::run::Run;
use crate::domain::task::Task;
use crate::git::{GitError, Repository, WipName};
use crate::process;
use crate::store::runs::KeptFilter;
use crate::store::{Conn, StoreError, intents, jobs, runs, tasks};

use super::queries::find_task;
use super::run::{run_dir, wip_copy};
use super::views::{KeptDetail, KeptView, RescueView, RescueWork};
use super::{Engine, EngineError, ProjectHandle, blocking};
use deed::Deed;
pub(super) use deed::go_on;

/// Bytes of a patch that are shown.
const SHOWN: usize = 256 << 10;

/// Which kept work to list.
#[derive(Clone, Debug, Default)]
pub struct KeptQuery {
    /// Only of the task of this name.
    pub task: Option<String>,
    /// Only of runs before this one.
    pub before: Option<i64>,
    /// At most.
    pub limit: i64,
}

/// A run with all that is needed to find its work.
#[derive(Clone)]
struct Kept {
    run: Run,
    task: Task,
    job: Option<Job>,
    /// Its last rescue that was done.
    branch: Option<String>,
}

/// A ref in a clone, and the copy of it beside the run's log.
struct Place {
    project: Arc<ProjectHandle>,
    name: WipName,
    copy: PathBuf,
}

/// What is kept, newest first.
///
/// # Errors
/// `NotFound` for an unknown task.
pub async fn list(engine: &Engine, query: KeptQuery) -> Result<Vec<KeptView>, EngineError> {
    let task = match &query.task {
        Some(name) => Some(find_task(engine, name).await?.id),
        None => None,
    };
    let filter = KeptFilter {
        task,
        before: query.before.map(RunId),
        limit: usize::try_from(query.limit.clamp(1, 200)).unwrap_or(200),
    };
    let found = engine.store().read(move |tx| {
        let listed = runs::kept(tx, filter)?.rows;
        let kept = listed.into_iter().map(|run| with_task(tx, run));
        kept.collect::<Result<Vec<_>, StoreError>>()
    });
    let mut views = Vec::new();
    for kept in found.await?.into_iter().flatten() {
        views.push(look(engine, &kept).await?.0);
    }
    Ok(views)
}

/// What is kept of a run, with its patch.
///
/// # Errors
/// `NotFound`; `Conflict` when nothing was kept or it is gone.
pub async fn show(engine: &Engine, run: i64) -> Result<KeptDetail, EngineError> {
    let kept = find(engine, run).await?;
    let (view, commit) = look(engine, &kept).await?;
    let commit = commit.ok_or_else(|| gone(&view))?;
    let place = place(engine, &kept)?;
    let shown = blocking(move || {
        let repo = place.project.repository()?;
        repo.wip_text(&base(&repo, &kept.run, &commit)?, &commit, SHOWN)
    })
    .await?;
    Ok(KeptDetail {
        kept: view,
        text: shown.text,
        cut: shown.cut,
    })
}

/// Pushes what is kept of a run as a new branch into the project's repository. Asked for twice, it is done once.
///
/// # Errors
/// `NotFound`; `Invalid` for a branch that may not be made; `Conflict` when nothing was kept, it is gone, or the
/// repository does not take the branch.
pub async fn restore(engine: &Engine, run: i64, wanted: RescueWork) -> Result<RescueView, EngineError> {
    let kept = find(engine, run).await?;
    let branch = branch_for(engine, &kept, wanted.branch.as_deref()).await?;
    let (view, commit) = look(engine, &kept).await?;
    let commit = commit.ok_or_else(|| gone(&view))?;
    let deed = Deed { kept, branch, commit };
    let (write, now) = (deed.clone(), engine.now());
    let intent = engine.store().write(move |tx| write.intend(tx, now)).await?;
    deed.carry_out(engine, &intent).await
}

async fn branch_for(engine: &Engine, kept: &Kept, wanted: Option<&str>) -> Result<BranchName, EngineError> {
    let name = match wanted {
        Some(name) => name.to_owned(),
        None => format!("rescue/{}-{}", kept.task.work_item_id, kept.run.id),
    };
    let invalid = |what: String| Err(EngineError::Invalid { what });
    let branch = match BranchName::parse(&name) {
        Ok(branch) => branch,
        Err(e) => return invalid(e.to_string()),
    };
    if name == "HEAD" || name.starts_with("refs/") {
        return invalid(format!("{name} is no name for a branch: leave out refs/heads/"));
    }
    let project = engine.project(kept.task.project_id)?;
    if branch == project.config.main {
        return invalid(format!(
            "{branch} is changed by a merge only: choose another branch"
        ));
    }
    let (id, asked) = (project.id, branch.clone());
    let of_tasks = engine
        .store()
        .read(move |tx| tasks::by_branch(tx, id, &asked))
        .await?;
    let owner = of_tasks
        .first()
        .or(Some(&kept.task).filter(|t| t.branch == branch));
    match owner {
        Some(task) => invalid(format!(
            "{branch} is the branch of task {}, and only its runs change it: choose another",
            task.work_item_id
        )),
        None => Ok(branch),
    }
}

async fn find(engine: &Engine, run: i64) -> Result<Kept, EngineError> {
    let found = engine.store().read(move |tx| match runs::by_id(tx, RunId(run))? {
        Some(run) => with_task(tx, run),
        None => Ok(None),
    });
    let kept = found.await?.ok_or_else(|| EngineError::NotFound {
        what: format!("no run {run}"),
    })?;
    if kept.run.wip_ref.is_none() {
        let what = format!(
            "run {run} left no unfinished work; what it delivered is on branch {}",
            kept.task.branch
        );
        return Err(EngineError::Conflict { what });
    }
    Ok(kept)
}

fn with_task(tx: &mut Conn, run: Run) -> Result<Option<Kept>, StoreError> {
    let Some(task) = tasks::by_id(tx, run.task_id)? else {
        return Ok(None);
    };
    let rescues = intents::keyed(tx, task.id, &deed::keys_of(run.id))?;
    let done = rescues.iter().rev().find(|i| i.is_done());
    let branch = done.and_then(|i| Some(i.payload.get("branch")?.as_str()?.to_owned()));
    Ok(Some(Kept {
        job: jobs::by_id(tx, run.job_id)?,
        run,
        task,
        branch,
    }))
}

/// Finds kept work; a copy of what the clone lost is brought back. What is in its way is told, not failed for: one that
/// is gone must not hide the others.
async fn look(engine: &Engine, kept: &Kept) -> Result<(KeptView, Option<Sha>), EngineError> {
    let run = &kept.run;
    let mut view = KeptView {
        run: run.id.0,
        task: kept.task.work_item_id.to_string(),
        project: engine.project_name(kept.task.project_id),
        stage: run.stage.to_string(),
        role: run.role.map(|role| role.to_string()),
        why: why(kept),
        at: run.finished_at.unwrap_or(run.started_at).to_string(),
        wip_ref: run.wip_ref.clone().unwrap_or_default(),
        commit: None,
        files: None,
        branch: kept.branch.clone(),
        trouble: None,
    };
    let place = match place(engine, kept) {
        Ok(place) => place,
        Err(e) => {
            view.trouble = Some(e.to_string());
            return Ok((view, None));
        }
    };
    let of = run.clone();
    let (name, project) = (place.name.clone(), place.project.clone());
    let found = blocking(move || {
        let repo = place.project.repository()?;
        let found = repo.wip_or_copy(&place.name, &place.copy)?.map(|wip| wip.sha);
        // None when what it builds on is not here any more.
        let count = |sha: &Sha| repo.wip_files(&base(&repo, &of, sha)?, sha);
        let files = found.as_ref().and_then(|sha| count(sha).ok());
        Ok::<_, GitError>((found, files, repo.bare().display().to_string()))
    })
    .await;
    match found {
        Ok((Some(sha), files, _)) => {
            view.commit = Some(sha.to_string());
            view.files = files;
            return Ok((view, Some(sha)));
        }
        Ok((None, _, bare)) => {
            view.trouble = Some(format!(
                "{name} is not in {bare}, which was made anew or lost it: if you moved the old one away, run \
                 `git -C {bare} fetch OLD '+refs/orch/*:refs/orch/*'`"
            ));
        }
        Err(EngineError::Git(e)) => view.trouble = Some(project.explain(&e)),
        Err(e) => return Err(e),
    }
    Ok((view, None))
}

/// What a person compares kept work with: the run's beginning, or what was delivered of it.
fn base(repo: &Repository, run: &Run, wip: &Sha) -> Result<Sha, GitError> {
    let beside = match was_delivered(run) {
        true => repo.wip_parent(wip)?,
        false => None,
    };
    Ok(beside
        .or_else(|| run.start_sha.clone())
        .unwrap_or_else(|| wip.clone()))
}

fn was_delivered(run: &Run) -> bool {
    run.error.is_none() && run.end_sha.is_some() && run.exit.as_ref().is_some_and(|exit| exit.succeeded())
}

fn place(engine: &Engine, kept: &Kept) -> Result<Place, EngineError> {
    engine.check_here(&kept.run)?;
    let project = engine.project(kept.task.project_id)?;
    let noted = kept.run.wip_ref.as_deref().unwrap_or_default();
    let claim = Claim {
        job: kept.run.job_id,
        epoch: kept.run.claim_epoch,
    };
    Ok(Place {
        project,
        name: WipName::parse(noted).unwrap_or_else(|| WipName::new(&kept.task.work_item_id, kept.run.id)),
        copy: wip_copy(&run_dir(engine, claim)),
    })
}

fn gone(view: &KeptView) -> EngineError {
    EngineError::Conflict {
        what: view
            .trouble
            .clone()
            .unwrap_or_else(|| format!("{} is gone", view.wip_ref)),
    }
}

/// What a person would answer to "why is this not on the branch?".
fn why(kept: &Kept) -> String {
    let run = &kept.run;
    if let Some(error) = &run.error {
        return error.clone();
    }
    let cancelled = kept
        .job
        .as_ref()
        .filter(|job| job.status == JobStatus::Cancelled && job.claim_epoch == run.claim_epoch);
    if let Some(job) = cancelled {
        return job.error.clone().unwrap_or_else(|| "cancelled".to_owned());
    }
    match &run.exit {
        Some(exit) if exit.succeeded() && run.end_sha.is_some() => {
            "left beside what was delivered".to_owned()
        }
        Some(exit) => process::exit_text(exit),
        None => "it ended without a recorded exit".to_owned(),
    }
}
