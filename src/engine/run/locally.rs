//! Merges a candidate in a repository without a forge of its own: git moves main, to the candidate or to a commit with the
//! candidate's tree, and what main has then is looked at. Never decides when.

use crate::domain::forge::MergeStyle;
use crate::domain::id::Sha;
use crate::git::{GitError, Join};
use crate::integrations::forge::Forge;

use super::super::look::{contains, tip};
use super::super::mergeable::orch;
use super::super::{EngineError, ProjectHandle, blocking};
use super::Attempt;
use super::forge::Came;

/// The commit that main is to be moved to instead of the candidate, at a repository without a forge; none where that is the
/// candidate itself.
pub(super) async fn joined(a: &Attempt, head: &Sha, main: &Sha) -> Result<Option<Sha>, EngineError> {
    let Forge::Local = a.project.forge else {
        return Ok(None);
    };
    let what = format!("{}: {}", a.task.work_item_id, a.task.title);
    let (how, message) = match a.project.config.merge_style {
        // On top of main already: there is nothing to rebase.
        MergeStyle::FastForward | MergeStyle::Rebase => return Ok(None),
        MergeStyle::Merge => (Join::Merge, format!("Merge {what}\n")),
        MergeStyle::Squash => (Join::Squash, format!("{what}\n")),
    };
    let (project, head, main) = (a.project.clone(), head.clone(), main.clone());
    blocking(move || project.repository()?.join((&head, &main), how, &message, &orch())).await
}

/// Whether main has a commit that was made for it.
pub(super) async fn is_in(a: &Attempt, main: &Sha, commit: Sha) -> Result<bool, EngineError> {
    let (project, main) = (a.project.clone(), main.clone());
    blocking(move || match contains(&project.repository()?, &main, &commit) {
        // Never pushed, and forgotten here.
        Err(GitError::UnknownCommit { .. }) => Ok(false),
        found => found,
    })
    .await
}

/// Moves main from where it was tested on, and looks what it has then: a hook of the repository may have put it elsewhere.
pub(super) fn merge(
    project: &ProjectHandle,
    (head, main): (&Sha, &Sha),
    joined: Option<&Sha>,
) -> Result<Came, EngineError> {
    let (repo, name) = (project.repository()?, &project.config.main);
    let moved_to = joined.unwrap_or(head);
    if joined.is_some() {
        let found = tip(&repo, name)?;
        // A person was faster, with the candidate itself.
        if contains(&repo, &found, head)? && !contains(&repo, &found, moved_to)? {
            return Ok(Came::Merged { left_behind: None });
        }
    }
    let came = Came::from(repo.fast_forward_main(moved_to, main)?);
    let Came::Merged { .. } = came else {
        return Ok(came);
    };
    let found = tip(&repo, name)?;
    // What was pushed on top of it since is not this merge's.
    if contains(&repo, &found, moved_to)? {
        if joined.is_none() || repo.code_tree(moved_to)? == repo.code_tree(head)? {
            return Ok(came);
        }
    } else if repo.code_tree(&found)? == repo.code_tree(head)? {
        return Ok(came);
    }
    let why = format!(
        "{} was merged, and {name} is at {} without it: look at it before anything else is merged",
        head.short(),
        found.short()
    );
    Ok(Came::Mismatch { why })
}
