//! Runs one `git` process: no shell, a scrubbed environment, a deadline, bounded output, masked errors.
//! Never interprets what git says.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use super::Identity;
use super::child::{OUTPUT_LIMIT, collect, kill_group, listen, tail};
use super::environment;
use super::error::GitError;
use super::spent::Waiting;

/// For reads of a repository on this machine.
pub(super) const READING: Duration = Duration::from_secs(60);
/// For what walks or writes a whole tree, and for the network.
pub(super) const WORKING: Duration = Duration::from_secs(300);
/// For a first clone.
pub(super) const CLONING: Duration = Duration::from_secs(3600);

/// One call of git, being put together.
#[derive(Debug)]
pub(super) struct Git {
    what: &'static str,
    place: Vec<OsString>,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    config: Vec<(String, String)>,
    input: Option<Vec<u8>>,
    held: Option<File>,
    timeout: Duration,
}

/// What a finished call left.
#[derive(Debug)]
pub(super) struct Output {
    /// Exit code; none when a signal ended it.
    pub(super) code: Option<i32>,
    /// Everything it printed.
    pub(super) stdout: Vec<u8>,
    /// The tail of its complaints, masked.
    pub(super) stderr: String,
}

impl Output {
    /// The output as text, without the last line end.
    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).trim_end().to_owned()
    }
}

impl Git {
    /// A call of this subcommand.
    pub(super) fn new(what: &'static str) -> Self {
        Self {
            what,
            place: Vec::new(),
            args: Vec::new(),
            env: Vec::new(),
            config: Vec::new(),
            input: None,
            held: None,
            timeout: READING,
        }
    }

    /// On exactly this repository; nothing is searched for, so its owner does not matter.
    pub(super) fn git_dir(mut self, dir: &Path) -> Self {
        self.place.push(joined("--git-dir=", dir));
        self
    }

    /// In this worktree whose administration lives there, whatever its `.git` says.
    pub(super) fn worktree(mut self, path: &Path, admin: &Path) -> Self {
        self.place.extend(["-C".into(), path.into()]);
        self.place.push(joined("--git-dir=", admin));
        self.place.push(joined("--work-tree=", path));
        self
    }

    /// In this folder, with git finding the repository, but no further up than the folder itself.
    pub(super) fn at(mut self, dir: &Path) -> Self {
        self.place.extend(["-C".into(), dir.into()]);
        if let Some(parent) = dir.parent() {
            self = self.env("GIT_CEILING_DIRECTORIES", parent);
        }
        self
    }

    pub(super) fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    pub(super) fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.args.extend(args.into_iter().map(|a| a.as_ref().to_owned()));
        self
    }

    pub(super) fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.env
            .push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Configuration for this call that must not be seen in the process list.
    pub(super) fn config(mut self, entries: Vec<(String, String)>) -> Self {
        self.config.extend(entries);
        self
    }

    pub(super) fn input(mut self, input: Vec<u8>) -> Self {
        self.input = Some(input);
        self
    }

    /// Keeps an advisory lock for as long as git runs, also when this process dies meanwhile. In place of its input.
    pub(super) fn holding(mut self, lock: &File) -> Result<Self, GitError> {
        self.held = Some(lock.try_clone().map_err(GitError::io("keeping a lock"))?);
        Ok(self)
    }

    pub(super) fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Author and committer.
    pub(super) fn identity(self, who: &Identity) -> Self {
        self.env("GIT_AUTHOR_NAME", &who.name)
            .env("GIT_AUTHOR_EMAIL", &who.email)
            .committer(who)
    }

    /// Committer only.
    pub(super) fn committer(self, who: &Identity) -> Self {
        self.env("GIT_COMMITTER_NAME", &who.name)
            .env("GIT_COMMITTER_EMAIL", &who.email)
    }

    /// Runs it; any exit code is an answer.
    pub(super) fn run(self) -> Result<Output, GitError> {
        let what = self.what;
        deed!("git", what, self.answer())
    }

    fn answer(mut self) -> Result<Output, GitError> {
        let mut command = self.command()?;
        if let Some(lock) = self.held.take() {
            command.stdin(lock);
        }
        let input = self.input.take();
        if input.is_some() {
            command.stdin(Stdio::piped());
        }
        let _waiting = Waiting::for_new_process();
        let mut child = command.spawn().map_err(spawn_error)?;
        let heard = listen(&mut child, input);
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let status = collect(&mut child, &heard, self.timeout, &mut stdout, &mut stderr)?;
        let Some(status) = status else {
            kill_group(&mut child);
            return Err(GitError::TimedOut {
                what: self.what.to_owned(),
                after: self.timeout,
            });
        };
        if stdout.len() > OUTPUT_LIMIT {
            return Err(GitError::TooLarge {
                what: format!("the output of `git {}`", self.what),
                limit: OUTPUT_LIMIT as u64,
            });
        }
        Ok(Output {
            code: status.code(),
            stdout,
            stderr: tail(&stderr),
        })
    }

    /// Runs it; anything but exit code 0 is an error.
    pub(super) fn ok(self) -> Result<Output, GitError> {
        let what = self.what;
        let output = self.run()?;
        if output.code == Some(0) {
            Ok(output)
        } else {
            Err(failed(what, &output))
        }
    }

    /// The process as it would be spawned, with stdin closed and both outputs piped.
    pub(super) fn command(&self) -> Result<Command, GitError> {
        // An absolute program keeps the cheap posix_spawn possible although the environment is replaced.
        let mut command = Command::new(program().ok_or(GitError::NotInstalled)?);
        command.args(&self.place).arg(self.what).args(&self.args);
        environment::replace(&mut command, &self.config);
        command.envs(self.env.iter().map(|(k, v)| (k, v)));
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        use std::os::unix::process::CommandExt as _;
        command.process_group(0);
        Ok(command)
    }
}

/// The error for a call that ended with a code it may not end with.
pub(super) fn failed(what: &str, output: &Output) -> GitError {
    GitError::Failed {
        what: what.to_owned(),
        code: output
            .code
            .map_or("killed by a signal".to_owned(), |c| format!("exit {c}")),
        stderr: output.stderr.clone(),
    }
}

pub(super) fn spawn_error(source: std::io::Error) -> GitError {
    if source.kind() == std::io::ErrorKind::NotFound {
        GitError::NotInstalled
    } else {
        GitError::io("starting git")(source)
    }
}

fn joined(option: &str, path: &Path) -> OsString {
    let mut arg = OsString::from(option);
    arg.push(path);
    arg
}

fn program() -> Option<&'static Path> {
    static PROGRAM: OnceLock<Option<PathBuf>> = OnceLock::new();
    let find = || {
        let path = std::env::var_os("PATH")?;
        let candidates = std::env::split_paths(&path).map(|dir| dir.join("git"));
        candidates.into_iter().find(|p| p.is_absolute() && p.is_file())
    };
    PROGRAM.get_or_init(find).as_deref()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
    use std::thread;
    use std::time::Instant;

    use super::*;

    #[test]
    fn a_call_that_does_not_end_is_killed_with_all_it_started() {
        let call = Git::new("sleeping")
            .config(vec![(
                "alias.sleeping".into(),
                "!sleep 300.25 & sleep 300.25".into(),
            )])
            .timeout(Duration::from_millis(300));
        let began = Instant::now();
        match call.run() {
            Err(GitError::TimedOut { what, .. }) => assert_eq!(what, "sleeping"),
            other => panic!("{other:?}"),
        }
        assert!(began.elapsed() < Duration::from_secs(20));
        let survivors = || {
            let processes = std::fs::read_dir("/proc").unwrap().flatten();
            let mut lines = processes.filter_map(|p| std::fs::read(p.path().join("cmdline")).ok());
            lines.any(|line| line.starts_with(b"sleep\x00300.25"))
        };
        while survivors() {
            assert!(
                began.elapsed() < Duration::from_secs(20),
                "a process outlived its call"
            );
            thread::yield_now();
        }
    }

    #[test]
    fn a_background_process_that_keeps_the_pipes_open_is_not_waited_for() {
        let call = Git::new("leaving").config(vec![("alias.leaving".into(), "!echo x; sleep 20 &".into())]);
        let began = Instant::now();
        assert_eq!(call.ok().unwrap().text(), "x");
        assert!(began.elapsed() < Duration::from_secs(15));
    }
}
