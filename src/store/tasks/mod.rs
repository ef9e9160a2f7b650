//! Tasks. The only place that changes a task's stage and status is [`compare_and_set`].

mod change;
mod dependencies;
mod list;
mod tracked;

pub use change::{TaskChange, compare_and_set, reprioritise};
pub use dependencies::{AddDependency, add_dependency, dependants, dependencies};
pub(super) use list::Unfinished;
pub use list::{Candidates, Forgotten, TaskFilter, list, reconcile_candidates};
pub use tracked::{saw_back, saw_state, tracked, will_write_state, wrote_state};

use diesel::prelude::*;

use super::decode::{Cell, Row, all, maybe, rows, to_json};
use super::{Conn, StoreError};
use crate::domain::id::{
    BranchName, CodeTree, ProjectId, Sha, StageName, TaskId, TaskVersion, Visit, WorkItemId,
};
use crate::domain::task::{Task, TaskStatus, TrackerKind};
use crate::domain::time::Timestamp;
use crate::schema::tasks;

#[derive(Queryable, Selectable)]
#[diesel(table_name = tasks)]
pub(in crate::store) struct TaskRow {
    id: i64,
    project_id: i64,
    work_item_id: String,
    tracker: String,
    external_id: String,
    title: String,
    description: String,
    branch: String,
    stage: String,
    status: String,
    version: i64,
    visit: i64,
    stage_entered_at: i64,
    developer_retries: i32,
    reason: Option<String>,
    candidate: Option<String>,
    code_tree: Option<String>,
    evidence: Option<String>,
    priority: i32,
    executor: Option<String>,
    modifies: String,
    created_at: i64,
    updated_at: i64,
    finished_at: Option<i64>,
}

impl TaskRow {
    fn entered(&self) -> (Timestamp, TaskId) {
        (Timestamp(self.stage_entered_at), TaskId(self.id))
    }
}

/// A cell of a task, for messages.
pub(super) fn cell<'a>(id: &'a i64, column: &'static str) -> Cell<'a> {
    Cell {
        table: "task",
        id,
        column,
    }
}

impl Row for TaskRow {
    type Domain = Task;

    fn id(&self) -> i64 {
        self.id
    }

    fn decode(self) -> Result<Task, StoreError> {
        let cell = |column| cell(&self.id, column);
        Ok(Task {
            tracker: cell("tracker").word(&self.tracker, TrackerKind::parse)?,
            status: cell("status").word(&self.status, TaskStatus::parse)?,
            modifies: cell("modifies").json(&self.modifies)?,
            id: TaskId(self.id),
            project_id: ProjectId(self.project_id),
            work_item_id: WorkItemId::trusted(self.work_item_id),
            external_id: self.external_id,
            title: self.title,
            description: self.description,
            branch: BranchName::trusted(self.branch),
            stage: StageName::trusted(self.stage),
            version: TaskVersion(self.version),
            visit: Visit(self.visit),
            stage_entered_at: Timestamp(self.stage_entered_at),
            developer_retries: self.developer_retries,
            reason: self.reason,
            candidate: self.candidate.map(Sha::trusted),
            code_tree: self.code_tree.map(CodeTree::trusted),
            evidence: self.evidence,
            priority: self.priority,
            executor: self.executor,
            created_at: Timestamp(self.created_at),
            updated_at: Timestamp(self.updated_at),
            finished_at: self.finished_at.map(Timestamp),
        })
    }
}

/// A task to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTask {
    /// Its project.
    pub project_id: ProjectId,
    /// The name people use; unique in the project.
    pub work_item_id: WorkItemId,
    /// Where it comes from.
    pub tracker: TrackerKind,
    /// Its name there; unique per tracker.
    pub external_id: String,
    /// One line.
    pub title: String,
    /// What is wanted.
    pub description: String,
    /// Its branch.
    pub branch: BranchName,
    /// The stage it begins in.
    pub stage: StageName,
    /// How it stands there.
    pub status: TaskStatus,
    /// Higher goes first.
    pub priority: i32,
    /// Agent preset that overrides the roles' own.
    pub executor: Option<String>,
    /// Paths it changes.
    pub modifies: Vec<String>,
}

/// What an insertion found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Inserted {
    /// Made now.
    New(Task),
    /// Known already, by tracker and external id: unchanged.
    Existing(Task),
}

/// Makes a task, once per (tracker, external id), however many try at the same time.
///
/// # Errors
/// [`StoreError::Constraint`] when the project has another task of that name.
pub fn insert(conn: &mut Conn, new: &NewTask, now: Timestamp) -> Result<Inserted, StoreError> {
    let modifies = to_json(&new.modifies)?;
    let row: Option<TaskRow> = on!(conn, c => diesel::insert_into(tasks::table)
        .values((
            tasks::project_id.eq(new.project_id.0),
            tasks::work_item_id.eq(new.work_item_id.as_str()),
            tasks::tracker.eq(new.tracker.as_str()),
            tasks::external_id.eq(&new.external_id),
            tasks::title.eq(&new.title),
            tasks::description.eq(&new.description),
            tasks::branch.eq(new.branch.as_str()),
            tasks::stage.eq(new.stage.as_str()),
            tasks::status.eq(new.status.as_str()),
            tasks::stage_entered_at.eq(now.0),
            tasks::priority.eq(new.priority),
            tasks::executor.eq(new.executor.as_deref()),
            tasks::modifies.eq(&modifies),
            tasks::created_at.eq(now.0),
            tasks::updated_at.eq(now.0),
        ))
        .on_conflict((tasks::tracker, tasks::external_id))
        .do_nothing()
        .returning(TaskRow::as_returning())
        .get_result(c)
        .optional())?;
    match row {
        Some(row) => row.decode().map(Inserted::New),
        None => on!(conn, c => tasks::table
            .filter(tasks::tracker.eq(new.tracker.as_str()))
            .filter(tasks::external_id.eq(&new.external_id))
            .select(TaskRow::as_select())
            .first(c))?
        .decode()
        .map(Inserted::Existing),
    }
}

/// The task, if it exists.
///
/// # Errors
/// [`StoreError::Broken`] when it cannot be read.
pub fn by_id(conn: &mut Conn, id: TaskId) -> Result<Option<Task>, StoreError> {
    maybe(on!(conn, c => tasks::table
        .find(id.0)
        .select(TaskRow::as_select())
        .first(c)
        .optional())?)
}

/// Where a task comes from, whether or not the rest of its row can be read.
///
/// # Errors
/// See [`StoreError`].
pub fn tracker_of(conn: &mut Conn, id: TaskId) -> Result<Option<TrackerKind>, StoreError> {
    let word: Option<String> = on!(conn, c => tasks::table
        .filter(tasks::id.eq(id.0))
        .select(tasks::tracker)
        .first(c)
        .optional())?;
    Ok(word.as_deref().and_then(TrackerKind::parse))
}

/// The tasks of that name: one per project at most.
///
/// # Errors
/// [`StoreError::Broken`] when one cannot be read.
pub fn by_name(conn: &mut Conn, name: &WorkItemId) -> Result<Vec<Task>, StoreError> {
    all(on!(conn, c => tasks::table
        .filter(tasks::work_item_id.eq(name.as_str()))
        .order(tasks::id)
        .select(TaskRow::as_select())
        .load(c))?)
}

/// The task of an issue, if it has one.
///
/// # Errors
/// [`StoreError::Broken`] when it cannot be read.
pub fn by_issue(conn: &mut Conn, tracker: TrackerKind, issue: &str) -> Result<Option<Task>, StoreError> {
    maybe(on!(conn, c => tasks::table
        .filter(tasks::tracker.eq(tracker.as_str()))
        .filter(tasks::external_id.eq(issue))
        .select(TaskRow::as_select())
        .first(c)
        .optional())?)
}

/// The next unfinished tasks of a project that a tracker has the issues of, with those.
///
/// # Errors
/// See [`StoreError`].
pub fn issues_after(
    conn: &mut Conn,
    project: ProjectId,
    tracker: TrackerKind,
    after: TaskId,
    limit: usize,
) -> Result<Vec<(TaskId, String)>, StoreError> {
    let found: Vec<(i64, String)> = on!(conn, c => tasks::table
        .filter(Unfinished)
        .filter(tasks::project_id.eq(project.0))
        .filter(tasks::tracker.eq(tracker.as_str()))
        .filter(tasks::id.gt(after.0))
        .order(tasks::id)
        .limit(rows(limit))
        .select((tasks::id, tasks::external_id))
        .load(c))?;
    Ok(found.into_iter().map(|(id, issue)| (TaskId(id), issue)).collect())
}

/// The unfinished tasks of a project whose candidate is that commit.
///
/// # Errors
/// [`StoreError::Broken`] when one cannot be read.
pub fn by_candidate(conn: &mut Conn, project: ProjectId, head: &Sha) -> Result<Vec<Task>, StoreError> {
    all(on!(conn, c => tasks::table
        .filter(Unfinished)
        .filter(tasks::project_id.eq(project.0))
        .filter(tasks::candidate.eq(head.as_str()))
        .order(tasks::id)
        .select(TaskRow::as_select())
        .load(c))?)
}

/// The unfinished tasks of a project in that stage.
///
/// # Errors
/// [`StoreError::Broken`] when one cannot be read.
pub fn in_stage(conn: &mut Conn, project: ProjectId, stage: &StageName) -> Result<Vec<Task>, StoreError> {
    all(on!(conn, c => tasks::table
        .filter(Unfinished)
        .filter(tasks::project_id.eq(project.0))
        .filter(tasks::stage.eq(stage.as_str()))
        .order(tasks::id)
        .select(TaskRow::as_select())
        .load(c))?)
}

/// The unfinished tasks on that branch of a project.
///
/// # Errors
/// [`StoreError::Broken`] when one cannot be read.
pub fn by_branch(conn: &mut Conn, project: ProjectId, branch: &BranchName) -> Result<Vec<Task>, StoreError> {
    all(on!(conn, c => tasks::table
        .filter(Unfinished)
        .filter(tasks::project_id.eq(project.0))
        .filter(tasks::branch.eq(branch.as_str()))
        .order(tasks::id)
        .select(TaskRow::as_select())
        .load(c))?)
}
