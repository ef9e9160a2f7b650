//! Real repositories: a person's, with `main` checked out, or a bare one.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// A project's repository. `sh check.sh` is its test command: red while a file named `broken` is there.
pub struct Repo {
    _room: TempDir,
    /// The project's repository.
    pub path: PathBuf,
    /// Where a person commits: the repository itself, or a clone of a bare one.
    pub desk: PathBuf,
}

impl Repo {
    /// A person works in it: not bare, main checked out and clean.
    pub fn new() -> Self {
        let room = tempfile::tempdir().unwrap();
        let path = room.path().canonicalize().unwrap().join("project");
        git(room.path(), &["init", "-q", "-b", "main", "project"]);
        let repo = Self {
            _room: room,
            desk: path.clone(),
            path,
        };
        repo.begin();
        repo
    }

    /// A bare one; people push to it.
    pub fn bare() -> Self {
        let room = tempfile::tempdir().unwrap();
        let root = room.path().canonicalize().unwrap();
        git(&root, &["init", "-q", "--bare", "-b", "main", "project.git"]);
        git(&root, &["clone", "-q", "project.git", "desk"]);
        let repo = Self {
            _room: room,
            path: root.join("project.git"),
            desk: root.join("desk"),
        };
        git_ok(&repo.desk, &["switch", "-q", "-c", "main"]);
        repo.begin();
        repo
    }

    /// A person's, after many commits.
    pub fn with_history(commits: usize) -> Self {
        let repo = Self::new();
        let mut stream = String::new();
        for n in 0..commits {
            let (message, content) = (format!("Change number {n}"), format!("{n}\n"));
            let when = 1_600_000_000 + n * 600;
            write!(
                stream,
                "commit refs/heads/main\ncommitter Person <person@example.invalid> {when} +0000\ndata {}\n{message}\n",
                message.len()
            )
            .unwrap();
            if n == 0 {
                stream.push_str("from refs/heads/main^0\n");
            }
            let file = format!("lib/part{}/file{}.txt", n % 20, n % 200);
            write!(stream, "M 644 inline {file}\ndata {}\n{content}\n", content.len()).unwrap();
        }
        let mut import = command(&repo.path, &["fast-import", "--quiet"])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        import.stdin.take().unwrap().write_all(stream.as_bytes()).unwrap();
        assert!(import.wait().unwrap().success());
        git(&repo.path, &["reset", "-q", "--hard", "main"]);
        repo
    }

    fn begin(&self) {
        let files = [
            ("README.md", "A project.\n"),
            ("check.sh", "set -eu\n[ ! -e broken ]\n"),
        ];
        self.commit(&files, "Begin");
    }

    /// A person commits files on main; the commit.
    pub fn commit(&self, files: &[(&str, &str)], message: &str) -> String {
        self.write(files);
        git(&self.desk, &["add", "-A"]);
        git(&self.desk, &["commit", "-q", "-m", message]);
        if self.desk != self.path {
            git(&self.desk, &["push", "-q", "origin", "HEAD:main"]);
        }
        git(&self.desk, &["rev-parse", "HEAD"])
    }

    /// Writes files at the person's desk.
    pub fn write(&self, files: &[(&str, &str)]) {
        for (name, content) in files {
            let path = self.desk.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
    }

    /// Runs git in the project's repository; it must succeed.
    pub fn git(&self, args: &[&str]) -> String {
        git(&self.path, args)
    }

    /// The commit of a name.
    pub fn sha(&self, name: &str) -> String {
        self.git(&["rev-parse", "--verify", &format!("{name}^{{commit}}")])
    }

    /// The commits of main that came after `base`, oldest first.
    pub fn since(&self, base: &str) -> Vec<String> {
        let list = self.git(&["rev-list", "--reverse", &format!("{base}..main")]);
        list.lines().map(str::to_owned).collect()
    }

    /// How often main was moved by a merge of Orch: reflogs are not kept for it, so commits with two parents.
    pub fn merge_commits_since(&self, base: &str) -> usize {
        self.git(&["rev-list", "--merges", &format!("{base}..main")])
            .lines()
            .count()
    }

    /// A file of main.
    pub fn show(&self, path: &str) -> String {
        self.git(&["show", &format!("main:{path}")])
    }
}

fn command(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new("git");
    command
        .args([
            "-c",
            "user.name=person",
            "-c",
            "user.email=person@example.invalid",
        ])
        .args(["-c", "gc.auto=0", "-c", "maintenance.auto=false"])
        .arg("-C")
        .arg(dir)
        .args(args)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        // What a hook of a test knows a person by.
        .env("BY_A_PERSON", "yes");
    command
}

/// Runs git, which must succeed; what it printed, without the last line's end.
pub fn git(dir: &Path, args: &[&str]) -> String {
    let output = command(dir, args).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "git {args:?} in {}: {said}",
        dir.display()
    );
    String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
}

/// True when git succeeds.
pub fn git_ok(dir: &Path, args: &[&str]) -> bool {
    command(dir, args).output().unwrap().status.success()
}

/// Every file below a folder with its content and permissions; for links, where they point. What goes away meanwhile
/// is not there.
pub fn snapshot(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    use std::os::unix::fs::PermissionsExt as _;
    let mut found = BTreeMap::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            let Ok(meta) = fs::symlink_metadata(&path) else {
                continue;
            };
            let mut seen = meta.permissions().mode().to_be_bytes().to_vec();
            if meta.is_symlink() {
                seen.extend(fs::read_link(&path).unwrap().as_os_str().as_encoded_bytes());
            } else if meta.is_dir() {
                folders.push(path.clone());
            } else {
                match fs::read(&path) {
                    Ok(content) => seen.extend(content),
                    Err(e) if e.kind() == std::io::ErrorKind::NotFound => continue,
                    Err(e) => panic!("{}: {e}", path.display()),
                }
            }
            found.insert(path, seen);
        }
    }
    found
}
