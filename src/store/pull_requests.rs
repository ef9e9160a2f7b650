//! Pull requests: those of the local forge, and what is known of those at another. At most one is open per branch. Never
//! touches git.

use diesel::dsl::max;
use diesel::prelude::*;
use serde::Serialize;

use super::conn::Serial;
use super::decode::{Cell, Row, all, guarded, maybe};
use super::{Conn, Guarded, StoreError};
use crate::domain::id::{BranchName, ProjectId, Sha, TaskId};
use crate::domain::time::Timestamp;
use crate::schema::pull_requests;

predicate!(
    /// The predicate of the index `pull_requests_one_open`.
    Open = "pull_requests.state = 'open'"
);

/// Where a pull request stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PullRequestState {
    /// Waits to be merged.
    Open,
    /// Merged.
    Merged,
    /// Closed without a merge.
    Closed,
}

impl PullRequestState {
    /// The word stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Merged => "merged",
            Self::Closed => "closed",
        }
    }

    /// The inverse of [`PullRequestState::as_str`].
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Open, Self::Merged, Self::Closed]
            .into_iter()
            .find(|s| s.as_str() == text)
    }
}

/// A pull request as stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PullRequest {
    /// Row.
    pub id: i64,
    /// Its project.
    pub project_id: ProjectId,
    /// Its task.
    pub task_id: TaskId,
    /// Its number in the project.
    pub number: i64,
    /// What is to be merged.
    pub head_branch: BranchName,
    /// Into what.
    pub base_branch: BranchName,
    /// One line.
    pub title: String,
    /// Where it stands.
    pub state: PullRequestState,
    /// Head of the branch.
    pub head_sha: Sha,
    /// What was merged.
    pub merged_sha: Option<Sha>,
    /// Its number at a forge of its own; none while it is not open there.
    pub forge_number: Option<i64>,
    /// When it was opened.
    pub created_at: Timestamp,
    /// Last change.
    pub updated_at: Timestamp,
}

/// A pull request to be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewPullRequest {
    /// Its project.
    pub project_id: ProjectId,
    /// Its task.
    pub task_id: TaskId,
    /// What is to be merged.
    pub head_branch: BranchName,
    /// Into what.
    pub base_branch: BranchName,
    /// One line.
    pub title: String,
    /// Head of the branch.
    pub head_sha: Sha,
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = pull_requests)]
struct Columns {
    id: i64,
    project_id: i64,
    task_id: i64,
    number: i64,
    head_branch: String,
    base_branch: String,
    title: String,
    state: String,
    head_sha: String,
    merged_sha: Option<String>,
    forge_number: Option<i64>,
    created_at: i64,
    updated_at: i64,
}

impl Row for Columns {
    type Domain = PullRequest;

    fn id(&self) -> i64 {
        self.id
    }

    fn decode(self) -> Result<PullRequest, StoreError> {
        let state = Cell {
            table: "pull request",
            id: &self.id,
            column: "state",
        }
        .word(&self.state, PullRequestState::parse)?;
        Ok(PullRequest {
            id: self.id,
            project_id: ProjectId(self.project_id),
            task_id: TaskId(self.task_id),
            number: self.number,
            head_branch: BranchName::trusted(self.head_branch),
            base_branch: BranchName::trusted(self.base_branch),
            title: self.title,
            state,
            head_sha: Sha::trusted(self.head_sha),
            merged_sha: self.merged_sha.map(Sha::trusted),
            forge_number: self.forge_number,
            created_at: Timestamp(self.created_at),
            updated_at: Timestamp(self.updated_at),
        })
    }
}

/// Opens a pull request, or answers the one that is open for that branch, unchanged.
///
/// # Errors
/// See [`StoreError`].
pub fn open(conn: &mut Conn, new: &NewPullRequest, now: Timestamp) -> Result<PullRequest, StoreError> {
    conn.serialize_on(Serial::PullRequest)?;
    let known: Option<Columns> = on!(conn, c => pull_requests::table
        .filter(Open)
        .filter(pull_requests::project_id.eq(new.project_id.0))
        .filter(pull_requests::head_branch.eq(new.head_branch.as_str()))
        .select(Columns::as_select())
        .first(c)
        .optional())?;
    if let Some(row) = known {
        return row.decode();
    }
    let last: Option<i64> = on!(conn, c => pull_requests::table
        .filter(pull_requests::project_id.eq(new.project_id.0))
        .select(max(pull_requests::number))
        .first(c))?;
    let row: Columns = on!(conn, c => diesel::insert_into(pull_requests::table)
        .values((
            pull_requests::project_id.eq(new.project_id.0),
            pull_requests::task_id.eq(new.task_id.0),
            pull_requests::number.eq(last.unwrap_or(0) + 1),
            pull_requests::head_branch.eq(new.head_branch.as_str()),
            pull_requests::base_branch.eq(new.base_branch.as_str()),
            pull_requests::title.eq(&new.title),
            pull_requests::state.eq(PullRequestState::Open.as_str()),
            pull_requests::head_sha.eq(new.head_sha.as_str()),
            pull_requests::created_at.eq(now.0),
            pull_requests::updated_at.eq(now.0),
        ))
        .returning(Columns::as_returning())
        .get_result(c))?;
    row.decode()
}

/// Moves the head of an open pull request.
///
/// # Errors
/// See [`StoreError`].
pub fn set_head(
    conn: &mut Conn,
    id: i64,
    head: &Sha,
    now: Timestamp,
) -> Result<Guarded<PullRequest>, StoreError> {
    let row: Option<Columns> = on!(conn, c => diesel::update(pull_requests::table)
        .filter(pull_requests::id.eq(id))
        .filter(Open)
        .set((
            pull_requests::head_sha.eq(head.as_str()),
            pull_requests::updated_at.eq(now.0),
        ))
        .returning(Columns::as_returning())
        .get_result(c)
        .optional())?;
    guarded(row)
}

/// Records that an open pull request was merged, as that commit.
///
/// # Errors
/// See [`StoreError`].
pub fn merged(
    conn: &mut Conn,
    id: i64,
    merged: &Sha,
    now: Timestamp,
) -> Result<Guarded<PullRequest>, StoreError> {
    let row: Option<Columns> = on!(conn, c => diesel::update(pull_requests::table)
        .filter(pull_requests::id.eq(id))
        .filter(Open)
        .set((
            pull_requests::state.eq(PullRequestState::Merged.as_str()),
            pull_requests::merged_sha.eq(merged.as_str()),
            pull_requests::updated_at.eq(now.0),
        ))
        .returning(Columns::as_returning())
        .get_result(c)
        .optional())?;
    guarded(row)
}

/// Records the number that a pull request has at its forge.
///
/// # Errors
/// See [`StoreError`].
pub fn numbered(
    conn: &mut Conn,
    id: i64,
    forge_number: i64,
    now: Timestamp,
) -> Result<Guarded<()>, StoreError> {
    Ok(Guarded::from_count(
        on!(conn, c => diesel::update(pull_requests::table)
        .filter(pull_requests::id.eq(id))
        .set((
            pull_requests::forge_number.eq(forge_number),
            pull_requests::updated_at.eq(now.0),
        ))
        .execute(c))?,
    ))
}

/// A pull request.
///
/// # Errors
/// [`StoreError::Broken`] when it cannot be read.
pub fn by_id(conn: &mut Conn, id: i64) -> Result<Option<PullRequest>, StoreError> {
    maybe(on!(conn, c => pull_requests::table
        .filter(pull_requests::id.eq(id))
        .select(Columns::as_select())
        .first(c)
        .optional())?)
}

/// Closes an open pull request without a merge.
///
/// # Errors
/// See [`StoreError`].
pub fn close(conn: &mut Conn, id: i64, now: Timestamp) -> Result<Guarded<PullRequest>, StoreError> {
    let row: Option<Columns> = on!(conn, c => diesel::update(pull_requests::table)
        .filter(pull_requests::id.eq(id))
        .filter(Open)
        .set((
            pull_requests::state.eq(PullRequestState::Closed.as_str()),
            pull_requests::updated_at.eq(now.0),
        ))
        .returning(Columns::as_returning())
        .get_result(c)
        .optional())?;
    guarded(row)
}

/// The last pull request of a branch, open or not.
///
/// # Errors
/// [`StoreError::Broken`] when it cannot be read.
pub fn by_branch(
    conn: &mut Conn,
    project: ProjectId,
    head: &BranchName,
) -> Result<Option<PullRequest>, StoreError> {
    maybe(on!(conn, c => pull_requests::table
        .filter(pull_requests::project_id.eq(project.0))
        .filter(pull_requests::head_branch.eq(head.as_str()))
        .order(pull_requests::id.desc())
        .select(Columns::as_select())
        .first(c)
        .optional())?)
}

/// All pull requests of a project, oldest first.
///
/// # Errors
/// [`StoreError::Broken`] when one cannot be read.
pub fn of_project(conn: &mut Conn, project: ProjectId) -> Result<Vec<PullRequest>, StoreError> {
    all(on!(conn, c => pull_requests::table
        .filter(pull_requests::project_id.eq(project.0))
        .order(pull_requests::number)
        .select(Columns::as_select())
        .load(c))?)
}
