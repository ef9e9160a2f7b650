//! What the engine puts together out of several functions of the store, in the order that it uses; and the two wrong ways.

use orch::domain::id::{JobId, TaskVersion};
use orch::domain::job::{Claim, Job, JobEnd, JobStatus};
use orch::domain::task::{Task, TaskStatus};
use orch::domain::time::Timestamp;
use orch::store::jobs::{self, Enqueued};
use orch::store::tasks::{self, TaskChange};
use orch::store::{Conn, Guarded, StoreError, instances};

use super::{Executor, Undo, execute};
use crate::schedules::world;

/// What the sweep for lost nodes does, by the same guards.
pub(super) fn take_silent(tx: &mut Conn, before: Timestamp, now: Timestamp) -> Result<Vec<Job>, StoreError> {
    let mut taken = Vec::new();
    for job in jobs::of_silent(tx, before, JobId(0), 200)?.rows {
        let claim = Claim {
            job: job.id,
            epoch: job.claim_epoch,
        };
        let Some(boot) = &job.instance else {
            continue;
        };
        let silent = instances::heard(tx, boot)?.is_some_and(|heard| heard < before);
        if silent && jobs::is_of(tx, claim, Some(boot))? {
            taken.extend(jobs::end(tx, claim, &world::silent(now), now)?.won());
        }
    }
    Ok(taken)
}

/// The last step of a run that ended well.
pub(super) struct Step {
    pub(super) claim: Claim,
    pub(super) over: bool,
    pub(super) new: jobs::NewJob,
    pub(super) now: Timestamp,
}

impl Step {
    pub(super) fn perform(&self, tx: &mut Conn, executor: Executor) -> Result<Option<Job>, Undo> {
        match executor {
            Executor::True | Executor::WithoutEpoch => {
                let Guarded::Won(job) = jobs::end(tx, self.claim, &JobEnd::Done, self.now)? else {
                    return Err(Undo::Lost);
                };
                let moved = self.advance(tx, job.task_version)?;
                self.queue_next(tx, &moved)
            }
            Executor::ActsFirst => {
                let task = tasks::by_id(tx, self.new.task_id)?.ok_or(Undo::Lost)?;
                let moved = self.advance(tx, task.version)?;
                match jobs::end(tx, self.claim, &JobEnd::Done, self.now)? {
                    Guarded::Won(_) => self.queue_next(tx, &moved),
                    Guarded::Lost => Ok(None),
                }
            }
        }
    }

    fn advance(&self, tx: &mut Conn, from: TaskVersion) -> Result<Task, Undo> {
        let change: TaskChange = world::change(true, self.over);
        match tasks::compare_and_set(tx, self.new.task_id, from, &change, self.now)? {
            Guarded::Won(task) => Ok(task),
            Guarded::Lost => Err(Undo::Lost),
        }
    }

    fn queue_next(&self, tx: &mut Conn, task: &Task) -> Result<Option<Job>, Undo> {
        if task.status == TaskStatus::Done {
            return Ok(None);
        }
        let new = jobs::NewJob {
            visit: task.visit,
            task_version: task.version,
            ..self.new.clone()
        };
        match jobs::enqueue(tx, &new, self.now)? {
            Enqueued::New(job) => Ok(Some(job)),
            Enqueued::AlreadyLive(job) => panic!("{job:?} lives beside the one that ended"),
        }
    }
}

/// What the claim epoch is there to prevent.
pub(super) fn end_by_id(
    tx: &mut Conn,
    id: JobId,
    how: &JobEnd,
    now: Timestamp,
) -> Result<Guarded<Job>, StoreError> {
    let status = match how {
        JobEnd::Done => JobStatus::Done,
        JobEnd::Failed(_) => JobStatus::Failed,
        JobEnd::Cancelled(_) => JobStatus::Cancelled,
        JobEnd::Retry { .. }
        | JobEnd::RetryTransient { .. }
        | JobEnd::Held { .. }
        | JobEnd::Snooze { .. } => {
            let job = jobs::by_id(tx, id)?.unwrap();
            let claim = Claim {
                job: id,
                epoch: job.claim_epoch,
            };
            return jobs::end(tx, claim, how, now);
        }
    };
    let running = jobs::by_id(tx, id)?.is_some_and(|job| job.status == JobStatus::Running);
    if !running {
        return Ok(Guarded::Lost);
    }
    let why = match how {
        JobEnd::Failed(why) | JobEnd::Cancelled(why) => format!("'{why}'"),
        _ => "NULL".to_owned(),
    };
    let (status, now, id_) = (status.as_str(), now.0, id.0);
    let sql =
        format!("UPDATE jobs SET status = '{status}', finished_at = {now}, error = {why} WHERE id = {id_}");
    execute(tx, &sql)?;
    Ok(Guarded::Won(jobs::by_id(tx, id)?.unwrap()))
}
