//! What a forge tells of a branch or a commit: the gates of its task are asked now, not at their next turn. What they answer
//! is read from the forge itself, so that nothing depends on what a delivery says, or on its order.

use std::sync::Arc;

use slog_scope::info;

use crate::domain::id::{BranchName, Sha};
use crate::domain::inbox::Outcome;
use crate::domain::task::Task;
use crate::domain::time::Timestamp;
use crate::domain::webhook::forge::{Happened, PullRequestChange, RepositoryEvent};
use crate::engine::transition::{self, Abort};
use crate::engine::{Engine, EngineError, Hint, ProjectHandle};
use crate::store::{Conn, jobs, tasks};

/// Finds whose branch or commit it is and lets its gates be asked. `mark` stands in the same transaction.
pub(super) async fn apply(
    engine: &Engine,
    event: RepositoryEvent,
    mark: impl FnOnce(&mut Conn, &Outcome) -> Result<(), Abort> + Send + 'static,
) -> Result<Outcome, EngineError> {
    let named = |p: &&Arc<ProjectHandle>| {
        let own = p.config.forge_repository.as_ref();
        own.is_some_and(|own| own.is(&event.repository))
    };
    let projects: Vec<_> = engine.projects().filter(named).cloned().collect();
    if let Happened::Pushed {
        branch,
        head: Some(_),
    } = &event.what
    {
        let moved = projects.iter().filter(|p| p.config.main == *branch);
        moved.for_each(|p| engine.hint(Hint::Spare(p.id)));
    }
    let now = engine.now();
    let write = engine.store().write(move |tx| {
        let outcome = decide(tx, &projects, &event, now)?;
        mark(tx, &outcome)?;
        Ok::<_, Abort>(outcome)
    });
    let outcome = write.await?;
    if matches!(outcome, Outcome::Applied(_)) {
        engine.committed();
    }
    Ok(outcome)
}

fn decide(
    tx: &mut Conn,
    projects: &[Arc<ProjectHandle>],
    event: &RepositoryEvent,
    now: Timestamp,
) -> Result<Outcome, Abort> {
    if projects.is_empty() {
        let why = format!("no project here has the repository {}", event.repository);
        return Ok(Outcome::Ignored(why));
    }
    let found = match &event.what {
        Happened::Pushed { branch, .. } if projects.iter().any(|p| p.config.main == *branch) => {
            return Ok(Outcome::Applied(format!("{branch} moved")));
        }
        Happened::Pushed { branch, .. } | Happened::PullRequest { branch, .. } => {
            of_branch(tx, projects, branch)?
        }
        Happened::Checked { head, branch } => of_check(tx, projects, branch.as_ref(), head)?,
    };
    let tasks = match found {
        Ok(tasks) => tasks,
        Err(why) => {
            info!(
                "a delivery of {} is about no known task: {}",
                event.repository, why
            );
            return Ok(Outcome::Ignored(why));
        }
    };
    let mut told = Vec::with_capacity(tasks.len());
    for task in &tasks {
        if let Happened::PullRequest {
            number,
            change: PullRequestChange::Closed,
            ..
        } = &event.what
        {
            let by = event.sender.as_deref().unwrap_or("somebody");
            let text = format!("pull request #{number} was closed without a merge by {by}");
            transition::say(tx, task, "forge", &text, now)?;
        }
        let how = match jobs::live_of_task(tx, task.id)? {
            Some(job) if job.kind.is_reserved() => match jobs::wake(tx, task.id, now)?.is_won() {
                true => "its gates are asked now",
                false => "its gates are being asked",
            },
            Some(_) => "its gates are asked when its agent has ended",
            None => "no job waits for it",
        };
        told.push(format!("{}: {how}", task.work_item_id));
    }
    Ok(Outcome::Applied(told.join("; ")))
}

type Found = Result<Vec<Task>, String>;

fn of_branch(tx: &mut Conn, projects: &[Arc<ProjectHandle>], branch: &BranchName) -> Result<Found, Abort> {
    let mut found = Vec::new();
    for project in projects {
        found.extend(tasks::by_branch(tx, project.id, branch)?);
    }
    Ok(match found.is_empty() {
        true => Err(format!("no task has the branch {branch}")),
        false => Ok(found),
    })
}

/// By its branch where that is told, else by the commit, else the only task that is in development.
fn of_check(
    tx: &mut Conn,
    projects: &[Arc<ProjectHandle>],
    branch: Option<&BranchName>,
    head: &Sha,
) -> Result<Found, Abort> {
    if let Some(branch) = branch {
        return of_branch(tx, projects, branch);
    }
    let mut found = Vec::new();
    for project in projects {
        found.extend(tasks::by_candidate(tx, project.id, head)?);
    }
    if !found.is_empty() {
        return Ok(Ok(found));
    }
    for project in projects {
        if let Some(development) = project.config.pipeline.development() {
            found.extend(tasks::in_stage(tx, project.id, &development.name)?);
        }
    }
    let short = head.short();
    Ok(match found.len() {
        1 => Ok(found),
        0 => Err(format!(
            "no task has the commit {short}, and none is in development"
        )),
        n => Err(format!(
            "no task has the commit {short}, and {n} are in development"
        )),
    })
}
