//! Where branches live, pull requests are kept and candidates are merged.

pub mod gitea;
mod local;

use crate::domain::forge;
use crate::domain::gate::Verdict;
use crate::domain::id::{BranchName, ProjectId, Sha};
use crate::domain::time::Timestamp;
use crate::settings::Settings;
use crate::settings::project::{ForgeKind, Project};
use crate::store::pull_requests::NewPullRequest;
use crate::store::{Conn, StoreError};

use gitea::Gitea;

/// A forge that a project names and that the settings say nothing of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("forge = \"{0}\" is not set up: set gitea.url and gitea.token")]
pub struct NotSetUp(pub &'static str);

/// A forge, with the project's repository there.
#[derive(Clone, Debug)]
pub enum Forge {
    /// A plain git repository; pull requests are rows, merges are fast-forwards by git itself.
    Local,
    /// Gitea or Forgejo; pull requests are there, and the rows say what Orch knows of them.
    Gitea(Gitea),
}

impl Forge {
    /// The forge that a project names.
    ///
    /// # Errors
    /// [`NotSetUp`].
    pub fn of(project: &Project, settings: &Settings) -> Result<Self, NotSetUp> {
        match project.forge {
            ForgeKind::Local => Ok(Self::Local),
            ForgeKind::Gitea => {
                let repository = project.forge_repository.as_ref();
                let gitea = repository.and_then(|repository| Gitea::of(settings, repository));
                gitea.map(Self::Gitea).ok_or(NotSetUp(project.forge.as_str()))
            }
        }
    }

    /// One open pull request per branch, its head at `new.head_sha`. Where it is kept elsewhere, that it is to be opened
    /// there is written with it. Safe to repeat.
    ///
    /// # Errors
    /// The database's.
    pub fn open_pull_request(
        &self,
        tx: &mut Conn,
        new: &NewPullRequest,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let open = local::open_pull_request(tx, new, now)?;
        match self {
            Self::Local => Ok(()),
            Self::Gitea(_) => gitea::notices::open(tx, &open, now),
        }
    }

    /// Notes that the branch's pull request went in with this head, and says so there. Safe to repeat.
    ///
    /// # Errors
    /// The database's.
    pub fn record_merged(
        &self,
        tx: &mut Conn,
        (project, branch): (ProjectId, &BranchName),
        head: &Sha,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let merged = local::record_merged(tx, project, branch, head, now)?;
        match (self, merged) {
            (Self::Gitea(_), Some(merged)) => gitea::notices::merged(tx, &merged, head, now),
            (Self::Gitea(_), None) | (Self::Local, _) => Ok(()),
        }
    }

    /// What CI says of a commit. None: this forge has no CI.
    pub async fn checks(&self, head: &Sha, now: Timestamp) -> Option<Verdict> {
        match self {
            Self::Local => None,
            Self::Gitea(gitea) => Some(match gitea.statuses(head, now).await {
                Ok(statuses) => forge::checks(&statuses),
                Err(e) => Verdict::unknown(e.to_string()),
            }),
        }
    }

    /// What people say of a branch's pull request, which is `known` or else looked for. None: this forge keeps no reviews.
    pub async fn reviews(
        &self,
        (branch, base): (&BranchName, &BranchName),
        head: &Sha,
        known: Option<i64>,
        now: Timestamp,
    ) -> Option<Verdict> {
        let Self::Gitea(gitea) = self else { return None };
        let asked = async {
            let number = match known {
                Some(number) => Some(number),
                None => gitea.open_pull(branch, base, now).await?.map(|pull| pull.number),
            };
            Ok::<_, gitea::GiteaError>(match number {
                Some(number) => forge::reviews(&gitea.reviews(number, head, now).await?, head),
                None => Verdict::pending("its pull request is not open at the forge yet"),
            })
        };
        Some(asked.await.unwrap_or_else(|e| Verdict::unknown(e.to_string())))
    }
}
