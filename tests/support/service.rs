//! The service of a test: started, asked, killed, started again, and always ended.

use std::ffi::OsString;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use orch::engine::views::{
    AddTask, EventView, GestureView, JobView, MakeGesture, QueueView, RunView, TaskDetail, TaskView,
};
use orch::process::service::{ServiceChild, ServiceCommand};
use serde_json::json;
use tempfile::TempDir;

use super::processes::{children_of, kill_all_below};
use super::{Answer, Api, PATIENCE, processes_below};

/// How long the service may take to end when asked.
const END: Duration = Duration::from_secs(30);
/// A wait goes on while something happens, but not longer than this.
const LONGEST: Duration = Duration::from_secs(300);
/// What makes a namespace that ends with whoever started it.
const CONTAINER: [&str; 4] = ["--pid", "--fork", "--mount-proc", "--kill-child"];
/// Seconds of one long poll.
const POLL_S: u64 = 2;

/// A service in a temporary home.
pub struct TestService {
    room: TempDir,
    home: PathBuf,
    env: Vec<(String, String)>,
    child: Option<ServiceChild>,
    contained: bool,
    supervisor: Option<PathBuf>,
    address: String,
}

impl TestService {
    pub(super) fn new(env: Vec<(String, String)>) -> Self {
        let room = tempfile::Builder::new().prefix("orch-test-").tempdir().unwrap();
        let home = room.path().canonicalize().unwrap();
        fs::create_dir(home.join("out")).unwrap();
        fs::create_dir(home.join("tmp")).unwrap();
        Self {
            room,
            home,
            env,
            child: None,
            contained: false,
            supervisor: None,
            address: String::new(),
        }
    }

    /// Its folder.
    pub fn home(&self) -> &Path {
        &self.home
    }
    /// Its data directory.
    pub fn data(&self) -> PathBuf {
        self.home.join("data")
    }
    /// Where agents leave what they want to tell the test: `$out` in their scripts.
    pub fn out(&self) -> PathBuf {
        self.home.join("out")
    }
    /// Its settings file.
    pub fn config(&self) -> PathBuf {
        self.home.join("orch.toml")
    }
    /// What it printed, over all starts.
    pub fn log(&self) -> String {
        fs::read_to_string(self.home.join("service.log")).unwrap_or_default()
    }

    /// What an agent left in `$out`; empty when nothing.
    pub fn told(&self, name: &str) -> String {
        fs::read_to_string(self.out().join(name)).unwrap_or_default()
    }
    /// The prompt of a role's n-th run for a task.
    pub fn prompt(&self, task: &str, role: &str, nth: u32) -> String {
        let name = format!("{task}.{role}.{nth}.prompt");
        fs::read_to_string(self.out().join(&name)).unwrap_or_else(|e| panic!("{name}: {e}"))
    }
    /// How often a role worked for a task.
    pub fn worked(&self, task: &str, role: &str) -> u32 {
        self.told(&format!("{task}.{role}.runs"))
            .trim()
            .parse()
            .unwrap_or(0)
    }
    /// Lets an agent go on that waits with `until_told NAME`.
    pub fn tell(&self, name: &str) {
        fs::write(self.out().join(name), "").unwrap();
    }
    /// Waits until an agent says `here NAME`; its process and its folder.
    pub fn wait_here(&self, name: &str) -> (i32, PathBuf) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some((pid, cwd)) = self.told(name).trim().split_once(' ') {
                return (pid.parse().unwrap(), PathBuf::from(cwd));
            }
            assert!(
                Instant::now() < deadline,
                "no agent came to {name:?}\n{}",
                self.tail()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Sets a variable of its environment, for its next start.
    pub fn set_env(&mut self, name: &str, value: &str) {
        self.unset_env(name);
        self.env.push((name.to_owned(), value.to_owned()));
    }
    /// Takes one away.
    pub fn unset_env(&mut self, name: &str) {
        self.env.retain(|(known, _)| known != name);
    }

    /// Starts it and waits until it is ready.
    pub fn start(&mut self) {
        let seen = self.log().len();
        self.spawn();
        let deadline = Instant::now() + PATIENCE;
        while !self.is_ready(seen) {
            if let Some(status) = self.exited() {
                panic!("the service ended before it was ready: {status}\n{}", self.tail());
            }
            assert!(
                Instant::now() < deadline,
                "the service is not ready\n{}",
                self.tail()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Whether it answers at the address that it told after so much of the log.
    pub fn is_ready(&mut self, seen: usize) -> bool {
        let Some(address) = address_in(self.log().get(seen..).unwrap_or_default()) else {
            return false;
        };
        self.address = address;
        let answer = self.api().try_ask("GET", "/ready", None);
        answer.is_ok_and(|a| a.status == 200)
    }

    /// From now on it is started as the first process of a pid namespace, like in a container. False where this user may
    /// not make one; then the test says that it was not run.
    pub fn contain(&mut self) -> bool {
        let tried = Command::new("unshare").args(CONTAINER).arg("true").output();
        let why = match tried {
            Ok(done) if done.status.success() => {
                self.contained = true;
                return true;
            }
            Ok(done) => String::from_utf8_lossy(&done.stderr).into_owned(),
            Err(e) => format!("unshare: {e}"),
        };
        let thread = std::thread::current();
        let test = thread.name().unwrap_or("a test");
        let said = writeln!(std::io::stderr(), "not run: {test}: {}", why.trim());
        said.unwrap();
        false
    }

    /// From now on a script starts it, and starts it again when it ends: `serve` and its arguments are the script's.
    pub fn supervised(&mut self, script: &Path) {
        self.supervisor = Some(script.to_owned());
    }

    /// The first process of its container, as it is numbered outside; none yet where it is still being started.
    pub fn first_process(&self) -> Option<i32> {
        let around = self.child.as_ref().and_then(ServiceChild::pid)?;
        children_of(i32::try_from(around).unwrap()).first().copied()
    }

    /// Starts it and returns at once, for a service that is expected not to come up.
    pub fn spawn(&mut self) {
        let own = env!("CARGO_BIN_EXE_orch");
        let serve: [OsString; 3] = ["serve".into(), "--config".into(), self.config().into()];
        let around = CONTAINER.into_iter().chain([own]).map(OsString::from);
        let (program, args): (_, Vec<_>) = match (&self.supervisor, self.contained) {
            (Some(script), _) => {
                let script = [OsString::from(script)].into_iter();
                ("sh", script.chain(serve).collect())
            }
            (None, true) => ("unshare", around.chain(serve).collect()),
            (None, false) => (own, serve.into()),
        };
        let log = self.home.join("service.log");
        let command = ServiceCommand {
            program: Path::new(program),
            args: &args,
            env: &self.environment(),
            cwd: &self.home,
            log: &log,
        };
        self.child = Some(ServiceChild::spawn(&command).unwrap());
    }

    /// How it ended, if it did.
    pub fn exited(&mut self) -> Option<std::process::ExitStatus> {
        self.child.as_mut().and_then(|c| c.exited().unwrap())
    }

    /// Its process.
    pub fn pid(&self) -> i32 {
        let pid = self.child.as_ref().and_then(ServiceChild::pid).unwrap();
        i32::try_from(pid).unwrap()
    }

    /// Asks it to end and waits for that.
    pub fn stop(&mut self) {
        if let Some(first) = self.contained.then(|| self.first_process()).flatten() {
            // SAFETY: kill has no memory effects; the process is the first of a namespace that is ours.
            unsafe { libc::kill(first, libc::SIGTERM) };
        }
        if let Some(mut child) = self.child.take() {
            child.end(END).unwrap();
        }
    }

    /// Asks it to end, and does not wait.
    pub fn terminate(&self) {
        // SAFETY: kill has no memory effects; the child was not waited for, so the pid is its own.
        unsafe { libc::kill(self.pid(), libc::SIGTERM) };
    }

    /// Kills it like a power cut does; its agents live on.
    pub fn kill9(&mut self) {
        if let Some(mut child) = self.child.take() {
            let pid = i32::try_from(child.pid().unwrap()).unwrap();
            // SAFETY: kill has no memory effects; the child was not waited for, so the pid is its own.
            unsafe { libc::kill(pid, libc::SIGKILL) };
            while child.exited().unwrap().is_none() {
                std::thread::sleep(Duration::from_millis(2));
            }
        }
    }

    /// Ends it in order and starts it again.
    pub fn restart(&mut self) {
        self.stop();
        self.start();
    }

    /// Its API.
    pub fn api(&self) -> Api {
        Api {
            address: self.address.clone(),
            token_file: self.data().join("api-token"),
        }
    }

    /// Runs the command line against it.
    pub fn cli(&self, args: &[&str]) -> Output {
        self.cli_command(args).output().unwrap()
    }

    /// A command line that is not run yet.
    pub fn cli_command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_orch"));
        command.arg("--config").arg(self.config());
        if !self.address.is_empty() {
            command.args(["--api-url", &format!("http://{}", self.address)]);
        }
        command
            .args(args)
            .env_clear()
            .envs(self.environment())
            .current_dir(&self.home)
            .stdin(Stdio::null());
        command
    }

    /// Runs the command line, which must succeed; what it printed.
    pub fn cli_ok(&self, args: &[&str]) -> String {
        let output = self.cli(args);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "orch {args:?}: {}: {said}\n{}",
            output.status,
            self.tail()
        );
        String::from_utf8(output.stdout).unwrap()
    }

    /// Adds a task by its title; its name.
    pub fn add(&self, title: &str) -> String {
        let task = AddTask {
            title: title.to_owned(),
            ..AddTask::default()
        };
        self.add_task(&task).id
    }

    /// Adds a task.
    pub fn add_task(&self, task: &AddTask) -> TaskView {
        self.api()
            .post("/api/v1/tasks", &serde_json::to_value(task).unwrap())
            .ok()
    }

    /// All that is known of a task.
    pub fn task(&self, id: &str) -> TaskDetail {
        self.api().get(&format!("/api/v1/tasks/{id}")).ok()
    }

    /// A task's runs, oldest first.
    pub fn runs(&self, id: &str) -> Vec<RunView> {
        let mut runs: Vec<RunView> = self.api().get(&format!("/api/v1/tasks/{id}/runs")).ok();
        runs.sort_by_key(|r| r.id);
        runs
    }

    /// A job.
    pub fn job(&self, id: i64) -> JobView {
        self.api().get(&format!("/api/v1/jobs/{id}")).ok()
    }

    /// The queue.
    pub fn queue(&self) -> QueueView {
        self.api().get("/queue").ok()
    }

    /// Makes a person's gesture.
    pub fn gesture(&self, id: &str, gesture: &str, comment: Option<&str>) -> GestureView {
        self.try_gesture(id, gesture, comment).ok()
    }

    /// Makes a gesture that may be refused.
    pub fn try_gesture(&self, id: &str, gesture: &str, comment: Option<&str>) -> Answer {
        let body = MakeGesture {
            gesture: gesture.to_owned(),
            person: Some("tester".to_owned()),
            comment: comment.map(str::to_owned),
            candidate: None,
        };
        let path = format!("/api/v1/tasks/{id}/gestures");
        self.api().post(&path, &serde_json::to_value(body).unwrap())
    }

    /// What happened after event `after`, waiting up to `wait_s` for something to happen.
    pub fn events(&self, after: i64, wait_s: u64) -> Vec<EventView> {
        self.api()
            .get(&format!("/api/v1/events?after={after}&wait_s={wait_s}"))
            .ok()
    }

    /// Waits until this holds of a task. Looks again whenever something happens; gives up when nothing happened
    /// for [`PATIENCE`].
    pub fn wait_task(&mut self, id: &str, what: &str, holds: impl Fn(&TaskDetail) -> bool) -> TaskDetail {
        let began = Instant::now();
        let mut quiet_since = began;
        let mut after = 0;
        loop {
            let seen = self.events(after, 0);
            if let Some(last) = seen.last() {
                after = last.id;
                quiet_since = Instant::now();
                continue;
            }
            let detail = self.task(id);
            if holds(&detail) {
                return detail;
            }
            if let Some(status) = self.exited() {
                panic!("the service ended: {status}\n{}", self.tail());
            }
            if quiet_since.elapsed() > PATIENCE || began.elapsed() > LONGEST {
                panic!("waited in vain until {id} {what}\n{}", self.explain(&detail));
            }
            self.events(after, POLL_S);
        }
    }

    /// Waits until a task has this status; fails at once when it ends otherwise.
    pub fn wait_status(&mut self, id: &str, status: &str) -> TaskDetail {
        let ended = ["done", "cancelled"];
        let detail = self.wait_task(id, &format!("is {status}"), |d| {
            d.task.status == status || ended.contains(&d.task.status.as_str())
        });
        assert_eq!(detail.task.status, status, "{}", self.explain(&detail));
        detail
    }

    /// Waits until a task is in this stage.
    pub fn wait_stage(&mut self, id: &str, stage: &str) -> TaskDetail {
        self.wait_task(id, &format!("is in {stage}"), |d| d.task.stage == stage)
    }

    /// Waits until no job is queued or running.
    pub fn wait_idle(&self) -> QueueView {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let queue = self.queue();
            if queue.live.is_empty() {
                return queue;
            }
            assert!(
                Instant::now() < deadline,
                "jobs are left: {:#?}\n{}",
                queue.live,
                self.tail()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Stops or starts the claiming of jobs.
    pub fn pause(&self, paused: bool) {
        let verb = if paused { "pause" } else { "resume" };
        let answer = self.api().post(&format!("/api/v1/queue/{verb}"), &json!({}));
        assert!(answer.status < 300, "{}: {}", answer.status, answer.text());
    }

    /// Everything that helps to see why a test waited in vain.
    pub fn explain(&self, detail: &TaskDetail) -> String {
        let mut text = format!("{:#?}\n", detail.task);
        for gate in &detail.gates {
            text.push_str(&format!("gate {}: {}: {}\n", gate.gate, gate.state, gate.reason));
        }
        for job in &detail.jobs {
            text.push_str(&format!("job {job:?}\n"));
        }
        for run in &detail.runs {
            text.push_str(&format!("run {run:?}\n"));
        }
        for event in &detail.events {
            text.push_str(&format!(
                "{} {} {}: {}\n",
                event.at, event.stage, event.kind, event.text
            ));
        }
        text.push_str(&self.tail());
        text
    }

    fn tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        format!(
            "--- the end of the service's log ---\n{}",
            lines[lines.len().saturating_sub(40)..].join("\n")
        )
    }

    fn environment(&self) -> Vec<(OsString, OsString)> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let own = [
            ("PATH", path),
            ("HOME", self.home.clone().into()),
            ("TMPDIR", self.home.join("tmp").into()),
            ("GIT_CONFIG_NOSYSTEM", "1".into()),
            ("GIT_CONFIG_GLOBAL", "/dev/null".into()),
        ];
        let own = own.map(|(n, v)| (OsString::from(n), v));
        own.into_iter()
            .chain(self.env.iter().map(|(n, v)| (n.into(), v.into())))
            .collect()
    }

    /// Processes that belong to this service: itself, its shims, its agents.
    pub fn processes(&self) -> Vec<i32> {
        processes_below(self.room.path())
    }
}

impl Drop for TestService {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let patience = if self.contained { 0 } else { 5 };
            // Agents that wait for a test that failed are killed below.
            let _ended = child.end(Duration::from_secs(patience));
        }
        kill_all_below(self.room.path());
    }
}

/// The address that a part of the log tells.
fn address_in(log: &str) -> Option<String> {
    let rest = log.split("listening on http://").nth(1)?;
    let end = rest.find(|c: char| !(c.is_ascii_digit() || c == '.' || c == ':'))?;
    Some(rest[..end].to_owned())
}
