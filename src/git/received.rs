//! Which commit of main brought a candidate: itself, or what a merge made of it. Never writes.

use super::error::GitError;
use super::repository::Repository;
use crate::domain::id::Sha;

/// Commits of main that are looked at, from its tip.
const MOST: usize = 500;

impl Repository {
    /// The commit by which `main` got `candidate`: the candidate itself, else the newest one on main's own line that has
    /// exactly its tree. None where main has neither within its last 500.
    ///
    /// # Errors
    /// git's; both commits have to be here.
    pub fn received(&self, main: &Sha, candidate: &Sha) -> Result<Option<Sha>, GitError> {
        let most = format!("--max-count={MOST}");
        let log = |args: &[&str]| {
            let git = self
                .git("log")
                .args(["--format=%H %T"])
                .args(args.iter().copied());
            let output = git.run()?;
            match output.code {
                Some(0) => Ok(output.text()),
                _ => Err(self.blame("log", main.as_str(), &output)),
            }
        };
        let own = log(&["--max-count=1", candidate.as_str(), "--"])?;
        let tree = own.split_whitespace().nth(1).unwrap_or_default();
        let line = log(&["--first-parent", &most, main.as_str(), "--"])?;
        let commits = || line.lines().filter_map(|line| line.split_once(' '));
        let itself = commits().find(|(commit, _)| *commit == candidate.as_str());
        let found = itself.or_else(|| commits().find(|(_, of)| *of == tree));
        Ok(found.and_then(|(commit, _)| Sha::parse(commit).ok()))
    }
}
