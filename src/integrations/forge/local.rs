//! Pull requests as rows: all that the local forge has of them, and what Orch knows of those that are elsewhere.

use crate::domain::id::{BranchName, ProjectId, Sha};
use crate::domain::time::Timestamp;
use crate::store::pull_requests::{self, NewPullRequest, PullRequest, PullRequestState};
use crate::store::{Conn, Guarded, StoreError};

pub(super) fn open_pull_request(
    tx: &mut Conn,
    new: &NewPullRequest,
    now: Timestamp,
) -> Result<PullRequest, StoreError> {
    let open = pull_requests::open(tx, new, now)?;
    Ok(match pull_requests::set_head(tx, open.id, &new.head_sha, now)? {
        Guarded::Won(open) => open,
        // It was closed in this very moment; the next run opens another.
        Guarded::Lost => open,
    })
}

/// None: somebody recorded it already.
pub(super) fn record_merged(
    tx: &mut Conn,
    project: ProjectId,
    branch: &BranchName,
    head: &Sha,
    now: Timestamp,
) -> Result<Option<PullRequest>, StoreError> {
    let open = pull_requests::by_branch(tx, project, branch)?.filter(|p| p.state == PullRequestState::Open);
    let Some(open) = open else { return Ok(None) };
    match pull_requests::merged(tx, open.id, head, now)? {
        Guarded::Won(merged) => Ok(Some(merged)),
        Guarded::Lost => Ok(None),
    }
}
