//! The one update that claims queued jobs.

use diesel::backend::Backend;
use diesel::dsl::EqAny;
use diesel::expression::{Expression, Selectable};
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::serialize::ToSql;
use diesel::sql_types::{BigInt, HasSqlType, Text};
use diesel::sqlite::Sqlite;

use super::JobRow;
use super::request::ClaimRequest;
use crate::domain::id::NodeName;
use crate::schema::jobs;
use crate::store::{Conn, StoreError};

/// The columns of a [`JobRow`], the same on both backends.
type JobColumns = <JobRow as Selectable<Sqlite>>::SelectExpression;

/// A statement of its own, because Diesel's updates are prepared anew each time.
struct TakeJobs<'a> {
    request: &'a ClaimRequest,
    agent_node: Option<&'a str>,
    which: EqAny<jobs::id, Vec<i64>>,
    returning: JobColumns,
}

impl QueryId for TakeJobs<'_> {
    type QueryId = TakeJobs<'static>;
    // Found by its text, which SQLite's list of ids is a part of.
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl Query for TakeJobs<'_> {
    type SqlType = <JobColumns as Expression>::SqlType;
}

impl<C> RunQueryDsl<C> for TakeJobs<'_> {}

impl<DB> QueryFragment<DB> for TakeJobs<'_>
where
    DB: Backend + HasSqlType<Text> + HasSqlType<BigInt>,
    str: ToSql<Text, DB>,
    i64: ToSql<BigInt, DB>,
    EqAny<jobs::id, Vec<i64>>: QueryFragment<DB>,
    JobColumns: QueryFragment<DB>,
{
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        out.push_sql("UPDATE jobs SET status = 'running', attempts = attempts + 1, claim_epoch = claim_epoch + 1, node = ");
        out.push_bind_param::<Text, str>(self.request.node.as_str())?;
        match self.agent_node {
            Some(node) => {
                out.push_sql(", agent_node = ");
                out.push_bind_param::<Text, str>(node)?;
            }
            None => out.push_sql(", agent_node = NULL"),
        }
        out.push_sql(", instance = ");
        out.push_bind_param::<Text, str>(self.request.instance.as_str())?;
        out.push_sql(", claimed_at = ");
        out.push_bind_param::<BigInt, i64>(&self.request.now.0)?;
        out.push_sql(", dead_looks = 0 WHERE status = 'queued' AND ");
        self.which.walk_ast(out.reborrow())?;
        out.push_sql(" RETURNING ");
        self.returning.walk_ast(out)
    }
}

/// Claims those of the jobs that are queued still, in no order, for agents on this node; none is the claimer's own.
pub(super) fn take(
    conn: &mut Conn,
    request: &ClaimRequest,
    agent_node: Option<&NodeName>,
    ids: Vec<i64>,
) -> Result<Vec<JobRow>, StoreError> {
    let statement = TakeJobs {
        request,
        agent_node: agent_node.map(NodeName::as_str),
        which: jobs::id.eq_any(ids),
        returning: <JobRow as Selectable<Sqlite>>::construct_selection(),
    };
    Ok(on!(conn, c => statement.load(c))?)
}
