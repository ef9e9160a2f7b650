//! How an attempt that did not work out is settled: its work kept, its job queued again or failed, the task
//! blocked in the same transaction when nothing follows.

use std::time::Duration;

use tokio::time::{sleep, timeout};

use crate::domain::job::{Claim, Job, JobEnd};
use crate::domain::run::{Run, RunStep};
use crate::domain::walk;
use crate::process::{self, Forbidden, ProcessError, RunState};
use crate::store::{StoreError, jobs, runs, tasks};

use super::super::transition::{self, Abort, Briefing, Ending};
use super::super::{Engine, EngineError, Hint, heal};
use super::{Attempt, Step, finish, tidy};

/// Whether the job is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Again {
    /// While attempts are left.
    IfAttemptsLeft,
    /// It was nobody's fault and may work in a while: while the budget for that lasts, then as an attempt.
    Transient,
    /// It would only fail again.
    Never,
    /// Orch itself ended it: at once, and it costs nothing.
    WithoutCost,
}

/// Settles and says that the job is over.
pub(super) async fn over(
    engine: &Engine,
    a: &mut Attempt,
    why: &str,
    again: Again,
) -> Result<Step, EngineError> {
    settle(engine, a, why, again).await?;
    Ok(Step::Over)
}

/// Ends the attempt. The tree is gone before the next one may begin.
pub(super) async fn settle(
    engine: &Engine,
    a: &mut Attempt,
    why: &str,
    again: Again,
) -> Result<(), EngineError> {
    // Whoever was superseded would end the agent of its successor.
    a.check_hold(engine).await?;
    end_tree(engine, &a.run, a.claim).await?;
    let why = super::super::check::one_line(why, 1000);
    // A repository that cannot be reached must not keep the job from being settled: the worktree stays, and
    // the next start sweeps it after keeping its work.
    let kept = match tidy::put_away(engine, &a.project, &a.task, &a.run, a.claim).await {
        Ok(kept) => kept.map(|name| format!("; unfinished work is at {name}")),
        Err(EngineError::Git(e)) => Some(format!("; its work is not kept yet, tried again soon: {e}")),
        Err(e) => return Err(e),
    };
    let now = engine.now();
    let end = match again {
        Again::WithoutCost => JobEnd::Snooze {
            reason: why.clone(),
            available_at: now,
        },
        Again::Transient if a.job.transient_attempts < a.job.max_transient_attempts => {
            let nth = a.job.transient_attempts;
            JobEnd::RetryTransient {
                error: why.clone(),
                available_at: now + retry_delay(engine, nth),
            }
        }
        Again::IfAttemptsLeft | Again::Transient if a.job.attempts < a.job.max_attempts => JobEnd::Retry {
            error: why.clone(),
            available_at: now + retry_delay(engine, a.job.attempts - 1),
            notes: None,
        },
        Again::IfAttemptsLeft | Again::Transient | Again::Never => JobEnd::Failed(why.clone()),
    };
    let fails = matches!(end, JobEnd::Failed(_));
    let healed = a.heals.clone().or_else(|| heal::killed_agent(engine, a, &end));
    let ending = Ending {
        healed,
        ..a.ending(end)
    };
    let (task, s) = (a.task.clone(), a.setting(engine));
    a.run.error = Some(why.clone());
    let kept = kept.unwrap_or_default();
    let text = format!(
        "{}: {why}{kept}",
        if fails {
            "failed"
        } else {
            "attempt failed, tried again"
        }
    );
    engine
        .store()
        .write(move |tx| {
            transition::end_claim(tx, &ending, now)?;
            let b = Briefing {
                text: text.clone(),
                kind: "failed",
                ..Briefing::default()
            };
            if fails {
                transition::block(tx, s.now, &task, &why, &b)?;
            } else {
                transition::say(tx, &task, b.kind, &b.text, now)?;
            }
            Ok::<_, Abort>(())
        })
        .await?;
    a.run.step = RunStep::Evaluated;
    engine.committed();
    match finish::clean_up(engine, a).await {
        // The job is settled; its worktree stays until the repository can be reached again.
        Err(EngineError::Git(_)) => Ok(()),
        cleaned => cleaned,
    }
}

/// Nothing of a run's tree may live on when its job is queued again or over, and nothing of it may begin to.
pub(super) async fn end_tree(engine: &Engine, run: &Run, claim: Claim) -> Result<(), EngineError> {
    let dir = super::run_dir(engine, claim);
    // A launch may be on its way since the step before it was recorded.
    if run.step >= RunStep::Prepared && run.step < RunStep::Evaluated {
        let forbidden = async {
            while process::forbid(&dir)? == Forbidden::Starting {
                sleep(Duration::from_millis(5)).await;
            }
            Ok::<_, ProcessError>(())
        };
        match timeout(STARTING, forbidden).await {
            Ok(forbidden) => forbidden?,
            Err(_) => return Err(ProcessError::AlreadyLaunched { run_dir: dir }.into()),
        }
    }
    match process::look(&dir, run.shim.as_ref())? {
        RunState::Running(shim) => {
            process::kill_tree(&shim, engine.settings().agent.kill_grace * 2).await?;
            Ok(())
        }
        // The program died with its shim; what it had started did not.
        RunState::Lost(_) => Ok(process::end_orphans(&dir).await.map(drop)?),
        RunState::NotLaunched | RunState::Ended(_) | RunState::Elsewhere(_) => Ok(()),
    }
}

/// A shim that starts says so within milliseconds.
const STARTING: Duration = Duration::from_secs(30);

fn retry_delay(engine: &Engine, before: i32) -> Duration {
    let doublings = u32::try_from(before.clamp(0, 6)).unwrap_or(0);
    engine.settings().queue.retry_delay * 2_u32.pow(doublings)
}

/// The task moved on without this job: it is done, and advances nothing.
pub(super) async fn already_past(engine: &Engine, a: &Attempt) -> Result<(), EngineError> {
    a.check_hold(engine).await?;
    end_tree(engine, &a.run, a.claim).await?;
    let ending = a.ending(JobEnd::Done);
    let now = engine.now();
    let task = a.task.clone();
    engine
        .store()
        .write(move |tx| {
            transition::end_claim(tx, &ending, now)?;
            transition::say(
                tx,
                &task,
                "job",
                "a job found the task already past its stage",
                now,
            )?;
            Ok::<_, Abort>(())
        })
        .await?;
    engine.committed();
    finish::clean_up(engine, a).await
}

/// The project or the stage of a job is gone: the job fails and its task is blocked, with what to do.
pub(in crate::engine) async fn without_stage(
    engine: &Engine,
    claim: Claim,
    job: &Job,
    why: &str,
) -> Result<(), EngineError> {
    let (held, run) = engine
        .store()
        .read(move |tx| Ok::<_, StoreError>((jobs::holds(tx, claim)?, runs::of_claim(tx, claim)?)))
        .await?;
    // Nothing of it works on for a task that people see as blocked.
    if let Some(run) = run.filter(|_| held) {
        end_tree(engine, &run, claim).await?;
    }
    let (task_id, why, now) = (job.task_id, why.to_owned(), engine.now());
    let wrote = engine
        .store()
        .write(move |tx| {
            if !jobs::end(tx, claim, &JobEnd::Failed(why.clone()), now)?.is_won() {
                return Err(Abort::Lost);
            }
            let task = tasks::by_id(tx, task_id)?.ok_or(Abort::Lost)?;
            transition::block_unplaced(tx, &task, &why, now)?;
            Ok(())
        })
        .await;
    match wrote {
        Ok(()) | Err(Abort::Lost) => {
            engine.committed();
            engine.hint(Hint::Jobs);
            super::abandon(engine, claim).await
        }
        Err(e) => Err(e.into()),
    }
}

/// The entry job of a stage, for those who queue it again.
pub(super) fn entry_role(a: &Attempt) -> Option<crate::domain::pipeline::Role> {
    match walk::entry(&a.stage) {
        walk::Entry::Work(role) => Some(role),
        walk::Entry::Look
        | walk::Entry::AskConfirm
        | walk::Entry::Merge
        | walk::Entry::Wait
        | walk::Entry::Done => None,
    }
}
