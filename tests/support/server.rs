//! A PostgreSQL server of a test's own, that can be restarted under whoever uses it.

use std::io::Write as _;
use std::os::unix::fs::chown;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

/// Ends with the test.
pub struct Server {
    folder: TempDir,
    programs: PathBuf,
    port: u16,
}

/// How a server is stopped before it starts again.
#[derive(Clone, Copy, Debug)]
pub enum Stop {
    /// Connections are ended, what they had open is rolled back.
    Fast,
    /// As if it had crashed: the next start recovers from the log.
    Immediate,
}

impl Server {
    /// Where the server's programs are missing, the test says that it was not run; in CI that is a failure.
    pub fn start() -> Option<Self> {
        let Some(programs) = programs() else {
            assert!(
                std::env::var_os("CI").is_none(),
                "CI needs PostgreSQL's programs, see .ci/run"
            );
            let said = writeln!(std::io::stderr(), "not run: initdb is not installed");
            said.unwrap();
            return None;
        };
        // libpq takes a port only; one that was free a moment ago will do.
        let free = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let folder = tempfile::tempdir().unwrap();
        if is_root() {
            let (user, group) = (id_of("-u"), id_of("-g"));
            chown(folder.path(), Some(user), Some(group)).unwrap();
        }
        let server = Self {
            folder,
            programs,
            port,
        };
        let data = server.data();
        server.run(
            "initdb",
            &[
                "--pgdata",
                &data,
                "--auth=trust",
                "--username=postgres",
                "--no-sync",
            ],
        );
        let settings = format!(
            "\nport = {port}\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = '{}'\n",
            server.folder.path().display()
        );
        let file = server.folder.path().join("data/postgresql.conf");
        let known = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, known + &settings).unwrap();
        server.control(&["start"]);
        Some(server)
    }

    pub fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    /// Returns when it takes connections again.
    pub fn restart(&self, stop: Stop) {
        let mode = match stop {
            Stop::Fast => "fast",
            Stop::Immediate => "immediate",
        };
        self.control(&["--mode", mode, "restart"]);
    }

    fn data(&self) -> String {
        self.folder.path().join("data").display().to_string()
    }

    fn control(&self, args: &[&str]) {
        let log = self.folder.path().join("log").display().to_string();
        let data = self.data();
        let mut all = vec![
            "--pgdata",
            data.as_str(),
            "--log",
            log.as_str(),
            "--wait",
            "--silent",
        ];
        all.extend(args);
        self.run("pg_ctl", &all);
    }

    fn run(&self, program: &str, args: &[&str]) {
        let status = self.command(program, args).status().unwrap();
        assert!(status.success(), "{program} {args:?}: {status}");
    }

    /// The server refuses to be root.
    fn command(&self, program: &str, args: &[&str]) -> Command {
        let program = self.programs.join(program);
        let mut command = if is_root() {
            let mut command = Command::new("setpriv");
            command
                .args(["--reuid=postgres", "--regid=postgres", "--clear-groups"])
                .arg(program);
            command
        } else {
            Command::new(program)
        };
        command.args(args).current_dir(self.folder.path());
        command
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::null());
        command
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let data = self.data();
        let mut stop = self.command(
            "pg_ctl",
            &["--pgdata", &data, "--mode=immediate", "--silent", "stop"],
        );
        drop(stop.status());
    }
}

/// The folder of `initdb`, which distributions do not put among the programs that are typed.
fn programs() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let typed = std::env::split_paths(&path).collect::<Vec<_>>();
    let versions = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten();
    let own = versions.map(|version| version.path().join("bin"));
    typed
        .into_iter()
        .chain(own)
        .find(|folder| folder.join("initdb").exists())
}

fn is_root() -> bool {
    std::process::Command::new("id")
        .arg("-u")
        .output()
        .is_ok_and(|o| o.stdout == b"0\n")
}

fn id_of(which: &str) -> u32 {
    let asked = Command::new("id").args([which, "postgres"]).output().unwrap();
    String::from_utf8(asked.stdout).unwrap().trim().parse().unwrap()
}
