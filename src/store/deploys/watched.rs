//! What watching production after a deploy came to, and its rollback.

use std::collections::BTreeSet;

use diesel::prelude::*;

use super::{Columns, Deploy, NewDeploy};
use crate::domain::deploy::{DeployId, DeployStatus};
use crate::domain::id::{NodeName, TaskId};
use crate::domain::post_deploy::{ActionTaken, Health};
use crate::domain::time::Timestamp;
use crate::schema::deploys;
use crate::store::decode::{guarded, maybe};
use crate::store::{Conn, Guarded, StoreError};

/// Notes that a merge was the deploy: there is no hook. The same visit is noted once.
///
/// # Errors
/// See [`StoreError`].
pub fn record_merged(conn: &mut Conn, new: &NewDeploy, now: Timestamp) -> Result<(), StoreError> {
    on!(conn, c => diesel::insert_into(deploys::table)
        .values((
            deploys::project_id.eq(new.project_id.0),
            deploys::task_id.eq(new.task_id.0),
            deploys::visit.eq(new.visit.0),
            deploys::revision.eq(new.revision.as_str()),
            deploys::person.eq(new.person.as_deref()),
            deploys::previous.eq(new.previous.as_deref()),
            deploys::node.eq(new.node.as_str()),
            deploys::status.eq(DeployStatus::Succeeded.as_str()),
            deploys::result.eq("the merge is the deploy"),
            deploys::created_at.eq(now.0),
            deploys::finished_at.eq(now.0),
        ))
        .on_conflict_do_nothing()
        .execute(c))?;
    Ok(())
}

/// The latest deploy of a task that production received.
///
/// # Errors
/// [`StoreError::Broken`] when it cannot be read.
pub fn running_of_task(conn: &mut Conn, task: TaskId) -> Result<Option<Deploy>, StoreError> {
    maybe(on!(conn, c => deploys::table
        .filter(deploys::task_id.eq(task.0))
        .filter(deploys::status.eq(DeployStatus::Succeeded.as_str()))
        .order(deploys::id.desc())
        .select(Columns::as_select())
        .first(c)
        .optional())?)
}

/// Whether something else of the project was deployed since, or is being deployed. One that failed changed nothing, nor did
/// one that was brought along by another.
///
/// # Errors
/// See [`StoreError`].
pub fn has_newer(conn: &mut Conn, deploy: &Deploy) -> Result<bool, StoreError> {
    Ok(on!(conn, c => diesel::select(diesel::dsl::exists(
        deploys::table
            .filter(deploys::project_id.eq(deploy.project_id.0))
            .filter(deploys::id.gt(deploy.id.0))
            .filter(deploys::status.ne(DeployStatus::Failed.as_str()))
            .filter(deploys::brought_by.is_null()),
    ))
    .get_result(c))?)
}

/// Records what watching came to, once.
///
/// # Errors
/// See [`StoreError`].
pub fn judge(
    conn: &mut Conn,
    id: DeployId,
    (health, action): (Health, ActionTaken),
    now: Timestamp,
) -> Result<Guarded<Deploy>, StoreError> {
    let row: Option<Columns> = on!(conn, c => diesel::update(deploys::table)
        .filter(deploys::id.eq(id.0))
        .filter(deploys::health.is_null())
        .set((
            deploys::health.eq(health.as_str()),
            deploys::action.eq(action.as_str()),
            deploys::judged_at.eq(now.0),
        ))
        .returning(Columns::as_returning())
        .get_result(c)
        .optional())?;
    guarded(row)
}

/// Intends a rollback from this machine, once: production is degraded, and its hook may be at work from now on.
///
/// # Errors
/// See [`StoreError`].
pub fn begin_rollback(
    conn: &mut Conn,
    id: DeployId,
    node: &NodeName,
    now: Timestamp,
) -> Result<Guarded<Deploy>, StoreError> {
    let row: Option<Columns> = on!(conn, c => diesel::update(deploys::table)
        .filter(deploys::id.eq(id.0))
        .filter(deploys::health.is_null())
        .filter(deploys::action.is_null())
        .set((
            deploys::health.eq(Health::Degraded.as_str()),
            deploys::action.eq(ActionTaken::RollingBack.as_str()),
            deploys::judged_at.eq(now.0),
            deploys::node.eq(node.as_str()),
        ))
        .returning(Columns::as_returning())
        .get_result(c)
        .optional())?;
    guarded(row)
}

/// Those of these tasks for which production is being rolled back.
///
/// # Errors
/// See [`StoreError`].
pub fn rolled_back(conn: &mut Conn, tasks: &[i64]) -> Result<BTreeSet<TaskId>, StoreError> {
    let found: Vec<i64> = on!(conn, c => deploys::table
        .filter(deploys::task_id.eq_any(tasks))
        .filter(deploys::action.eq(ActionTaken::RollingBack.as_str()))
        .select(deploys::task_id)
        .load(c))?;
    Ok(found.into_iter().map(TaskId).collect())
}

/// Records how a rollback ended.
///
/// # Errors
/// See [`StoreError`].
pub fn end_rollback(
    conn: &mut Conn,
    id: DeployId,
    action: ActionTaken,
) -> Result<Guarded<Deploy>, StoreError> {
    let row: Option<Columns> = on!(conn, c => diesel::update(deploys::table)
        .filter(deploys::id.eq(id.0))
        .filter(deploys::action.eq(ActionTaken::RollingBack.as_str()))
        .set(deploys::action.eq(action.as_str()))
        .returning(Columns::as_returning())
        .get_result(c)
        .optional())?;
    guarded(row)
}

/// The latest deploy, of whatever project, of which it is known how production fared.
///
/// # Errors
/// [`StoreError::Broken`] when it cannot be read.
pub fn last_judged(conn: &mut Conn) -> Result<Option<Deploy>, StoreError> {
    maybe(on!(conn, c => deploys::table
        .filter(deploys::judged_at.is_not_null())
        .order(deploys::id.desc())
        .select(Columns::as_select())
        .first(c)
        .optional())?)
}
