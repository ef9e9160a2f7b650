//! The built-in tracker: a comment is a row of the task; the state is the task itself.

use crate::domain::time::Timestamp;
use crate::store::comments::{self, NewComment};
use crate::store::outbox::{Notice, OutboxKind};
use crate::store::{Conn, StoreError};

pub(super) fn deliver(tx: &mut Conn, notice: &Notice, now: Timestamp) -> Result<(), StoreError> {
    match (notice.kind, notice.task_id) {
        (OutboxKind::Comment, Some(task_id)) => {
            let comment = NewComment {
                task_id,
                external_id: notice.cause.clone(),
                author: notice.text("author").to_owned(),
                body: notice.text("body").to_owned(),
            };
            comments::insert(tx, &comment, now)?;
            Ok(())
        }
        (OutboxKind::Comment, None)
        | (
            OutboxKind::State | OutboxKind::Notification | OutboxKind::PullRequest | OutboxKind::Artifact,
            _,
        ) => Ok(()),
    }
}
