//! What people and trackers are told about a move, stored in the move's own transaction. Never delivers.

use serde_json::json;

use super::{Abort, Setting};
use crate::domain::delivery::Channel;
use crate::domain::id::StageName;
use crate::domain::pipeline::CREATED;
use crate::domain::reconcile;
use crate::domain::task::{Task, TaskStatus};
use crate::domain::time::Timestamp;
use crate::store::events::NewEvent;
use crate::store::jobs::Bare;
use crate::store::outbox::{NewOutbox, OutboxKind};
use crate::store::{Conn, StoreError, events, jobs, outbox};

/// One line of what happened to a task, for people.
pub(in crate::engine) fn say(
    tx: &mut Conn,
    task: &Task,
    kind: &str,
    text: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    events::push(
        tx,
        NewEvent {
            task_id: task.id,
            stage: &task.stage,
            kind,
            text,
        },
        now,
    )
}

/// The tracker's state name for a standing; the seeds' names.
fn tracker_state(status: TaskStatus, stage: &StageName) -> &'static str {
    match status {
        TaskStatus::Active if stage.as_str() == CREATED => "Todo",
        TaskStatus::Active => "In Progress",
        TaskStatus::WaitingHuman => "In Review",
        TaskStatus::NeedsInput => "Needs Input",
        TaskStatus::Blocked => "Blocked",
        TaskStatus::Cancelled => "Cancelled",
        TaskStatus::Done => "Done",
    }
}

pub(super) fn notice_state(tx: &mut Conn, task: &Task, now: Timestamp) -> Result<(), Abort> {
    let state = tracker_state(task.status, &task.stage);
    push(
        tx,
        task,
        OutboxKind::State,
        &format!("state:{}:{}", task.id, task.version),
        // How the task stood: its project has the board's names.
        json!({ "state": state, "status": task.status.as_str(), "stage": task.stage.as_str() }),
        now,
    )
}

/// A comment on the issue, once for its cause in this version of the task.
pub(in crate::engine) fn comment(
    tx: &mut Conn,
    task: &Task,
    about: &str,
    body: &str,
    now: Timestamp,
) -> Result<(), Abort> {
    let cause = format!("comment:{about}:{}:{}", task.id, task.version);
    push(
        tx,
        task,
        OutboxKind::Comment,
        &cause,
        json!({ "author": "orch", "body": body }),
        now,
    )
}

/// An artifact of Orch's own about a task whose candidate is merged: a file in the task's folder on the project's records
/// ref, or on the task's branch where it names none. Once for its name in this version of the task.
pub(in crate::engine) fn record_artifact(
    tx: &mut Conn,
    task: &Task,
    name: &str,
    text: &str,
    now: Timestamp,
) -> Result<(), Abort> {
    let cause = format!("artifact:{name}:{}:{}", task.id, task.version);
    push(
        tx,
        task,
        OutboxKind::Artifact,
        &cause,
        json!({ "name": name, "text": text }),
        now,
    )
}

/// A notification to people, once for its cause in this version of the task.
pub(in crate::engine) fn notify(
    tx: &mut Conn,
    task: &Task,
    about: &str,
    text: &str,
    now: Timestamp,
) -> Result<(), Abort> {
    let cause = format!("notify:{about}:{}:{}", task.id, task.version);
    push(
        tx,
        task,
        OutboxKind::Notification,
        &cause,
        json!({ "about": about, "task": task.work_item_id.as_str(), "text": text }),
        now,
    )
}

/// Tells people that a job failed whose task cannot be read; the lease that the task may hold is given back.
pub(in crate::engine) fn tell_failed(
    tx: &mut Conn,
    job: &Bare,
    why: &str,
    now: Timestamp,
) -> Result<(), Abort> {
    super::give_back(tx, job.task_id, job.project_id, now)?;
    let claim = job.claim;
    let text = format!("job {} ({}) failed: {why}", claim.job, job.agent);
    let row = NewOutbox {
        task_id: Some(job.task_id),
        cause: format!("notify:failed:{}:{}", claim.job, claim.epoch),
        kind: OutboxKind::Notification,
        channel: Channel::People,
        payload: json!({ "about": "blocked", "text": text }),
        available_at: now,
    };
    outbox::push(tx, &row, now)?;
    Ok(())
}

/// Names the alert about a visit that takes long.
pub(in crate::engine) fn alert_cause(task: &Task) -> String {
    format!("notify:waits:{}:{}", task.id, task.visit)
}

/// Tells people which gate keeps a task in its stage for long, and why: once for a visit. What the work itself took does
/// not count.
pub(in crate::engine) fn alert_if_overdue(
    tx: &mut Conn,
    s: &Setting,
    task: &Task,
    why: &str,
) -> Result<(), Abort> {
    let ends = jobs::last_ends(tx, &[task.id])?;
    let waited = s
        .now
        .since(reconcile::idle_since(task, ends.get(&task.id).copied()));
    if waited < s.gate_alert {
        return Ok(());
    }
    let text = format!(
        "{} waits at {} for {} min: {why}",
        task.work_item_id,
        task.stage,
        waited.as_secs() / 60
    );
    let cause = alert_cause(task);
    let payload = json!({ "about": "waits", "task": task.work_item_id.as_str(), "text": text });
    push(tx, task, OutboxKind::Notification, &cause, payload, s.now)
}

fn push(
    tx: &mut Conn,
    task: &Task,
    kind: OutboxKind,
    cause: &str,
    payload: serde_json::Value,
    now: Timestamp,
) -> Result<(), Abort> {
    let row = NewOutbox {
        task_id: Some(task.id),
        cause: cause.to_owned(),
        kind,
        channel: match kind {
            OutboxKind::Comment | OutboxKind::State => Channel::Tracker,
            OutboxKind::Notification => Channel::People,
            OutboxKind::PullRequest => Channel::Forge,
            OutboxKind::Artifact => Channel::Records,
        },
        payload,
        available_at: now,
    };
    outbox::push(tx, &row, now)?;
    Ok(())
}
