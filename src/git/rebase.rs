//! Puts a branch on top of another commit, in a scratch worktree that is gone afterwards.
//! Never pushes, never changes a ref, never calls a tree right that is not what a merge would give.

use std::path::Path;

use crate::domain::id::Sha;

use super::Identity;
use super::command::{WORKING, failed};
use super::diff::Relation;
use super::error::GitError;
use super::repository::Repository;

/// What became of a rebase.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rebase {
    /// The branch already contains the base.
    UpToDate,
    /// Its commits, replayed on the base.
    Rebased(Sha),
    /// All it changes as one commit on the base: replayed one by one, its commits conflict or lose what a
    /// merge commit among them had resolved.
    Squashed(Sha),
    /// A person or an agent has to decide what these files should hold.
    Conflict {
        /// Which.
        files: Vec<String>,
    },
}

/// What a three-way merge of branch and base gives.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Merged {
    Tree(String),
    Conflict(Vec<String>),
}

/// What replaying the commits one by one gives.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Replayed {
    Head { sha: Sha, tree: String },
    Conflict,
}

/// The branch's own commits.
struct Story {
    author: Identity,
    /// Seconds and zone, as git wants them.
    date: String,
    subjects: Vec<String>,
    has_merges: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Replay(Sha),
    OneCommit(String),
    Conflict(Vec<String>),
}

/// The merge says what the branch means on the new base; the replay gives it a history when it agrees.
fn judge(merged: Merged, replayed: Replayed, has_merges: bool) -> Verdict {
    match (merged, replayed) {
        (Merged::Tree(wanted), Replayed::Head { sha, tree }) if wanted == tree => Verdict::Replay(sha),
        (Merged::Tree(wanted), Replayed::Head { .. } | Replayed::Conflict) => Verdict::OneCommit(wanted),
        // Part of the branch is on the base already: a replay sees that, a merge does not. With merge commits
        // on the branch the replay may have lost what they resolved, and nothing is left to check it by.
        (Merged::Conflict(_), Replayed::Head { sha, .. }) if !has_merges => Verdict::Replay(sha),
        (Merged::Conflict(files), Replayed::Head { .. } | Replayed::Conflict) => Verdict::Conflict(files),
    }
}

impl Repository {
    /// Rebases `head` onto `onto`. The same arguments give the same commit, however often it is done.
    /// Both commits must be here.
    pub fn rebase(
        &self,
        scratch: &Path,
        head: &Sha,
        onto: &Sha,
        committer: &Identity,
    ) -> Result<Rebase, GitError> {
        match self.ancestry(onto, head)? {
            Relation::Same | Relation::Ahead => return Ok(Rebase::UpToDate),
            Relation::Behind => return Ok(Rebase::Rebased(onto.clone())),
            Relation::Diverged => {}
        }
        let merged = self.merge_trees(onto, head)?;
        let story = self.story(onto, head)?;
        let replayed = self.replay(scratch, head, onto, committer)?;
        match judge(merged, replayed, story.has_merges) {
            Verdict::Replay(sha) => Ok(Rebase::Rebased(sha)),
            Verdict::OneCommit(tree) => self.squash(&tree, onto, &story, committer).map(Rebase::Squashed),
            Verdict::Conflict(files) => Ok(Rebase::Conflict { files }),
        }
    }

    fn merge_trees(&self, onto: &Sha, head: &Sha) -> Result<Merged, GitError> {
        let git = self.git("merge-tree").timeout(WORKING);
        let git = git.args(["--write-tree", "-z", "--name-only", "--no-messages"]);
        let output = git.args([onto.as_str(), head.as_str()]).run()?;
        let text = String::from_utf8_lossy(&output.stdout);
        let mut parts = text.split('\0').filter(|p| !p.is_empty()).map(str::to_owned);
        match (output.code, parts.next()) {
            (Some(0), Some(tree)) => Ok(Merged::Tree(tree.trim().to_owned())),
            (Some(1), Some(_)) => Ok(Merged::Conflict(parts.collect())),
            _ if output.stderr.contains("unrelated histories") => Err(GitError::UnrelatedHistories {
                a: onto.clone(),
                b: head.clone(),
            }),
            _ => Err(self.blame("merge-tree", head.as_str(), &output)),
        }
    }

    fn replay(
        &self,
        scratch: &Path,
        head: &Sha,
        onto: &Sha,
        committer: &Identity,
    ) -> Result<Replayed, GitError> {
        self.prepare_worktree(scratch, head)?;
        let replayed = self.replay_in(scratch, onto, committer);
        self.remove_worktree(scratch)?;
        replayed
    }

    fn replay_in(&self, scratch: &Path, onto: &Sha, committer: &Identity) -> Result<Replayed, GitError> {
        let at = self.checkout(scratch)?;
        let git = at.git("rebase").committer(committer).timeout(WORKING);
        let git = git.args([
            "--quiet",
            "--committer-date-is-author-date",
            "--empty=drop",
            "--no-fork-point",
        ]);
        let output = git.args(["--no-verify", "--no-gpg-sign", onto.as_str()]).run()?;
        let stopped = ["rebase-merge", "rebase-apply"]
            .iter()
            .any(|d| at.admin.join(d).exists());
        match (output.code, self.head_in(&at.admin)?) {
            (Some(0), Some(sha)) if !stopped => {
                let name = format!("{sha}^{{tree}}");
                let tree = self
                    .git("rev-parse")
                    .args(["--verify", name.as_str()])
                    .ok()?
                    .text();
                Ok(Replayed::Head { sha, tree })
            }
            (Some(1), _) if stopped => Ok(Replayed::Conflict),
            _ => Err(failed("rebase", &output)),
        }
    }

    fn story(&self, onto: &Sha, head: &Sha) -> Result<Story, GitError> {
        let range = format!("{onto}..{head}");
        let git = self
            .git("log")
            .args(["-z", "--date=raw", "--format=%an%x00%ae%x00%ad%x00%p%x00%s"]);
        let text = git.arg(range).arg("--").ok()?.text();
        let fields: Vec<&str> = text.split('\0').collect();
        let commits: Vec<&[&str]> = fields.chunks(5).filter(|c| c.len() == 5).collect();
        let is_merge = |c: &&&[&str]| c[3].contains(' ');
        let newest = commits.iter().find(|c| !is_merge(c)).or(commits.first());
        let Some(newest) = newest else {
            return Err(GitError::Unexpected {
                what: "log".into(),
                answer: text,
            });
        };
        Ok(Story {
            author: Identity::new(newest[0], newest[1]),
            date: newest[2].to_owned(),
            subjects: commits
                .iter()
                .rev()
                .filter(|c| !is_merge(c))
                .map(|c| c[4].to_owned())
                .collect(),
            has_merges: commits.iter().any(|c| is_merge(&c)),
        })
    }

    fn squash(&self, tree: &str, onto: &Sha, story: &Story, committer: &Identity) -> Result<Sha, GitError> {
        let mut message = String::from("Put the branch on its new base as one commit\n\n");
        for subject in &story.subjects {
            message.push_str(&format!("- {subject}\n"));
        }
        let git = self
            .git("commit-tree")
            .identity(&story.author)
            .committer(committer);
        let git = git
            .env("GIT_AUTHOR_DATE", &story.date)
            .env("GIT_COMMITTER_DATE", &story.date);
        let git = git.args(["--no-gpg-sign", "-p", onto.as_str(), "-F", "-", tree]);
        let text = git.input(message.into_bytes()).ok()?.text();
        Sha::parse(&text).map_err(|_| GitError::Unexpected {
            what: "commit-tree".into(),
            answer: text,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replay_is_taken_only_where_the_merge_agrees_or_cannot_know() {
        let sha = || Sha::trusted("a".repeat(40));
        let head = |tree: &str| Replayed::Head {
            sha: sha(),
            tree: tree.into(),
        };
        let tree = |t: &str| Merged::Tree(t.into());
        let clash = || Merged::Conflict(vec!["f".into()]);
        let conflict = || Verdict::Conflict(vec!["f".into()]);
        let cases = [
            (tree("t"), head("t"), false, Verdict::Replay(sha())),
            (tree("t"), head("t"), true, Verdict::Replay(sha())),
            (tree("t"), head("u"), false, Verdict::OneCommit("t".into())),
            (
                tree("t"),
                Replayed::Conflict,
                true,
                Verdict::OneCommit("t".into()),
            ),
            (clash(), head("u"), false, Verdict::Replay(sha())),
            (clash(), head("u"), true, conflict()),
            (clash(), Replayed::Conflict, false, conflict()),
        ];
        for (merged, replayed, has_merges, wanted) in cases {
            let case = format!("{merged:?} {replayed:?} {has_merges}");
            assert_eq!(judge(merged, replayed, has_merges), wanted, "{case}");
        }
    }
}
