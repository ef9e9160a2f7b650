//! What becomes of the tasks that wait for one that will never be done.

use crate::domain::job::Job;
use crate::domain::task::{Task, TaskStatus};
use crate::domain::time::Timestamp;
use crate::store::{Conn, jobs, tasks};

use super::claim::{Abort, won};
use super::notices::{comment, notice_state, notify, say, tracker_state};
use crate::store::tasks::TaskChange;

/// Blocks every task that waits for `gone`, which was cancelled: a person decides whether it goes on without. Answers the
/// jobs that were taken away.
pub(in crate::engine) fn strand(tx: &mut Conn, gone: &Task, now: Timestamp) -> Result<Vec<Job>, Abort> {
    let mut stopped = Vec::new();
    for task in tasks::dependants(tx, gone.id)? {
        if task.status.is_terminal() {
            continue;
        }
        let why = format!(
            "{} was cancelled, and this task depends on it: let it go on without (`orch task unblock {}`), or cancel it",
            gone.work_item_id, task.work_item_id
        );
        stopped.extend(jobs::cancel_live(tx, task.id, &why, now)?);
        super::let_go(tx, &task, now)?;
        let status = TaskStatus::Blocked;
        let change = TaskChange {
            status: Some(status),
            reason: Some(Some(why.clone())),
            tracker_state: Some(Some(tracker_state(status, &task.stage).to_owned())),
            ..TaskChange::default()
        };
        let blocked = won(tasks::compare_and_set(tx, task.id, task.version, &change, now)?)?;
        say(tx, &blocked, "blocked", &why, now)?;
        notice_state(tx, &blocked, now)?;
        let text = format!("{} is blocked at {}: {why}", blocked.work_item_id, blocked.stage);
        notify(tx, &blocked, "blocked", &text, now)?;
        comment(tx, &blocked, "blocked", &text, now)?;
    }
    Ok(stopped)
}
