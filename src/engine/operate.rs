//! What an operator does to jobs and to the queue.

use crate::domain::id::JobId;
use crate::domain::job::{Job, JobKind, JobStatus};
use crate::domain::post_deploy::ActionTaken;
use crate::domain::task::{Task, TaskStatus};
use crate::domain::time::Timestamp;
use crate::store::jobs::{self, Retried};
use crate::store::{Conn, Guarded, StoreError, deploys, flags, tasks};

use super::queue::PAUSED;
use super::run::claim_of;
use super::transition::{self, Abort, Briefing, Setting};
use super::views::JobView;
use super::{Engine, EngineError, Hint};
use super::{queries, repair};

/// Cancels a queued or running job. Its task is blocked in the same transaction: it has no successor. One that is done stays
/// done: production is watched no longer.
///
/// # Errors
/// `NotFound`; `Conflict` when the job is over.
pub async fn cancel_job(
    engine: &Engine,
    id: i64,
    reason: &str,
    now: Timestamp,
) -> Result<JobView, EngineError> {
    let job = find(engine, id).await?;
    let project = engine.project(job.project_id)?;
    let s = Setting::new(engine, &project, now);
    let reason = super::check::one_line(reason, 300);
    let wrote = engine
        .store()
        .write(move |tx| {
            let task = tasks::by_id(tx, job.task_id)?.ok_or(NotCancelled::Over)?;
            let live = jobs::live_of_task(tx, task.id)?.filter(|j| j.id == JobId(id));
            if transition::is_merging(tx, &task, live.as_ref())? {
                return Err(NotCancelled::Merging);
            }
            if live.is_some_and(|job| job.kind == JobKind::PostDeployMonitor)
                && deploys::running_of_task(tx, task.id)?
                    .is_some_and(|d| d.action == Some(ActionTaken::RollingBack))
            {
                return Err(NotCancelled::RollingBack);
            }
            let Guarded::Won(before) = jobs::cancel(tx, JobId(id), &reason, now)? else {
                return Err(NotCancelled::Over);
            };
            let why = format!("job {id} was cancelled: {reason}");
            if task.status.is_terminal() {
                transition::give_up_watching(tx, &task, &why, now).map_err(NotCancelled::Abort)?;
                return Ok(before);
            }
            let b = Briefing::line("job", why.clone());
            transition::block(tx, s.now, &task, &why, &b).map_err(NotCancelled::Abort)?;
            Ok(before)
        })
        .await;
    let before = match wrote {
        Ok(before) => before,
        Err(NotCancelled::Over) => {
            return Err(EngineError::Conflict {
                what: format!("job {id} is already finished"),
            });
        }
        Err(NotCancelled::Merging) => {
            return Err(EngineError::Conflict {
                what: format!("job {id} is merging or deploying at this moment: look again, then decide"),
            });
        }
        Err(NotCancelled::RollingBack) => {
            return Err(EngineError::Conflict {
                what: format!("job {id} is rolling production back at this moment: look again, then decide"),
            });
        }
        Err(NotCancelled::Abort(e)) => return Err(e.into()),
    };
    engine.hint(Hint::Stop(claim_of(&before)));
    engine.committed();
    queries::job(engine, id).await
}

/// Why a cancel leaves no trace.
enum NotCancelled {
    Over,
    Merging,
    RollingBack,
    Abort(Abort),
}

impl From<StoreError> for NotCancelled {
    fn from(e: StoreError) -> Self {
        NotCancelled::Abort(e.into())
    }
}

/// Why a retry leaves no trace.
enum NotRetried {
    Because(Box<Retried>),
    Abort(Abort),
}

impl From<StoreError> for NotRetried {
    fn from(e: StoreError) -> Self {
        NotRetried::Abort(e.into())
    }
}

/// Queues a fresh job like a failed or cancelled one, and lets its parked task go on; one that is queued and waits for its
/// time (a quota, a pause) may be claimed at once. What failed before counts against the task no more.
///
/// # Errors
/// `NotFound`; `Conflict` when it neither failed, nor was cancelled, nor waits, or its task is not parked where it was.
pub async fn retry_job(engine: &Engine, id: i64, now: Timestamp) -> Result<JobView, EngineError> {
    let job = find(engine, id).await?;
    let project = engine.project(job.project_id)?;
    let s = Setting::new(engine, &project, now);
    let retried = engine
        .store()
        .write(move |tx| {
            let lost = || NotRetried::Abort(Abort::Lost);
            let task = tasks::by_id(tx, job.task_id)?.ok_or_else(lost)?;
            if let Some(woken) = wake(tx, JobId(id), &task, now)? {
                return Ok(woken);
            }
            // Whoever waits for a person's decision goes on by that decision alone.
            let parked = matches!(task.status, TaskStatus::Blocked | TaskStatus::NeedsInput);
            if parked && task.visit == job.visit {
                repair::begin_anew(tx, &task)?;
                let b = Briefing::line("job", format!("job {id} is tried again"));
                transition::stand(tx, s.now, &task, TaskStatus::Active, None, &b)
                    .map_err(NotRetried::Abort)?;
            }
            match jobs::retry(tx, JobId(id), now)? {
                Retried::New(fresh) if parked => Ok(fresh),
                Retried::New(_) => Err(NotRetried::Because(Box::new(Retried::Stale))),
                refused => Err(NotRetried::Because(Box::new(refused))),
            }
        })
        .await;
    let why = match retried {
        Ok(fresh) => {
            engine.committed();
            return queries::job(engine, fresh.id.0).await;
        }
        Err(NotRetried::Because(why)) => why,
        Err(NotRetried::Abort(e)) => return Err(e.into()),
    };
    let what = match *why {
        Retried::AlreadyLive(live) => format!("the task has a live job already: {}", live.id),
        Retried::NotFailed => {
            format!(
                "job {id} did not fail and was not cancelled: let its task go on with `orch task unblock`"
            )
        }
        Retried::New(_) | Retried::Stale => format!("the task has moved on since job {id}"),
    };
    Err(EngineError::Conflict { what })
}

/// Lets a queued job be claimed now that waits for its time.
fn wake(tx: &mut Conn, id: JobId, task: &Task, now: Timestamp) -> Result<Option<Job>, StoreError> {
    let waits = |job: &Job| job.status == JobStatus::Queued && job.available_at > now;
    if !jobs::by_id(tx, id)?.is_some_and(|job| waits(&job)) {
        return Ok(None);
    }
    let Guarded::Won(woken) = jobs::wake(tx, task.id, now)? else {
        return Ok(None);
    };
    repair::begin_anew(tx, task)?;
    let text = format!("job {id} waits no longer: a person lets it be tried now");
    transition::say(tx, task, "job", &text, now)?;
    Ok(Some(woken))
}

/// Changes the priority of a queued job, and of those that follow it.
///
/// # Errors
/// `NotFound`; `Conflict` when it is not queued.
pub async fn set_priority(
    engine: &Engine,
    id: i64,
    priority: i32,
    _now: Timestamp,
) -> Result<JobView, EngineError> {
    find(engine, id).await?;
    match engine
        .store()
        .write(move |tx| {
            let changed = jobs::reprioritise(tx, JobId(id), priority)?;
            if let Guarded::Won(job) = &changed {
                // The jobs after it are for the same task.
                tasks::reprioritise(tx, job.task_id, priority)?;
            }
            Ok::<_, StoreError>(changed)
        })
        .await?
    {
        Guarded::Won(_) => {
            engine.committed();
            queries::job(engine, id).await
        }
        Guarded::Lost => Err(EngineError::Conflict {
            what: format!("job {id} is not queued"),
        }),
    }
}

/// Pauses or resumes the claiming of agent jobs; survives a restart.
///
/// # Errors
/// The database's.
pub async fn set_paused(engine: &Engine, paused: bool, _now: Timestamp) -> Result<(), EngineError> {
    engine
        .store()
        .write(move |tx| flags::set(tx, PAUSED, if paused { "true" } else { "false" }))
        .await?;
    engine.committed();
    Ok(())
}

async fn find(engine: &Engine, id: i64) -> Result<Job, EngineError> {
    let job = engine.store().read(move |tx| jobs::by_id(tx, JobId(id))).await?;
    job.ok_or_else(|| EngineError::NotFound {
        what: format!("no job {id}"),
    })
}
