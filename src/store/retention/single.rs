//! Rows that stand alone: sent notices, healings, failures, the audit of retries, boots that stopped, what was taken from
//! nodes.

use diesel::dsl::{exists, not};
use diesel::prelude::*;

use super::{Act, JobRunning, TaskOver};
use crate::domain::time::Timestamp;
use crate::schema::{
    healing_events, inbox, incidents as failures, instances as boots, jobs, node_cuts, node_states, outbox,
    retry_audit, tasks,
};
use crate::store::decode::rows;
use crate::store::{Conn, StoreError};

predicate!(
    /// The predicate of the index `outbox_sent`.
    Sent = "outbox.status = 'sent'"
);
predicate!(
    /// The predicate of the index `instances_stopped`.
    Stopped = "instances.stopped_at IS NOT NULL"
);

predicate!(
    /// Nothing is to be done about it any more. The predicate of the index `inbox_settled`.
    Settled = "inbox.status IN ('applied', 'ignored')"
);

/// Removes or counts what a query finds, oldest first.
macro_rules! oldest {
    ($conn:expr, $act:expr, $table:ident, $id:ty, $found:expr, $order:expr, $limit:expr) => {
        match $act {
            Act::Count => {
                let n: i64 = on!($conn, c => $found.count().get_result(c))?;
                Ok(usize::try_from(n).unwrap_or(0))
            }
            Act::Remove => {
                let ids: Vec<$id> = on!($conn, c => $found
                    .order($order)
                    .limit(rows($limit))
                    .select($table::id)
                    .load(c))?;
                match ids.is_empty() {
                    true => Ok(0),
                    false => Ok(on!($conn, c => diesel::delete($table::table)
                        .filter($table::id.eq_any(&ids))
                        .execute(c))?),
                }
            }
        }
    };
}

/// Removes notices that were sent before then. Those of a task that is not over stay: their causes may come again, and
/// are told once because the row is there. A cause of a finished task, a lease (its token) or the host (its time) never
/// comes again.
///
/// # Errors
/// See [`StoreError`].
pub fn notices(conn: &mut Conn, act: Act, before: Timestamp, limit: usize) -> Result<usize, StoreError> {
    macro_rules! found {
        () => {
            outbox::table
                .filter(Sent)
                .filter(outbox::sent_at.lt(before.0))
                .filter(
                    outbox::task_id.is_null().or(exists(
                        tasks::table
                            .filter(TaskOver)
                            .filter(tasks::id.nullable().eq(outbox::task_id)),
                    )),
                )
        };
    }
    oldest!(
        conn,
        act,
        outbox,
        i64,
        found!(),
        (outbox::sent_at, outbox::id),
        limit
    )
}

/// Removes deliveries that were settled before then. Those that are parked wait for a person.
///
/// # Errors
/// See [`StoreError`].
pub fn deliveries(conn: &mut Conn, act: Act, before: Timestamp, limit: usize) -> Result<usize, StoreError> {
    macro_rules! found {
        () => {
            inbox::table
                .filter(Settled)
                .filter(inbox::settled_at.lt(before.0))
        };
    }
    let order = (inbox::settled_at, inbox::id);
    oldest!(conn, act, inbox, i64, found!(), order, limit)
}

/// Removes healings that were told before then.
///
/// # Errors
/// See [`StoreError`].
pub fn healings(conn: &mut Conn, act: Act, before: Timestamp, limit: usize) -> Result<usize, StoreError> {
    macro_rules! found {
        () => {
            healing_events::table.filter(healing_events::at.lt(before.0))
        };
    }
    let order = (healing_events::at, healing_events::id);
    oldest!(conn, act, healing_events, i64, found!(), order, limit)
}

/// Removes failures of finished tasks that were kept before then: those of others tell whether they go in circles.
///
/// # Errors
/// See [`StoreError`].
pub fn incidents(conn: &mut Conn, act: Act, before: Timestamp, limit: usize) -> Result<usize, StoreError> {
    macro_rules! found {
        () => {
            failures::table
                .filter(failures::at.lt(before.0))
                .filter(exists(
                    tasks::table
                        .filter(TaskOver)
                        .filter(tasks::id.eq(failures::task_id)),
                ))
        };
    }
    let order = (failures::at, failures::id);
    oldest!(conn, act, failures, i64, found!(), order, limit)
}

/// Removes entries of the audit of retries that were written before then. Those of a task that is not over still count.
///
/// # Errors
/// See [`StoreError`].
pub fn audit(conn: &mut Conn, act: Act, before: Timestamp, limit: usize) -> Result<usize, StoreError> {
    macro_rules! found {
        () => {
            retry_audit::table
                .filter(retry_audit::at.lt(before.0))
                .filter(
                    retry_audit::task_id.is_null().or(exists(
                        tasks::table
                            .filter(TaskOver)
                            .filter(tasks::id.nullable().eq(retry_audit::task_id)),
                    )),
                )
        };
    }
    let order = (retry_audit::at, retry_audit::id);
    oldest!(conn, act, retry_audit, i64, found!(), order, limit)
}

/// Removes boots that stopped before then. One under which a job runs stays: its successor asks how it ended.
///
/// # Errors
/// See [`StoreError`].
pub fn instances(conn: &mut Conn, act: Act, before: Timestamp, limit: usize) -> Result<usize, StoreError> {
    macro_rules! found {
        () => {
            boots::table
                .filter(Stopped)
                .filter(boots::stopped_at.lt(before.0))
                .filter(not(exists(
                    jobs::table
                        .filter(JobRunning)
                        .filter(jobs::instance.eq(boots::id.nullable())),
                )))
        };
    }
    oldest!(
        conn,
        act,
        boots,
        String,
        found!(),
        (boots::stopped_at, boots::id),
        limit
    )
}

/// Removes what was taken from nodes and given back before then: by the time until which it was, whoever looks counts it no
/// more. Few rows for each node, whatever happened to it.
///
/// # Errors
/// See [`StoreError`].
pub fn node_marks(conn: &mut Conn, act: Act, before: Timestamp, limit: usize) -> Result<usize, StoreError> {
    macro_rules! cuts {
        () => {
            node_cuts::table.filter(node_cuts::until.lt(before.0))
        };
    }
    macro_rules! states {
        () => {
            node_states::table.filter(node_states::off_until.lt(before.0))
        };
    }
    let cuts: Result<usize, StoreError> = oldest!(
        &mut *conn,
        act,
        node_cuts,
        i64,
        cuts!(),
        (node_cuts::until, node_cuts::id),
        limit
    );
    let nodes: Vec<String> = on!(&mut *conn, c => states!()
        .order(node_states::node)
        .limit(rows(limit))
        .select(node_states::node)
        .load(c))?;
    let states = match act {
        Act::Count => nodes.len(),
        // A node that was turned off again meanwhile stays off.
        Act::Remove => on!(conn, c => diesel::delete(node_states::table)
            .filter(node_states::node.eq_any(&nodes))
            .filter(node_states::off_until.lt(before.0))
            .execute(c))?,
    };
    Ok(cuts? + states)
}
