//! What repair took from nodes for a while. What is over by its time counts no more, whether or not its row is gone.

use std::collections::BTreeSet;

use diesel::prelude::*;

use super::decode::{Cell, Row, all};
use super::jobs::Offer;
use super::{Conn, StoreError, news};
use crate::domain::id::NodeName;
use crate::domain::time::Timestamp;
use crate::schema::{instances, node_cuts, node_states};

/// How a node is kept from being given work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Off {
    /// Others take its work.
    Blacklisted,
    /// It is the last one: only for a moment.
    Cooled,
}

impl Off {
    /// The word stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Blacklisted => "blacklisted",
            Self::Cooled => "cooled",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::Blacklisted, Self::Cooled]
            .into_iter()
            .find(|how| how.as_str() == text)
    }
}

/// A node that is given nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeOff {
    /// The node.
    pub node: NodeName,
    /// How.
    pub how: Off,
    /// Until then.
    pub until: Timestamp,
    /// Why.
    pub reason: String,
    /// Since when.
    pub since: Timestamp,
}

/// A slot that a node has fewer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeCut {
    /// The node.
    pub node: NodeName,
    /// Until then.
    pub until: Timestamp,
    /// Why.
    pub reason: String,
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = node_states)]
struct OffRow {
    node: String,
    off_how: String,
    off_until: i64,
    reason: String,
    since: i64,
}

impl Row for OffRow {
    type Domain = NodeOff;

    fn id(&self) -> i64 {
        0
    }

    fn decode(self) -> Result<NodeOff, StoreError> {
        let cell = Cell {
            table: "node state",
            id: &self.node,
            column: "off_how",
        };
        Ok(NodeOff {
            how: cell.word(&self.off_how, Off::parse)?,
            node: NodeName::trusted(self.node),
            until: Timestamp(self.off_until),
            reason: self.reason,
            since: Timestamp(self.since),
        })
    }
}

/// Gives a node nothing until then. What is written there already and lasts longer stays.
///
/// # Errors
/// See [`StoreError`].
pub fn turn_off(conn: &mut Conn, off: &NodeOff) -> Result<(), StoreError> {
    macro_rules! upsert {
        ($c:expr) => {
            diesel::insert_into(node_states::table)
                .values((
                    node_states::node.eq(off.node.as_str()),
                    node_states::off_how.eq(off.how.as_str()),
                    node_states::off_until.eq(off.until.0),
                    node_states::reason.eq(&off.reason),
                    node_states::since.eq(off.since.0),
                ))
                .on_conflict(node_states::node)
                .do_update()
                .set((
                    node_states::off_how.eq(off.how.as_str()),
                    node_states::off_until.eq(off.until.0),
                    node_states::reason.eq(&off.reason),
                    node_states::since.eq(off.since.0),
                ))
                .execute($c)?
        };
    }
    let longer: i64 = on!(&mut *conn, c => node_states::table
        .filter(node_states::node.eq(off.node.as_str()))
        .filter(node_states::off_until.ge(off.until.0))
        .count()
        .get_result(c))?;
    if longer == 0 {
        on!(conn, c => upsert!(c));
    }
    Ok(())
}

/// Takes a slot from a node until then.
///
/// # Errors
/// See [`StoreError`].
pub fn cut(conn: &mut Conn, cut: &NodeCut, now: Timestamp) -> Result<(), StoreError> {
    on!(&mut *conn, c => diesel::delete(node_cuts::table)
        .filter(node_cuts::node.eq(cut.node.as_str()))
        .filter(node_cuts::until.le(now.0))
        .execute(c))?;
    on!(conn, c => diesel::insert_into(node_cuts::table)
        .values((
            node_cuts::node.eq(cut.node.as_str()),
            node_cuts::until.eq(cut.until.0),
            node_cuts::reason.eq(&cut.reason),
        ))
        .execute(c))?;
    Ok(())
}

/// Gives a node back all that was taken from it, and wakes the queues. False: nothing was.
///
/// # Errors
/// See [`StoreError`].
pub fn clear(conn: &mut Conn, node: &NodeName, now: Timestamp) -> Result<bool, StoreError> {
    let off = on!(&mut *conn, c => diesel::delete(node_states::table)
        .filter(node_states::node.eq(node.as_str()))
        .filter(node_states::off_until.gt(now.0))
        .execute(c))?;
    let cuts = on!(&mut *conn, c => diesel::delete(node_cuts::table)
        .filter(node_cuts::node.eq(node.as_str()))
        .filter(node_cuts::until.gt(now.0))
        .execute(c))?;
    let given_back = off + cuts > 0;
    if given_back {
        news::tell(conn)?;
    }
    Ok(given_back)
}

/// Nodes that are given nothing now.
///
/// # Errors
/// See [`StoreError`].
pub fn off(conn: &mut Conn, now: Timestamp) -> Result<Vec<NodeOff>, StoreError> {
    let found: Vec<OffRow> = on!(conn, c => node_states::table
        .filter(node_states::off_until.gt(now.0))
        .order(node_states::node)
        .select(OffRow::as_select())
        .load(c))?;
    all(found)
}

/// Slots that nodes have fewer now.
///
/// # Errors
/// See [`StoreError`].
pub fn cuts(conn: &mut Conn, now: Timestamp) -> Result<Vec<NodeCut>, StoreError> {
    let mut found: Vec<(String, i64, String)> = on!(conn, c => node_cuts::table
        .filter(node_cuts::until.gt(now.0))
        .order(node_cuts::until)
        .select((node_cuts::node, node_cuts::until, node_cuts::reason))
        .load(c))?;
    found.sort();
    Ok(found
        .into_iter()
        .map(|(node, until, reason)| NodeCut {
            node: NodeName::trusted(node),
            until: Timestamp(until),
            reason,
        })
        .collect())
}

/// Which nodes there are besides one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Others {
    /// None at all.
    None,
    /// Some, and each is given nothing for a while.
    Off,
    /// One that is given work.
    Usable,
}

/// A job that is to leave the node on which it failed.
#[derive(Clone, Copy, Debug)]
pub struct Leaving<'a> {
    /// That node.
    pub node: &'a NodeName,
    /// The node of this service.
    pub own: &'a NodeName,
    /// Nodes of this service that can take it.
    pub takers: &'a [NodeName],
    /// What a node has to be for it.
    pub labels: &'a BTreeSet<String>,
}

/// Which other nodes could take a job: of those that this service can use itself, and those of other services that were
/// heard since then.
///
/// # Errors
/// See [`StoreError`].
pub fn others(
    conn: &mut Conn,
    job: Leaving<'_>,
    heard_since: Timestamp,
    now: Timestamp,
) -> Result<Others, StoreError> {
    let services: Vec<(String, Option<String>)> = on!(&mut *conn, c => instances::table
        .filter(instances::stopped_at.is_null())
        .filter(instances::heartbeat_at.ge(heard_since.0))
        .filter(instances::node.ne(job.own.as_str()))
        .select((instances::node, instances::offers))
        .load(c))?;
    let mut there: BTreeSet<String> = job.takers.iter().map(NodeName::to_string).collect();
    for (node, offers) in services {
        match offers.as_deref().map(serde_json::from_str::<Vec<Offer>>) {
            Some(Ok(offers)) => {
                let fit = |offer: &Offer| offer.slots > 0 && job.labels.is_subset(&offer.labels);
                there.extend(offers.into_iter().filter(fit).map(|offer| offer.node.to_string()));
            }
            // It does not say: it may.
            Some(Err(_)) | None => drop(there.insert(node)),
        }
    }
    there.remove(job.node.as_str());
    if there.is_empty() {
        return Ok(Others::None);
    }
    let off = off(conn, now)?;
    let usable = there
        .iter()
        .any(|name| off.iter().all(|o| o.node.as_str() != name));
    Ok(if usable { Others::Usable } else { Others::Off })
}

/// Nodes of other services that were heard since then.
///
/// # Errors
/// See [`StoreError`].
pub fn heard(conn: &mut Conn, since: Timestamp) -> Result<Vec<NodeName>, StoreError> {
    let found: Vec<String> = on!(conn, c => instances::table
        .filter(instances::stopped_at.is_null())
        .filter(instances::heartbeat_at.ge(since.0))
        .select(instances::node)
        .distinct()
        .load(c))?;
    Ok(found.into_iter().map(NodeName::trusted).collect())
}
