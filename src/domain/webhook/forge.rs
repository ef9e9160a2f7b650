//! Deliveries of Gitea and Forgejo. Which kind one is stands in its headers alone.
//!
//! Shapes: Gitea's `modules/structs/hook.go`, versions 1.22 to 1.25; Forgejo's `action_run_*`.

use serde::Deserialize;

use super::text::Text;
use super::{Malformed, Said, decode, need, short, some};
use crate::domain::id::{BranchName, Sha};

/// Something happened in a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepositoryEvent {
    /// `owner/name`, as the forge writes it.
    pub repository: String,
    /// Who did it.
    pub sender: Option<String>,
    /// What.
    pub what: Happened,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happened {
    /// A branch is at another commit.
    Pushed {
        /// The branch.
        branch: BranchName,
        /// Where it is; none where it was deleted.
        head: Option<Sha>,
    },
    /// A pull request was opened, changed, reviewed or closed.
    PullRequest {
        /// Its number.
        number: i64,
        /// What was done.
        change: PullRequestChange,
        /// Its branch.
        branch: BranchName,
        /// That branch's head.
        head: Sha,
    },
    /// CI said something about a commit.
    Checked {
        /// The commit.
        head: Sha,
        /// Its branch, where the body tells.
        branch: Option<BranchName>,
    },
}

/// What was done to a pull request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PullRequestChange {
    /// It is open, or open again.
    Opened,
    /// Its branch has other commits.
    Synchronized,
    /// Somebody reviewed it.
    Reviewed,
    /// It was merged.
    Merged,
    /// It was closed without a merge.
    Closed,
}

/// What a delivery says. `event` is the header `X-Gitea-Event`, `event_type` the finer `X-Gitea-Event-Type`; one of them
/// may be empty: Gitea 1.23 sends statuses so.
///
/// # Errors
/// [`Malformed`] names the field.
pub fn parse(event: &str, event_type: &str, body: &[u8]) -> Result<Said<RepositoryEvent>, Malformed> {
    let kind = if event.is_empty() { event_type } else { event };
    match kind {
        "push" => pushed(body),
        "pull_request" => pull_request(body),
        _ if kind.starts_with("pull_request_") => reviewed(kind, body),
        "status" => status(body),
        "workflow_run" => workflow_run(body),
        "action_run_success" | "action_run_failure" | "action_run_recover" => action_run(body),
        "" => Ok(Said::nothing("no header says what kind of event it is")),
        _ => Ok(Said::nothing(format!(
            "events of kind {:?} are not used",
            short(kind)
        ))),
    }
}

#[derive(Deserialize)]
struct About {
    repository: Repository,
    #[serde(default)]
    sender: Option<User>,
}

#[derive(Deserialize)]
struct Repository {
    full_name: Text,
}

#[derive(Deserialize)]
struct User {
    #[serde(default)]
    login: Option<Text>,
}

fn event(body: &[u8], what: Happened) -> Result<Said<RepositoryEvent>, Malformed> {
    let about: About = decode(body)?;
    Ok(Said::Event(RepositoryEvent {
        repository: about.repository.full_name.into(),
        sender: about.sender.and_then(|user| some(user.login)),
        what,
    }))
}

#[derive(Deserialize)]
struct Push {
    r#ref: Text,
    after: Text,
}

fn pushed(body: &[u8]) -> Result<Said<RepositoryEvent>, Malformed> {
    let push: Push = decode(body)?;
    let Some(branch) = push.r#ref.as_ref().strip_prefix("refs/heads/") else {
        return Ok(Said::nothing("no branch was pushed"));
    };
    let Ok(branch) = BranchName::parse(branch) else {
        return Ok(Said::nothing("no task has a branch of that name"));
    };
    let gone = push.after.as_ref().bytes().all(|b| b == b'0');
    let head = match gone {
        true => None,
        false => Some(sha(&push.after, "after")?),
    };
    event(body, Happened::Pushed { branch, head })
}

#[derive(Deserialize)]
struct PullRequestBody {
    #[serde(default)]
    action: Option<Text>,
    number: i64,
    pull_request: PullRequest,
}

#[derive(Deserialize)]
struct PullRequest {
    #[serde(default)]
    merged: bool,
    head: Head,
}

#[derive(Deserialize)]
struct Head {
    #[serde(default)]
    r#ref: Option<Text>,
    #[serde(default)]
    label: Option<Text>,
    sha: Text,
}

impl Head {
    /// The label keeps the branch's name where the branch itself is gone.
    fn branch(self) -> Option<BranchName> {
        let named = some(self.r#ref).filter(|name| !name.starts_with("refs/"));
        let label = some(self.label).map(|label| label.rsplit(':').next().unwrap_or_default().to_owned());
        BranchName::parse(&named.or(label)?).ok()
    }
}

fn pull_request(body: &[u8]) -> Result<Said<RepositoryEvent>, Malformed> {
    let read: PullRequestBody = decode(body)?;
    let action = need(some(read.action.clone()), "action")?;
    let change = match (action.as_str(), read.pull_request.merged) {
        ("opened" | "reopened", _) => PullRequestChange::Opened,
        // With a d at Gitea, without one at GitHub.
        ("synchronized" | "synchronize", _) => PullRequestChange::Synchronized,
        ("closed", true) => PullRequestChange::Merged,
        ("closed", false) => PullRequestChange::Closed,
        ("reviewed", _) => PullRequestChange::Reviewed,
        _ => {
            return Ok(Said::nothing(format!(
                "action {:?} of a pull request is not used",
                short(&action)
            )));
        }
    };
    of_pull_request(body, read, change)
}

fn reviewed(kind: &str, body: &[u8]) -> Result<Said<RepositoryEvent>, Malformed> {
    let change = match kind {
        "pull_request_sync" => PullRequestChange::Synchronized,
        "pull_request_approved"
        | "pull_request_rejected"
        | "pull_request_review_approved"
        | "pull_request_review_rejected" => PullRequestChange::Reviewed,
        _ => {
            return Ok(Said::nothing(format!(
                "events of kind {:?} are not used",
                short(kind)
            )));
        }
    };
    let read: PullRequestBody = decode(body)?;
    of_pull_request(body, read, change)
}

fn of_pull_request(
    body: &[u8],
    read: PullRequestBody,
    change: PullRequestChange,
) -> Result<Said<RepositoryEvent>, Malformed> {
    let (number, head) = (read.number, read.pull_request.head);
    let sha = sha(&head.sha, "pull_request.head.sha")?;
    let Some(branch) = head.branch() else {
        return Ok(Said::nothing("no task has a branch of that name"));
    };
    let what = Happened::PullRequest {
        number,
        change,
        branch,
        head: sha,
    };
    event(body, what)
}

#[derive(Deserialize)]
struct Status {
    sha: Text,
}

fn status(body: &[u8]) -> Result<Said<RepositoryEvent>, Malformed> {
    let status: Status = decode(body)?;
    let head = sha(&status.sha, "sha")?;
    event(body, Happened::Checked { head, branch: None })
}

#[derive(Deserialize)]
struct WorkflowRunBody {
    #[serde(default)]
    action: Option<Text>,
    workflow_run: WorkflowRun,
}

#[derive(Deserialize)]
struct WorkflowRun {
    head_sha: Text,
    #[serde(default)]
    head_branch: Option<Text>,
}

fn workflow_run(body: &[u8]) -> Result<Said<RepositoryEvent>, Malformed> {
    let read: WorkflowRunBody = decode(body)?;
    match need(some(read.action), "action")?.as_str() {
        "completed" => {}
        other => {
            return Ok(Said::nothing(format!(
                "a workflow that is {:?} says nothing yet",
                short(other)
            )));
        }
    }
    let head = sha(&read.workflow_run.head_sha, "workflow_run.head_sha")?;
    let branch = some(read.workflow_run.head_branch).and_then(|name| BranchName::parse(&name).ok());
    event(body, Happened::Checked { head, branch })
}

#[derive(Deserialize)]
struct ActionRunBody {
    run: ActionRun,
}

#[derive(Deserialize)]
struct ActionRun {
    commit_sha: Text,
    #[serde(default)]
    prettyref: Option<Text>,
}

fn action_run(body: &[u8]) -> Result<Said<RepositoryEvent>, Malformed> {
    let read: ActionRunBody = decode(body)?;
    let head = sha(&read.run.commit_sha, "run.commit_sha")?;
    // A pull request's run is called "#7".
    let branch = some(read.run.prettyref).and_then(|name| BranchName::parse(&name).ok());
    event(body, Happened::Checked { head, branch })
}

fn sha(text: &Text, path: &str) -> Result<Sha, Malformed> {
    Sha::parse(text.as_ref()).map_err(|e| Malformed::at(path, e))
}

#[cfg(test)]
mod tests;
