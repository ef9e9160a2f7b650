//! Failures, how they were answered, and what came of it. Rows are added; only the outcome is written later.

use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::BigInt;

use super::decode::{Cell, Row, all, rows};
use super::{Conn, StoreError};
use crate::domain::id::{JobId, NodeName, RunId, StageName, TaskId};
use crate::domain::pipeline::Role;
use crate::domain::repair::Fix;
use crate::domain::retry::Reason;
use crate::domain::time::Timestamp;
use crate::schema::incidents;

/// A failure to be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewIncident {
    /// Whose.
    pub task: TaskId,
    /// Of which job.
    pub job: JobId,
    /// Of which attempt.
    pub run: RunId,
    /// Where it worked.
    pub stage: StageName,
    /// As what.
    pub role: Option<Role>,
    /// On which machine.
    pub node: NodeName,
    /// The rule that matched, or `none`.
    pub strategy: String,
    /// What was done.
    pub fix: Fix,
    /// What people are told.
    pub diagnosis: String,
    /// Transient, permanent or neither, in words.
    pub class: String,
    /// By what it is known again.
    pub fingerprint: String,
    /// The commit that the attempt began at; empty when it had not begun.
    pub head: String,
    /// One line.
    pub error: String,
    /// Whether it is tried again, and why.
    pub decision: Reason,
}

/// A failure as it was kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incident {
    /// Row.
    pub id: i64,
    /// When.
    pub at: Timestamp,
    /// The rest.
    pub what: NewIncident,
    /// Whether the next attempt ended well; none while it is not known.
    pub helped: Option<bool>,
}

/// How often a rule matched, and helped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tally {
    /// The rule.
    pub strategy: String,
    /// What it did.
    pub fix: String,
    /// How often it matched.
    pub seen: i64,
    /// After how many of them the next attempt ended well.
    pub helped: i64,
    /// After how many it failed again.
    pub failed: i64,
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = incidents)]
struct IncidentRow {
    id: i64,
    at: i64,
    task_id: i64,
    job_id: i64,
    run_id: i64,
    stage: String,
    role: Option<String>,
    node: String,
    strategy: String,
    fix: String,
    diagnosis: String,
    class: String,
    fingerprint: String,
    head: String,
    error: String,
    decision: String,
    outcome: Option<String>,
}

impl Row for IncidentRow {
    type Domain = Incident;

    fn id(&self) -> i64 {
        self.id
    }

    fn decode(self) -> Result<Incident, StoreError> {
        let cell = |column| Cell {
            table: "incident",
            id: &self.id,
            column,
        };
        Ok(Incident {
            what: NewIncident {
                role: cell("role").maybe_word(self.role.as_deref(), Role::parse)?,
                fix: cell("fix").word(&self.fix, Fix::parse)?,
                decision: cell("decision").word(&self.decision, Reason::parse)?,
                task: TaskId(self.task_id),
                job: JobId(self.job_id),
                run: RunId(self.run_id),
                stage: StageName::trusted(self.stage),
                node: NodeName::trusted(self.node),
                strategy: self.strategy,
                diagnosis: self.diagnosis,
                class: self.class,
                fingerprint: self.fingerprint,
                head: self.head,
                error: self.error,
            },
            id: self.id,
            at: Timestamp(self.at),
            helped: self.outcome.map(|outcome| outcome == HELPED),
        })
    }
}

const HELPED: &str = "helped";
const FAILED: &str = "failed";

/// Keeps a failure.
///
/// # Errors
/// See [`StoreError`].
pub fn push(conn: &mut Conn, new: &NewIncident, now: Timestamp) -> Result<(), StoreError> {
    on!(conn, c => diesel::insert_into(incidents::table)
        .values((
            incidents::at.eq(now.0),
            incidents::task_id.eq(new.task.0),
            incidents::job_id.eq(new.job.0),
            incidents::run_id.eq(new.run.0),
            incidents::stage.eq(new.stage.as_str()),
            incidents::role.eq(new.role.map(Role::as_str)),
            incidents::node.eq(new.node.as_str()),
            incidents::strategy.eq(&new.strategy),
            incidents::fix.eq(new.fix.as_str()),
            incidents::diagnosis.eq(&new.diagnosis),
            incidents::class.eq(&new.class),
            incidents::fingerprint.eq(&new.fingerprint),
            incidents::head.eq(&new.head),
            incidents::error.eq(&new.error),
            incidents::decision.eq(new.decision.as_str()),
        ))
        .execute(c))?;
    Ok(())
}

/// Writes down what came of the last failure of a task: its next attempt ended, well or not.
///
/// # Errors
/// See [`StoreError`].
pub fn settle(conn: &mut Conn, task: TaskId, helped: bool, now: Timestamp) -> Result<(), StoreError> {
    let outcome = if helped { HELPED } else { FAILED };
    on!(conn, c => diesel::update(incidents::table)
        .filter(incidents::task_id.eq(task.0))
        .filter(incidents::outcome.is_null())
        .set((incidents::outcome.eq(outcome), incidents::outcome_at.eq(now.0)))
        .execute(c))?;
    Ok(())
}

/// How many failures of a task are alike: the same fingerprint at the same commit.
///
/// # Errors
/// See [`StoreError`].
pub fn alike(conn: &mut Conn, task: TaskId, fingerprint: &str, head: &str) -> Result<u32, StoreError> {
    let count: i64 = on!(conn, c => incidents::table
        .filter(incidents::task_id.eq(task.0))
        .filter(incidents::fingerprint.eq(fingerprint))
        .filter(incidents::head.eq(head))
        .count()
        .get_result(c))?;
    Ok(u32::try_from(count).unwrap_or(u32::MAX))
}

/// A person lets a task go on: no failure before is alike to one after.
///
/// # Errors
/// See [`StoreError`].
pub fn forgive(conn: &mut Conn, task: TaskId) -> Result<(), StoreError> {
    on!(conn, c => diesel::update(incidents::table)
        .filter(incidents::task_id.eq(task.0))
        .filter(incidents::fingerprint.ne(""))
        .set(incidents::fingerprint.eq(""))
        .execute(c))?;
    Ok(())
}

/// The last failures, newest first; of one task, or of all.
///
/// # Errors
/// See [`StoreError`].
pub fn recent(conn: &mut Conn, task: Option<TaskId>, limit: usize) -> Result<Vec<Incident>, StoreError> {
    let found: Vec<IncidentRow> = match task {
        Some(task) => on!(conn, c => incidents::table
            .filter(incidents::task_id.eq(task.0))
            .order(incidents::id.desc())
            .limit(rows(limit))
            .select(IncidentRow::as_select())
            .load(c))?,
        None => on!(conn, c => incidents::table
            .order(incidents::id.desc())
            .limit(rows(limit))
            .select(IncidentRow::as_select())
            .load(c))?,
    };
    all(found)
}

/// How often each rule matched since then, and helped.
///
/// # Errors
/// See [`StoreError`].
pub fn tally(conn: &mut Conn, since: Timestamp) -> Result<Vec<Tally>, StoreError> {
    let found: Vec<(String, String, i64, i64, i64)> = on!(conn, c => incidents::table
        .filter(incidents::at.ge(since.0))
        .group_by((incidents::strategy, incidents::fix))
        .order((incidents::strategy, incidents::fix))
        .select((
            incidents::strategy,
            incidents::fix,
            sql::<BigInt>("count(*)"),
            sql::<BigInt>("count(CASE WHEN outcome = 'helped' THEN 1 END)"),
            sql::<BigInt>("count(CASE WHEN outcome = 'failed' THEN 1 END)"),
        ))
        .load(c))?;
    Ok(found
        .into_iter()
        .map(|(strategy, fix, seen, helped, failed)| Tally {
            strategy,
            fix,
            seen,
            helped,
            failed,
        })
        .collect())
}
