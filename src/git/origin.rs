//! Where a project's repository is, and whether Orch can work with it.
//! Never writes to it, never prints a secret that its URL holds.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::domain::id::{BranchName, Sha};
use crate::settings::{Secret, Settings};

use super::command::{Git, Output, READING, failed};
use super::error::GitError;
use super::refs::{self, Found};
use super::repository::Refs;

/// The project's repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// On this machine: the directory that git calls the common dir (`…/.git`, or the bare repository).
    Path(PathBuf),
    /// Anywhere else. May hold credentials.
    Url(String),
    /// Below the forge's address: git is given its token, in the environment of each call alone.
    Forge {
        /// Without credentials.
        url: String,
        /// Lets git in.
        key: Key,
    },
}

/// A forge's token, and the setting that it stands in.
#[derive(Clone, Debug)]
pub struct Key {
    token: Secret,
    setting: &'static str,
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.token.expose() == other.token.expose()
    }
}

impl Eq for Key {}

impl Origin {
    /// Tells a path from a URL, and finds the repository of a path.
    pub fn locate(text: &str) -> Result<Self, GitError> {
        let path = match text.strip_prefix("file://") {
            Some(path) => Path::new(path),
            None if is_url(text) => return Ok(Self::Url(text.to_owned())),
            None => Path::new(text),
        };
        let path = std::path::absolute(path).map_err(GitError::io(format!("finding {text}")))?;
        common_dir(&path).map(Self::Path)
    }

    /// The same, with the forge's token where it is below the forge's address.
    ///
    /// # Errors
    /// As [`Origin::locate`].
    pub fn of(repo: &str, settings: &Settings) -> Result<Self, GitError> {
        let forge = &settings.gitea;
        let below = |url: &String| {
            repo.strip_prefix(url.as_str())
                .is_some_and(|rest| rest.starts_with('/'))
        };
        match (forge.url.as_ref().filter(|url| below(url)), &forge.token) {
            (Some(_), Some(token)) => Ok(Self::Forge {
                url: repo.to_owned(),
                key: Key {
                    token: token.clone(),
                    setting: "gitea.token",
                },
            }),
            (Some(_) | None, _) => Self::locate(repo),
        }
    }

    /// What is written into the clone's configuration and shown to people: without secrets.
    pub fn shown(&self) -> String {
        match self {
            Self::Path(path) => path.display().to_string(),
            Self::Url(url) | Self::Forge { url, .. } => mask_url(url),
        }
    }

    /// What git is given to reach it.
    pub(super) fn address(&self) -> String {
        match self {
            Self::Path(path) => path.display().to_string(),
            Self::Url(url) | Self::Forge { url, .. } => url.clone(),
        }
    }

    /// Reads branch heads as they are there now; all of them when none is named. One process at most.
    pub(super) fn heads(&self, branches: &[&BranchName]) -> Result<Refs, GitError> {
        if let Self::Path(path) = self
            && !branches.is_empty()
            && let Some(heads) = heads_in_files(path, branches)
        {
            return Ok(heads);
        }
        let full = branches.iter().map(|b| format!("refs/heads/{b}"));
        let output = match self {
            Self::Path(path) => {
                let git = Git::new("for-each-ref")
                    .git_dir(path)
                    .arg("--format=%(objectname) %(refname)");
                if branches.is_empty() {
                    git.arg("refs/heads")
                } else {
                    git.args(full)
                }
                .run()?
            }
            Self::Url(url) | Self::Forge { url, .. } => {
                let git = Git::new("ls-remote").config(secret_config(self)).timeout(READING);
                git.args(["--heads", "--"]).arg(mask_url(url)).args(full).run()?
            }
        };
        if output.code != Some(0) {
            return Err(self.explain("ls-remote", &output));
        }
        let mut refs = Refs::parse(&output.text(), "refs/heads/");
        refs.retain(|name| branches.is_empty() || branches.contains(&name));
        Ok(refs)
    }

    /// Where one reference that is no branch is there now.
    pub(super) fn reference(&self, full: &str) -> Result<Option<Sha>, GitError> {
        let git = Git::new("ls-remote").config(secret_config(self)).timeout(READING);
        let output = git.arg("--").arg(mask_url(&self.address())).arg(full).run()?;
        if output.code != Some(0) {
            return Err(self.explain("ls-remote", &output));
        }
        // It answers whatever ends in the name.
        let text = output.text();
        let mut found = text.lines().filter_map(|line| line.split_once('\t'));
        let found = found.find(|(_, name)| *name == full);
        Ok(found.and_then(|(sha, _)| Sha::parse(sha).ok()))
    }

    /// Turns git's complaint about this origin into an error that says what to do.
    pub(super) fn explain(&self, what: &str, output: &Output) -> GitError {
        let why = output.stderr.lines().last().unwrap_or_default().to_owned();
        if output.stderr.contains("dubious ownership") {
            return GitError::NotOwned {
                path: PathBuf::from(self.shown()),
            };
        }
        match self {
            Self::Path(path) if !path.exists() => GitError::PathMissing { path: path.clone() },
            Self::Path(path) if output.stderr.contains("not a git repository") => {
                GitError::NotARepository { path: path.clone() }
            }
            Self::Forge { key, .. } if is_refused(&output.stderr) => GitError::Denied {
                origin: self.shown(),
                setting: key.setting,
                why,
            },
            Self::Url(_) | Self::Forge { .. } if is_unreachable(&output.stderr) => GitError::Unreachable {
                origin: self.shown(),
                why,
            },
            Self::Path(_) | Self::Url(_) | Self::Forge { .. } => failed(what, output),
        }
    }
}

/// None where git has to be asked.
fn heads_in_files(common: &Path, branches: &[&BranchName]) -> Option<Refs> {
    let mut heads = Refs::default();
    for branch in branches {
        match refs::find(common, &format!("refs/heads/{branch}")) {
            Found::At(head) => heads.insert((*branch).clone(), head),
            Found::Absent => {}
            Found::Unclear => return None,
        }
    }
    Some(heads)
}

/// The configuration that puts the real address in place of the one without secrets, or lets git in at the forge.
pub(super) fn secret_config(origin: &Origin) -> Vec<(String, String)> {
    if let Origin::Forge { url, key } = origin {
        // The form that every Gitea and Forgejo takes: any name, the token as its password (RFC 7617). Whatever would ask
        // for another password is kept out, so that a wrong token is told as what it is.
        let pair = STANDARD.encode(format!("orch:{}", key.token.expose()));
        return vec![
            (
                format!("http.{url}.extraHeader"),
                format!("Authorization: Basic {pair}"),
            ),
            ("credential.helper".to_owned(), String::new()),
        ];
    }
    let (real, shown) = (origin.address(), origin.shown());
    if real == shown {
        return Vec::new();
    }
    vec![(format!("url.{real}.insteadOf"), shown)]
}

/// Checks without cloning that Orch can work with this repository, and gives the head of its main branch.
///
/// # Errors
/// What keeps Orch from working with it, and what to do.
pub fn check_origin(origin: &Origin, main: &BranchName) -> Result<Sha, GitError> {
    main_head(origin, main)
}

pub(super) fn main_head(origin: &Origin, main: &BranchName) -> Result<Sha, GitError> {
    if let Some(sha) = origin.heads(&[main])?.get(main) {
        return Ok(sha.clone());
    }
    let all = origin.heads(&[])?;
    let shown = origin.shown();
    if all.is_empty() {
        return Err(GitError::NoCommits {
            origin: shown,
            main: main.clone(),
        });
    }
    let known: Vec<&str> = all.iter().map(|(name, _)| name.as_str()).take(5).collect();
    Err(GitError::MainMissing {
        origin: shown,
        main: main.clone(),
        known: known.join(", "),
    })
}

/// Replaces what stands between `://` and `@` in every URL of a text.
pub fn mask_url(text: &str) -> String {
    let mut masked = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        masked.push_str(before);
        let end = after
            .find(|c: char| c == '/' || c.is_whitespace() || c == '\'')
            .unwrap_or(after.len());
        rest = match after[..end].rfind('@') {
            Some(user) => {
                masked.push_str("***");
                &after[user..]
            }
            None => after,
        };
    }
    masked + rest
}

fn is_url(text: &str) -> bool {
    // `host:path` is a URL to git unless a slash comes before the colon.
    let scp = text.find(':').is_some_and(|colon| !text[..colon].contains('/'));
    text.contains("://") || scp
}

fn is_unreachable(stderr: &str) -> bool {
    [
        "Could not resolve host",
        "Could not read from remote repository",
        "unable to access",
        "Connection",
        "Authentication failed",
        "could not read Username",
        "could not read Password",
        "Permission denied",
        "early EOF",
        "hung up unexpectedly",
        "terminal prompts disabled",
    ]
    .iter()
    .any(|sign| stderr.contains(sign))
}

/// The forge knows the token not, or not for this. It says that a repository is not there of what a token may not see.
fn is_refused(stderr: &str) -> bool {
    [
        "Authentication failed",
        "could not read Username",
        "could not read Password",
        "unable to get password from user",
        "returned error: 401",
        "returned error: 403",
    ]
    .iter()
    .any(|sign| stderr.contains(sign))
        || stderr.lines().any(is_repository_missing)
}

/// Git's own line; a program or a branch that is not found is something else.
fn is_repository_missing(line: &str) -> bool {
    line.starts_with("fatal: repository '") && line.trim_end().ends_with("' not found")
}

fn common_dir(path: &Path) -> Result<PathBuf, GitError> {
    if !path.is_dir() {
        return Err(GitError::PathMissing {
            path: path.to_owned(),
        });
    }
    let git = Git::new("rev-parse").at(path);
    let output = git.args(["--path-format=absolute", "--git-common-dir"]).run()?;
    if output.code == Some(0) {
        Ok(PathBuf::from(output.text()))
    } else if output.stderr.contains("dubious ownership") {
        Err(GitError::NotOwned {
            path: path.to_owned(),
        })
    } else {
        Err(GitError::NotARepository {
            path: path.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_shown_without_its_secrets_and_other_text_as_it_is() {
        let cases = [
            ("https://me:token@host/x.git", "https://***@host/x.git"),
            (
                "fatal: 'https://t@h/x' and ssh://git@h:22/y",
                "fatal: 'https://***@h/x' and ssh://***@h:22/y",
            ),
            ("https://host/a@b", "https://host/a@b"),
            ("https://me:p@ss@host/x", "https://***@host/x"),
            ("/a/path", "/a/path"),
        ];
        for (text, masked) in cases {
            assert_eq!(mask_url(text), masked);
        }
    }

    #[test]
    fn only_a_repository_that_is_not_found_is_refused() {
        for said in [
            "remote: Not found.\nfatal: repository 'http://h/a/b.git/' not found\n",
            "fatal: unable to access 'http://h/a/b.git/': The requested URL returned error: 403",
        ] {
            assert!(is_refused(said), "{said}");
        }
        for said in [
            "fatal: Remote branch x not found in upstream origin",
            "hooks/pre-push: line 3: git-lfs: command not found",
            "remote: hook: fatal: repository 'x' not found in the cache",
            "fatal: unable to access 'http://h/': Could not resolve host: h (not found)",
        ] {
            assert!(!is_refused(said), "{said}");
        }
    }

    #[test]
    fn paths_and_urls_are_told_apart() {
        for url in ["https://h/x", "ssh://h/x", "git@host:x.git", "host:x", "ext::sh"] {
            assert!(is_url(url), "{url}");
        }
        for path in ["/a/b", "./a:b", "a", "../x"] {
            assert!(!is_url(path), "{path}");
        }
    }
}
