//! What Gitea is to be told: kept in the outbox, in the transaction that caused it. Never sends.

use serde_json::json;

use crate::domain::delivery::Channel;
use crate::domain::id::Sha;
use crate::domain::time::Timestamp;
use crate::store::outbox::{self, NewOutbox, OutboxKind};
use crate::store::pull_requests::PullRequest;
use crate::store::{Conn, StoreError};

/// That this pull request is to be open there. Told again until it is: there may have been nothing to merge at first.
pub(in crate::integrations::forge) fn open(
    tx: &mut Conn,
    pull: &PullRequest,
    now: Timestamp,
) -> Result<(), StoreError> {
    if pull.forge_number.is_some() {
        return Ok(());
    }
    let body = "Opened by Orch. Reviews and the statuses of CI count; comments drive nothing.";
    let payload = json!({ "pull_request": pull.id, "title": pull.title, "body": body });
    let new = notice(tx, pull, (OutboxKind::PullRequest, "open"), payload, now)?;
    outbox::push_again(tx, &new, now)
}

/// That it was merged by Orch.
pub(in crate::integrations::forge) fn merged(
    tx: &mut Conn,
    pull: &PullRequest,
    head: &Sha,
    now: Timestamp,
) -> Result<(), StoreError> {
    let body = format!("{} merged into {}", head.short(), pull.base_branch);
    let payload = json!({ "pull_request": pull.id, "author": "orch", "body": body });
    let new = notice(tx, pull, (OutboxKind::Comment, "merged"), payload, now)?;
    outbox::push(tx, &new, now).map(drop)
}

fn notice(
    tx: &mut Conn,
    pull: &PullRequest,
    (kind, about): (OutboxKind, &str),
    payload: serde_json::Value,
    now: Timestamp,
) -> Result<NewOutbox, StoreError> {
    let held = outbox::held_until(tx, Channel::Forge, now)?;
    Ok(NewOutbox {
        task_id: Some(pull.task_id),
        cause: format!("pull-request:{}:{about}", pull.id),
        kind,
        channel: Channel::Forge,
        payload,
        available_at: held.unwrap_or(now),
    })
}
