//! Pull requests and their reviews.

use serde_json::json;

use crate::domain::forge::{PullRequest, PullState, Review};
use crate::domain::id::BranchName;
use crate::domain::time::Timestamp;

use super::Gitea;
use super::error::GiteaError;
use super::exchange::Call;
use super::shapes::{Pull, Reviewed};

/// A pull request that there is to be.
#[derive(Clone, Copy, Debug)]
pub struct NewPull<'a> {
    /// What is to be merged.
    pub branch: &'a BranchName,
    /// Into what.
    pub base: &'a BranchName,
    /// One line.
    pub title: &'a str,
    /// What people read first.
    pub body: &'a str,
}

impl Gitea {
    /// The number of the open pull request for this branch: the one that is there, else a new one. Safe to repeat.
    ///
    /// # Errors
    /// See [`GiteaError`].
    pub async fn ensure_pull(&self, new: &NewPull<'_>, now: Timestamp) -> Result<i64, GiteaError> {
        // Asked first: whoever sent it before may have died before the answer.
        if let Some(open) = self.open_pull(new.branch, new.base, now).await? {
            return Ok(open.number);
        }
        let body = json!({
            "head": new.branch, "base": new.base, "title": new.title, "body": new.body,
        });
        let call = Call::post(self.path("/pulls"), body);
        let answer = deed!("open a pull request at Gitea", self.ask(&call).await)?;
        if answer.told.status != 409 {
            let pull: Pull = answer.good(now)?.read()?;
            return Ok(pull.of(&self.repository).number);
        }
        // Somebody else was faster.
        let url = answer.url.clone();
        let open = self.open_pull(new.branch, new.base, now).await?;
        open.map(|open| open.number).ok_or_else(|| GiteaError::Failed {
            url,
            status: 409,
            words: "it says that the pull request exists, and lists none".to_owned(),
            after: None,
        })
    }

    /// The open pull request of a branch.
    ///
    /// # Errors
    /// See [`GiteaError`].
    pub async fn open_pull(
        &self,
        branch: &BranchName,
        base: &BranchName,
        now: Timestamp,
    ) -> Result<Option<PullRequest>, GiteaError> {
        // Gitea filters nothing by branch, and what it finds by base and head is of any state.
        let call = Call {
            query: vec![("state", "open".to_owned())],
            ..Call::get(self.path("/pulls"))
        };
        let entries = |page: Vec<Pull>| page.into_iter().map(|p| p.of(&self.repository)).collect();
        let wanted = |pull: &PullRequest| {
            pull.state == PullState::Open
                && pull.branch.as_ref() == Some(branch)
                && pull.base == base.as_str()
        };
        let found = self
            .pages(
                call,
                entries,
                |found: &[PullRequest]| found.iter().any(wanted),
                now,
            )
            .await?;
        Ok(found.into_iter().find(wanted))
    }

    /// A pull request.
    ///
    /// # Errors
    /// See [`GiteaError`].
    pub async fn pull(&self, number: i64, now: Timestamp) -> Result<PullRequest, GiteaError> {
        let pull: Pull = self.get(self.path(&format!("/pulls/{number}")), now).await?;
        Ok(pull.of(&self.repository))
    }

    /// What people said of a pull request.
    ///
    /// # Errors
    /// See [`GiteaError`].
    pub async fn reviews(&self, number: i64, now: Timestamp) -> Result<Vec<Review>, GiteaError> {
        let call = Call::get(self.path(&format!("/pulls/{number}/reviews")));
        let reviews: Vec<Reviewed> = self.pages(call, |page| page, |_| false, now).await?;
        Ok(reviews.into_iter().map(Review::from).collect())
    }
}
