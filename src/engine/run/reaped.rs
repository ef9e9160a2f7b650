//! Settles a running job in the place of its monitor, and through the monitor's own functions. Never decides that nobody
//! drives it.

use std::sync::Arc;
use std::time::Duration;

use crate::domain::gate::GateState;
use crate::domain::job::{Claim, Job, JobKind};
use crate::domain::pipeline::Stage;
use crate::domain::reap::{Gates, Outcome, Settlement, settlement};
use crate::domain::run::{Run, RunStep};
use crate::domain::task::Task;
use crate::domain::walk::{self, Onward};
use crate::process::{self, RunState};
use crate::store::healing::NewHealing;
use crate::store::runs::RunPatch;
use crate::store::{Conn, StoreError, jobs, runs, tasks};

use super::super::check;
use super::super::look::{Looked, Question, look};
use super::super::{Engine, EngineError, ProjectHandle, blocking};
use super::failed::{self, Again};
use super::judge::{Judgement, standing};
use super::{Attempt, agent, finish, open_run, ours, perform, run_dir};

/// A running job that nobody drives, as it was looked at.
#[derive(Clone, Debug)]
pub(in crate::engine) struct Case {
    pub claim: Claim,
    pub job: Job,
    pub task: Task,
    /// None where it was claimed and nobody began.
    pub run: Option<Run>,
    /// How its run directory stood.
    pub state: RunState,
    /// Its tree is ended before anything else, and was by the time this is decided about.
    pub tree: Tree,
}

/// What has to be known of a job's tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) enum Tree {
    /// Nothing of it may live any more.
    Gone,
    /// It may live, and is to be ended first.
    EndFirst,
    /// It lived, and was ended for this.
    Ended,
}

/// Why a job is settled, for people.
#[derive(Clone, Debug)]
pub(in crate::engine) struct Cause {
    pub why: String,
    /// How long it was stuck.
    pub stuck: Option<Duration>,
}

/// What becomes of a case. Nothing was written yet.
#[derive(Debug)]
pub(in crate::engine) struct Decided {
    pub settlement: Settlement,
    /// How its program ended, or what its gates say.
    pub detail: String,
    goes_on: Option<(Looked, Onward)>,
}

/// Reads a claimed job for its case. None: the claim is over.
pub(in crate::engine) fn read(
    tx: &mut Conn,
    claim: Claim,
) -> Result<Option<(Job, Task, Option<Run>)>, StoreError> {
    let Some(job) = jobs::by_id(tx, claim.job)?.filter(|j| ours(j, claim)) else {
        return Ok(None);
    };
    let Some(task) = tasks::by_id(tx, job.task_id)? else {
        return Ok(None);
    };
    Ok(Some((job, task, runs::of_claim(tx, claim)?)))
}

/// How the run directory of a claim stands.
pub(in crate::engine) async fn state(
    engine: &Engine,
    claim: Claim,
    run: Option<&Run>,
) -> Result<RunState, EngineError> {
    let (dir, shim) = (run_dir(engine, claim), run.and_then(|run| run.shim.clone()));
    // A file of it can hang whoever reads it: its disk, a name that is no file any more.
    blocking(move || process::look(&dir, shim.as_ref())).await
}

/// What becomes of the job. Asks its gates where that matters; writes nothing, runs nothing.
pub(in crate::engine) async fn decide(engine: &Engine, case: &Case) -> Result<Decided, EngineError> {
    let watches = case.job.kind == JobKind::PostDeployMonitor;
    let past = case.task.version != case.job.task_version && !watches;
    let (outcome, ended) = outcome(case);
    let attempts = (case.job.attempts, case.job.max_attempts);
    if past || outcome != Outcome::Succeeded {
        let settlement = settlement(past, outcome, Gates::NotGreen, attempts);
        return Ok(Decided {
            settlement,
            detail: ended,
            goes_on: None,
        });
    }
    let (gates, detail, goes_on) = ask(engine, case).await?;
    Ok(Decided {
        settlement: settlement(past, outcome, gates, attempts),
        detail: format!("{ended}, {detail}"),
        goes_on,
    })
}

fn outcome(case: &Case) -> (Outcome, String) {
    let run = case.run.as_ref();
    let recorded = run.and_then(|r| r.exit.as_ref());
    let exit = match (&case.state, recorded) {
        (_, Some(exit)) | (RunState::Ended(exit), None) => Some(exit),
        (RunState::NotLaunched | RunState::Running(_) | RunState::Lost(_) | RunState::Elsewhere(_), None) => {
            None
        }
    };
    let Some(exit) = exit else {
        return match &case.state {
            RunState::Elsewhere(_) => (
                Outcome::EndedByOrch,
                "it went down with its machine or container".to_owned(),
            ),
            RunState::NotLaunched | RunState::Running(_) | RunState::Lost(_) | RunState::Ended(_) => {
                (Outcome::Failed, "how it ended is not known".to_owned())
            }
        };
    };
    let reported = run.and_then(|r| r.error.clone());
    let text = reported.clone().unwrap_or_else(|| process::exit_text(exit));
    let outcome = match case.tree {
        Tree::Gone | Tree::EndFirst if exit.ended_by_orch() => Outcome::EndedByOrch,
        Tree::Gone | Tree::EndFirst | Tree::Ended if reported.is_none() && exit.succeeded() => {
            Outcome::Succeeded
        }
        Tree::Gone | Tree::EndFirst | Tree::Ended => Outcome::Failed,
    };
    (outcome, text)
}

type Said = (Gates, String, Option<(Looked, Onward)>);

/// Asks the gates about what the run delivered. They say nothing of work that is not on the branch yet.
async fn ask(engine: &Engine, case: &Case) -> Result<Said, EngineError> {
    let not_green = |why: String| (Gates::NotGreen, why, None);
    let (Some(run), Ok((project, stage))) = (&case.run, placed(engine, &case.job)) else {
        return Ok(not_green("its project or stage is not known".to_owned()));
    };
    if run.step < RunStep::Pushed {
        return Ok(not_green("its work was not delivered".to_owned()));
    }
    let question = Question {
        head: run.end_sha.clone(),
        gates: None,
        run: Some(run.id),
        anew: None,
    };
    let looked = match look(engine, &project, &case.task, &stage, &question).await {
        Ok(looked) => looked,
        // The database's trouble says nothing about the gates.
        Err(e @ (EngineError::Store(_) | EngineError::Saturated | EngineError::OutOfTime)) => return Err(e),
        Err(e) => return Ok(not_green(format!("its gates could not be asked: {e}"))),
    };
    let answers = looked.answers();
    let onward = walk::onward(
        &standing((&project, &case.task, &stage), (looked.merged, looked.stale)),
        &answers,
    );
    let said = |answer: &walk::Answer| {
        let verdict = &answer.verdict;
        format!("{} is {}: {}", answer.gate.name, verdict.state, verdict.reason)
    };
    Ok(match &onward {
        Onward::Advance(to) => (
            Gates::GoOn,
            format!("its gates are green: on to {to}"),
            Some((looked, onward)),
        ),
        Onward::Merge | Onward::AskConfirm => (
            Gates::GoOn,
            "its gates are green".to_owned(),
            Some((looked, onward)),
        ),
        Onward::WaitHuman(answer) => (Gates::GoOn, said(answer), Some((looked, onward))),
        // What has not been looked at yet is somebody else's turn; nobody has to do the work again for it.
        Onward::AskAgain(answer) if answer.verdict.state == GateState::Pending => {
            (Gates::GoOn, said(answer), Some((looked, onward)))
        }
        Onward::AskAgain(answer)
        | Onward::Retry(answer)
        | Onward::RollBack(_, answer)
        | Onward::Restage(answer)
        | Onward::Escalate(answer) => not_green(said(answer)),
    })
}

/// The project and the stage of a job.
///
/// # Errors
/// When either is gone, with what to do.
pub(in crate::engine) fn placed(
    engine: &Engine,
    job: &Job,
) -> Result<(Arc<ProjectHandle>, Stage), EngineError> {
    let project = engine.project(job.project_id)?;
    let stage = project.stage(&job.stage)?.clone();
    Ok((project, stage))
}

/// Wins the row: from now on nobody else writes about this claim, be it frozen or late. None: somebody did something
/// since the case was read.
///
/// # Errors
/// The database's; `NotFound` where its project or stage is gone.
pub(in crate::engine) async fn take(
    engine: &Engine,
    case: &Case,
    guard: impl FnOnce(&mut Conn) -> Result<bool, StoreError> + Send + 'static,
) -> Result<Option<Attempt>, EngineError> {
    engine.be_in_time()?;
    let (project, stage) = placed(engine, &case.job)?;
    let (claim, job, now) = (case.claim, case.job.clone(), engine.now());
    let (seen, instance) = (case.run.clone(), engine.instance().clone());
    let taken = engine.store().write(move |tx| {
        if !jobs::holds(tx, claim)? || !guard(tx)? {
            return Ok::<_, StoreError>(None);
        }
        match seen {
            Some(run) => {
                let won = runs::take_over(tx, run.id, run.monitor_epoch)?.won();
                Ok(won.map(|monitor| (run, monitor)))
            }
            None if runs::of_claim(tx, claim)?.is_some() => Ok(None),
            None => open_run(tx, &job, claim, &instance, now),
        }
    });
    Ok(taken.await?.map(|(run, monitor)| Attempt {
        job: case.job.clone(),
        claim,
        task: case.task.clone(),
        project,
        stage,
        run: Run {
            monitor_epoch: monitor,
            ..run
        },
        monitor,
        heals: None,
    }))
}

/// Ends the tree of a job that was won, confirms that it is dead, and looks again.
pub(in crate::engine) async fn end_tree(
    engine: &Engine,
    a: &Attempt,
    case: &mut Case,
) -> Result<(), EngineError> {
    let lived = matches!(case.state, RunState::Running(_));
    failed::end_tree(engine, &a.run, a.claim).await?;
    check::sweep(engine, &a.project, a.claim).await?;
    case.state = state(engine, a.claim, Some(&a.run)).await?;
    case.tree = if lived { Tree::Ended } else { Tree::Gone };
    Ok(())
}

/// What was done, for people.
pub(in crate::engine) fn action(settlement: Settlement) -> &'static str {
    match settlement {
        Settlement::Past => "done: its task was past its stage already",
        Settlement::GoOn => "done: its task goes on",
        Settlement::Again => "queued again",
        Settlement::Refund => "queued again, the attempt refunded",
        Settlement::Fail => "failed, its task is blocked",
    }
}

/// Performs what was decided about a job that was won: its end, what follows and what is told are one transaction.
/// What its run left is put away.
///
/// # Errors
/// `Lost` when somebody else was first after all: nothing was written. git's and the database's.
pub(in crate::engine) async fn settle(
    engine: &Engine,
    mut a: Attempt,
    decided: Decided,
    cause: &Cause,
    state: &RunState,
) -> Result<(), EngineError> {
    if let (RunState::Ended(exit), RunStep::Running) = (state, a.run.step) {
        learn_exit(engine, &mut a, exit.clone()).await?;
    }
    let action = action(decided.settlement);
    let why = format!("{}; {}", cause.why, decided.detail);
    a.heals = Some(NewHealing {
        kind: "reaper".to_owned(),
        subject: format!("job {} ({})", a.job.id, who(&a.job)),
        why: why.clone(),
        action: action.to_owned(),
        stuck: cause.stuck,
        instance: engine.instance().clone(),
    });
    match (decided.settlement, decided.goes_on) {
        (Settlement::Past, _) => failed::already_past(engine, &a).await,
        (Settlement::GoOn, Some((looked, onward))) => {
            go_on(engine, &mut a, looked, onward).await?;
            match finish::clean_up(engine, &a).await {
                // The job is settled; what is left is tried again by the next sweep for what is over.
                Err(EngineError::Git(_)) => Ok(()),
                cleaned => cleaned,
            }
        }
        (Settlement::Refund, _) => failed::settle(engine, &mut a, &why, Again::WithoutCost).await,
        (Settlement::GoOn, None) | (Settlement::Again | Settlement::Fail, _) => {
            failed::settle(engine, &mut a, &why, Again::IfAttemptsLeft).await
        }
    }
}

/// The same for a job of another node: what its run left lies there, and is put away by that node when it is back.
pub(in crate::engine) async fn settle_elsewhere(
    engine: &Engine,
    mut a: Attempt,
    decided: Decided,
    healed: NewHealing,
) -> Result<(), EngineError> {
    let Some((looked, onward)) = decided.goes_on else {
        return Err(EngineError::Lost);
    };
    a.heals = Some(healed);
    go_on(engine, &mut a, looked, onward).await
}

async fn go_on(engine: &Engine, a: &mut Attempt, looked: Looked, onward: Onward) -> Result<(), EngineError> {
    let judgement = Judgement {
        looked,
        tail: String::new(),
        waits: None,
    };
    perform::perform(engine, a, onward, judgement).await
}

/// Who worked at a job, for people.
pub(in crate::engine) fn who(job: &Job) -> String {
    let who = job.role.map_or(job.kind.as_str(), |role| role.as_str());
    format!("{who}, {}", job.stage)
}

/// What the run used is known from its log. Where that cannot be read, its exit is recorded alone.
async fn learn_exit(
    engine: &Engine,
    a: &mut Attempt,
    exit: crate::domain::run::ExitRecord,
) -> Result<(), EngineError> {
    match agent::ended(engine, a, exit.clone()).await {
        Ok(_) => Ok(()),
        Err(e @ (EngineError::Lost | EngineError::Store(_) | EngineError::Saturated)) => Err(e),
        Err(_) => {
            let patch = RunPatch {
                step: Some(RunStep::Exited),
                error: (!exit.succeeded()).then(|| process::exit_text(&exit)),
                exit: Some(exit),
                charge: Some(engine.settings().budget.reserve),
                ..RunPatch::default()
            };
            a.record(engine, patch).await
        }
    }
}
