//! The history of finished tasks: it goes whole, or not yet. The task itself stays, with its comments and pull
//! requests. A batch goes with the history of its last member.

use std::ops::AddAssign;

use diesel::prelude::*;

use super::{Act, TaskOver, ToPrune, needed};
use crate::domain::id::{BatchId, TaskId};
use crate::domain::retry::Scope;
use crate::domain::time::Timestamp;
use crate::schema::{
    batches, deploys, events, evidence, gestures, intents, jobs, probes, retry_audit, retry_scopes, runs,
    tasks,
};
use crate::store::decode::rows;
use crate::store::retries::Retried;
use crate::store::{Conn, StoreError};

/// Tasks looked at in one go.
const PAGE: usize = 50;

/// The task that was looked at last: when it was over, and its id.
pub type After = (Timestamp, TaskId);

/// What a batch came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// Tasks whose history is gone.
    pub tasks: usize,
    /// Their jobs.
    pub jobs: usize,
    /// Runs of those.
    pub runs: usize,
    /// Evidence, gestures, deeds, events, and looks at production.
    pub others: usize,
    /// Where the next batch begins; none when there is no more.
    pub next: Option<After>,
}

impl AddAssign for Batch {
    fn add_assign(&mut self, other: Self) {
        self.tasks += other.tasks;
        self.jobs += other.jobs;
        self.runs += other.runs;
        self.others += other.others;
        self.next = other.next;
    }
}

impl Batch {
    fn rows(&self) -> usize {
        self.tasks + self.jobs + self.runs + self.others
    }
}

/// Removes the history of tasks that were over before then, after the one seen last: about `limit` rows. A history
/// that is not gone whole is gone on with by the next batch.
///
/// # Errors
/// See [`StoreError`].
pub fn history(
    conn: &mut Conn,
    act: Act,
    span: (After, Timestamp),
    limit: usize,
    now: Timestamp,
) -> Result<Batch, StoreError> {
    let (after, before) = span;
    let mut batch = Batch::default();
    let page = candidates(conn, after, before)?;
    let ids: Vec<TaskId> = page.iter().map(|(_, id)| *id).collect();
    let kept = match ids.as_slice() {
        [] => Vec::new(),
        ids => needed(conn, ids)?,
    };
    let mut seen = after;
    for task in page.iter().filter(|(_, id)| !kept.contains(id)) {
        let left = limit.saturating_sub(batch.rows());
        let gone = one(conn, act, task.1, left)?;
        batch += gone;
        // One more than was taken may be there: the task is looked at again.
        if act == Act::Remove && gone.rows() >= left {
            batch.next = Some(seen);
            return Ok(batch);
        }
        if act == Act::Remove {
            mark(conn, task.1, now)?;
            end_batch(conn, task.1)?;
        }
        batch.tasks += 1;
        seen = *task;
    }
    batch.next = page.last().filter(|_| page.len() == PAGE).copied();
    Ok(batch)
}

fn candidates(conn: &mut Conn, after: After, before: Timestamp) -> Result<Vec<After>, StoreError> {
    let (at, id) = after;
    let found: Vec<(Option<i64>, i64)> = on!(conn, c => tasks::table
        .filter(ToPrune)
        .filter(tasks::finished_at.lt(before.0))
        .filter(tasks::finished_at.ge(at.0))
        .filter(tasks::finished_at.gt(at.0).or(tasks::id.gt(id.0)))
        .order((tasks::finished_at, tasks::id))
        .limit(rows(PAGE))
        .select((tasks::finished_at, tasks::id))
        .load(c))?;
    let known = |(at, id): (Option<i64>, i64)| Some((Timestamp(at?), TaskId(id)));
    Ok(found.into_iter().filter_map(known).collect())
}

/// Rows of a table about a task, at most so many, removed or counted.
macro_rules! of_task {
    ($conn:expr, $act:expr, $table:ident, $task:expr, $limit:expr) => {
        match $act {
            Act::Count => {
                let n: i64 = on!($conn, c => $table::table
                    .filter($table::task_id.eq($task.0))
                    .count()
                    .get_result(c))?;
                usize::try_from(n).unwrap_or(0)
            }
            Act::Remove => {
                let ids: Vec<i64> = on!($conn, c => $table::table
                    .filter($table::task_id.eq($task.0))
                    .order($table::id)
                    .limit(rows($limit))
                    .select($table::id)
                    .load(c))?;
                match ids.is_empty() {
                    true => 0,
                    false => on!($conn, c => diesel::delete($table::table)
                        .filter($table::id.eq_any(&ids))
                        .execute(c))?,
                }
            }
        }
    };
}

/// What points at jobs and runs goes before them.
fn one(conn: &mut Conn, act: Act, task: TaskId, limit: usize) -> Result<Batch, StoreError> {
    let mut gone = Batch::default();
    gone.others += of_task!(conn, act, events, task, limit - gone.rows());
    gone.others += of_task!(conn, act, evidence, task, limit.saturating_sub(gone.rows()));
    gone.others += of_task!(conn, act, gestures, task, limit.saturating_sub(gone.rows()));
    gone.others += of_task!(conn, act, intents, task, limit.saturating_sub(gone.rows()));
    gone.others += looks(conn, act, task)?;
    gone.runs = of_task!(conn, act, runs, task, limit.saturating_sub(gone.rows()));
    if act == Act::Remove && gone.rows() >= limit {
        return Ok(gone);
    }
    gone.jobs = of_task!(conn, act, jobs, task, limit.saturating_sub(gone.rows()));
    Ok(gone)
}

/// Looks at production around the task's deploys: a few hundred at most.
fn looks(conn: &mut Conn, act: Act, task: TaskId) -> Result<usize, StoreError> {
    let deploys: Vec<i64> = on!(conn, c => deploys::table
        .filter(deploys::task_id.eq(task.0))
        .select(deploys::id)
        .load(c))?;
    if deploys.is_empty() {
        return Ok(0);
    }
    Ok(match act {
        Act::Count => {
            let n: i64 = on!(conn, c => probes::table
                .filter(probes::deploy_id.eq_any(&deploys))
                .count()
                .get_result(c))?;
            usize::try_from(n).unwrap_or(0)
        }
        Act::Remove => on!(conn, c => diesel::delete(probes::table)
            .filter(probes::deploy_id.eq_any(&deploys))
            .execute(c))?,
    })
}

/// A task that is over never goes on, so nothing is written about it meanwhile.
fn mark(conn: &mut Conn, task: TaskId, now: Timestamp) -> Result<(), StoreError> {
    on!(conn, c => diesel::update(tasks::table)
        .filter(tasks::id.eq(task.0))
        .filter(TaskOver)
        .filter(ToPrune)
        .set(tasks::pruned_at.eq(now.0))
        .execute(c))?;
    Ok(())
}

/// The batch of a task whose history is gone, where it was the last of its members: nobody asks how it fares any more. What
/// its scope counted goes too, because its name is free again, and whoever takes it begins anew.
fn end_batch(conn: &mut Conn, task: TaskId) -> Result<(), StoreError> {
    let batch: Option<Option<String>> = on!(&mut *conn, c => tasks::table
        .find(task.0)
        .select(tasks::batch)
        .first(c)
        .optional())?;
    let Some(batch) = batch.flatten() else {
        return Ok(());
    };
    let left: i64 = on!(&mut *conn, c => tasks::table
        .filter(tasks::batch.eq(&batch))
        .filter(tasks::pruned_at.is_null())
        .count()
        .get_result(c))?;
    if left > 0 {
        return Ok(());
    }
    let scope = Scope::Batch(BatchId::trusted(&batch)).to_string();
    on!(&mut *conn, c => diesel::delete(retry_scopes::table.find(&scope)).execute(c))?;
    on!(&mut *conn, c => diesel::delete(retry_audit::table)
        .filter(Retried)
        .filter(retry_audit::scope.eq(&scope))
        .execute(c))?;
    on!(&mut *conn, c => diesel::update(tasks::table)
        .filter(tasks::batch.eq(&batch))
        .set(tasks::batch.eq(None::<String>))
        .execute(c))?;
    on!(conn, c => diesel::delete(batches::table.find(&batch)).execute(c))?;
    Ok(())
}
