//! Calls of the system's ssh: fixed scripts with quoted words, on a machine that agents run on. What is secret goes over
//! standard input, never on a command line. Never passes on the service's environment, and never asks a person.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::ProcessError;

/// What ssh itself ends with when it cannot connect, or loses the connection.
pub(super) const BROKEN: i32 = 255;
/// Of what a call prints, bytes.
const OUTPUT: u64 = 4 << 20;
/// Of its complaints, characters.
const COMPLAINT: usize = 300;
/// Between two looks whether a call has ended.
const PASS: Duration = Duration::from_millis(10);
/// What ssh needs to find its configuration, its keys and its agent.
const PASSED_ON: [&str; 5] = ["HOME", "PATH", "USER", "LOGNAME", "SSH_AUTH_SOCK"];
/// Nothing waits for a person or for ever, and nothing of this machine is reached from there.
const OPTIONS: [&str; 8] = [
    "BatchMode=yes",
    "ConnectTimeout=10",
    "ServerAliveInterval=15",
    "ServerAliveCountMax=3",
    "ForwardAgent=no",
    "ForwardX11=no",
    "ClearAllForwardings=yes",
    "PermitLocalCommand=no",
];

/// A machine, as ssh is told of it. Everything else stands in the user's own configuration of ssh.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SshTarget {
    /// A name of that configuration, a host, or `user@host`. Validated by the settings.
    pub host: String,
    /// Port.
    pub port: Option<u16>,
    /// Key, absolute.
    pub identity_file: Option<PathBuf>,
    /// Known hosts, absolute.
    pub known_hosts_file: Option<PathBuf>,
}

/// What a call that reached the machine left.
#[derive(Debug)]
pub struct Said {
    /// How the script ended.
    pub code: i32,
    /// What it printed.
    pub stdout: Vec<u8>,
    /// The end of its complaints, in one line.
    pub complaint: String,
}

impl SshTarget {
    fn options(&self) -> Vec<OsString> {
        let mut options: Vec<OsString> = vec!["-T".into()];
        let mut option = |text: String| options.extend(["-o".into(), OsString::from(text)]);
        OPTIONS.iter().for_each(|text| option((*text).to_owned()));
        if let Some(path) = &self.known_hosts_file {
            option(format!("UserKnownHostsFile={}", as_value(path)));
        }
        if let Some(path) = &self.identity_file {
            option(format!("IdentityFile={}", as_value(path)));
            option("IdentitiesOnly=yes".to_owned());
        }
        if let Some(port) = self.port {
            option(format!("Port={port}"));
        }
        options
    }

    /// A script with its words, to be started.
    pub(super) fn command(&self, script: &str, words: &[&str]) -> Command {
        let (program, args) = self.argv(script, words);
        let mut command = Command::new(program);
        command.args(args).env_clear().envs(environment());
        command
    }

    /// The same as program and arguments.
    pub(super) fn argv(&self, script: &str, words: &[&str]) -> (String, Vec<String>) {
        let mut far = format!("exec sh -c {} orch", quoted(script));
        for word in words {
            far.push(' ');
            far.push_str(&quoted(word));
        }
        let options = self.options().into_iter();
        let options = options.map(|word| word.to_string_lossy().into_owned());
        let last = ["--".to_owned(), self.host.clone(), far];
        ("ssh".to_owned(), options.chain(last).collect())
    }

    /// How git is told to call ssh.
    pub fn for_git(&self) -> String {
        let options = self.options().into_iter();
        let words = options.map(|word| quoted(&word.to_string_lossy()));
        format!("ssh {}", words.collect::<Vec<_>>().join(" "))
    }

    /// A path there, as git is given it.
    pub fn address(&self, path: &str) -> String {
        let (user, host) = match self.host.rsplit_once('@') {
            Some((user, host)) => (format!("{user}@"), host),
            None => (String::new(), self.host.as_str()),
        };
        match host.contains(':') {
            true => format!("{user}[{host}]:{path}"),
            false => format!("{user}{host}:{path}"),
        }
    }

    /// Runs a script there to its end. `words` are its `$1`, `$2` …, `input` its standard input.
    ///
    /// # Errors
    /// `Offline` when the machine does not answer, or not within the time.
    pub fn call(
        &self,
        script: &str,
        words: &[&str],
        input: &[u8],
        within: Duration,
    ) -> Result<Said, ProcessError> {
        let offline = |why: String| ProcessError::Offline {
            host: self.host.clone(),
            why,
        };
        let mut command = self.command(script, words);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let spawned = deed!("ssh", command.spawn());
        let mut child = spawned.map_err(|e| offline(format!("the program ssh cannot be started: {e}")))?;
        let heard = listen(&mut child, input.to_vec());
        let ended = wait(&mut child, within).map_err(|e| offline(e.to_string()))?;
        let (stdout, stderr) = heard();
        let complaint = last_line(&stderr);
        match ended {
            None => Err(offline(format!("no answer within {} s", within.as_secs()))),
            Some(None | Some(BROKEN)) => Err(offline(complaint)),
            Some(Some(code)) => Ok(Said {
                code,
                stdout,
                complaint,
            }),
        }
    }
}

/// The environment of ssh itself.
pub fn environment() -> Vec<(String, String)> {
    let own = PASSED_ON
        .iter()
        .filter_map(|name| Some(((*name).to_owned(), std::env::var(name).ok()?)));
    own.chain([("LC_ALL".to_owned(), "C".to_owned())]).collect()
}

/// Starts the threads that feed and drain a call; what is given back waits for what they heard.
fn listen(child: &mut Child, input: Vec<u8>) -> impl FnOnce() -> (Vec<u8>, Vec<u8>) + use<> {
    let drain = |pipe: Option<Box<dyn Read + Send>>| {
        let (sender, heard) = mpsc::channel();
        thread::spawn(move || {
            let mut bytes = Vec::new();
            if let Some(pipe) = pipe {
                drop(pipe.take(OUTPUT).read_to_end(&mut bytes));
            }
            drop(sender.send(bytes));
        });
        heard
    };
    let out = drain(child.stdout.take().map(|p| Box::new(p) as Box<dyn Read + Send>));
    let err = drain(child.stderr.take().map(|p| Box::new(p) as Box<dyn Read + Send>));
    if let Some(mut stdin) = child.stdin.take() {
        // A script that stops reading early says why by its exit code.
        thread::spawn(move || drop(stdin.write_all(&input)));
    }
    // A connection that ssh shares with later calls keeps the pipes: it is not waited for.
    let patience = Duration::from_secs(3);
    move || {
        let stdout = out.recv_timeout(patience).unwrap_or_default();
        (stdout, err.recv_timeout(patience).unwrap_or_default())
    }
}

/// How a call ended; none when it had to be killed.
fn wait(child: &mut Child, within: Duration) -> io::Result<Option<Option<i32>>> {
    let deadline = Instant::now() + within;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status.code()));
        }
        if Instant::now() > deadline {
            deed!("end an ssh that hangs", child.kill())?;
            child.wait()?;
            return Ok(None);
        }
        thread::sleep(PASS);
    }
}

fn last_line(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let line = lines.next_back().unwrap_or("ssh gave no reason");
    line.chars().filter(|c| !c.is_control()).take(COMPLAINT).collect()
}

/// A path as the value of an option of ssh, which splits at spaces and knows `%` words.
fn as_value(path: &Path) -> String {
    format!("\"{}\"", path.display().to_string().replace('%', "%%"))
}

/// A word that any POSIX shell reads as exactly this text.
pub(super) fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn a_shell_reads_a_quoted_word_as_it_was() {
        let words = [
            "",
            "a b",
            "it's",
            "''",
            "$HOME `id` \"x\" \\",
            "a\nb",
            "-n",
            "*",
            "ä;&|<>",
        ];
        for word in words {
            let script = format!("printf %s {}", quoted(word));
            let output = Command::new("sh").args(["-c", &script]).output().unwrap();
            assert_eq!(String::from_utf8(output.stdout).unwrap(), word);
        }
    }

    #[test]
    fn a_path_there_is_told_to_git_in_its_own_words() {
        let target = |host: &str| SshTarget {
            host: host.to_owned(),
            port: Some(22),
            identity_file: None,
            known_hosts_file: None,
        };
        assert_eq!(target("mill").address("/x y.git"), "mill:/x y.git");
        assert_eq!(target("me@fe80::1").address("/x"), "me@[fe80::1]:/x");
        assert!(target("mill").for_git().contains("'Port=22'"));
    }
}
