//! Lets claimers in: one at a time where a limit is near, side by side where none is. What claimers do side by side can
//! never exceed a limit together, because few of them are in at a time, each takes few jobs, and each has counted,
//! after it came in, that all of them together still fit.

use diesel::backend::Backend;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::{BigInt, Bool, Nullable, Text};

use super::request::ClaimRequest;
use crate::store::conn::Serial;
use crate::store::{Conn, StoreError};

/// Claimers that are in side by side at most.
const PASSES: usize = 16;
/// Jobs that one of them takes at most.
pub(super) const SHARE: usize = 64;
/// What may be claimed and not yet seen by somebody who counts.
const UNSEEN: usize = PASSES * SHARE;
/// Advisory locks of two keys: the first of those that are the passes.
const PASS: i32 = 0x0063_0006;

/// How a claimer came in. Holds until its transaction ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// No other claimer is in: every limit may be used up.
    Alone,
    /// Others are in: agent jobs that have no limit but the one over all may be taken, while that one is far.
    SideBySide,
}

impl Admission {
    /// Whether agent jobs may be taken beside the agents that were counted since this claimer came in. Whoever came
    /// in last has counted all but what is unseen, so `counted + UNSEEN` bounds what runs when all have committed.
    pub(super) fn holds(self, agents: usize, max_concurrency: usize) -> bool {
        match self {
            Self::Alone => true,
            Self::SideBySide => agents + UNSEEN <= max_concurrency,
        }
    }
}

/// Waits until the claimer may come in. To be called once in a transaction, before anything is counted.
pub(super) fn admit(conn: &mut Conn, request: &ClaimRequest) -> Result<Admission, StoreError> {
    // Twice as far as needed: what others claim while this one waits must not bring it near the limit.
    let far = request.max_concurrency.saturating_sub(2 * UNSEEN);
    let only_one_limit =
        request.project_concurrency.is_empty() && request.default_project_concurrency.is_none();
    let only_one_limit = only_one_limit && request.nodes.limit_nothing();
    if far == 0 || !only_one_limit || request.paused || request.no_room || request.budgets.any() {
        conn.serialize_on(Serial::Claim)?;
        return Ok(Admission::Alone);
    }
    let Conn::Pg(c) = conn else {
        return Ok(Admission::Alone);
    };
    let door = Door {
        far: i64::try_from(far).unwrap_or(i64::MAX),
        now: request.now.0,
    };
    let (beside, ..): (bool, Option<String>, Option<String>) = door.get_result(c)?;
    Ok(if beside {
        Admission::SideBySide
    } else {
        Admission::Alone
    })
}

/// Looks how full it is and takes the locks that follow from it, always in the same order. The look came before the
/// locks: it chooses the way in and decides nothing else. Reserved jobs have a low ceiling, so they are claimed alone.
struct Door {
    far: i64,
    now: i64,
}

impl QueryId for Door {
    type QueryId = Self;
    const HAS_STATIC_QUERY_ID: bool = true;
}

impl Query for Door {
    type SqlType = (Bool, Nullable<Text>, Nullable<Text>);
}

impl<C> RunQueryDsl<C> for Door {}

impl QueryFragment<Pg> for Door {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("SELECT far, CASE WHEN far THEN pg_advisory_xact_lock_shared(");
        push_number(&mut out, Serial::Claim as i64);
        out.push_sql(")::text ELSE pg_advisory_xact_lock(");
        push_number(&mut out, Serial::Claim as i64);
        // The first pass that is free; where none is, one that will be.
        out.push_sql(")::text END, CASE WHEN far THEN coalesce((SELECT '' FROM generate_series(1, ");
        push_number(&mut out, PASSES);
        out.push_sql(") AS n WHERE pg_try_advisory_xact_lock(");
        push_number(&mut out, PASS);
        out.push_sql(", (pg_backend_pid() + n) % ");
        push_number(&mut out, PASSES);
        out.push_sql(") LIMIT 1), pg_advisory_xact_lock(");
        push_number(&mut out, PASS);
        out.push_sql(", pg_backend_pid() % ");
        push_number(&mut out, PASSES);
        out.push_sql(")::text) END FROM (SELECT (SELECT count(*) FROM jobs WHERE status = 'running') <= ");
        out.push_bind_param::<BigInt, i64>(&self.far)?;
        out.push_sql(
            " AND NOT EXISTS (SELECT 1 FROM jobs WHERE kind <> 'agent' AND status IN ('queued') AND available_at <= ",
        );
        out.push_bind_param::<BigInt, i64>(&self.now)?;
        out.push_sql(") AS far) AS look");
        Ok(())
    }
}

/// A number that is the same every time: part of the text, not of the parameters.
fn push_number<DB: Backend>(out: &mut AstPass<'_, '_, DB>, number: impl std::fmt::Display) {
    out.push_sql(&number.to_string());
}
