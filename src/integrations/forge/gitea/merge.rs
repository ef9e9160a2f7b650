//! Merges a pull request at exactly the head that was tested. Every answer that Gitea is documented to
//! give means something of its own; what is not answered is never sent again before the pull request was asked.

use serde_json::json;

use crate::domain::forge::{MergeStyle, PullRequest, PullState};
use crate::domain::id::{BranchName, Sha};
use crate::domain::time::Timestamp;

use super::Gitea;
use super::error::GiteaError;
use super::exchange::Call;

/// What stands before a merge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Merging {
    /// Nothing: it is to be merged.
    Ready,
    /// It is in main.
    Already,
    /// The pull request was merged. Git knows with which head, and Gitea does not: it tells of the branch's, as it is now.
    Merged(PullRequest),
    /// A person has it go into another branch.
    Elsewhere {
        /// Into which.
        base: String,
    },
    /// Main is elsewhere than the candidate was tested on.
    Stale {
        /// Where it is; none when it was deleted.
        found: Option<Sha>,
    },
    /// A person closed the pull request.
    Closed,
}

/// What became of one request to merge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sent {
    /// It is merged. Git knows as what: somebody else may have been faster.
    Merged(PullRequest),
    /// Main, or the branch, is not where the candidate was tested: looked at anew.
    Stale {
        /// In Gitea's words.
        why: String,
    },
    /// Gitea does not merge it now; nothing was changed. A person may have to do something, as the words say.
    NotNow {
        /// In Gitea's words.
        why: String,
    },
    /// A person closed the pull request.
    Closed,
}

impl Gitea {
    /// Looks what stands before a merge of this pull request's `head` into `main`, which is believed to be at `expected`.
    ///
    /// # Errors
    /// See [`GiteaError`].
    pub async fn before_merge(
        &self,
        number: i64,
        base: &BranchName,
        (head, expected): (&Sha, &Sha),
        now: Timestamp,
    ) -> Result<Merging, GiteaError> {
        let main = self.branch_head(base, now).await?;
        if let Some(main) = &main
            && self.contains(main, head, now).await?
        {
            return Ok(Merging::Already);
        }
        let pull = self.pull(number, now).await?;
        Ok(match pull.state {
            PullState::Merged => Merging::Merged(pull),
            PullState::Closed => Merging::Closed,
            PullState::Open if pull.base != base.as_str() => Merging::Elsewhere { base: pull.base },
            PullState::Open if main.as_ref() == Some(expected) => Merging::Ready,
            PullState::Open => Merging::Stale { found: main },
        })
    }

    /// Asks for the merge once. Whoever calls holds the lease, and looked at it just now. Only of a fast-forward Gitea can be
    /// sure that main is where it was: of the others git has to be asked what main has afterwards.
    ///
    /// # Errors
    /// See [`GiteaError`]; nobody knows then whether it was merged, and the pull request has to be asked.
    pub async fn merge(
        &self,
        number: i64,
        (head, style): (&Sha, MergeStyle),
        now: Timestamp,
    ) -> Result<Sent, GiteaError> {
        let body = json!({
            "Do": word(style), "head_commit_id": head, "delete_branch_after_merge": false,
        });
        let call = Call::post(self.path(&format!("/pulls/{number}/merge")), body);
        let answer = deed!("merge a pull request at Gitea", self.ask(&call).await);
        let why = match answer {
            Ok(answer) => match answer.told.status {
                200 => String::new(),
                201 => "Gitea put the merge off until all checks have passed".to_owned(),
                404 | 405 | 500..=599 => answer.words(),
                409 => {
                    let why = answer.words();
                    return Ok(Sent::Stale { why });
                }
                423 => "the repository is archived".to_owned(),
                _ => return Err(answer.good(now).err().unwrap_or_else(|| odd(call.path))),
            },
            Err(e @ GiteaError::Unanswered { .. }) => e.to_string(),
            Err(e) => return Err(e),
        };
        // The answer alone proves nothing: 405 is also said of what is merged, and 200 has no body.
        let pull = self.pull(number, now).await?;
        Ok(match pull.state {
            PullState::Merged => Sent::Merged(pull),
            PullState::Closed => Sent::Closed,
            PullState::Open => Sent::NotNow {
                why: match why.is_empty() {
                    true => "it says that it merged, and did not".to_owned(),
                    false => why,
                },
            },
        })
    }
}

/// As Gitea calls it.
fn word(style: MergeStyle) -> &'static str {
    match style {
        MergeStyle::FastForward => "fast-forward-only",
        MergeStyle::Merge => "merge",
        MergeStyle::Squash => "squash",
        MergeStyle::Rebase => "rebase",
    }
}

/// A success that is not documented.
fn odd(url: String) -> GiteaError {
    GiteaError::Unreadable {
        url,
        why: "a success that means nothing for a merge".to_owned(),
    }
}
