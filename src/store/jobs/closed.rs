//! What is closed to claims for a while: a node that is off or has slots fewer, scopes whose breaker is open.

use std::collections::{BTreeMap, BTreeSet};

use diesel::prelude::*;

use super::request::ClaimRequest;
use crate::domain::retry::{Gate, Scope};
use crate::domain::time::Timestamp;
use crate::schema::{node_cuts, node_states, retry_scopes};
use crate::store::conn::Serial;
use crate::store::{Conn, StoreError, retries};

/// What a claim finds closed.
#[derive(Debug, Default)]
pub(super) struct Closed {
    /// Nodes that are given nothing.
    pub off: BTreeSet<String>,
    /// How many slots nodes have fewer.
    pub cuts: BTreeMap<String, usize>,
    /// Scopes of which nothing is claimed.
    pub shut: BTreeSet<Scope>,
    /// Scopes of which one job may be claimed, as a trial.
    pub half_open: BTreeSet<Scope>,
}

/// Which of the three a row tells of, and its name or time.
type Row = (i32, String, i64);
const NODE: i32 = 1;
const CUT: i32 = 2;
const SCOPE: i32 = 3;

/// All that is closed to the nodes of a claimer, in one query: mostly nothing.
fn rows(conn: &mut Conn, request: &ClaimRequest) -> Result<Vec<Row>, StoreError> {
    use diesel::sql_types::{BigInt, Integer};
    let tag = |n: i32| n.into_sql::<Integer>();
    let now = request.now;
    let ssh = request.nodes.ssh.iter().map(|offer| &offer.node);
    let names: Vec<&str> = ssh.chain([&request.node]).map(|n| n.as_str()).collect();
    Ok(on!(conn, c => node_states::table
        .filter(node_states::node.eq_any(&names))
        .filter(node_states::off_until.gt(now.0))
        .select((tag(NODE), node_states::node, node_states::off_until))
        .union_all(
            node_cuts::table
                .filter(node_cuts::node.eq_any(&names))
                .filter(node_cuts::until.gt(now.0))
                .select((tag(CUT), node_cuts::node, node_cuts::until)),
        )
        .union_all(
            retry_scopes::table
                .filter(retries::Open)
                .select((tag(SCOPE), retry_scopes::scope, retry_scopes::opened_at.assume_not_null().into_sql::<BigInt>())),
        )
        .load(c))?)
}

/// Looks what is closed. Whoever is about to let a trial through keeps others from doing the same.
pub(super) fn closed(conn: &mut Conn, request: &ClaimRequest, claims: bool) -> Result<Closed, StoreError> {
    let mut closed = Closed::default();
    let rows = rows(conn, request)?;
    for (what, name, _) in &rows {
        match *what {
            NODE => drop(closed.off.insert(name.clone())),
            CUT => *closed.cuts.entry(name.clone()).or_default() += 1,
            _ => {}
        }
    }
    if rows.iter().any(|(what, _, _)| *what == SCOPE) {
        if claims {
            conn.serialize_on(Serial::Breaker)?;
        }
        for state in retries::open(conn)? {
            let busy = match state.trial {
                Some(trial) => retries::on_trial(conn, trial)?,
                None => false,
            };
            match state.breaker.gate(request.half_open, request.now) {
                Gate::Closed => {}
                Gate::HalfOpen if !busy => drop(closed.half_open.insert(state.scope)),
                Gate::HalfOpen | Gate::Open(_) => drop(closed.shut.insert(state.scope)),
            }
        }
    }
    Ok(closed)
}

/// When something that is closed to the node opens by itself, if anything is.
///
/// # Errors
/// See [`StoreError`].
pub fn opens_at(conn: &mut Conn, request: &ClaimRequest) -> Result<Option<Timestamp>, StoreError> {
    let rows = rows(conn, request)?;
    let times = rows.into_iter().map(|(what, _, at)| match what {
        SCOPE => Timestamp(at) + request.half_open,
        _ => Timestamp(at),
    });
    Ok(times.filter(|at| *at > request.now).min())
}
