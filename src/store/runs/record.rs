//! What is written about a run as it goes on.

use diesel::dsl::exists;
use diesel::prelude::*;

use super::{RunRow, Unfinished};
use crate::domain::id::{CodeTree, MonitorEpoch, RunId, Sha};
use crate::domain::job::{Claim, JobStatus};
use crate::domain::run::{ExitRecord, ProcessIdentity, Provenance, Run, RunStep, Usage};
use crate::domain::time::Timestamp;
use crate::schema::{jobs, runs};
use crate::store::decode::{guarded, to_json};
use crate::store::{Conn, Guarded, StoreError, spend};

/// What was learned of a run. `None` leaves a field as it is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RunPatch {
    /// How far it has come: the same step or a later one.
    pub step: Option<RunStep>,
    /// Branch head it was given.
    pub start_sha: Option<Sha>,
    /// Code tree it was given.
    pub start_tree: Option<CodeTree>,
    /// Branch head it left.
    pub end_sha: Option<Sha>,
    /// Code tree it left.
    pub end_tree: Option<CodeTree>,
    /// Where its unfinished work was kept.
    pub wip_ref: Option<String>,
    /// The agent's name.
    pub agent: Option<String>,
    /// Identity of its shim.
    pub shim: Option<ProcessIdentity>,
    /// Its exit.
    pub exit: Option<ExitRecord>,
    /// One line: what went wrong.
    pub error: Option<String>,
    /// What it used so far, in total.
    pub usage: Option<Usage>,
    /// What of it counts against the budgets by now, micro-USD.
    pub charge: Option<i64>,
}

#[derive(AsChangeset)]
#[diesel(table_name = runs)]
struct Columns<'a> {
    step: Option<&'a str>,
    start_sha: Option<&'a str>,
    start_tree: Option<&'a str>,
    end_sha: Option<&'a str>,
    end_tree: Option<&'a str>,
    wip_ref: Option<&'a str>,
    agent: Option<&'a str>,
    shim: Option<String>,
    exit: Option<String>,
    error: Option<&'a str>,
    tokens_in: Option<i64>,
    tokens_out: Option<i64>,
    tokens_cached: Option<i64>,
    cost_micro_usd: Option<Option<i64>>,
    provenance: Option<&'a str>,
}

fn columns(patch: &RunPatch) -> Result<Columns<'_>, StoreError> {
    let usage = patch.usage.as_ref();
    Ok(Columns {
        step: patch.step.map(RunStep::as_str),
        start_sha: patch.start_sha.as_ref().map(Sha::as_str),
        start_tree: patch.start_tree.as_ref().map(CodeTree::as_str),
        end_sha: patch.end_sha.as_ref().map(Sha::as_str),
        end_tree: patch.end_tree.as_ref().map(CodeTree::as_str),
        wip_ref: patch.wip_ref.as_deref(),
        agent: patch.agent.as_deref(),
        shim: patch.shim.as_ref().map(to_json).transpose()?,
        exit: patch.exit.as_ref().map(to_json).transpose()?,
        error: patch.error.as_deref(),
        tokens_in: usage.map(|u| u.tokens_in),
        tokens_out: usage.map(|u| u.tokens_out),
        tokens_cached: usage.map(|u| u.tokens_cached),
        cost_micro_usd: usage.map(|u| u.cost_micro_usd),
        provenance: usage.map(|u| Provenance::as_str(u.provenance)),
    })
}

/// The steps from which `to` may be recorded: itself and the earlier ones, as long as the run is not over.
fn not_after(to: Option<RunStep>) -> Vec<&'static str> {
    RunStep::ALL
        .into_iter()
        .filter(|step| !matches!(step, RunStep::Finalised | RunStep::Abandoned))
        .filter(|step| to.is_none_or(|to| *step <= to))
        .map(RunStep::as_str)
        .collect()
}

/// Records what was learned, while the job runs under this claim, this monitor is the current one, and the run
/// has not come further already.
///
/// # Errors
/// See [`StoreError`].
pub fn record(
    conn: &mut Conn,
    id: RunId,
    by: (Claim, MonitorEpoch),
    patch: &RunPatch,
    now: Timestamp,
) -> Result<Guarded<Run>, StoreError> {
    let (claim, monitor) = by;
    let columns = columns(patch)?;
    let over = matches!(patch.step, Some(RunStep::Finalised | RunStep::Abandoned));
    let row: Option<RunRow> = on!(&mut *conn, c => diesel::update(runs::table)
        .filter(runs::id.eq(id.0))
        .filter(runs::job_id.eq(claim.job.0))
        .filter(runs::claim_epoch.eq(claim.epoch.0))
        .filter(runs::monitor_epoch.eq(monitor.0))
        .filter(runs::step.eq_any(not_after(patch.step)))
        .filter(exists(
            jobs::table
                .filter(jobs::id.eq(claim.job.0))
                .filter(jobs::claim_epoch.eq(claim.epoch.0))
                .filter(jobs::status.eq(JobStatus::Running.as_str())),
        ))
        .set((
            runs::monitor_epoch.eq(monitor.0),
            over.then(|| runs::finished_at.eq(now.0)),
            &columns,
        ))
        .returning(RunRow::as_returning())
        .get_result(c)
        .optional())?;
    if let (Some(charge), Some(_)) = (patch.charge, &row)
        && !spend::charge(conn, id, charge, now)?.is_won()
    {
        return Ok(Guarded::Lost);
    }
    guarded(row)
}

/// True while the job runs under this claim and this monitor is the current one: asked in the transaction of a
/// write about the claim, and right before a deed.
///
/// # Errors
/// See [`StoreError`].
pub fn holds(conn: &mut Conn, id: RunId, by: (Claim, MonitorEpoch)) -> Result<bool, StoreError> {
    let (claim, monitor) = by;
    let held: i64 = on!(conn, c => runs::table
        .filter(runs::id.eq(id.0))
        .filter(runs::job_id.eq(claim.job.0))
        .filter(runs::claim_epoch.eq(claim.epoch.0))
        .filter(runs::monitor_epoch.eq(monitor.0))
        .filter(Unfinished)
        .filter(exists(
            jobs::table
                .filter(jobs::id.eq(claim.job.0))
                .filter(jobs::claim_epoch.eq(claim.epoch.0))
                .filter(jobs::status.eq(JobStatus::Running.as_str())),
        ))
        .count()
        .get_result(c))?;
    Ok(held > 0)
}

/// Notes where a run's unfinished work was kept. True of the run whoever holds its job, so guarded by the run alone.
///
/// # Errors
/// See [`StoreError`].
pub fn keep(conn: &mut Conn, id: RunId, wip_ref: &str) -> Result<Guarded<()>, StoreError> {
    Ok(Guarded::from_count(on!(conn, c => diesel::update(runs::table)
        .filter(runs::id.eq(id.0))
        .filter(Unfinished)
        .set(runs::wip_ref.eq(wip_ref))
        .execute(c))?))
}

/// Says that the unfinished work of a run is not kept any more. Lost: the run is not over, or names other work.
///
/// # Errors
/// See [`StoreError`].
pub fn give_up_work(conn: &mut Conn, id: RunId, wip_ref: &str) -> Result<Guarded<()>, StoreError> {
    Ok(Guarded::from_count(on!(conn, c => diesel::update(runs::table)
        .filter(runs::id.eq(id.0))
        .filter(runs::step.eq_any(["finalised", "abandoned"]))
        .filter(runs::wip_ref.eq(wip_ref))
        .set(runs::wip_ref.eq(None::<&str>))
        .execute(c))?))
}

/// Removes a run that only found out that its job has to wait: it did nothing, and there would be one for each look.
///
/// # Errors
/// See [`StoreError`].
pub fn forget(conn: &mut Conn, id: RunId) -> Result<(), StoreError> {
    on!(conn, c => diesel::delete(runs::table.find(id.0)).execute(c))?;
    Ok(())
}

/// Makes the caller the monitor of a run, if the one it saw is still the last. The old one can write no more.
///
/// # Errors
/// See [`StoreError`].
pub fn take_over(
    conn: &mut Conn,
    id: RunId,
    seen: MonitorEpoch,
) -> Result<Guarded<MonitorEpoch>, StoreError> {
    let epoch: Option<i64> = on!(conn, c => diesel::update(runs::table)
        .filter(runs::id.eq(id.0))
        .filter(runs::monitor_epoch.eq(seen.0))
        .filter(Unfinished)
        .set(runs::monitor_epoch.eq(runs::monitor_epoch + 1))
        .returning(runs::monitor_epoch)
        .get_result(c)
        .optional())?;
    Ok(Guarded::from_option(epoch.map(MonitorEpoch)))
}

/// How a run is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closing {
    /// Everything was done.
    Finalised,
    /// It was cancelled, failed, or taken away.
    Abandoned,
}

/// Closes a run that is not over. Its job may have ended before.
///
/// # Errors
/// See [`StoreError`].
pub fn close(
    conn: &mut Conn,
    id: RunId,
    how: Closing,
    error: Option<&str>,
    now: Timestamp,
) -> Result<Guarded<Run>, StoreError> {
    let step = match how {
        Closing::Finalised => RunStep::Finalised,
        Closing::Abandoned => RunStep::Abandoned,
    };
    let row: Option<RunRow> = on!(conn, c => diesel::update(runs::table)
        .filter(runs::id.eq(id.0))
        .filter(Unfinished)
        .set((
            runs::step.eq(step.as_str()),
            runs::finished_at.eq(now.0),
            error.map(|e| runs::error.eq(e)),
        ))
        .returning(RunRow::as_returning())
        .get_result(c)
        .optional())?;
    guarded(row)
}
