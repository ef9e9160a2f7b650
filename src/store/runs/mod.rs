//! Runs. While a job runs, what is written about its run carries the claim and the monitor's epoch, and steps
//! never go back. Never ends a job.

mod record;

pub use record::{Closing, RunPatch, close, forget, give_up_work, holds, keep, record, take_over};

use diesel::prelude::*;

use super::decode::{Cell, Row, maybe};
use super::{Conn, Guarded, Listing, StoreError};
use crate::domain::id::{
    ClaimEpoch, CodeTree, InstanceId, JobId, MonitorEpoch, NodeName, RunId, Sha, StageName, TaskId, Visit,
};
use crate::domain::job::{Claim, JobStatus};
use crate::domain::pipeline::Role;
use crate::domain::run::{Provenance, Run, RunStep, Usage};
use crate::domain::time::Timestamp;
use crate::schema::{jobs, runs};

predicate!(
    /// Not over. The predicate of the index `runs_open`.
    Unfinished = "runs.step NOT IN ('finalised', 'abandoned')"
);

#[derive(Queryable, Selectable)]
#[diesel(table_name = runs)]
struct RunRow {
    id: i64,
    job_id: i64,
    task_id: i64,
    claim_epoch: i64,
    monitor_epoch: i64,
    role: Option<String>,
    agent: String,
    stage: String,
    visit: i64,
    node: String,
    instance: String,
    step: String,
    start_sha: Option<String>,
    start_tree: Option<String>,
    end_sha: Option<String>,
    end_tree: Option<String>,
    wip_ref: Option<String>,
    shim: Option<String>,
    exit: Option<String>,
    error: Option<String>,
    tokens_in: Option<i64>,
    tokens_out: Option<i64>,
    tokens_cached: Option<i64>,
    cost_micro_usd: Option<i64>,
    provenance: Option<String>,
    started_at: i64,
    finished_at: Option<i64>,
}

impl RunRow {
    fn usage(&self) -> Result<Option<Usage>, StoreError> {
        let Some(provenance) = &self.provenance else {
            return Ok(None);
        };
        Ok(Some(Usage {
            tokens_in: self.tokens_in.unwrap_or(0),
            tokens_out: self.tokens_out.unwrap_or(0),
            tokens_cached: self.tokens_cached.unwrap_or(0),
            cost_micro_usd: self.cost_micro_usd,
            provenance: self.cell("provenance").word(provenance, Provenance::parse)?,
        }))
    }

    fn cell(&self, column: &'static str) -> Cell<'_> {
        Cell {
            table: "run",
            id: &self.id,
            column,
        }
    }
}

impl Row for RunRow {
    type Domain = Run;

    fn id(&self) -> i64 {
        self.id
    }

    fn decode(self) -> Result<Run, StoreError> {
        Ok(Run {
            usage: self.usage()?,
            role: self.cell("role").maybe_word(self.role.as_deref(), Role::parse)?,
            step: self.cell("step").word(&self.step, RunStep::parse)?,
            shim: self.cell("shim").maybe_json(self.shim.as_deref())?,
            exit: self.cell("exit").maybe_json(self.exit.as_deref())?,
            id: RunId(self.id),
            job_id: JobId(self.job_id),
            task_id: TaskId(self.task_id),
            claim_epoch: ClaimEpoch(self.claim_epoch),
            monitor_epoch: MonitorEpoch(self.monitor_epoch),
            agent: self.agent,
            stage: StageName::trusted(self.stage),
            visit: Visit(self.visit),
            node: NodeName::trusted(self.node),
            instance: InstanceId::trusted(self.instance),
            start_sha: self.start_sha.map(Sha::trusted),
            start_tree: self.start_tree.map(CodeTree::trusted),
            end_sha: self.end_sha.map(Sha::trusted),
            end_tree: self.end_tree.map(CodeTree::trusted),
            wip_ref: self.wip_ref,
            error: self.error,
            started_at: Timestamp(self.started_at),
            finished_at: self.finished_at.map(Timestamp),
        })
    }
}

/// A run to be made, at its claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRun {
    /// The claim it belongs to.
    pub claim: Claim,
    /// The task it works for.
    pub task_id: TaskId,
    /// Role at work; none for reserved jobs.
    pub role: Option<Role>,
    /// The agent preset's name; "orch" for reserved jobs.
    pub agent: String,
    /// Stage it is made for.
    pub stage: StageName,
    /// Visit of that stage.
    pub visit: Visit,
    /// Machine.
    pub node: NodeName,
    /// Boot of the service that claimed it.
    pub instance: InstanceId,
}

/// Makes the run of a claim, or answers the one it has. Lost: the claim is no longer the current one.
///
/// # Errors
/// See [`StoreError`].
pub fn create(conn: &mut Conn, new: &NewRun, now: Timestamp) -> Result<Guarded<Run>, StoreError> {
    let claimed: i64 = on!(conn, c => jobs::table
        .filter(jobs::id.eq(new.claim.job.0))
        .filter(jobs::claim_epoch.eq(new.claim.epoch.0))
        .filter(jobs::status.eq(JobStatus::Running.as_str()))
        .count()
        .get_result(c))?;
    if claimed == 0 {
        return Ok(Guarded::Lost);
    }
    on!(conn, c => diesel::insert_into(runs::table)
        .values((
            runs::job_id.eq(new.claim.job.0),
            runs::task_id.eq(new.task_id.0),
            runs::claim_epoch.eq(new.claim.epoch.0),
            runs::role.eq(new.role.map(Role::as_str)),
            runs::agent.eq(&new.agent),
            runs::stage.eq(new.stage.as_str()),
            runs::visit.eq(new.visit.0),
            runs::node.eq(new.node.as_str()),
            runs::instance.eq(new.instance.as_str()),
            runs::step.eq(RunStep::Claimed.as_str()),
            runs::started_at.eq(now.0),
        ))
        .on_conflict((runs::job_id, runs::claim_epoch))
        .do_nothing()
        .execute(c))?;
    Ok(Guarded::from_option(of_claim(conn, new.claim)?))
}

/// The run, if it exists.
///
/// # Errors
/// [`StoreError::Broken`] when it cannot be read.
pub fn by_id(conn: &mut Conn, id: RunId) -> Result<Option<Run>, StoreError> {
    maybe(on!(conn, c => runs::table
        .find(id.0)
        .select(RunRow::as_select())
        .first(c)
        .optional())?)
}

/// The run of a claim, if it was made.
///
/// # Errors
/// [`StoreError::Broken`] when it cannot be read.
pub fn of_claim(conn: &mut Conn, claim: Claim) -> Result<Option<Run>, StoreError> {
    maybe(on!(conn, c => runs::table
        .filter(runs::job_id.eq(claim.job.0))
        .filter(runs::claim_epoch.eq(claim.epoch.0))
        .select(RunRow::as_select())
        .first(c)
        .optional())?)
}

/// All runs of a task, oldest first.
///
/// # Errors
/// See [`StoreError`].
pub fn of_task(conn: &mut Conn, task: TaskId) -> Result<Listing<Run>, StoreError> {
    Ok(Listing::of(on!(conn, c => runs::table
        .filter(runs::task_id.eq(task.0))
        .order(runs::id)
        .select(RunRow::as_select())
        .load(c))?))
}

/// The last run of a role in a visit whose program ended by itself with 0.
///
/// # Errors
/// See [`StoreError`].
pub fn latest_success_of_visit(
    conn: &mut Conn,
    task: TaskId,
    visit: Visit,
    role: Role,
) -> Result<Option<Run>, StoreError> {
    let found: Vec<RunRow> = on!(conn, c => runs::table
        .filter(runs::task_id.eq(task.0))
        .filter(runs::visit.eq(visit.0))
        .filter(runs::role.eq(role.as_str()))
        .filter(runs::exit.is_not_null())
        .order(runs::id.desc())
        .select(RunRow::as_select())
        .load(c))?;
    let runs = Listing::of(found).rows;
    Ok(runs
        .into_iter()
        .find(|run| run.exit.as_ref().is_some_and(|exit| exit.succeeded())))
}

/// The runs that are not over, by id.
///
/// # Errors
/// See [`StoreError`].
pub fn open(conn: &mut Conn) -> Result<Listing<Run>, StoreError> {
    Ok(Listing::of(on!(conn, c => runs::table
        .filter(Unfinished)
        .order(runs::id)
        .select(RunRow::as_select())
        .load(c))?))
}

/// Which runs with kept work to list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeptFilter {
    /// Only of this task.
    pub task: Option<TaskId>,
    /// Only those before this one.
    pub before: Option<RunId>,
    /// At most.
    pub limit: usize,
}

/// The runs whose unfinished work was kept, newest first.
///
/// # Errors
/// See [`StoreError`].
pub fn kept(conn: &mut Conn, filter: KeptFilter) -> Result<Listing<Run>, StoreError> {
    let limit = i64::try_from(filter.limit).unwrap_or(i64::MAX);
    let before = filter.before.map_or(i64::MAX, |id| id.0);
    let rows: Vec<RunRow> = match filter.task {
        Some(task) => on!(conn, c => runs::table
            .filter(runs::wip_ref.is_not_null())
            .filter(runs::task_id.eq(task.0))
            .filter(runs::id.lt(before))
            .order(runs::id.desc())
            .limit(limit)
            .select(RunRow::as_select())
            .load(c))?,
        None => on!(conn, c => runs::table
            .filter(runs::wip_ref.is_not_null())
            .filter(runs::id.lt(before))
            .order(runs::id.desc())
            .limit(limit)
            .select(RunRow::as_select())
            .load(c))?,
    };
    Ok(Listing::of(rows))
}
