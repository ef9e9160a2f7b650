//! Boots of the service and their heartbeats. Never judges whether one is lost.

use diesel::prelude::*;
use serde::Serialize;

use super::decode::{Cell, to_json};
use super::jobs::Offer;
use super::{Conn, Guarded, StoreError};
use crate::domain::id::{InstanceId, NodeName};
use crate::domain::run::ProcessIdentity;
use crate::domain::time::Timestamp;
use crate::schema::instances;

/// A boot of the service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Instance {
    /// Identity.
    pub id: InstanceId,
    /// Its machine.
    pub node: NodeName,
    /// Its process.
    pub process: ProcessIdentity,
    /// When it started.
    pub started_at: Timestamp,
    /// When it was last heard.
    pub heartbeat_at: Timestamp,
    /// When it stopped in an orderly way.
    pub stopped_at: Option<Timestamp>,
}

type Columns = (String, String, String, i64, i64, Option<i64>);

const COLUMNS: (
    instances::id,
    instances::node,
    instances::process,
    instances::started_at,
    instances::heartbeat_at,
    instances::stopped_at,
) = (
    instances::id,
    instances::node,
    instances::process,
    instances::started_at,
    instances::heartbeat_at,
    instances::stopped_at,
);

fn decode(
    (id, node, process, started_at, heartbeat_at, stopped_at): Columns,
) -> Result<Instance, StoreError> {
    let process = Cell {
        table: "instance",
        id: &id,
        column: "process",
    }
    .json(&process)?;
    Ok(Instance {
        id: InstanceId::trusted(id),
        node: NodeName::trusted(node),
        process,
        started_at: Timestamp(started_at),
        heartbeat_at: Timestamp(heartbeat_at),
        stopped_at: stopped_at.map(Timestamp),
    })
}

/// Writes down a boot.
///
/// # Errors
/// [`StoreError::Constraint`] when that instance is known.
pub fn start(
    conn: &mut Conn,
    id: &InstanceId,
    node: &NodeName,
    process: &ProcessIdentity,
    now: Timestamp,
) -> Result<(), StoreError> {
    let process = to_json(process)?;
    on!(conn, c => diesel::insert_into(instances::table)
        .values((
            instances::id.eq(id.as_str()),
            instances::node.eq(node.as_str()),
            instances::process.eq(&process),
            instances::started_at.eq(now.0),
            instances::heartbeat_at.eq(now.0),
        ))
        .execute(c))?;
    Ok(())
}

/// Says on which nodes an instance runs agents.
///
/// # Errors
/// See [`StoreError`].
pub fn offer(conn: &mut Conn, id: &InstanceId, offers: &[Offer]) -> Result<(), StoreError> {
    let offers = to_json(&offers)?;
    on!(conn, c => diesel::update(instances::table)
        .filter(instances::id.eq(id.as_str()))
        .set(instances::offers.eq(&offers))
        .execute(c))?;
    Ok(())
}

/// Says that an instance lives. Lost: it is unknown or was stopped.
///
/// # Errors
/// See [`StoreError`].
pub fn heartbeat(conn: &mut Conn, id: &InstanceId, now: Timestamp) -> Result<Guarded<()>, StoreError> {
    Ok(Guarded::from_count(
        on!(conn, c => diesel::update(instances::table)
        .filter(instances::id.eq(id.as_str()))
        .filter(instances::stopped_at.is_null())
        .set(instances::heartbeat_at.eq(now.0))
        .execute(c))?,
    ))
}

/// Those that run, or ran and never said that they stopped, the youngest first.
///
/// # Errors
/// [`StoreError::Broken`] when one cannot be read.
pub fn unstopped(conn: &mut Conn) -> Result<Vec<Instance>, StoreError> {
    let rows: Vec<Columns> = on!(conn, c => instances::table
        .filter(instances::stopped_at.is_null())
        .order((instances::started_at.desc(), instances::id))
        .select(COLUMNS)
        .load(c))?;
    rows.into_iter().map(decode).collect()
}

/// When an instance was heard last, if it is known. It is not heard again until this transaction ends.
///
/// # Errors
/// See [`StoreError`].
pub fn heard(conn: &mut Conn, id: &InstanceId) -> Result<Option<Timestamp>, StoreError> {
    macro_rules! query {
        () => {
            instances::table
                .find(id.as_str())
                .select(instances::heartbeat_at)
        };
    }
    let found: Option<i64> = match conn {
        Conn::Sqlite(c) => query!().first(c).optional()?,
        Conn::Pg(c) => query!().for_update().first(c).optional()?,
    };
    Ok(found.map(Timestamp))
}

/// Says that an instance has stopped.
///
/// # Errors
/// See [`StoreError`].
pub fn stop(conn: &mut Conn, id: &InstanceId, now: Timestamp) -> Result<Guarded<()>, StoreError> {
    Ok(Guarded::from_count(
        on!(conn, c => diesel::update(instances::table)
        .filter(instances::id.eq(id.as_str()))
        .filter(instances::stopped_at.is_null())
        .set(instances::stopped_at.eq(now.0))
        .execute(c))?,
    ))
}

/// The instance, if it is known.
///
/// # Errors
/// [`StoreError::Broken`] when it cannot be read.
pub fn by_id(conn: &mut Conn, id: &InstanceId) -> Result<Option<Instance>, StoreError> {
    let row: Option<Columns> = on!(conn, c => instances::table
        .find(id.as_str())
        .select(COLUMNS)
        .first(c)
        .optional())?;
    row.map(decode).transpose()
}
