//! Deploys: what is about to run in production, or does. At most one of a project is open, and one visit of a task has
//! one. Never runs a hook.

mod watched;

pub use watched::{
    begin_rollback, end_rollback, has_newer, judge, last_judged, record_merged, rolled_back, running_of_task,
};

use diesel::prelude::*;
use serde::Serialize;

use super::decode::{Cell, Row, all, guarded, maybe, rows};
use super::{Conn, Guarded, StoreError};
use crate::domain::deploy::{DeployId, DeployStatus, Outcome};
use crate::domain::id::{NodeName, ProjectId, Sha, TaskId, Visit};
use crate::domain::post_deploy::{ActionTaken, Health};
use crate::domain::time::Timestamp;
use crate::schema::deploys;

predicate!(
    /// A hook of it may be at work. The predicate of the index `deploys_one_open`.
    Open = "(deploys.status = 'open' OR deploys.action = 'ROLLING_BACK')"
);

/// A deploy as stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Deploy {
    /// The attempt.
    pub id: DeployId,
    /// Its project.
    pub project_id: ProjectId,
    /// Its task.
    pub task_id: TaskId,
    /// The visit of the stage in which it was confirmed.
    pub visit: Visit,
    /// What is deployed: what main received.
    pub revision: Sha,
    /// Who confirmed it; none where the project waived the gesture.
    pub person: Option<String>,
    /// What production ran before; none where it could not be asked.
    pub previous: Option<String>,
    /// Machine on which the hook was started last.
    pub node: NodeName,
    /// Where it stands.
    pub status: DeployStatus,
    /// How that is known, one line.
    pub result: Option<String>,
    /// When it was intended.
    pub created_at: Timestamp,
    /// When it was settled.
    pub finished_at: Option<Timestamp>,
    /// What watching production came to.
    pub health: Option<Health>,
    /// What was done about it.
    pub action: Option<ActionTaken>,
    /// When that was known.
    pub judged_at: Option<Timestamp>,
    /// The deploy that production ran instead, and that had this revision already: nothing was done for this one.
    pub brought_by: Option<DeployId>,
}

/// A deploy to be intended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewDeploy {
    /// Its project.
    pub project_id: ProjectId,
    /// Its task.
    pub task_id: TaskId,
    /// The visit of the stage.
    pub visit: Visit,
    /// What is deployed.
    pub revision: Sha,
    /// Who confirmed it.
    pub person: Option<String>,
    /// What production runs until then.
    pub previous: Option<String>,
    /// Machine on which the hook is started.
    pub node: NodeName,
}

/// What intending a deploy came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Intended {
    /// This is the attempt, made now or before.
    Ours(Deploy),
    /// Another deploy of the project is open.
    Busy(Deploy),
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = deploys)]
struct Columns {
    id: i64,
    project_id: i64,
    task_id: i64,
    visit: i64,
    revision: String,
    person: Option<String>,
    previous: Option<String>,
    node: String,
    status: String,
    result: Option<String>,
    created_at: i64,
    finished_at: Option<i64>,
    health: Option<String>,
    action: Option<String>,
    judged_at: Option<i64>,
    brought_by: Option<i64>,
}

impl Row for Columns {
    type Domain = Deploy;

    fn id(&self) -> i64 {
        self.id
    }

    fn decode(self) -> Result<Deploy, StoreError> {
        let cell = |column| Cell {
            table: "deploy",
            id: &self.id,
            column,
        };
        Ok(Deploy {
            status: cell("status").word(&self.status, DeployStatus::parse)?,
            health: cell("health").maybe_word(self.health.as_deref(), Health::parse)?,
            action: cell("action").maybe_word(self.action.as_deref(), ActionTaken::parse)?,
            id: DeployId(self.id),
            project_id: ProjectId(self.project_id),
            task_id: TaskId(self.task_id),
            visit: Visit(self.visit),
            revision: Sha::trusted(self.revision),
            person: self.person,
            previous: self.previous,
            node: NodeName::trusted(self.node),
            result: self.result,
            created_at: Timestamp(self.created_at),
            finished_at: self.finished_at.map(Timestamp),
            judged_at: self.judged_at.map(Timestamp),
            brought_by: self.brought_by.map(DeployId),
        })
    }
}

/// Intends a deploy. The same visit has one attempt, whoever asks for it again; of two tasks of a project the second waits.
///
/// # Errors
/// See [`StoreError`].
pub fn intend(conn: &mut Conn, new: &NewDeploy, now: Timestamp) -> Result<Intended, StoreError> {
    on!(conn, c => diesel::insert_into(deploys::table)
        .values((
            deploys::project_id.eq(new.project_id.0),
            deploys::task_id.eq(new.task_id.0),
            deploys::visit.eq(new.visit.0),
            deploys::revision.eq(new.revision.as_str()),
            deploys::person.eq(new.person.as_deref()),
            deploys::previous.eq(new.previous.as_deref()),
            deploys::node.eq(new.node.as_str()),
            deploys::status.eq(DeployStatus::Open.as_str()),
            deploys::created_at.eq(now.0),
        ))
        // Either index may hold it back.
        .on_conflict_do_nothing()
        .execute(c))?;
    if let Some(ours) = of_visit(conn, new.task_id, new.visit)? {
        return Ok(Intended::Ours(ours));
    }
    match open(conn, new.project_id)? {
        Some(other) => Ok(Intended::Busy(other)),
        // On PostgreSQL the other one was settled in between.
        None => Err(StoreError::Locked {
            place: format!("the deploys of project {}", new.project_id.0),
        }),
    }
}

/// Settles an open attempt.
///
/// # Errors
/// See [`StoreError`].
pub fn settle(
    conn: &mut Conn,
    id: DeployId,
    outcome: &Outcome,
    now: Timestamp,
) -> Result<Guarded<Deploy>, StoreError> {
    let row: Option<Columns> = on!(conn, c => diesel::update(deploys::table)
        .filter(deploys::id.eq(id.0))
        .filter(deploys::status.eq_any([DeployStatus::Open.as_str(), DeployStatus::Unknown.as_str()]))
        .set((
            deploys::status.eq(outcome.status.as_str()),
            deploys::result.eq(&outcome.why),
            deploys::finished_at.eq(now.0),
        ))
        .returning(Columns::as_returning())
        .get_result(c)
        .optional())?;
    guarded(row)
}

/// Settles an open attempt for which nothing was done: production runs what `by` brought, which has its revision.
///
/// # Errors
/// See [`StoreError`].
pub fn brought(
    conn: &mut Conn,
    id: DeployId,
    by: DeployId,
    why: &str,
    now: Timestamp,
) -> Result<Guarded<Deploy>, StoreError> {
    let row: Option<Columns> = on!(conn, c => diesel::update(deploys::table)
        .filter(deploys::id.eq(id.0))
        .filter(deploys::status.eq(DeployStatus::Open.as_str()))
        .set((
            deploys::status.eq(DeployStatus::Succeeded.as_str()),
            deploys::result.eq(why),
            deploys::brought_by.eq(by.0),
            deploys::finished_at.eq(now.0),
        ))
        .returning(Columns::as_returning())
        .get_result(c)
        .optional())?;
    guarded(row)
}

/// The attempt of a task's visit.
///
/// # Errors
/// [`StoreError::Broken`] when it cannot be read.
pub fn of_visit(conn: &mut Conn, task: TaskId, visit: Visit) -> Result<Option<Deploy>, StoreError> {
    maybe(on!(conn, c => deploys::table
        .filter(deploys::task_id.eq(task.0))
        .filter(deploys::visit.eq(visit.0))
        .select(Columns::as_select())
        .first(c)
        .optional())?)
}

/// An attempt.
///
/// # Errors
/// [`StoreError::Broken`] when it cannot be read.
pub fn by_id(conn: &mut Conn, id: DeployId) -> Result<Option<Deploy>, StoreError> {
    maybe(on!(conn, c => deploys::table
        .filter(deploys::id.eq(id.0))
        .select(Columns::as_select())
        .first(c)
        .optional())?)
}

/// The attempt of a project whose hook may be at work.
///
/// # Errors
/// [`StoreError::Broken`] when it cannot be read.
pub fn open(conn: &mut Conn, project: ProjectId) -> Result<Option<Deploy>, StoreError> {
    maybe(on!(conn, c => deploys::table
        .filter(deploys::project_id.eq(project.0))
        .filter(Open)
        .select(Columns::as_select())
        .first(c)
        .optional())?)
}

/// The last one of a project that production runs, as far as is known: it succeeded and was not rolled back.
///
/// # Errors
/// [`StoreError::Broken`] when it cannot be read.
pub fn last_good(conn: &mut Conn, project: ProjectId) -> Result<Option<Deploy>, StoreError> {
    let taken_back = [
        ActionTaken::RollingBack,
        ActionTaken::RolledBack,
        ActionTaken::RollbackFailed,
        ActionTaken::RollbackUnknown,
    ]
    .map(ActionTaken::as_str);
    maybe(on!(conn, c => deploys::table
        .filter(deploys::project_id.eq(project.0))
        .filter(deploys::status.eq(DeployStatus::Succeeded.as_str()))
        .filter(deploys::brought_by.is_null())
        .filter(deploys::action.is_null().or(deploys::action.ne_all(taken_back)))
        .order(deploys::id.desc())
        .select(Columns::as_select())
        .first(c)
        .optional())?)
}

/// The latest attempts of a project, newest first.
///
/// # Errors
/// [`StoreError::Broken`] when one cannot be read.
pub fn latest(conn: &mut Conn, project: ProjectId, limit: usize) -> Result<Vec<Deploy>, StoreError> {
    all(on!(conn, c => deploys::table
        .filter(deploys::project_id.eq(project.0))
        .order(deploys::id.desc())
        .limit(rows(limit))
        .select(Columns::as_select())
        .load(c))?)
}
