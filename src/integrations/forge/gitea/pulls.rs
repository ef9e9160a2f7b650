//! Pull requests and their reviews.

use std::collections::BTreeMap;

use serde_json::json;

use crate::domain::forge::{PullRequest, PullState, Review};
use crate::domain::id::{BranchName, Sha};
use crate::domain::time::Timestamp;

use super::error::GiteaError;
use super::exchange::{Call, Missing};
use super::shapes::{Permitted, Pull, Reviewed};
use super::{Gitea, encoded};

/// Reviewers that are looked at in one go; whoever floods a pull request costs no more.
const MOST_ASKED: usize = 20;

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

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ensured {
    /// It is open, and this is its number.
    Open(i64),
    /// The branch is in its base already: there is nothing to open it for.
    NothingToMerge,
}

impl Gitea {
    /// Opens a pull request, or finds the one that is open for this branch. Safe to repeat, by one caller at a time.
    ///
    /// # Errors
    /// See [`GiteaError`].
    pub async fn ensure_pull(&self, new: &NewPull<'_>, now: Timestamp) -> Result<Ensured, GiteaError> {
        // Asked first: whoever sent it before may have died before the answer, and what it opened may be merged by now.
        if let Some(open) = self.open_pull(new.branch, new.base, now).await? {
            return Ok(Ensured::Open(open.number));
        }
        let head = self.branch_head(new.branch, now).await?;
        if let (Some(head), Some(base)) = (head, self.branch_head(new.base, now).await?)
            && self.contains(&base, &head, now).await?
        {
            return Ok(Ensured::NothingToMerge);
        }
        let body = json!({
            "head": new.branch, "base": new.base, "title": new.title, "body": new.body,
        });
        let call = Call::post(self.path("/pulls"), body);
        let answer = deed!("open a pull request at Gitea", self.ask(&call).await)?;
        if answer.told.status != 409 {
            let pull: Pull = answer.good(now)?.read()?;
            return Ok(Ensured::Open(pull.of(&self.repository).number));
        }
        // Somebody else was faster.
        let url = answer.url.clone();
        let open = self.open_pull(new.branch, new.base, now).await?;
        open.map(|open| Ensured::Open(open.number))
            .ok_or_else(|| GiteaError::Failed {
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
                (call, Missing::Hidden),
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

    /// What those who may write said of a pull request's head. Anybody may review in a public repository.
    ///
    /// # Errors
    /// See [`GiteaError`].
    pub async fn reviews(&self, number: i64, head: &Sha, now: Timestamp) -> Result<Vec<Review>, GiteaError> {
        let call = Call::get(self.path(&format!("/pulls/{number}/reviews")));
        let reviews: Vec<Reviewed> = self
            .pages((call, Missing::Hidden), |page| page, |_| false, now)
            .await?;
        let mut reviews: Vec<Review> = reviews.into_iter().map(Review::from).collect();
        reviews.retain(|review| review.decides(head));
        let mut writers: BTreeMap<String, bool> = BTreeMap::new();
        for review in &reviews {
            if review.official {
                writers.insert(review.by.clone(), true);
            }
        }
        for review in &reviews {
            if !writers.contains_key(&review.by) && writers.len() < MOST_ASKED {
                let writes = self.may_write(&review.by, now).await?;
                writers.insert(review.by.clone(), writes);
            }
        }
        reviews.retain(|review| writers.get(&review.by) == Some(&true));
        Ok(reviews)
    }

    /// Whether an account may write. Only who administers the repository may ask: else it counts as one that may not.
    async fn may_write(&self, login: &str, now: Timestamp) -> Result<bool, GiteaError> {
        let path = format!("/collaborators/{}/permission", encoded(login));
        match self.get::<Permitted>(self.path(&path), now).await {
            Ok(told) => Ok(matches!(&*told.permission, "admin" | "write" | "owner")),
            Err(GiteaError::NotFound { .. } | GiteaError::Denied { status: 403, .. }) => Ok(false),
            Err(e) => Err(e),
        }
    }
}
