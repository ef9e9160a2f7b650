//! What holds after every step, whatever happened. Asked of the model; the databases are equal to it.

use std::collections::BTreeMap;

use orch::domain::job::{Claim, JobStatus};

use super::op::{Answer, Op};
use super::world::{self, World};

/// The first promise that this step broke.
pub fn check(op: Op, before: &World, answer: &Answer, after: &World) -> Result<(), String> {
    one_live_job_per_task(after)?;
    epochs_grow(before, after)?;
    within_limits(before, after)?;
    if (*answer == Answer::Lost || is_superseded(op, before)) && before.tables != after.tables {
        return Err(format!("who lost has written: {before:#?}\n{after:#?}"));
    }
    if is_superseded(op, before) && !matches!(answer, Answer::Lost | Answer::Nothing | Answer::Yes(false)) {
        return Err(format!("a superseded claim or monitor was answered {answer:?}"));
    }
    Ok(())
}

fn one_live_job_per_task(world: &World) -> Result<(), String> {
    let mut live = BTreeMap::new();
    for job in &world.jobs {
        if matches!(job.status, JobStatus::Queued | JobStatus::Running)
            && let Some(other) = live.insert(job.task_id, job.id)
        {
            return Err(format!("jobs {other} and {} of one task live", job.id));
        }
    }
    Ok(())
}

fn epochs_grow(before: &World, after: &World) -> Result<(), String> {
    let jobs = before.jobs.iter().zip(&after.jobs);
    let fell = jobs.filter(|(was, is)| is.claim_epoch < was.claim_epoch).count();
    let runs = before.runs.iter().zip(&after.runs);
    let runs_fell = runs
        .filter(|(was, is)| is.monitor_epoch < was.monitor_epoch)
        .count();
    let tokens = before
        .tokens
        .iter()
        .filter(|(repo, was)| after.tokens.get(*repo) < Some(was))
        .count();
    let gone = after.jobs.len() < before.jobs.len() || after.runs.len() < before.runs.len();
    if fell + runs_fell + tokens > 0 || gone {
        return Err("an epoch or token fell, or a row is gone".to_owned());
    }
    Ok(())
}

fn within_limits(before: &World, after: &World) -> Result<(), String> {
    let running = |reserved: bool| {
        let runs = |job: &&orch::domain::job::Job| {
            job.status == JobStatus::Running && job.kind.is_reserved() == reserved
        };
        after.jobs.iter().filter(runs).collect::<Vec<_>>()
    };
    let limits = before.limits;
    if running(true).len() > limits.reserved || running(false).len() > limits.agents {
        return Err("more runs than may".to_owned());
    }
    for task in &after.tasks {
        let here = running(false)
            .iter()
            .filter(|job| job.project_id == task.project_id)
            .count();
        if limits.in_project.is_some_and(|most| here > most) {
            return Err(format!("more runs in project {} than may", task.project_id));
        }
    }
    match after
        .jobs
        .iter()
        .find(|job| job.attempts > job.max_attempts || job.attempts < 0)
    {
        Some(job) => Err(format!("job {} has made {} attempts", job.id, job.attempts)),
        None => Ok(()),
    }
}

/// Whether it is done on behalf of a claim that another one has followed.
pub fn is_followed(op: Op, before: &World) -> bool {
    let claim = match op {
        Op::Finish(pick, _) | Op::Advance { claim: pick, .. } | Op::Reap(pick) | Op::Open(pick) => {
            before.claim(pick)
        }
        Op::Record { run, .. } => before.run(run).map(world::claim_of_run),
        _ => None,
    };
    claim.is_some_and(|claim| before.job_of(claim).claim_epoch != claim.epoch)
}

/// Whether it is done on behalf of a claim that is over, or by a monitor that was taken over.
fn is_superseded(op: Op, before: &World) -> bool {
    let over = |claim: Claim| !before.is_current(claim);
    match op {
        Op::Finish(claim, _)
        | Op::Advance { claim, .. }
        | Op::Reap(claim)
        | Op::Open(claim)
        | Op::LookDead(claim)
        | Op::Holds(claim)
        | Op::IsOf(claim, _) => before.claim(claim).is_some_and(over),
        Op::SeeAlive(claim) => before
            .claim(claim)
            .is_some_and(|claim| before.job_of(claim).claim_epoch != claim.epoch),
        Op::Record { run, monitor, .. } | Op::RunHolds(run, monitor) => before.run(run).is_some_and(|run| {
            over(world::claim_of_run(run)) || world::monitor_pick(run, monitor) != run.monitor_epoch
        }),
        Op::TakeOver(run, monitor) => before
            .run(run)
            .is_some_and(|run| world::monitor_pick(run, monitor) != run.monitor_epoch),
        Op::Jump(_)
        | Op::Start(_)
        | Op::Beat(_)
        | Op::Sweep(_)
        | Op::Enqueue { .. }
        | Op::Claim { .. }
        | Op::Cancel(_)
        | Op::CancelTask(_)
        | Op::Retry(_)
        | Op::Reprioritise(..)
        | Op::Wake(_)
        | Op::Move { .. }
        | Op::Close(..)
        | Op::Keep(_)
        | Op::Acquire { .. }
        | Op::Renew(..)
        | Op::Release(_)
        | Op::Reclaim(_)
        | Op::Check(_)
        | Op::ReleaseTask(_) => false,
    }
}
