//! Gitea's shapes, as much of them as is used. Unknown fields are passed over.

use serde::Deserialize;

use crate::domain::forge::{CommitStatus, PullRequest, PullState, RepositoryName, Review};
use crate::domain::id::{BranchName, Sha};

#[derive(Deserialize)]
pub(super) struct Refusal {
    #[serde(default)]
    pub message: String,
    /// Of a conflict, which has no message.
    #[serde(default, rename = "StdErr")]
    pub said: String,
}

#[derive(Deserialize)]
pub(super) struct Branch {
    pub commit: Commit,
}

#[derive(Deserialize)]
pub(super) struct Commit {
    pub id: String,
}

#[derive(Deserialize)]
pub(super) struct Compared {
    pub total_commits: u64,
}

/// The statuses of a commit; `statuses` is null or absent without any.
#[derive(Deserialize)]
pub(super) struct Combined {
    #[serde(default)]
    pub statuses: Option<Vec<Status>>,
}

#[derive(Deserialize)]
pub(super) struct Status {
    id: i64,
    #[serde(default)]
    context: String,
    /// In a webhook it is called `state`.
    status: String,
}

impl From<Status> for CommitStatus {
    fn from(status: Status) -> Self {
        Self {
            id: status.id,
            context: status.context,
            state: status.status,
        }
    }
}

#[derive(Deserialize)]
pub(super) struct Pull {
    number: i64,
    state: String,
    #[serde(default)]
    merged: bool,
    #[serde(default)]
    merge_commit_sha: Option<String>,
    base: Side,
    head: Side,
}

#[derive(Deserialize)]
struct Side {
    /// `refs/pull/N/head` where the branch is gone; `label` keeps its name.
    #[serde(rename = "ref")]
    reference: String,
    #[serde(default)]
    label: String,
    #[serde(default)]
    sha: String,
    #[serde(default)]
    repo: Option<Repo>,
}

#[derive(Deserialize)]
struct Repo {
    full_name: String,
}

impl Pull {
    pub(super) fn of(self, repository: &RepositoryName) -> PullRequest {
        let state = match (self.merged, self.state.as_str()) {
            (true, _) => PullState::Merged,
            (false, "open") => PullState::Open,
            (false, _) => PullState::Closed,
        };
        // A fork may have a branch of the same name.
        let own = self
            .head
            .repo
            .is_some_and(|r| r.full_name.eq_ignore_ascii_case(&repository.to_string()));
        let name = match self.head.reference.starts_with("refs/pull/") {
            true => self.head.label,
            false => self.head.reference,
        };
        PullRequest {
            number: self.number,
            state,
            branch: BranchName::parse(&name).ok().filter(|_| own),
            base: self.base.reference,
            head: Sha::parse(&self.head.sha).ok(),
            merged: self
                .merge_commit_sha
                .filter(|_| self.merged)
                .and_then(|sha| Sha::parse(&sha).ok()),
        }
    }
}

#[derive(Deserialize)]
pub(super) struct Reviewed {
    id: i64,
    #[serde(default)]
    user: Option<User>,
    #[serde(default)]
    state: String,
    #[serde(default)]
    commit_id: String,
    #[serde(default)]
    dismissed: bool,
    #[serde(default)]
    official: bool,
}

/// What an account may do in the repository: admin, write, read, none, owner.
#[derive(Deserialize)]
pub(super) struct Permitted {
    pub permission: String,
}

#[derive(Deserialize)]
struct User {
    #[serde(default)]
    login: String,
}

impl From<Reviewed> for Review {
    fn from(review: Reviewed) -> Self {
        Self {
            id: review.id,
            by: review.user.map(|user| user.login).unwrap_or_default(),
            state: review.state,
            commit: Sha::parse(&review.commit_id).ok(),
            dismissed: review.dismissed,
            official: review.official,
        }
    }
}

#[derive(Deserialize)]
pub(super) struct Comment {
    #[serde(default)]
    pub body: String,
}

/// A repository, as far as Orch has to know it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct About {
    /// Nothing can be changed in it.
    #[serde(default)]
    pub archived: bool,
    /// May pull requests be merged as a fast-forward alone. None: Gitea before 1.22.
    #[serde(default)]
    pub allow_fast_forward_only_merge: Option<bool>,
    /// The same by a merge commit.
    #[serde(default)]
    pub allow_merge_commits: Option<bool>,
    /// The same as one commit.
    #[serde(default)]
    pub allow_squash_merge: Option<bool>,
    /// The same by a rebase.
    #[serde(default)]
    pub allow_rebase: Option<bool>,
    /// Whether it has pull requests at all.
    #[serde(default)]
    pub has_pull_requests: Option<bool>,
    /// What the token's account may do.
    #[serde(default)]
    pub permissions: Permissions,
}

/// What an account may do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Permissions {
    /// Look at its webhooks.
    #[serde(default)]
    pub admin: bool,
    /// Push and merge.
    #[serde(default)]
    pub push: bool,
}

/// A webhook. Its secret is never shown.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Hook {
    /// Whether it is sent.
    #[serde(default)]
    pub active: bool,
    /// The kinds of events that it tells.
    #[serde(default)]
    pub events: Vec<String>,
    /// Where and how.
    #[serde(default)]
    pub config: HookConfig,
}

/// Where and how a webhook is sent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct HookConfig {
    /// Where to.
    #[serde(default)]
    pub url: String,
    /// `json` or `form`.
    #[serde(default)]
    pub content_type: String,
}

#[derive(Deserialize)]
pub(super) struct Version {
    pub version: String,
}
