//! The only writer of a stage. Every move is one transaction: the job's end, the stage by compare-and-set on
//! the task's version, the next job, the notices, and the line for people.

mod claim;
mod dependants;
mod moves;
mod notices;
mod watched;

use std::sync::Arc;
use std::time::Duration;

use crate::domain::deploy::DeployStatus;
use crate::domain::id::{ProjectId, Sha, TaskId};
use crate::domain::job::{Job, JobKind, JobStatus};
use crate::domain::pipeline::{Role, Stage};
use crate::domain::task::{Task, TaskStatus};
use crate::domain::time::Timestamp;
use crate::domain::walk::{self, Entry};
use crate::store::evidence::NewEvidence;
use crate::store::jobs::NewJob;
use crate::store::tasks::TaskChange;
use crate::store::{Conn, StoreError, deploys, evidence, intents, jobs, leases, tasks};

pub use claim::Hold;
use claim::won;
pub(super) use claim::{Abort, Ending, end_claim, record};
pub(super) use dependants::strand;
pub(super) use moves::{Asked, go_on, said};
use notices::notice_state;
pub(super) use notices::record_artifact;
pub(super) use notices::{alert_cause, alert_if_overdue, comment, notify, say, tell_failed};

pub(super) use watched::{Told, give_up_watching, tell_watched};

use super::look::merge_key;
use super::{Engine, ProjectHandle};

/// What a job says that waits for the merge lease. Who waits for something else is not woken with it.
pub(super) const WAITS_FOR_LEASE: &str = "waits for the merge lease";

/// What every move needs to know beside the task.
#[derive(Clone)]
pub(super) struct Setting {
    pub project: Arc<ProjectHandle>,
    pub max_attempts: i32,
    pub max_transient_attempts: i32,
    /// A gate that keeps a task longer than this is told to people.
    pub gate_alert: Duration,
    pub now: Timestamp,
}

impl Setting {
    pub(super) fn new(engine: &Engine, project: &Arc<ProjectHandle>, now: Timestamp) -> Self {
        let settings = engine.settings();
        Self {
            project: project.clone(),
            max_attempts: settings.queue.max_attempts,
            max_transient_attempts: settings.queue.max_transient_attempts,
            gate_alert: settings.gate_alert,
            now,
        }
    }
}

/// Extra words for the job that a move queues.
#[derive(Clone, Debug, Default)]
pub(super) struct Briefing {
    /// Added to the next prompt.
    pub notes: Option<String>,
    /// Evidence packet (JSON), kept with the task for the developer.
    pub evidence: Option<String>,
    /// New number of developer retries.
    pub developer_retries: Option<i32>,
    /// The candidate as it was judged.
    pub candidate: Option<super::look::Judged>,
    /// One line for people.
    pub text: String,
    /// "stage", "rollback", "gesture" …
    pub kind: &'static str,
}

impl Briefing {
    /// A line for people, and nothing else.
    pub(super) fn line(kind: &'static str, text: String) -> Self {
        Self {
            text,
            kind,
            ..Self::default()
        }
    }
}

/// Moves `task` into `to` and sets going what that stage means.
pub(super) fn enter(
    tx: &mut Conn,
    s: &Setting,
    task: &Task,
    to: &Stage,
    b: &Briefing,
) -> Result<Task, Abort> {
    let entry = walk::entry(to);
    let (status, reason) = match &entry {
        Entry::Work(_) | Entry::Look | Entry::Merge | Entry::Wait => (TaskStatus::Active, None),
        Entry::AskConfirm => (TaskStatus::WaitingHuman, Some(confirm_request(task, b))),
        Entry::Done => (TaskStatus::Done, None),
    };
    let mut change = TaskChange {
        enter: Some(to.name.clone()),
        status: Some(status),
        reason: Some(reason),
        developer_retries: b.developer_retries,
        ..TaskChange::default()
    };
    judged(&mut change, b);
    let moved = won(tasks::compare_and_set(tx, task.id, task.version, &change, s.now)?)?;
    say(tx, &moved, b.kind, &b.text, s.now)?;
    notice_state(tx, &moved, s.now)?;
    queue_for(tx, s, &moved, &entry, b.notes.clone(), s.now)?;
    match entry {
        Entry::AskConfirm => ask_confirm(tx, &moved, s.now)?,
        Entry::Done => {
            let_go(tx, &moved, s.now)?;
            notify(
                tx,
                &moved,
                "done",
                &format!("{} is done: {}", moved.work_item_id, moved.title),
                s.now,
            )?;
            watched::arm(tx, s, &moved)?;
        }
        Entry::Work(_) | Entry::Look | Entry::Merge | Entry::Wait => {}
    }
    Ok(moved)
}

fn judged(change: &mut TaskChange, b: &Briefing) {
    if let Some(candidate) = &b.candidate {
        change.candidate = Some(Some(candidate.head.clone()));
        change.code_tree = Some(Some(candidate.code_tree.clone()));
    }
    if let Some(packet) = &b.evidence {
        change.evidence = Some(Some(packet.clone()));
    }
}

/// Changes how a task stands in its stage without leaving it.
pub(super) fn stand(
    tx: &mut Conn,
    now: Timestamp,
    task: &Task,
    status: TaskStatus,
    reason: Option<String>,
    b: &Briefing,
) -> Result<Task, Abort> {
    let mut change = TaskChange {
        status: Some(status),
        reason: Some(reason),
        developer_retries: b.developer_retries,
        ..TaskChange::default()
    };
    judged(&mut change, b);
    let moved = won(tasks::compare_and_set(tx, task.id, task.version, &change, now)?)?;
    say(tx, &moved, b.kind, &b.text, now)?;
    if moved.status != task.status {
        notice_state(tx, &moved, now)?;
    }
    Ok(moved)
}

/// Queues the job that an entry means, if it means one.
pub(super) fn queue_for(
    tx: &mut Conn,
    s: &Setting,
    task: &Task,
    entry: &Entry,
    notes: Option<String>,
    available_at: Timestamp,
) -> Result<(), Abort> {
    match entry {
        Entry::Work(role) => queue(tx, s, task, JobKind::Agent, Some(*role), notes, available_at),
        Entry::Look => queue(tx, s, task, JobKind::GateCheck, None, notes, available_at),
        Entry::Merge => queue(tx, s, task, JobKind::DeployFinalizer, None, notes, available_at),
        Entry::AskConfirm | Entry::Wait | Entry::Done => Ok(()),
    }
}

/// Queues one job made for the task's present version.
pub(super) fn queue(
    tx: &mut Conn,
    s: &Setting,
    task: &Task,
    kind: JobKind,
    role: Option<Role>,
    notes: Option<String>,
    available_at: Timestamp,
) -> Result<(), Abort> {
    let job = NewJob {
        task_id: task.id,
        project_id: task.project_id,
        kind,
        role,
        stage: task.stage.clone(),
        visit: task.visit,
        task_version: task.version,
        priority: task.priority,
        available_at,
        attempts: 0,
        max_attempts: s.max_attempts,
        transient_attempts: 0,
        max_transient_attempts: s.max_transient_attempts,
        notes,
        waits: task.reason.clone().filter(|_| kind == JobKind::GateCheck),
    };
    match jobs::enqueue(tx, &job, s.now)? {
        jobs::Enqueued::New(_) => Ok(()),
        // The partial unique index held: somebody queued a job for this task in the meantime.
        jobs::Enqueued::AlreadyLive(_) => Err(Abort::Lost),
    }
}

/// True from the moment a merge is intended until its outcome is recorded, and while a hook deploys: what `main` or
/// production receives then must not be work that was taken back a moment before.
pub(super) fn is_merging(tx: &mut Conn, task: &Task, live: Option<&Job>) -> Result<bool, StoreError> {
    let Some(job) = live.filter(|j| j.kind == JobKind::DeployFinalizer) else {
        return Ok(false);
    };
    let deploy = deploys::of_visit(tx, task.id, task.visit)?;
    if deploy.is_some_and(|d| d.status == DeployStatus::Open) {
        return Ok(true);
    }
    Ok(job.status == JobStatus::Running
        && intents::by_key(tx, &merge_key(task))?.is_some_and(|i| i.is_open()))
}

/// Gives back the lease that a task may hold, and wakes those who wait for it.
pub(super) fn let_go(tx: &mut Conn, task: &Task, now: Timestamp) -> Result<(), StoreError> {
    give_back(tx, task.id, task.project_id, now)
}

pub(super) fn give_back(
    tx: &mut Conn,
    task: TaskId,
    project: ProjectId,
    now: Timestamp,
) -> Result<(), StoreError> {
    if leases::release_of_task(tx, task)? > 0 {
        jobs::wake_reserved(tx, project, WAITS_FOR_LEASE, now)?;
    }
    Ok(())
}

/// Blocks a task whose project or stage is gone.
pub(super) fn block_unplaced(tx: &mut Conn, task: &Task, why: &str, now: Timestamp) -> Result<(), Abort> {
    let change = TaskChange {
        status: Some(TaskStatus::Blocked),
        reason: Some(Some(why.to_owned())),
        ..TaskChange::default()
    };
    let blocked = won(tasks::compare_and_set(tx, task.id, task.version, &change, now)?)?;
    let_go(tx, &blocked, now)?;
    say(tx, &blocked, "failed", why, now)?;
    notify(
        tx,
        &blocked,
        "blocked",
        &format!("{} is blocked: {why}", blocked.work_item_id),
        now,
    )
}

/// Parks a task that cannot go on by itself; told once.
pub(super) fn block(
    tx: &mut Conn,
    now: Timestamp,
    task: &Task,
    why: &str,
    b: &Briefing,
) -> Result<Task, Abort> {
    let blocked = stand(tx, now, task, TaskStatus::Blocked, Some(why.to_owned()), b)?;
    let_go(tx, &blocked, now)?;
    notify(
        tx,
        &blocked,
        "blocked",
        &format!("{} is blocked at {}: {why}", blocked.work_item_id, blocked.stage),
        now,
    )?;
    comment(
        tx,
        &blocked,
        "blocked",
        &format!("Blocked at {}: {why}", blocked.stage),
        now,
    )?;
    Ok(blocked)
}

/// Asks a person for Confirm Deploy of this very candidate: recorded once for it.
pub(super) fn ask_confirm(tx: &mut Conn, task: &Task, now: Timestamp) -> Result<(), Abort> {
    let_go(tx, task, now)?;
    let text = task.reason.clone().unwrap_or_default();
    notify(
        tx,
        task,
        "confirm",
        &format!("{}: {text}", task.work_item_id),
        now,
    )?;
    comment(tx, task, "confirm", &text, now)
}

pub(super) fn confirm_text(head: Option<&Sha>) -> String {
    let head = head.map_or("the candidate", Sha::short);
    format!("Confirm Deploy is asked for candidate {head}. Approved does not deploy.")
}

fn confirm_request(task: &Task, b: &Briefing) -> String {
    confirm_text(b.candidate.as_ref().map(|c| &c.head).or(task.candidate.as_ref()))
}

/// Keeps what the gates answered.
pub(super) fn keep(tx: &mut Conn, found: &[NewEvidence], now: Timestamp) -> Result<(), Abort> {
    for evidence in found {
        evidence::record(tx, evidence, now)?;
    }
    Ok(())
}
