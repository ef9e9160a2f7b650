//! A run in a directory of its own, which checks at its end that nothing of it is left alive.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use orch::domain::run::{ExitRecord, ProcessIdentity};
use orch::process::{
    LaunchSpec, LaunchedShim, ProcessError, ProcessWatch, launch, output_path, read_exit, read_shim, stop,
};
use tempfile::TempDir;

/// Longer than any test may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub fn orch_exe() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_orch"))
}

/// A program that a test wants to run. Everything it starts inherits its directory, by which it is found again.
pub struct Run {
    dir: TempDir,
    pub spec: LaunchSpec,
    pub exe: PathBuf,
}

impl Run {
    pub fn of(argv: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let work = dir.path().join("work");
        fs::create_dir(&work).unwrap();
        let spec = LaunchSpec {
            program: argv[0].to_owned(),
            args: argv[1..].iter().map(|&a| a.to_owned()).collect(),
            env: vec![("PATH".into(), "/usr/local/bin:/usr/bin:/bin".into())],
            cwd: work,
            stdin: None,
            log_cap_bytes: 1 << 20,
            timeout: Some(PATIENCE),
            stall: None,
            startup: None,
            kill_grace: Duration::from_millis(200),
            lease: None,
            once: false,
        };
        Self {
            dir,
            spec,
            exe: orch_exe().to_owned(),
        }
    }

    pub fn sh(script: &str) -> Self {
        Self::of(&["/bin/sh", "-c", script])
    }

    pub fn with(mut self, change: impl FnOnce(&mut LaunchSpec)) -> Self {
        change(&mut self.spec);
        self
    }

    pub fn run_dir(&self) -> PathBuf {
        self.dir.path().join("run")
    }

    pub fn work(&self) -> PathBuf {
        self.dir.path().join("work")
    }

    pub fn launch(&self) -> Result<LaunchedShim, ProcessError> {
        launch(&self.run_dir(), &self.exe, &self.spec)
    }

    pub fn launched(&self) -> ProcessIdentity {
        self.launch().unwrap().identity
    }

    /// Runs it to its end.
    pub async fn exit(&self) -> ExitRecord {
        let shim = self.launched();
        self.end_of(&shim).await
    }

    pub async fn end_of(&self, shim: &ProcessIdentity) -> ExitRecord {
        let watch = ProcessWatch::open(shim);
        tokio::time::timeout(PATIENCE, watch.wait())
            .await
            .expect("the shim ends");
        let exit = read_exit(&self.run_dir()).unwrap();
        exit.unwrap_or_else(|| panic!("no exit; the shim said: {:?}", self.shim_said()))
    }

    pub fn shim_said(&self) -> String {
        fs::read_to_string(self.run_dir().join("shim.err")).unwrap_or_default()
    }

    pub fn output(&self) -> String {
        String::from_utf8(self.output_bytes()).unwrap()
    }

    pub fn output_bytes(&self) -> Vec<u8> {
        fs::read(output_path(&self.run_dir())).unwrap()
    }

    /// Waits until the program has printed this.
    pub fn printed(&self, text: &str) {
        wait_until(&format!("the program prints {text:?}"), || {
            fs::read_to_string(output_path(&self.run_dir())).is_ok_and(|log| log.contains(text))
        });
    }

    pub fn agent_pid(&self) -> i32 {
        let mut pid = None;
        wait_until("the shim tells its agent's pid", || {
            pid = read_shim(&self.run_dir()).unwrap().map(|record| record.agent_pid);
            pid.is_some()
        });
        pid.unwrap()
    }

    /// Living processes that work in this run's directory: whatever it started, wherever it went since.
    pub fn survivors(&self) -> Vec<i32> {
        processes_in(&self.work())
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if let Ok(Some(record)) = read_shim(&self.run_dir()) {
            stop(&record.shim).ok();
        }
        if thread::panicking() {
            // A test that failed leaves no more behind than one that passed.
            for pid in self.survivors() {
                Command::new("kill")
                    .args(["-KILL", &pid.to_string()])
                    .status()
                    .ok();
            }
            return;
        }
        wait_until("nothing of the run is left alive", || self.survivors().is_empty());
    }
}

pub fn processes_in(dir: &Path) -> Vec<i32> {
    let dir = dir.canonicalize().unwrap();
    let pids = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| {
        let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
        let cwd = fs::read_link(entry.path().join("cwd")).ok()?;
        cwd.starts_with(&dir).then_some(pid)
    });
    pids.filter(|&pid| state(pid).is_some_and(|s| s != 'Z')).collect()
}

/// Field 3 of `/proc/<pid>/stat`.
pub fn state(pid: i32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

/// Looks again and again, with a deadline.
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        thread::sleep(Duration::from_millis(5));
    }
}
