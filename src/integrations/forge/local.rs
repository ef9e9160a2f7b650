//! The local forge's pull requests: rows beside the repository that git itself keeps.

use crate::domain::id::{BranchName, ProjectId, Sha};
use crate::domain::time::Timestamp;
use crate::store::pull_requests::{self, NewPullRequest, PullRequestState};
use crate::store::{Conn, StoreError};

pub(super) fn open_pull_request(
    tx: &mut Conn,
    new: &NewPullRequest,
    now: Timestamp,
) -> Result<(), StoreError> {
    let open = pull_requests::open(tx, new, now)?;
    // Lost: it was closed in this very moment; the next run opens another.
    drop(pull_requests::set_head(tx, open.id, &new.head_sha, now)?);
    Ok(())
}

pub(super) fn record_merged(
    tx: &mut Conn,
    project: ProjectId,
    branch: &BranchName,
    head: &Sha,
    now: Timestamp,
) -> Result<(), StoreError> {
    let open = pull_requests::by_branch(tx, project, branch)?.filter(|p| p.state == PullRequestState::Open);
    if let Some(open) = open {
        // Lost: somebody recorded it already.
        drop(pull_requests::merged(tx, open.id, head, now)?);
    }
    Ok(())
}
