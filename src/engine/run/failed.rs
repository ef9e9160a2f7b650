//! How an attempt that did not work out is settled: its work kept, its job queued again or failed, the task
//! blocked in the same transaction when nothing follows.

use std::path::PathBuf;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use crate::domain::job::{Claim, JobEnd, JobKind, JobStatus};
use crate::domain::retry;
use crate::domain::run::{ProcessIdentity, Run, RunStep};
use crate::domain::time::Timestamp;
use crate::domain::walk;
use crate::process::{self, Forbidden, ProcessError, RunState};
use crate::store::healing::NewHealing;
use crate::store::jobs::Bare;
use crate::store::{Conn, Guarded, StoreError, healing, jobs, readable, runs, spend, tasks};

use super::super::transition::{self, Abort, Briefing};
use super::super::{Engine, EngineError, Hint, blocking, budget, heal, repair};
use super::{Attempt, Step, far, finish, tidy};

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
    let why = super::super::check::one_line(&engine.settings().without_secrets(why), 1000);
    // A repository that cannot be reached must not keep the job from being settled: the worktree stays, and
    // the next start sweeps it after keeping its work.
    let kept = match tidy::put_away(engine, &a.project, &a.task, &a.run, a.claim).await {
        Ok(kept) => kept.map(|name| format!("; unfinished work is at {name}")),
        Err(EngineError::Git(e)) => Some(format!("; its work is not kept yet, tried again soon: {e}")),
        Err(e) => return Err(e),
    };
    let failure = match (a.job.kind, again) {
        (JobKind::Agent, Again::IfAttemptsLeft) if engine.settings().repair.enabled => {
            Some((repair::look(engine, a, &why).await?, repair::Case::of(a)))
        }
        (_, _) => None,
    };
    let now = engine.now();
    let matched = failure.as_ref().and_then(|(f, _)| f.matched(&a.task, now));
    let plain = plain_end(engine, a, &why, again, now);
    let killed = heal::killed_agent(engine, a);
    let mut ending = a.ending(JobEnd::Done);
    let (task, s) = (a.task.clone(), a.setting(engine));
    a.run.error = Some(why.clone());
    let kept = kept.unwrap_or_default();
    // What Orch ended because of what it cost is not begun again.
    let limit = match (a.job.kind, again) {
        (JobKind::Agent, Again::WithoutCost) => a.project.config.budget.task,
        (_, _) => None,
    };
    let unheard = (a.run.step == RunStep::Running).then(|| engine.settings().budget.reserve);
    let line = engine
        .store()
        .write(move |tx| {
            // Whoever was superseded counts nothing.
            ending.hold.check(tx)?;
            if let Some(reserve) = unheard
                && !spend::assume(tx, ending.hold.run, reserve, now)?.is_won()
            {
                return Err(Abort::Lost);
            }
            let spent_up = budget::spent_up(tx, &task, limit)?;
            let (end, line) = match (&failure, &spent_up) {
                (Some((failure, case)), _) => {
                    let answer = repair::answer(tx, case, failure, now)?;
                    (answer.end, Some(answer.line))
                }
                (None, Some(why)) => (JobEnd::Cancelled(why.clone()), None),
                (None, None) => (plain, None),
            };
            let failed = match &end {
                JobEnd::Failed(why) => Some(why.clone()),
                JobEnd::Retry { .. } | JobEnd::RetryTransient { .. } | JobEnd::Held { .. } => {
                    ending.healed = ending.healed.or(killed);
                    None
                }
                JobEnd::Done | JobEnd::Cancelled(_) | JobEnd::Snooze { .. } => None,
            };
            if let Some(healed) = &mut ending.healed {
                healed.action = action(&end).to_owned();
                ending.line = ending.line.map(|_| format!("{}: {}", healed.why, healed.action));
            }
            ending.end = end;
            transition::end_claim(tx, &ending, now)?;
            if let Some(line) = &line {
                transition::say(tx, &task, "repair", line, now)?;
            }
            match (failed, spent_up) {
                (None, Some(why)) => budget::stop(tx, &task, &why, &kept, now)?,
                (Some(why), _) if task.status.is_terminal() => {
                    transition::give_up_watching(tx, &task, &why, now)?;
                }
                (Some(why), _) => {
                    let b = Briefing::line("failed", format!("failed: {why}{kept}"));
                    transition::block(tx, s.now, &task, &why, &b)?;
                }
                (None, None) => {
                    let text = format!("attempt failed, tried again: {why}{kept}");
                    transition::say(tx, &task, "failed", &text, now)?;
                }
            }
            Ok::<_, Abort>(line.map(|line| format!("[{}] {line}", task.work_item_id)))
        })
        .await?;
    if let Some(line) = line {
        slog_scope::info!("{}", line);
        engine.hint(Hint::Audit);
    }
    if let Some(matched) = matched {
        engine.rules.count(matched);
    }
    a.run.step = RunStep::Evaluated;
    engine.committed();
    match finish::clean_up(engine, a).await {
        // The job is settled; its worktree stays until the repository can be reached again.
        Err(EngineError::Git(_)) => Ok(()),
        cleaned => cleaned,
    }
}

/// What was done, for people.
fn action(end: &JobEnd) -> &'static str {
    match end {
        JobEnd::Done => "done",
        JobEnd::Failed(_) => "failed, its task is blocked",
        JobEnd::Cancelled(_) => "cancelled",
        JobEnd::Retry { .. } => "queued again",
        JobEnd::RetryTransient { .. } | JobEnd::Snooze { .. } | JobEnd::Held { .. } => {
            "queued again, the attempt refunded"
        }
    }
}

/// How a job ends that no rule is asked about.
fn plain_end(engine: &Engine, a: &Attempt, why: &str, again: Again, now: Timestamp) -> JobEnd {
    let (error, first) = (why.to_owned(), engine.settings().queue.retry_delay);
    match again {
        Again::WithoutCost => JobEnd::Snooze {
            reason: error,
            available_at: now,
        },
        Again::Transient if a.job.transient_attempts < a.job.max_transient_attempts => {
            JobEnd::RetryTransient {
                error,
                available_at: now + retry::pause(first, a.job.transient_attempts),
            }
        }
        Again::IfAttemptsLeft | Again::Transient if a.job.attempts < a.job.max_attempts => JobEnd::Retry {
            error,
            available_at: now + retry::pause(first, a.job.attempts - 1),
            notes: None,
            timeout_percent: None,
        },
        Again::IfAttemptsLeft | Again::Transient | Again::Never => JobEnd::Failed(error),
    }
}

/// Nothing of a run's tree may live on when its job is queued again or over, and nothing of it may begin to.
pub(super) async fn end_tree(engine: &Engine, run: &Run, claim: Claim) -> Result<(), EngineError> {
    // A launch may be on its way since the step before it was recorded.
    let launches = run.step >= RunStep::Prepared && run.step < RunStep::Evaluated;
    end_tree_of(engine, claim, launches, run.shim.as_ref()).await
}

async fn end_tree_of(
    engine: &Engine,
    claim: Claim,
    launches: bool,
    shim: Option<&ProcessIdentity>,
) -> Result<(), EngineError> {
    end_tree_in(engine, super::run_dir(engine, claim), launches, shim).await
}

/// Ends what was started in a run directory, or is about to be where it `launches` still.
pub(in crate::engine) async fn end_tree_in(
    engine: &Engine,
    dir: PathBuf,
    launches: bool,
    shim: Option<&ProcessIdentity>,
) -> Result<(), EngineError> {
    if launches {
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
    let (looked, shim) = (dir.clone(), shim.cloned());
    match blocking(move || process::look(&looked, shim.as_ref())).await? {
        RunState::Running(shim) => {
            process::kill_tree(&shim, far::patience(engine, &dir)).await?;
            Ok(())
        }
        // The program died with its shim; what it had started did not.
        RunState::Lost(_) => Ok(process::end_orphans(&dir).await.map(drop)?),
        RunState::NotLaunched | RunState::Ended(_) | RunState::Elsewhere(_) => Ok(()),
    }
}

/// A shim that starts says so within milliseconds.
const STARTING: Duration = Duration::from_secs(30);

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

/// A job whose attempt cannot even be looked at (its project or stage is gone, a row of it cannot be read) fails, and its
/// task is blocked, with what to do. Its tree is ended first.
///
/// # Errors
/// A process that does not die; the database's.
pub(in crate::engine) async fn without_stage(
    engine: &Engine,
    job: &Bare,
    why: &str,
    heals: Option<NewHealing>,
) -> Result<Guarded<()>, EngineError> {
    let claim = job.claim;
    let read = engine
        .store()
        .read(move |tx| Ok::<_, StoreError>((jobs::holds(tx, claim)?, runs::of_claim(tx, claim))));
    let (held, run) = read.await?;
    // Nothing of it works on for a task that people see as blocked.
    match run {
        Ok(Some(run)) if held => end_tree(engine, &run, claim).await?,
        // What it started stands in its folder too.
        Err(StoreError::Broken { .. }) if held => end_tree_of(engine, claim, true, None).await?,
        Ok(_) | Err(StoreError::Broken { .. }) => {}
        Err(e) => return Err(e.into()),
    }
    let ended = fail(engine, job, why, heals, |_| Ok(true)).await?;
    match super::abandon(engine, claim).await {
        // The job is settled; what it left is put away when its rows can be read again.
        Err(EngineError::Store(StoreError::Broken { .. })) => Ok(ended),
        left => left.map(|()| ended),
    }
}

/// Fails a job by what can always be read of it: its task is blocked where that can be read, and people are told in
/// either case.
///
/// # Errors
/// The database's.
pub(in crate::engine) async fn fail(
    engine: &Engine,
    job: &Bare,
    why: &str,
    heals: Option<NewHealing>,
    guard: impl FnOnce(&mut Conn) -> Result<bool, StoreError> + Send + 'static,
) -> Result<Guarded<()>, EngineError> {
    let (job, why, now) = (job.clone(), why.to_owned(), engine.now());
    let wrote = engine.store().write(move |tx| {
        if !guard(tx)? || !close(tx, &job, &why, now)?.is_won() {
            return Err(Abort::Lost);
        }
        if let Some(healed) = &heals {
            healing::push(tx, healed, now)?;
        }
        match readable(tasks::by_id(tx, job.task_id))? {
            Some(task) if task.status.is_terminal() => transition::give_up_watching(tx, &task, &why, now),
            Some(task) => transition::block_unplaced(tx, &task, &why, now),
            None => transition::tell_failed(tx, &job, &why, now),
        }
    });
    match wrote.await {
        Ok(()) => {
            engine.committed();
            Ok(Guarded::Won(()))
        }
        Err(Abort::Lost) => Ok(Guarded::Lost),
        Err(e) => Err(e.into()),
    }
}

/// Only as it stood when it was read: what was claimed meanwhile is its claim's to end.
fn close(tx: &mut Conn, job: &Bare, why: &str, now: Timestamp) -> Result<Guarded<()>, StoreError> {
    match job.status {
        JobStatus::Queued => jobs::fail_queued(tx, job.claim, why, now),
        JobStatus::Running => jobs::close(tx, job.claim, &JobEnd::Failed(why.to_owned()), now),
        JobStatus::Done | JobStatus::Failed | JobStatus::Cancelled => Ok(Guarded::Lost),
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
