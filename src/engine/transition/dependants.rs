//! What becomes of the tasks that wait for one that will never be done.

use crate::domain::job::Job;
use crate::domain::task::Task;
use crate::domain::time::Timestamp;
use crate::store::{Conn, jobs, tasks};

use super::claim::Abort;
use super::{Briefing, block};

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
        let b = Briefing::line("blocked", why.clone());
        block(tx, now, &task, &why, &b)?;
    }
    Ok(stopped)
}
