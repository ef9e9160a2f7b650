//! Writes a small repository with a history, and says afterwards what became of its `main`.
//! Never touches a repository that it was not pointed at, and never reads a person's git configuration.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::domain::id::{BranchName, InvalidName, Sha};

/// Who the history is by.
const AUTHOR: [&str; 4] = [
    "-c",
    "user.name=Ada Sample",
    "-c",
    "user.email=ada@sample.invalid",
];

/// Why the repository could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum SampleError {
    /// A file could not be written.
    #[error("cannot write {path}: {source}", path = .path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// git is not there.
    #[error("cannot start git: {0}; install git and put it on the PATH")]
    NoGit(io::Error),
    /// git refused.
    #[error("git {command} failed in {repo}: {stderr}", repo = .repo.display())]
    Git {
        /// The sub-command.
        command: String,
        /// Where.
        repo: PathBuf,
        /// What it printed.
        stderr: String,
    },
    /// git answered something that is no commit.
    #[error(transparent)]
    Answer(#[from] InvalidName),
}

/// A commit to be made.
#[derive(Clone, Copy, Debug)]
pub struct SampleCommit<'a> {
    /// Its message.
    pub message: &'a str,
    /// Files it writes: path in the repository, and content.
    pub files: &'a [(&'a str, &'a str)],
}

/// A commit and its parents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The commit.
    pub commit: Sha,
    /// How many commits it follows: 2 or more for a merge commit.
    pub parents: usize,
}

/// Makes a repository with `main` checked out, and commits `history` there. Returns the head.
///
/// # Errors
/// git is missing or refused, or a file could not be written.
pub fn create(repo: &Path, main: &BranchName, history: &[SampleCommit<'_>]) -> Result<Sha, SampleError> {
    write_folder(repo)?;
    git(
        repo,
        &[],
        &[
            "init",
            "--quiet",
            "--template=",
            "--initial-branch",
            main.as_str(),
        ],
    )?;
    for commit in history {
        for (path, content) in commit.files {
            write_file(&repo.join(path), content)?;
        }
        git(repo, &[], &["add", "--all"])?;
        let message = ["commit", "--quiet", "--message", commit.message];
        git(repo, &[], &[&AUTHOR[..], &message[..]].concat())?;
    }
    head(repo, main)
}

/// The commit that a branch points at.
///
/// # Errors
/// git is missing, or there is no such branch.
pub fn head(repo: &Path, branch: &BranchName) -> Result<Sha, SampleError> {
    let reference = format!("refs/heads/{branch}");
    let text = git(repo, &[], &["rev-parse", "--verify", &reference])?;
    Ok(Sha::parse(text.trim())?)
}

/// Every commit that a branch has pointed at, in order, as its reflog tells.
///
/// # Errors
/// git is missing, or there is no such branch.
pub fn moves(repo: &Path, branch: &BranchName) -> Result<Vec<Sha>, SampleError> {
    let reference = format!("refs/heads/{branch}");
    let text = git(repo, &[], &["reflog", "show", "--format=%H", &reference, "--"])?;
    let mut moves = text
        .lines()
        .map(Sha::parse)
        .collect::<Result<Vec<_>, InvalidName>>()?;
    moves.reverse();
    Ok(moves)
}

/// The commits that `to` has and `from` has not, newest first.
///
/// # Errors
/// git is missing, or one of them is no commit here.
pub fn between(repo: &Path, from: &Sha, to: &Sha) -> Result<Vec<Link>, SampleError> {
    let range = format!("{from}..{to}");
    let text = git(repo, &[], &["rev-list", "--parents", &range])?;
    text.lines()
        .map(|line| {
            let mut words = line.split(' ');
            let commit = Sha::parse(words.next().unwrap_or_default())?;
            Ok(Link {
                commit,
                parents: words.count(),
            })
        })
        .collect()
}

/// Writes the files of a commit into a new folder, away from the repository's own index and worktree.
///
/// # Errors
/// git is missing, there is no such commit, or the folder cannot be written.
pub fn export(repo: &Path, commit: &Sha, into: &Path) -> Result<(), SampleError> {
    write_folder(into)?;
    let index = into.with_extension("index");
    let own_index = [("GIT_INDEX_FILE", index.as_path())];
    git(repo, &own_index, &["read-tree", commit.as_str()])?;
    let prefix = format!("--prefix={}/", into.display());
    git(repo, &own_index, &["checkout-index", "--all", &prefix])?;
    fs::remove_file(&index).map_err(|source| SampleError::Write { path: index, source })
}

fn write_folder(path: &Path) -> Result<(), SampleError> {
    fs::create_dir_all(path).map_err(|source| SampleError::Write {
        path: path.to_owned(),
        source,
    })
}

fn write_file(path: &Path, content: &str) -> Result<(), SampleError> {
    if let Some(folder) = path.parent() {
        write_folder(folder)?;
    }
    fs::write(path, content).map_err(|source| SampleError::Write {
        path: path.to_owned(),
        source,
    })
}

fn git(repo: &Path, env: &[(&str, &Path)], args: &[&str]) -> Result<String, SampleError> {
    let output = Command::new("git")
        .args(args)
        .current_dir(repo)
        .env_clear()
        .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
        .envs([
            ("LC_ALL", "C"),
            ("GIT_CONFIG_NOSYSTEM", "1"),
            ("GIT_CONFIG_GLOBAL", "/dev/null"),
        ])
        .envs(env.iter().copied())
        .output()
        .map_err(SampleError::NoGit)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(SampleError::Git {
        command: args.join(" "),
        repo: repo.to_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
    })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    const HISTORY: [SampleCommit<'_>; 2] = [
        SampleCommit {
            message: "first",
            files: &[("a", "1"), ("b/c", "1")],
        },
        SampleCommit {
            message: "second",
            files: &[("a", "2")],
        },
    ];

    #[test]
    fn the_history_is_written_and_told_again() {
        let folder = tempfile::tempdir().unwrap();
        let repo = folder.path().join("repo");
        let main = BranchName::trusted("main");
        let tip = create(&repo, &main, &HISTORY).unwrap();

        let moves = moves(&repo, &main).unwrap();
        assert_eq!(moves.len(), 2);
        assert_eq!(moves[1], tip);
        let link = Link {
            commit: tip.clone(),
            parents: 1,
        };
        assert_eq!(between(&repo, &moves[0], &tip).unwrap(), [link]);

        let copy = folder.path().join("copy");
        export(&repo, &moves[0], &copy).unwrap();
        assert_eq!(fs::read_to_string(copy.join("a")).unwrap(), "1");
        assert_eq!(fs::read_to_string(copy.join("b/c")).unwrap(), "1");
        assert_eq!(fs::read_to_string(repo.join("a")).unwrap(), "2");
    }

    #[test]
    fn what_git_refuses_is_reported_with_its_own_words() {
        let folder = tempfile::tempdir().unwrap();
        let main = BranchName::trusted("main");
        let error = head(folder.path(), &main).unwrap_err().to_string();
        assert!(error.contains("not a git repository"), "{error}");
    }
}
