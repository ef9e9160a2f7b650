//! A real sshd on loopback, with keys of its own. In CI its absence is a failure; elsewhere the test says that it was
//! not run, and why.

use std::fs;
use std::io::Write as _;
use std::net::TcpListener;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::{PATIENCE, children_of};

const SSHD: &str = "/usr/sbin/sshd";

/// A machine that is reached by ssh: this one. Ended with all its connections when dropped.
pub struct Sshd {
    room: TempDir,
    port: u16,
    child: Option<Child>,
}

impl Sshd {
    /// None where there is no sshd. That is said on stderr, whatever is captured.
    pub fn start() -> Option<Self> {
        let missing = [SSHD, "/usr/bin/ssh", "/usr/bin/ssh-keygen"]
            .into_iter()
            .find(|program| !Path::new(program).exists());
        if let Some(program) = missing {
            assert!(
                std::env::var_os("CI").is_none(),
                "CI needs {program}, see .ci/run"
            );
            let thread = std::thread::current();
            let test = thread.name().unwrap_or("a test").to_owned();
            let said = writeln!(std::io::stderr(), "not run: {test}: there is no {program}");
            said.unwrap();
            return None;
        }
        let room = tempfile::Builder::new().prefix("orch-sshd-").tempdir().unwrap();
        for (name, content) in keys() {
            let private = !name.contains('.') && *name != "authorized";
            let mode = if private { 0o600 } else { 0o644 };
            let mut options = fs::OpenOptions::new();
            let file = options
                .write(true)
                .create_new(true)
                .mode(mode)
                .open(room.path().join(name));
            file.unwrap().write_all(content).unwrap();
        }
        // Where sshd wants an empty folder when it is started by root.
        drop(fs::create_dir_all("/run/sshd"));
        let mut sshd = Self {
            room,
            port: 0,
            child: None,
        };
        sshd.listen(None);
        Some(sshd)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.room.path().join(name)
    }

    /// On the port that it had, or on one that is free.
    fn listen(&mut self, port: Option<u16>) {
        for _ in 0..20 {
            self.port = port.unwrap_or_else(|| {
                let free = TcpListener::bind("127.0.0.1:0").unwrap();
                free.local_addr().unwrap().port()
            });
            self.configure();
            let log = fs::File::create(self.path("log")).unwrap();
            let child = Command::new(SSHD)
                .args(["-D", "-e", "-f"])
                .arg(self.path("config"))
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(log)
                .spawn();
            self.child = Some(child.unwrap());
            if self.is_up() {
                return;
            }
            self.stop();
        }
        panic!("sshd: {}", fs::read_to_string(self.path("log")).unwrap());
    }

    fn configure(&self) {
        let config = format!(
            "Port {}\nListenAddress 127.0.0.1\nHostKey {}\nAuthorizedKeysFile {}\nUsePAM no\nStrictModes no\n\
             PidFile none\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin yes\n\
             MaxStartups 100\nMaxSessions 100\nUseDNS no\nPrintMotd no\nPrintLastLog no\nPermitUserRC no\n\
             KexAlgorithms curve25519-sha256\nCiphers aes128-gcm@openssh.com\n",
            self.port,
            self.path("host").display(),
            self.path("authorized").display()
        );
        fs::write(self.path("config"), config).unwrap();
        let key = fs::read_to_string(self.path("host.pub")).unwrap();
        let known = format!("[127.0.0.1]:{} {key}", self.port);
        fs::write(self.path("known_hosts"), known).unwrap();
    }

    fn is_up(&mut self) -> bool {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if self.child.as_mut().unwrap().try_wait().unwrap().is_some() {
                return false;
            }
            // Its own word: another server may have taken the port since we looked for a free one.
            let log = fs::read_to_string(self.path("log")).unwrap();
            if log.contains(&format!("Server listening on 127.0.0.1 port {}.", self.port)) {
                return true;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        false
    }

    /// Lines for the settings that make it a node whose folder is there.
    pub fn node(&self, name: &str, root: &Path) -> Vec<String> {
        let text =
            |key: &str, value: &Path| format!("nodes.{name}.{key} = {:?}", value.display().to_string());
        vec![
            format!("nodes.{name}.host = '127.0.0.1'"),
            format!("nodes.{name}.port = {}", self.port),
            text("identity_file", &self.path("login")),
            text("known_hosts_file", &self.path("known_hosts")),
            text("root", root),
        ]
    }

    /// Ends it; nobody connects any more, and who is connected loses the connection.
    pub fn stop(&mut self) {
        self.cut();
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Starts it again where it was.
    pub fn start_again(&mut self) {
        self.listen(Some(self.port));
    }

    /// Cuts every connection there is; how many there were.
    pub fn cut(&self) -> usize {
        let Some(child) = &self.child else { return 0 };
        let sessions = children_of(i32::try_from(child.id()).unwrap());
        for session in &sessions {
            // As root the one that talks is a child of the one that watches.
            for pid in children_of(*session)
                .into_iter()
                .filter(|p| is_sshd(*p))
                .chain([*session])
            {
                // SAFETY: kill has no memory effects; the process is a session of a server that is ours.
                unsafe { libc::kill(pid, libc::SIGKILL) };
            }
        }
        sessions.len()
    }
}

/// Keys of the server and of who logs in, and what the server takes: made once.
fn keys() -> &'static [(&'static str, Vec<u8>)] {
    static KEYS: OnceLock<Vec<(&str, Vec<u8>)>> = OnceLock::new();
    KEYS.get_or_init(|| {
        let room = tempfile::tempdir().unwrap();
        for key in ["host", "login"] {
            let made = Command::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-f"])
                .arg(room.path().join(key))
                .status();
            assert!(made.unwrap().success());
        }
        let files = [
            ("host", "host"),
            ("host.pub", "host.pub"),
            ("login", "login"),
            ("authorized", "login.pub"),
        ];
        let read = |(name, from)| (name, fs::read(room.path().join(from)).unwrap());
        files.map(read).to_vec()
    })
}

fn is_sshd(pid: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim().starts_with("sshd"))
}

impl Drop for Sshd {
    fn drop(&mut self) {
        self.stop();
    }
}
