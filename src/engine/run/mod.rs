//! Drives one claimed job from its claim to its end, step by recorded step.
//!
//! Every step is recorded before the next begins, under the claim epoch and the monitor epoch. Whoever drives
//! a run that was begun by another goes on from the recorded step; the other one can write nothing any more.

pub(super) mod agent;
mod connections;
mod deploy;
mod failed;
pub(super) mod far;
mod finish;
mod forge;
mod given_up;
mod hook;
mod judge;
mod locally;
mod merge;
mod pauses;
mod perform;
mod prepare;
mod quarantined;
pub(super) mod reaped;
mod reserved;
mod spending;
mod staging;
mod tidy;
mod watch;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::domain::id::{MonitorEpoch, NodeName};
use crate::domain::job::{Claim, Job, JobEnd, JobKind, JobStatus};
use crate::domain::pipeline::Stage;
use crate::domain::run::{Run, RunStep};
use crate::domain::task::Task;
use crate::store::healing::NewHealing;
use crate::store::jobs::Bare;
use crate::store::runs::{Closing, NewRun, RunPatch};
use crate::store::{Conn, Guarded, StoreError, jobs, runs, spend, tasks};

pub(super) use deploy::settled;
pub(super) use failed::{end_tree_in, fail, without_stage};
pub(super) use finish::packet_of;
pub(super) use given_up::give_up;
pub(super) use quarantined::QUARANTINED;
pub(super) use tidy::wip_copy;

use self::pauses::Pauses;
use super::transition::{Abort, Ending, Hold, Setting};
use super::{Engine, EngineError, ProjectHandle};

/// How driving a job ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Driven {
    /// The job is over (or queued again) and its run is closed.
    Over,
    /// The claim is no longer ours; what it had was cleaned up without a write about the job.
    Superseded,
}

/// One attempt at a job, with all that it works on.
pub(super) struct Attempt {
    pub job: Job,
    pub claim: Claim,
    pub task: Task,
    pub project: Arc<ProjectHandle>,
    pub stage: Stage,
    pub run: Run,
    pub monitor: MonitorEpoch,
    /// Told with the end of the job: what was stuck, where this attempt only heals.
    pub heals: Option<NewHealing>,
}

/// Shortest and longest time between two looks at what only somebody else can change.
const PAUSES: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(60));

impl Attempt {
    /// How long to wait before the next look at what only somebody else can change: the longer it has taken, the
    /// longer it will take.
    fn pause(&self, engine: &Engine) -> Duration {
        let waited = engine.now().since(self.task.stage_entered_at);
        (waited / 4).clamp(PAUSES.0, PAUSES.1)
    }

    fn hold(&self) -> Hold {
        Hold {
            claim: self.claim,
            run: self.run.id,
            monitor: self.monitor,
        }
    }

    fn ending(&self, end: JobEnd) -> Ending {
        Ending {
            healed: self.heals.clone(),
            line: self.heals.as_ref().map(|h| format!("{}: {}", h.why, h.action)),
            ..Ending::new(self.hold(), end)
        }
    }

    /// Claim before act, where what follows is no write of ours.
    async fn check_hold(&self, engine: &Engine) -> Result<(), EngineError> {
        engine.be_in_time()?;
        let hold = self.hold();
        let held = engine.store().read(move |tx| hold.check(tx)).await;
        held.map_err(EngineError::from)
    }

    fn setting(&self, engine: &Engine) -> Setting {
        Setting::new(engine, &self.project, engine.now())
    }

    pub(in crate::engine) fn run_dir(&self, engine: &Engine) -> PathBuf {
        run_dir(engine, self.claim)
    }

    fn worktree(&self, engine: &Engine) -> PathBuf {
        worktree(engine, self.claim)
    }

    /// Records a step under both epochs.
    async fn record(&mut self, engine: &Engine, patch: RunPatch) -> Result<(), EngineError> {
        let (run, claim, monitor, now) = (self.run.id, self.claim, self.monitor, engine.now());
        match engine
            .store()
            .write(move |tx| runs::record(tx, run, (claim, monitor), &patch, now))
            .await?
        {
            Guarded::Won(run) => {
                self.run = run;
                engine.changed.send_modify(|n| *n += 1);
                Ok(())
            }
            Guarded::Lost => Err(EngineError::Lost),
        }
    }
}

/// The run directory of a claim.
pub fn run_dir(engine: &Engine, claim: Claim) -> PathBuf {
    engine
        .settings()
        .data_dir
        .join("runs")
        .join(format!("{}-{}", claim.job, claim.epoch))
}

fn worktree(engine: &Engine, claim: Claim) -> PathBuf {
    engine
        .settings()
        .data_dir
        .join("worktrees")
        .join(format!("{}-{}", claim.job, claim.epoch))
}

/// Drives a claimed job to its end. May be called again for the same claim after a crash: goes on from the
/// recorded step as a new monitor.
///
/// # Errors
/// What could not be settled even as a failure of the job: the database, a disk. The caller tries again.
pub async fn drive(engine: &Engine, claim: Claim) -> Result<Driven, EngineError> {
    for _ in 0..LOOKS {
        let opened = match open(engine, claim).await? {
            Opened::Attempt(attempt) => *attempt,
            Opened::NotOurs => {
                far::or_later(engine, claim, abandon(engine, claim).await)?;
                return Ok(Driven::Superseded);
            }
            Opened::Impossible { why, job } => {
                // Lost: somebody else ended it.
                let _ = failed::without_stage(engine, &Bare::of(&job), &why, None).await?;
                return Ok(Driven::Over);
            }
        };
        let hold = opened.hold();
        match walk(engine, opened).await {
            Ok(()) => return Ok(Driven::Over),
            Err(EngineError::Lost) => {}
            Err(e) => return Err(e),
        }
        match engine.store().read(move |tx| hold.check(tx)).await {
            // The claim is still ours: it was the task that somebody else had changed. Looked at anew.
            Ok(()) => {}
            Err(Abort::Lost) => {
                engine.refused.fetch_add(1, Ordering::Relaxed);
                far::or_later(engine, claim, abandon(engine, claim).await)?;
                return Ok(Driven::Superseded);
            }
            Err(e) => return Err(e.into()),
        }
    }
    Err(EngineError::Lost)
}

/// How often a task is looked at anew that others change all the time.
const LOOKS: usize = 3;

enum Opened {
    Attempt(Box<Attempt>),
    NotOurs,
    Impossible { why: String, job: Box<Job> },
}

async fn open(engine: &Engine, claim: Claim) -> Result<Opened, EngineError> {
    let (now, instance) = (engine.now(), engine.instance().clone());
    let read = engine
        .store()
        .write(move |tx| {
            let Some(job) = jobs::by_id(tx, claim.job)?.filter(|j| ours(j, claim)) else {
                return Ok::<_, StoreError>(None);
            };
            let Some(task) = tasks::by_id(tx, job.task_id)? else {
                return Ok(None);
            };
            let opened = open_run(tx, &job, claim, &instance, now)?;
            Ok(opened.map(|(run, monitor)| (job, task, run, monitor)))
        })
        .await?;
    let Some((job, task, run, monitor)) = read else {
        return Ok(Opened::NotOurs);
    };
    let placed = engine
        .project(task.project_id)
        .and_then(|p| p.stage(&job.stage).cloned().map(|s| (p, s)));
    Ok(match placed {
        Ok((project, stage)) => Opened::Attempt(Box::new(Attempt {
            job,
            claim,
            task,
            project,
            stage,
            run,
            monitor,
            heals: None,
        })),
        Err(e) => Opened::Impossible {
            why: e.to_string(),
            job: Box::new(job),
        },
    })
}

fn ours(job: &Job, claim: Claim) -> bool {
    job.status == JobStatus::Running && job.claim_epoch == claim.epoch
}

/// The run of this claim: made at the first call, taken over at a later one.
fn open_run(
    tx: &mut Conn,
    job: &Job,
    claim: Claim,
    instance: &crate::domain::id::InstanceId,
    now: crate::domain::time::Timestamp,
) -> Result<Option<(Run, MonitorEpoch)>, StoreError> {
    if let Some(run) = runs::of_claim(tx, claim)? {
        return Ok(match runs::take_over(tx, run.id, run.monitor_epoch)? {
            Guarded::Won(epoch) => Some((
                Run {
                    monitor_epoch: epoch,
                    ..run
                },
                epoch,
            )),
            Guarded::Lost => None,
        });
    }
    let new = NewRun {
        claim,
        task_id: job.task_id,
        role: job.role,
        agent: "orch".into(),
        stage: job.stage.clone(),
        visit: job.visit,
        node: job.node.clone().unwrap_or_else(|| NodeName::trusted("local")),
        instance: instance.clone(),
    };
    Ok(runs::create(tx, &new, now)?.won().map(|run| {
        let epoch = run.monitor_epoch;
        (run, epoch)
    }))
}

async fn walk(engine: &Engine, mut a: Attempt) -> Result<(), EngineError> {
    // Whoever watches production does nothing to the task.
    if a.task.version != a.job.task_version && a.job.kind != JobKind::PostDeployMonitor {
        return failed::already_past(engine, &a).await;
    }
    let mut pauses = Pauses::new();
    loop {
        if a.run.step >= RunStep::Evaluated {
            return finish::clean_up(engine, &a).await;
        }
        let step = match a.job.kind {
            JobKind::Agent => agent_step(engine, &mut a).await,
            JobKind::GateCheck => reserved::gate_check(engine, &mut a).await,
            JobKind::DeployFinalizer => merge::finalize(engine, &mut a).await,
            JobKind::PostDeployMonitor => watch::watch(engine, &mut a).await,
        };
        match step {
            Ok(Step::On) => pauses = Pauses::new(),
            Ok(Step::Over) => return finish::clean_up(engine, &a).await,
            Err(EngineError::Lost) => return Err(EngineError::Lost),
            Err(e @ (EngineError::Invalid { .. } | EngineError::NotFound { .. })) => {
                return failed::settle(engine, &mut a, &e.to_string(), failed::Again::Never).await;
            }
            Err(EngineError::Git(e)) if e.needs_a_person() => {
                let why = a.project.explain(&e);
                return failed::settle(engine, &mut a, &why, failed::Again::Never).await;
            }
            Err(e) => match pauses.after(engine, &mut a, &e).await? {
                Some(pause) => tokio::time::sleep(pause).await,
                None => return Ok(()),
            },
        }
    }
}

/// What a step came to.
enum Step {
    /// The next step may begin.
    On,
    /// The job is over.
    Over,
}

async fn agent_step(engine: &Engine, a: &mut Attempt) -> Result<Step, EngineError> {
    match a.run.step {
        RunStep::Claimed => prepare::prepare(engine, a).await,
        RunStep::Prepared => agent::launch(engine, a).await,
        RunStep::Running => agent::watch(engine, a).await,
        RunStep::Exited => finish::commit(engine, a).await,
        RunStep::Committed => finish::push(engine, a).await,
        RunStep::Pushed => finish::open_pull_request(engine, a).await,
        RunStep::PrOpened => judge::judge(engine, a).await,
        RunStep::Evaluated | RunStep::Finalised | RunStep::Abandoned => Ok(Step::Over),
    }
}

/// Cleans up after a claim that is over: the tree is ended, its work kept, its worktree removed. Writes nothing about
/// the job, and does nothing at all while the job runs under this very claim: then its monitor drives it. Safe to
/// repeat.
///
/// # Errors
/// git's, the process layer's, the database's.
pub async fn abandon(engine: &Engine, claim: Claim) -> Result<(), EngineError> {
    let found = engine.store().read(move |tx| {
        let live = jobs::holds(tx, claim)?;
        Ok::<_, StoreError>((live, runs::of_claim(tx, claim)?))
    });
    let (live, run) = found.await?;
    let Some(run) = run.filter(|r| !live && r.step < RunStep::Finalised) else {
        return Ok(());
    };
    failed::end_tree(engine, &run, claim).await?;
    let task = engine
        .store()
        .read(move |tx| tasks::by_id(tx, run.task_id))
        .await?;
    if let Some(task) = task {
        // Without its project's file its work cannot be kept: the run stays open until the file is back.
        let project = engine.project(task.project_id)?;
        tidy::put_away(engine, &project, &task, &run, claim).await?;
    }
    // Its job had ended well, and only the tidying up was missing.
    let how = if run.step == RunStep::Evaluated {
        Closing::Finalised
    } else {
        Closing::Abandoned
    };
    let (id, now) = (run.id, engine.now());
    let unheard = (run.step == RunStep::Running).then(|| engine.settings().budget.reserve);
    // Lost: somebody else cleaned up.
    drop(
        engine
            .store()
            .write(move |tx| {
                if let Some(reserve) = unheard {
                    // Lost: it is counted by somebody else.
                    let _ = spend::assume(tx, id, reserve, now)?;
                }
                runs::close(tx, id, how, None, now)
            })
            .await?,
    );
    Ok(())
}

/// The claim that a running job is under.
pub fn claim_of(job: &Job) -> Claim {
    Claim {
        job: job.id,
        epoch: job.claim_epoch,
    }
}
