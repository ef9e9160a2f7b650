//! The commit by which a candidate gets into main where it is not a fast-forward: made on top of main, with the candidate's own
//! tree. Never pushes, never merges what is not on top of main.

use crate::domain::id::Sha;

use super::Identity;
use super::diff::Relation;
use super::error::GitError;
use super::repository::Repository;

/// How a candidate is joined to main.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Join {
    /// By a commit with both as parents.
    Merge,
    /// As one commit in its author's name.
    Squash,
}

impl Repository {
    /// The commit that main is to be moved to. The same arguments give the same commit, however often it is made. None: the
    /// candidate is not on top of main, or main has it.
    pub fn join(
        &self,
        (candidate, main): (&Sha, &Sha),
        how: Join,
        message: &str,
        committer: &Identity,
    ) -> Result<Option<Sha>, GitError> {
        match self.ancestry(main, candidate)? {
            Relation::Ahead => {}
            Relation::Same | Relation::Behind | Relation::Diverged => return Ok(None),
        }
        let git = self
            .git("log")
            .args(["-1", "--date=raw", "--format=%an%x00%ae%x00%cd%x00%T"]);
        let text = git.arg(candidate.as_str()).arg("--").ok()?.text();
        let fields: Vec<&str> = text.trim().split('\0').collect();
        let [name, email, date, tree] = fields[..] else {
            return Err(GitError::Unexpected {
                what: "log".into(),
                answer: text,
            });
        };
        let author = match how {
            Join::Merge => committer.clone(),
            Join::Squash => Identity::new(name, email),
        };
        let git = self.git("commit-tree").identity(&author).committer(committer);
        let git = git
            .env("GIT_AUTHOR_DATE", date)
            .env("GIT_COMMITTER_DATE", date)
            .args(["--no-gpg-sign", "-p", main.as_str()]);
        let git = match how {
            Join::Merge => git.args(["-p", candidate.as_str()]),
            Join::Squash => git,
        };
        let made = git.args(["-F", "-", tree]).input(message.as_bytes().to_vec());
        let made = made.ok()?.text();
        match Sha::parse(made.trim()) {
            Ok(sha) => Ok(Some(sha)),
            Err(_) => Err(GitError::Unexpected {
                what: "commit-tree".into(),
                answer: made,
            }),
        }
    }
}
