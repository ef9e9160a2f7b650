//! Removes rows that were kept for long enough, a small batch at a time. Each batch finds its rows by an index, so that
//! one that finds none costs the same however much is kept. Never touches a task that is not over, and never decides
//! how long anything is kept.

mod history;
mod single;

pub use history::{After, Batch, history};
pub use single::{audit, deliveries, healings, incidents, instances, node_marks, notices};

use diesel::prelude::*;

use super::decode::rows;
use super::{Conn, StoreError};
use crate::domain::id::{ClaimEpoch, JobId, NodeName, ProjectId, RunId, TaskId};
use crate::domain::job::Claim;
use crate::domain::retention::Run;
use crate::domain::time::Timestamp;
use crate::schema::{intents, jobs, runs, tasks};

predicate!(
    /// Over, and not pruned yet. The predicate of the index `tasks_to_prune`.
    ToPrune = "tasks.finished_at IS NOT NULL AND tasks.pruned_at IS NULL"
);
predicate!(
    /// Over: it never goes on again.
    TaskOver = "tasks.status IN ('done', 'cancelled')"
);
predicate!(
    /// Not over. The predicate of the index `runs_open`.
    RunOpen = "runs.step NOT IN ('finalised', 'abandoned')"
);
predicate!(
    /// Unfinished work of it is kept. The predicate of the indexes `runs_kept` and `runs_kept_by_age`.
    RunKept = "runs.wip_ref IS NOT NULL"
);
predicate!(
    /// The predicate of the index `jobs_running`.
    JobRunning = "jobs.status = 'running'"
);
predicate!(
    /// The predicate of the index `jobs_one_live_per_task`.
    JobLive = "jobs.status IN ('queued', 'running')"
);
predicate!(
    /// A deed that is perhaps done. A confirmation is none: a person's word, which nothing has to finish.
    DeedOpen = "intents.status = 'intended' AND intents.kind <> 'confirm'"
);

/// Whether rows are removed, or only counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Nothing is written.
    Count,
    /// They go.
    Remove,
}

/// Kept work whose time is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OldWork {
    /// Its run.
    pub run: RunId,
    /// The project in whose clone it is.
    pub project: ProjectId,
    /// Where it is kept.
    pub wip_ref: String,
    /// When its run ended.
    pub finished_at: Timestamp,
}

/// Kept work of this node's runs that ended before then, of tasks that are over, oldest first, after the one seen last.
/// Left out while a deed of the task is open: it may be the rescue of that work.
///
/// # Errors
/// See [`StoreError`].
pub fn old_work(
    conn: &mut Conn,
    node: &NodeName,
    before: Timestamp,
    after: (Timestamp, RunId),
    limit: usize,
) -> Result<Vec<OldWork>, StoreError> {
    let (at, id) = after;
    let found: Vec<(i64, i64, Option<String>, Option<i64>)> = on!(conn, c => runs::table
        .inner_join(tasks::table.on(tasks::id.eq(runs::task_id)))
        .filter(RunKept)
        .filter(runs::finished_at.lt(before.0))
        .filter(runs::finished_at.ge(at.0))
        .filter(runs::finished_at.gt(at.0).or(runs::id.gt(id.0)))
        .filter(runs::node.eq(node.as_str()))
        .filter(TaskOver)
        .filter(diesel::dsl::not(diesel::dsl::exists(
            intents::table
                .filter(DeedOpen)
                .filter(intents::task_id.eq(runs::task_id)),
        )))
        .order((runs::finished_at, runs::id))
        .limit(rows(limit))
        .select((runs::id, tasks::project_id, runs::wip_ref, runs::finished_at))
        .load(c))?;
    let work = |(run, project, wip_ref, at): (i64, i64, Option<String>, Option<i64>)| {
        Some(OldWork {
            run: RunId(run),
            project: ProjectId(project),
            wip_ref: wip_ref?,
            finished_at: Timestamp(at?),
        })
    };
    Ok(found.into_iter().filter_map(work).collect())
}

/// What is known of the runs of these claims, in their order.
///
/// # Errors
/// See [`StoreError`].
pub fn known(conn: &mut Conn, claims: &[Claim]) -> Result<Vec<Run>, StoreError> {
    type Found = (i64, i64, Option<i64>, Option<String>, Option<i64>);
    let ids: Vec<i64> = claims.iter().map(|claim| claim.job.0).collect();
    let running: Vec<(i64, i64)> = on!(conn, c => jobs::table
        .filter(jobs::id.eq_any(&ids))
        .filter(JobRunning)
        .select((jobs::id, jobs::claim_epoch))
        .load(c))?;
    let found: Vec<Found> = on!(conn, c => runs::table
        .inner_join(tasks::table.on(tasks::id.eq(runs::task_id)))
        .filter(runs::job_id.eq_any(&ids))
        .select((runs::job_id, runs::claim_epoch, runs::finished_at, runs::wip_ref, tasks::finished_at))
        .load(c))?;
    let claim_of = |job, epoch| Claim {
        job: JobId(job),
        epoch: ClaimEpoch(epoch),
    };
    let judge = |claim: &Claim| {
        if running
            .iter()
            .any(|(job, epoch)| claim_of(*job, *epoch) == *claim)
        {
            return Run::Needed;
        }
        let row = found
            .iter()
            .find(|(job, epoch, ..)| claim_of(*job, *epoch) == *claim);
        match row {
            None => Run::Unknown,
            Some((_, _, Some(at), wip_ref, Some(_))) => Run::Over {
                at: Timestamp(*at),
                keeps_work: wip_ref.is_some(),
            },
            Some((_, _, _, _, None) | (_, _, None, _, _)) => Run::Needed,
        }
    };
    Ok(claims.iter().map(judge).collect())
}

/// Those of the tasks whose history is still needed: a job of them is queued or runs, a run is open or its work is
/// kept, a deed is open.
fn needed(conn: &mut Conn, of: &[TaskId]) -> Result<Vec<TaskId>, StoreError> {
    let ids: Vec<i64> = of.iter().map(|id| id.0).collect();
    let mut needed: Vec<i64> = on!(conn, c => runs::table
        .filter(runs::task_id.eq_any(&ids))
        .filter(RunOpen)
        .select(runs::task_id)
        .load(c))?;
    needed.extend(on!(conn, c => runs::table
        .filter(runs::task_id.eq_any(&ids))
        .filter(RunKept)
        .select(runs::task_id)
        .load::<i64>(c))?);
    needed.extend(on!(conn, c => jobs::table
        .filter(jobs::task_id.eq_any(&ids))
        .filter(JobLive)
        .select(jobs::task_id)
        .load::<i64>(c))?);
    needed.extend(on!(conn, c => intents::table
        .filter(intents::task_id.eq_any(&ids))
        .filter(DeedOpen)
        .select(intents::task_id)
        .load::<i64>(c))?);
    Ok(needed.into_iter().map(TaskId).collect())
}
