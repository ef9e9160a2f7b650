//! Batches: tasks that are submitted together, and whose failures are counted together. What happens to a member is
//! what happens to any task; here is only what happens to all of them.

use sha2::{Digest as _, Sha256};

use crate::domain::batch::BatchMode;
use crate::domain::id::{BatchId, TaskId, Visit, WorkItemId};
use crate::domain::retry::Scope;
use crate::domain::task::{Gesture, Task, TaskStatus};
use crate::domain::time::Timestamp;
use crate::store::batches::{self, Batch};
use crate::store::{StoreError, retries};

use super::intake::{self, Given, InsertError, choose_project};
use super::repair::operate;
use super::transition::Setting;
use super::views::{BatchChange, BatchDetail, BatchMember, MakeGesture, SubmitBatch, Unchanged};
use super::{Engine, EngineError, gestures};

/// Tasks in a batch at most: they are written in one transaction.
const MOST: usize = 500;

/// A batch after it was submitted.
#[derive(Clone, Debug)]
pub struct Submitted {
    /// The batch.
    pub batch: BatchDetail,
    /// False when it was there.
    pub created: bool,
}

/// Why nothing of a batch is written.
enum Refused {
    /// There is another one of that name.
    Other,
    /// Its nth task cannot be added.
    Task(usize, InsertError),
    /// Its nth task is there already, by its external id.
    Known(usize, WorkItemId),
    Store(StoreError),
}

impl From<StoreError> for Refused {
    fn from(e: StoreError) -> Self {
        Refused::Store(e)
    }
}

/// Adds all tasks of a batch and starts them, in one transaction: all or none. The same name with the same content
/// again is the batch that is there.
///
/// # Errors
/// `Invalid` for names and texts that cannot be used, `NotFound` for an unknown project, dependency or preset,
/// `Conflict` when the name has other content, or a task of it cannot be added.
pub async fn submit(engine: &Engine, mut new: SubmitBatch, now: Timestamp) -> Result<Submitted, EngineError> {
    let id = parse(&new.name)?;
    let project = choose_project(engine, new.project.as_deref())?;
    if new.tasks.is_empty() || new.tasks.len() > MOST {
        let what = format!("tasks: give 1 to {MOST}");
        return Err(EngineError::Invalid { what });
    }
    for (n, task) in new.tasks.iter_mut().enumerate() {
        if task
            .project
            .take()
            .is_some_and(|p| p != project.config.name.as_str())
        {
            let what = format!(
                "task {}: a batch is of one project, {}",
                n + 1,
                project.config.name
            );
            return Err(EngineError::Conflict { what });
        }
    }
    let content = digest(&new)?;
    let mut given = Vec::with_capacity(new.tasks.len());
    for (n, task) in new.tasks.into_iter().enumerate() {
        given.push(Given::check(engine, task).map_err(|e| of_task(n, e))?);
    }
    let row = Batch {
        id: id.clone(),
        project: project.id,
        mode: new.mode,
        created_at: now,
        content,
    };
    let setting = Setting::new(engine, &project, now);
    let write = engine.store().write(move |tx| {
        if !batches::insert(tx, &row)? {
            return match batches::by_id(tx, &row.id)? {
                Some(there) if there.content == row.content && there.project == row.project => Ok(false),
                Some(_) | None => Err(Refused::Other),
            };
        }
        let mut before: Option<TaskId> = None;
        for (n, given) in given.iter().enumerate() {
            let added = intake::insert(tx, &setting, given, before);
            let (task, created) = added.map_err(|e| Refused::Task(n, e))?;
            if !created {
                return Err(Refused::Known(n, task.work_item_id));
            }
            batches::join(tx, &row.id, task.id)?;
            before = match row.mode {
                BatchMode::Sequential => Some(task.id),
                BatchMode::Parallel => None,
            };
        }
        Ok(true)
    });
    let created = write.await.map_err(|refused| match refused {
        Refused::Other => EngineError::Conflict {
            what: format!("there is a batch {id} with other content: give this one another name"),
        },
        Refused::Task(n, e) => of_task(n, e.into()),
        Refused::Known(n, id) => of_task(
            n,
            EngineError::Conflict {
                what: format!("its external_id belongs to {id}: leave it out"),
            },
        ),
        Refused::Store(e) => e.into(),
    })?;
    if created {
        engine.committed();
    }
    Ok(Submitted {
        batch: detail(engine, &id).await?,
        created,
    })
}

/// Says which task of a batch it is about. What is not about the task stays as it is.
fn of_task(n: usize, e: EngineError) -> EngineError {
    let at = |what: String| format!("task {}: {what}; nothing was added", n + 1);
    match e {
        EngineError::NotFound { what } => EngineError::NotFound { what: at(what) },
        EngineError::Invalid { what } => EngineError::Invalid { what: at(what) },
        EngineError::Conflict { what } => EngineError::Conflict { what: at(what) },
        other => other,
    }
}

/// Of what was given: fields that are left out count as what they mean.
fn digest(new: &SubmitBatch) -> Result<String, EngineError> {
    let given = serde_json::to_vec(&(new.mode, &new.tasks))
        .map_err(|e| EngineError::Broken(format!("a batch cannot be written down: {e}")))?;
    Ok(Sha256::digest(&given)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect())
}

fn parse(name: &str) -> Result<BatchId, EngineError> {
    BatchId::parse(name).map_err(|e| EngineError::Invalid { what: e.to_string() })
}

/// A batch with its members.
///
/// # Errors
/// `Invalid` for a name that cannot be, `NotFound` for an unknown one; the database's.
pub async fn show(engine: &Engine, name: &str) -> Result<BatchDetail, EngineError> {
    detail(engine, &parse(name)?).await
}

async fn detail(engine: &Engine, id: &BatchId) -> Result<BatchDetail, EngineError> {
    let wanted = id.clone();
    let found = engine.store().read(move |tx| {
        let Some(batch) = batches::by_id(tx, &wanted)? else {
            return Ok(None);
        };
        let scope = Scope::Batch(wanted);
        let members = batches::members(tx, &batch.id)?;
        let breaker = retries::state(tx, &scope)?.map(|s| s.breaker).unwrap_or_default();
        // Of no task: only the scope's own count is wanted.
        let (retries, _) = retries::counts(tx, &scope, Timestamp(0), (TaskId(0), Visit(0)))?;
        Ok::<_, StoreError>(Some((batch, members, breaker, retries)))
    });
    let (batch, members, breaker, retries) = found.await?.ok_or_else(|| EngineError::NotFound {
        what: format!("no batch is called {id}"),
    })?;
    let limits = engine.settings().retry;
    let (stands, until) = operate::stands(breaker, limits.half_open, engine.now());
    Ok(BatchDetail {
        name: batch.id.to_string(),
        project: engine.project_name(batch.project).to_string(),
        mode: batch.mode,
        created_at: batch.created_at.to_string(),
        breaker: stands.to_owned(),
        until,
        failures: breaker.failures,
        retries,
        max_retries: limits.scope,
        tasks: members.into_iter().map(member).collect(),
    })
}

fn member(task: Task) -> BatchMember {
    BatchMember {
        id: task.work_item_id.to_string(),
        title: task.title,
        stage: task.stage.to_string(),
        status: task.status.as_str().to_owned(),
        reason: task.reason,
    }
}

/// Closes the breaker of a batch, if it failed since its last success, and lets its blocked members go on with their
/// own retries reset. Retries that the batch has used stay used.
///
/// # Errors
/// `Invalid` for a name or a person that cannot be, `NotFound` for an unknown batch; the database's.
pub async fn resume(
    engine: &Engine,
    name: &str,
    person: Option<String>,
    now: Timestamp,
) -> Result<BatchChange, EngineError> {
    let person = intake::person(person)?;
    let batch = show(engine, name).await?;
    if batch.failures > 0 {
        operate::close(engine, Scope::Batch(parse(name)?), now).await?;
    }
    let blocked = batch
        .tasks
        .iter()
        .filter(|t| t.status == TaskStatus::Blocked.as_str());
    each(engine, &batch, blocked, Gesture::InProgress, person, now).await
}

/// Cancels the members of a batch that are not finished: their agents end, their leases are released, their work is
/// kept.
///
/// # Errors
/// `Invalid` for a name or a person that cannot be, `NotFound` for an unknown batch; the database's.
pub async fn cancel(
    engine: &Engine,
    name: &str,
    person: Option<String>,
    now: Timestamp,
) -> Result<BatchChange, EngineError> {
    let person = intake::person(person)?;
    let batch = show(engine, name).await?;
    let over = |t: &&BatchMember| TaskStatus::parse(&t.status).is_none_or(TaskStatus::is_terminal);
    // The last one first: nobody is told that what it waited for was cancelled.
    let unfinished = batch.tasks.iter().rev().filter(|t| !over(t));
    each(engine, &batch, unfinished, Gesture::Cancelled, person, now).await
}

/// Makes a gesture for each. One that cannot be made now stops no other.
async fn each<'a>(
    engine: &Engine,
    batch: &BatchDetail,
    members: impl Iterator<Item = &'a BatchMember>,
    gesture: Gesture,
    person: String,
    now: Timestamp,
) -> Result<BatchChange, EngineError> {
    let (mut changed, mut unchanged) = (Vec::new(), Vec::new());
    for member in members {
        let make = MakeGesture {
            gesture: gesture.as_str().to_owned(),
            person: Some(person.clone()),
            comment: Some(format!("with the batch {}", batch.name)),
            candidate: None,
        };
        let task = format!("{}/{}", batch.project, member.id);
        match gestures::apply(engine, &task, make, now).await {
            Ok(made) if made.applied => changed.push(member.id.clone()),
            // It went on, or ended, meanwhile.
            Ok(_) => {}
            Err(EngineError::Conflict { what }) => unchanged.push(Unchanged {
                id: member.id.clone(),
                why: what,
            }),
            Err(EngineError::Lost) => unchanged.push(Unchanged {
                id: member.id.clone(),
                why: EngineError::Lost.to_string(),
            }),
            Err(e) => return Err(e),
        }
    }
    Ok(BatchChange {
        changed,
        unchanged,
        batch: show(engine, &batch.name).await?,
    })
}
