//! Lists of tasks, in pages that move past what was seen.

use diesel::dsl::{exists, not};
use diesel::prelude::*;

use super::TaskRow;
use crate::domain::id::{ProjectId, TaskId};
use crate::domain::task::Task;
use crate::domain::time::Timestamp;
use crate::schema::{jobs, tasks};
use crate::store::decode::rows;
use crate::store::{Conn, Listing, StoreError};

predicate!(
    /// Not over. The predicate of the index `tasks_unfinished`.
    Unfinished = "tasks.status IN ('active', 'waiting_human', 'needs_input', 'blocked')"
);
predicate!(
    /// Goes on by itself or after a decision. The predicate of the index `tasks_open`.
    Open = "tasks.status IN ('active', 'waiting_human')"
);
predicate!(
    /// Queued or running. The predicate of the index `jobs_one_live_per_task`.
    LiveJob = "jobs.status IN ('queued', 'running')"
);

/// Which tasks to list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TaskFilter {
    /// Only those that are not done or cancelled.
    pub open_only: bool,
    /// Only those of a project.
    pub project: Option<ProjectId>,
    /// Only those older than this one.
    pub before: Option<TaskId>,
    /// At most so many.
    pub limit: usize,
}

/// Tasks, newest first.
///
/// # Errors
/// See [`StoreError`].
pub fn list(conn: &mut Conn, filter: TaskFilter) -> Result<Listing<Task>, StoreError> {
    let before = filter.before.map_or(i64::MAX, |id| id.0);
    let found: Vec<TaskRow> = on!(conn, c => {
        let mut query = tasks::table.into_boxed();
        if filter.open_only {
            query = query.filter(Unfinished);
        }
        if let Some(project) = filter.project {
            query = query.filter(tasks::project_id.eq(project.0));
        }
        query
            .filter(tasks::id.lt(before))
            .order(tasks::id.desc())
            .limit(rows(filter.limit))
            .select(TaskRow::as_select())
            .load(c)
    })?;
    Ok(Listing::of(found))
}

/// Which tasks might have been forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forgotten {
    /// In their stage since before this.
    pub entered_before: Timestamp,
    /// Also those that are blocked or need input; there is no index for them.
    pub parked: bool,
    /// After this one, by the time of entry.
    pub after: (Timestamp, TaskId),
    /// At most so many.
    pub limit: usize,
}

/// A page of tasks that might have been forgotten.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidates {
    /// They, and the rows that cannot be read.
    pub tasks: Listing<Task>,
    /// The last one, readable or not; none on an empty page.
    pub last: Option<(Timestamp, TaskId)>,
}

/// Tasks that might have been forgotten: open, without a queued or running job. By the time of entry.
///
/// # Errors
/// See [`StoreError`].
pub fn reconcile_candidates(conn: &mut Conn, which: Forgotten) -> Result<Candidates, StoreError> {
    let (since, last) = which.after;
    let found: Vec<TaskRow> = on!(conn, c => {
        let mut query = tasks::table.into_boxed();
        query = match which.parked {
            true => query.filter(Unfinished),
            false => query.filter(Open),
        };
        query
            .filter(tasks::stage_entered_at.lt(which.entered_before.0))
            .filter(tasks::stage_entered_at.ge(since.0))
            .filter(tasks::stage_entered_at.gt(since.0).or(tasks::id.gt(last.0)))
            .filter(not(exists(
                jobs::table.filter(jobs::task_id.eq(tasks::id)).filter(LiveJob),
            )))
            .order((tasks::stage_entered_at, tasks::id))
            .limit(rows(which.limit))
            .select(TaskRow::as_select())
            .load(c)
    })?;
    let last = found.last().map(TaskRow::entered);
    Ok(Candidates {
        tasks: Listing::of(found),
        last,
    })
}
