//! Gitea and Forgejo over their REST API: statuses, pull requests, reviews, comments, merges. Never decides when something
//! is asked, and never repeats what it sent.
//!
//! Paths and shapes: <https://docs.gitea.com/api>, versions 1.22 to 1.25; Forgejo has the same.

mod comments;
mod error;
mod exchange;
mod hooks;
mod merge;
pub(super) mod notices;
mod pulls;
mod shapes;

use crate::domain::forge::{CommitStatus, RepositoryName};
use crate::domain::id::{BranchName, Sha};
use crate::domain::time::Timestamp;
use crate::settings::{Secret, Settings};

pub use comments::NewComment;
pub use error::GiteaError;
pub use merge::{Merging, Sent};
pub use pulls::{Ensured, NewPull};
pub use shapes::{About, Hook, HookConfig, Permissions};

use exchange::{Call, Missing};
use shapes::{Branch, Combined, Compared, Version};

/// One repository of the installation that the settings name.
#[derive(Clone, Debug)]
pub struct Gitea {
    /// `<url>/api/v1`
    root: String,
    token: Secret,
    repository: RepositoryName,
}

impl Gitea {
    /// None: the settings name no installation, or no token for it.
    pub fn of(settings: &Settings, repository: &RepositoryName) -> Option<Self> {
        Some(Self {
            root: format!("{}/api/v1", settings.gitea.url.as_ref()?),
            token: settings.gitea.token.clone()?,
            repository: repository.clone(),
        })
    }

    /// The repository.
    pub fn repository(&self) -> &RepositoryName {
        &self.repository
    }

    /// The installation's version, which it tells to everybody.
    ///
    /// # Errors
    /// See [`GiteaError`].
    pub async fn version(&self, now: Timestamp) -> Result<String, GiteaError> {
        let told: Version = self.get("version", now).await?;
        Ok(told.version)
    }

    /// What the repository allows, and what the token's account may do there.
    ///
    /// # Errors
    /// See [`GiteaError`].
    pub async fn about(&self, now: Timestamp) -> Result<About, GiteaError> {
        self.get(self.path(""), now).await
    }

    /// The head of a branch; none: there is no such branch, or nothing that the token may see.
    ///
    /// # Errors
    /// See [`GiteaError`].
    pub async fn branch_head(&self, branch: &BranchName, now: Timestamp) -> Result<Option<Sha>, GiteaError> {
        let path = self.path(&format!("/branches/{}", encoded(branch.as_str())));
        let answer = self.ask(&Call::get(path)).await?;
        match answer.told.status {
            404 => Ok(None),
            _ => {
                let answer = answer.good(now)?;
                let branch: Branch = answer.read()?;
                match Sha::parse(&branch.commit.id) {
                    Ok(head) => Ok(Some(head)),
                    Err(e) => Err(GiteaError::Unreadable {
                        url: answer.url,
                        why: e.to_string(),
                    }),
                }
            }
        }
    }

    /// True when `commit` is an ancestor of `of` or the same.
    ///
    /// # Errors
    /// See [`GiteaError`].
    pub async fn contains(&self, of: &Sha, commit: &Sha, now: Timestamp) -> Result<bool, GiteaError> {
        if of == commit {
            return Ok(true);
        }
        let path = self.path(&format!("/compare/{of}...{commit}"));
        let compared: Compared = self.get(path, now).await?;
        Ok(compared.total_commits == 0)
    }

    /// What CI said of a commit.
    ///
    /// # Errors
    /// See [`GiteaError`].
    pub async fn statuses(&self, commit: &Sha, now: Timestamp) -> Result<Vec<CommitStatus>, GiteaError> {
        let call = Call::get(self.path(&format!("/commits/{commit}/status")));
        let entries = |page: Combined| page.statuses.unwrap_or_default();
        let statuses = self
            .pages((call, Missing::Refused), entries, |_| false, now)
            .await?;
        Ok(statuses.into_iter().map(CommitStatus::from).collect())
    }

    fn path(&self, rest: &str) -> String {
        format!("repos/{}{rest}", self.repository)
    }
}

/// A name as one segment of a path.
fn encoded(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                text.push(char::from(byte))
            }
            _ => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}
