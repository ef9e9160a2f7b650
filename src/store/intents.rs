//! Deeds on the outside: intended, then done, then recorded. Never does the deed.

use diesel::prelude::*;
use serde::Serialize;
use serde_json::Value;

use super::decode::{Cell, Row, all, guarded, maybe, to_json};
use super::{Conn, Guarded, Listing, StoreError};
use crate::domain::id::{ClaimEpoch, JobId, TaskId};
use crate::domain::job::Claim;
use crate::domain::time::Timestamp;
use crate::schema::intents;

predicate!(
    /// Perhaps done. The predicate of the index `intents_open`.
    Open = "intents.status = 'intended'"
);

/// An intent's row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct IntentId(pub i64);

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum IntentKind {
    /// Push a run's commits.
    Push,
    /// Push a rebased branch.
    Rebase,
    /// Merge a candidate.
    Merge,
    /// Deploy this candidate, as a person confirmed.
    Confirm,
}

impl IntentKind {
    const ALL: [Self; 4] = [Self::Push, Self::Rebase, Self::Merge, Self::Confirm];

    /// The word stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Push => "push",
            Self::Rebase => "rebase",
            Self::Merge => "merge",
            Self::Confirm => "confirm",
        }
    }

    /// The inverse of [`IntentKind::as_str`].
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|k| k.as_str() == text)
    }
}

/// Where an intent stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum IntentStatus {
    /// Perhaps done, not yet recorded: ask before doing it again.
    Intended,
    /// Recorded.
    Done,
    /// Not to be done any more.
    Void,
}

impl IntentStatus {
    /// The word stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Intended => "intended",
            Self::Done => "done",
            Self::Void => "void",
        }
    }

    /// The inverse of [`IntentStatus::as_str`].
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Intended, Self::Done, Self::Void]
            .into_iter()
            .find(|s| s.as_str() == text)
    }
}

/// An intent as stored.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Intent {
    /// Identity.
    pub id: IntentId,
    /// Names the deed: the same deed has the same key.
    pub key: String,
    /// The task it is done for.
    pub task_id: TaskId,
    /// The claim under which it is done, where there is one.
    pub claim: Option<Claim>,
    /// What is to be done.
    pub kind: IntentKind,
    /// What is needed to recognise afterwards whether it was done.
    pub payload: Value,
    /// Where it stands.
    pub status: IntentStatus,
    /// What came of it.
    pub outcome: Option<String>,
    /// When it was intended.
    pub created_at: Timestamp,
    /// When it was recorded or given up.
    pub finished_at: Option<Timestamp>,
}

impl Intent {
    /// It may be under way at this moment.
    pub fn is_open(&self) -> bool {
        self.status == IntentStatus::Intended
    }

    /// It is not to be done any more.
    pub fn is_void(&self) -> bool {
        self.status == IntentStatus::Void
    }

    /// The deed is known to have happened.
    pub fn is_done(&self) -> bool {
        self.status == IntentStatus::Done
    }
}

/// A deed to be intended.
#[derive(Clone, Debug, PartialEq)]
pub struct NewIntent {
    /// Names the deed.
    pub key: String,
    /// The task it is done for.
    pub task_id: TaskId,
    /// The claim under which it is done, where there is one.
    pub claim: Option<Claim>,
    /// What is to be done.
    pub kind: IntentKind,
    /// What is needed to recognise afterwards whether it was done.
    pub payload: Value,
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = intents)]
struct Columns {
    id: i64,
    key: String,
    task_id: i64,
    job_id: Option<i64>,
    claim_epoch: Option<i64>,
    kind: String,
    payload: String,
    status: String,
    outcome: Option<String>,
    created_at: i64,
    finished_at: Option<i64>,
}

impl Row for Columns {
    type Domain = Intent;

    fn id(&self) -> i64 {
        self.id
    }

    fn decode(self) -> Result<Intent, StoreError> {
        let cell = |column| Cell {
            table: "intent",
            id: &self.id,
            column,
        };
        Ok(Intent {
            kind: cell("kind").word(&self.kind, IntentKind::parse)?,
            status: cell("status").word(&self.status, IntentStatus::parse)?,
            payload: cell("payload").json(&self.payload)?,
            id: IntentId(self.id),
            key: self.key,
            task_id: TaskId(self.task_id),
            claim: self.job_id.zip(self.claim_epoch).map(|(job, epoch)| Claim {
                job: JobId(job),
                epoch: ClaimEpoch(epoch),
            }),
            outcome: self.outcome,
            created_at: Timestamp(self.created_at),
            finished_at: self.finished_at.map(Timestamp),
        })
    }
}

/// Intends a deed; answers the intent that exists where the key is known already, whatever its status.
///
/// # Errors
/// See [`StoreError`].
pub fn intend(conn: &mut Conn, new: &NewIntent, now: Timestamp) -> Result<Intent, StoreError> {
    let payload = to_json(&new.payload)?;
    on!(conn, c => diesel::insert_into(intents::table)
        .values((
            intents::key.eq(&new.key),
            intents::task_id.eq(new.task_id.0),
            intents::job_id.eq(new.claim.map(|c| c.job.0)),
            intents::claim_epoch.eq(new.claim.map(|c| c.epoch.0)),
            intents::kind.eq(new.kind.as_str()),
            intents::payload.eq(&payload),
            intents::status.eq(IntentStatus::Intended.as_str()),
            intents::created_at.eq(now.0),
        ))
        .on_conflict(intents::key)
        .do_nothing()
        .execute(c))?;
    let row: Columns = on!(conn, c => intents::table
        .filter(intents::key.eq(&new.key))
        .select(Columns::as_select())
        .first(c))?;
    row.decode()
}

/// Intends a deed that may have been done before and is to be done once more: a branch can come back to where it was.
///
/// # Errors
/// See [`StoreError`].
pub fn again(conn: &mut Conn, new: &NewIntent, now: Timestamp) -> Result<Intent, StoreError> {
    let found = intend(conn, new, now)?;
    if found.status == IntentStatus::Intended {
        return Ok(found);
    }
    let row: Columns = on!(conn, c => diesel::update(intents::table)
        .filter(intents::id.eq(found.id.0))
        .filter(intents::status.ne(IntentStatus::Intended.as_str()))
        .set((
            intents::status.eq(IntentStatus::Intended.as_str()),
            intents::outcome.eq(None::<&str>),
            intents::finished_at.eq(None::<i64>),
            intents::job_id.eq(new.claim.map(|c| c.job.0)),
            intents::claim_epoch.eq(new.claim.map(|c| c.epoch.0)),
            intents::created_at.eq(now.0),
        ))
        .returning(Columns::as_returning())
        .get_result(c))?;
    row.decode()
}

/// Intends a deed under a key that may have been intended for something else before: unless it was done, what is needed
/// to recognise it afterwards is replaced.
///
/// # Errors
/// See [`StoreError`].
pub fn aim(conn: &mut Conn, new: &NewIntent, now: Timestamp) -> Result<Intent, StoreError> {
    let found = intend(conn, new, now)?;
    if found.status == IntentStatus::Intended && found.payload == new.payload {
        return Ok(found);
    }
    let payload = to_json(&new.payload)?;
    let row: Option<Columns> = on!(conn, c => diesel::update(intents::table)
        .filter(intents::id.eq(found.id.0))
        .filter(intents::status.ne(IntentStatus::Done.as_str()))
        .set((
            intents::status.eq(IntentStatus::Intended.as_str()),
            intents::finished_at.eq(None::<i64>),
            intents::payload.eq(&payload),
            intents::job_id.eq(new.claim.map(|c| c.job.0)),
            intents::claim_epoch.eq(new.claim.map(|c| c.epoch.0)),
            intents::created_at.eq(now.0),
        ))
        .returning(Columns::as_returning())
        .get_result(c)
        .optional())?;
    row.map_or(Ok(found), Row::decode)
}

/// Records what came of a deed that was still open.
///
/// # Errors
/// See [`StoreError`].
pub fn finish(
    conn: &mut Conn,
    id: IntentId,
    outcome: &str,
    now: Timestamp,
) -> Result<Guarded<Intent>, StoreError> {
    let row: Option<Columns> = on!(conn, c => diesel::update(intents::table)
        .filter(intents::id.eq(id.0))
        .filter(intents::status.eq(IntentStatus::Intended.as_str()))
        .set((
            intents::status.eq(IntentStatus::Done.as_str()),
            intents::outcome.eq(outcome),
            intents::finished_at.eq(now.0),
        ))
        .returning(Columns::as_returning())
        .get_result(c)
        .optional())?;
    guarded(row)
}

/// Gives up a deed that was still open, with the reason.
///
/// # Errors
/// See [`StoreError`].
pub fn give_up(conn: &mut Conn, id: IntentId, why: &str, now: Timestamp) -> Result<Guarded<()>, StoreError> {
    Ok(Guarded::from_count(on!(conn, c => diesel::update(intents::table)
        .filter(intents::id.eq(id.0))
        .filter(intents::status.eq(IntentStatus::Intended.as_str()))
        .set((
            intents::status.eq(IntentStatus::Void.as_str()),
            intents::outcome.eq(why),
            intents::finished_at.eq(now.0),
        ))
        .execute(c))?))
}

/// The intents of a task whose key begins so, oldest first. The beginning holds no `%` or `_`.
///
/// # Errors
/// [`StoreError::Broken`] when one cannot be read.
pub fn keyed(conn: &mut Conn, task: TaskId, beginning: &str) -> Result<Vec<Intent>, StoreError> {
    all(on!(conn, c => intents::table
        .filter(intents::task_id.eq(task.0))
        .filter(intents::key.like(format!("{beginning}%")))
        .order(intents::id)
        .select(Columns::as_select())
        .load(c))?)
}

/// The open intents whose key begins so, oldest first. The beginning holds no `%` or `_`.
///
/// # Errors
/// See [`StoreError`].
pub fn open_keyed(conn: &mut Conn, beginning: &str) -> Result<Listing<Intent>, StoreError> {
    Ok(Listing::of(on!(conn, c => intents::table
        .filter(Open)
        .filter(intents::key.like(format!("{beginning}%")))
        .order(intents::id)
        .select(Columns::as_select())
        .load(c))?))
}

/// Gives up the open intents of a kind; answers how many there were.
///
/// # Errors
/// See [`StoreError`].
pub fn void_open(
    conn: &mut Conn,
    task: TaskId,
    kind: IntentKind,
    now: Timestamp,
) -> Result<usize, StoreError> {
    Ok(on!(conn, c => diesel::update(intents::table)
        .filter(intents::task_id.eq(task.0))
        .filter(intents::kind.eq(kind.as_str()))
        .filter(intents::status.eq(IntentStatus::Intended.as_str()))
        .set((
            intents::status.eq(IntentStatus::Void.as_str()),
            intents::finished_at.eq(now.0),
        ))
        .execute(c))?)
}

/// The intent of that key, if there is one.
///
/// # Errors
/// [`StoreError::Broken`] when it cannot be read.
pub fn by_key(conn: &mut Conn, key: &str) -> Result<Option<Intent>, StoreError> {
    maybe(on!(conn, c => intents::table
        .filter(intents::key.eq(key))
        .select(Columns::as_select())
        .first(c)
        .optional())?)
}

/// The last open intent of a kind, if there is one.
///
/// # Errors
/// [`StoreError::Broken`] when it cannot be read.
pub fn latest_open(conn: &mut Conn, task: TaskId, kind: IntentKind) -> Result<Option<Intent>, StoreError> {
    maybe(on!(conn, c => intents::table
        .filter(intents::task_id.eq(task.0))
        .filter(intents::kind.eq(kind.as_str()))
        .filter(intents::status.eq(IntentStatus::Intended.as_str()))
        .order(intents::id.desc())
        .select(Columns::as_select())
        .first(c)
        .optional())?)
}
