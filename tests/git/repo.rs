//! Real repositories to try things on: an origin, a desk at which people and other tools commit, and a
//! clone of Orch's.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use orch::domain::id::{BranchName, Sha};
use orch::git::{Identity, Origin, Repository};
use tempfile::TempDir;

/// A project's repository with one commit on main, and room beside it.
pub struct SampleRepo {
    pub room: TempDir,
    /// The project's repository.
    pub origin: PathBuf,
    /// A clone from which commits reach a bare origin. The origin itself, when it is not bare.
    desk: PathBuf,
}

pub fn main() -> BranchName {
    BranchName::trusted("main")
}

pub fn branch(name: &str) -> BranchName {
    BranchName::parse(name).unwrap()
}

pub fn orch() -> Identity {
    Identity::new("orch developer", "orch@example.invalid")
}

impl SampleRepo {
    /// With a bare origin.
    pub fn new() -> Self {
        let room = tempfile::tempdir().unwrap();
        let origin = room.path().join("origin.git");
        let desk = room.path().join("desk");
        git(room.path(), &["init", "-q", "--bare", "-b", "main", "origin.git"]);
        git(room.path(), &["clone", "-q", "origin.git", "desk"]);
        let repo = Self { room, origin, desk };
        git(&repo.desk, &["switch", "-q", "-c", "main"]);
        repo.commit(&[("README.md", "hello\n")], "First");
        repo
    }

    /// With an origin in which a person works, main checked out.
    pub fn with_a_person() -> Self {
        let room = tempfile::tempdir().unwrap();
        let origin = room.path().join("home");
        git(room.path(), &["init", "-q", "-b", "main", "home"]);
        let repo = Self {
            room,
            desk: origin.clone(),
            origin,
        };
        repo.commit(&[("README.md", "hello\n")], "First");
        repo
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.room.path().join(name)
    }

    /// Orch's clone.
    pub fn clone(&self) -> Repository {
        Repository::open_or_clone(&self.path("clone.git"), located(&self.origin), &main()).unwrap()
    }

    /// Commits files on main and sends it to origin.
    pub fn commit(&self, files: &[(&str, &str)], message: &str) -> Sha {
        self.commit_on("main", files, message)
    }

    /// Commits files on a branch that is made from where the desk is, if it is new.
    pub fn commit_on(&self, branch: &str, files: &[(&str, &str)], message: &str) -> Sha {
        if git(&self.desk, &["branch", "--show-current"]) != branch
            && !succeeds(&self.desk, &["switch", "-q", branch])
        {
            git(&self.desk, &["switch", "-q", "-c", branch]);
        }
        write(&self.desk, files);
        git(&self.desk, &["add", "-A"]);
        git(&self.desk, &["commit", "-q", "--allow-empty", "-m", message]);
        self.publish(branch)
    }

    /// Runs git at the desk, then sends the branch on which it is.
    pub fn at_desk(&self, args: &[&str]) -> Sha {
        git(&self.desk, args);
        self.publish(&git(&self.desk, &["branch", "--show-current"]))
    }

    fn publish(&self, branch: &str) -> Sha {
        if self.desk != self.origin && !branch.is_empty() {
            git(&self.desk, &["push", "-q", "--force", "origin", branch]);
        }
        sha(&self.desk, "HEAD")
    }
}

pub fn write(dir: &Path, files: &[(&str, &str)]) {
    for (name, content) in files {
        let path = dir.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
}

pub fn sha(dir: &Path, name: &str) -> Sha {
    Sha::parse(&git(dir, &["rev-parse", "--verify", name])).unwrap()
}

fn command(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new("git");
    let who = [
        "user.name=person",
        "user.email=person@example.invalid",
        "protocol.file.allow=always",
    ];
    command.args(who.iter().flat_map(|c| ["-c", c]));
    command
        .arg("-C")
        .arg(dir)
        .args(args)
        .env("GIT_CONFIG_GLOBAL", "/dev/null");
    command
}

pub fn git(dir: &Path, args: &[&str]) -> String {
    let output = command(dir, args).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "git {args:?}: {said}");
    String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
}

pub fn succeeds(dir: &Path, args: &[&str]) -> bool {
    command(dir, args)
        .stderr(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .unwrap()
        .success()
}

/// Every file below a folder with its content and permissions; for links, where they point.
pub fn snapshot(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    use std::os::unix::fs::PermissionsExt as _;
    let mut found = BTreeMap::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let path = entry.path();
            let meta = fs::symlink_metadata(&path).unwrap();
            let mut seen = meta.permissions().mode().to_be_bytes().to_vec();
            if meta.is_symlink() {
                seen.extend(fs::read_link(&path).unwrap().as_os_str().as_encoded_bytes());
            } else if meta.is_dir() {
                folders.push(path.clone());
            } else {
                seen.extend(fs::read(&path).unwrap());
            }
            found.insert(path, seen);
        }
    }
    found
}

/// A history of many commits on main, made in one go.
pub fn long_history(dir: &Path, commits: usize) {
    use std::io::Write as _;
    let mut stream = String::new();
    for n in 0..commits {
        let message = format!("commit {n}");
        let content = format!("{n}\n");
        stream.push_str("commit refs/heads/main\n");
        let when = 1_700_000_000 + n;
        stream.push_str(&format!(
            "committer p <p@example.invalid> {when} +0000\ndata {}\n{message}\n",
            message.len()
        ));
        if n == 0 {
            stream.push_str("from refs/heads/main^0\n");
        }
        stream.push_str(&format!(
            "M 644 inline src/f{}.txt\ndata {}\n{content}\n",
            n % 200,
            content.len()
        ));
    }
    let mut child = command(dir, &["fast-import", "--quiet"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(stream.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
}

/// A repository of this machine.
pub fn located(path: &Path) -> Origin {
    Origin::locate(path.to_str().unwrap()).unwrap()
}
