//! An engine in a temporary home, without any actor: a real repository, a real database, agents that are shell
//! scripts, and a clock that goes only when it is told to. Whatever it started has ended when it is dropped.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use diesel::sql_types::Text;
use orch::agents::{Presets, Prices};
use orch::domain::id::{InstanceId, Sha, TaskId};
use orch::domain::job::{Claim, Job, JobStatus};
use orch::domain::run::Run;
use orch::domain::task::Task;
use orch::domain::time::Timestamp;
use orch::engine::instances::{self, Enrolled};
use orch::engine::run::{Driven, claim_of, drive};
use orch::engine::views::{AddTask, GestureView, MakeGesture};
use orch::engine::{Engine, EngineError, Hint, Parts, ProjectHandle, deliver, gestures, intake, queue};
use orch::integrations::notify::Receivers;
use orch::process::{self, Liveness};
use orch::settings::project::Project;
use orch::settings::{LoadOptions, Settings};
use orch::store::{Store, StoreError, events, jobs, outbox, projects, pull_requests, runs, tasks};
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::mpsc;

use super::driving::Driving;
use crate::support::Postgres;
use crate::support::fake_gitea::{FakeGitea, REPOSITORY, TOKEN};

/// Longer than anything may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// development → review → done: the reviewer's stage merges by itself.
pub const SHORT: &str = r#"
[[stage]]
name = "development"
role = "developer"
gates = ["tests_local"]
rollback_to = "development"

[[stage]]
name = "review"
role = "reviewer"
gates = ["reviewer_verdict", "branch_mergeable"]
rollback_to = "development"

[[stage]]
name = "done"
"#;

/// development → review → staging → deploy → done: a person confirms the merge.
pub const CONFIRMED: &str = r#"
[[stage]]
name = "development"
role = "developer"
gates = ["tests_local"]
rollback_to = "development"

[[stage]]
name = "review"
role = "reviewer"
gates = ["reviewer_verdict"]
rollback_to = "development"

[[stage]]
name = "staging"
gates = ["branch_mergeable"]
rollback_to = "development"

[[stage]]
name = "deploy"
rollback_to = "development"
confirm = true

[[stage]]
name = "done"
"#;

const WORDS: &str = r#"
mkdir -p "$ORCH_ARTIFACTS_DIR"
echo "$ORCH_ROLE" >>"$out/runs"
nth=$(grep -c "^$ORCH_ROLE\$" "$out/runs")
front() { printf -- '---\n%s: %s\n---\n' "$2" "$3" >"$ORCH_ARTIFACTS_DIR/$1"; }
verdict() { front 12-review.md verdict "$1"; }
tested() { front 13-test-report.md result "$1"; }
deployed() { front 14-deploy-log.md deploy_status "$1"; }
analysed() { for f in 01-brd.md 02-trz.md 03-acceptance-criteria.md 04-test-plan.yaml; do echo text >"$ORCH_ARTIFACTS_DIR/$f"; done; }
decided() { mkdir -p "$ORCH_ARTIFACTS_DIR/06-adr"; echo text >"$ORCH_ARTIFACTS_DIR/06-adr/ADR-1.md"; }
# Says that this point is reached, and waits until the test lets it go on.
hold() { : >"$out/$1.reached"; while [ ! -e "$out/$1.go" ]; do sleep 0.02; done; }
"#;

/// The database below a house.
#[derive(Clone, Copy)]
pub enum Backend {
    Sqlite,
    Postgres,
}

impl Backend {
    /// A house on a database of its own.
    pub fn plan(self, stages: &str) -> Plan {
        let plan = Plan::new(stages);
        match self {
            Self::Sqlite => plan,
            Self::Postgres => {
                let database = Postgres::fresh().unwrap();
                let url = format!("database.url = {:?}", database.url());
                // No test lives as long as this, and none beats.
                let mut plan = plan.set(&url).set("instance.ttl_s = 7200");
                plan.database = Some(database);
                plan
            }
        }
    }

    pub async fn short(self) -> House {
        self.plan(SHORT).build().await
    }

    pub async fn confirmed(self) -> House {
        self.plan(CONFIRMED).build().await
    }
}

/// Makes of each function that takes a [`Backend`] a test on each database.
macro_rules! on_both {
    ($($name:ident),+ $(,)?) => {
        mod on_sqlite {
            $(#[tokio::test]
            async fn $name() {
                super::$name($crate::engine::house::Backend::Sqlite).await;
            })+
        }

        mod on_postgres {
            $(#[tokio::test]
            async fn $name() {
                if $crate::support::Postgres::is_there() {
                    super::$name($crate::engine::house::Backend::Postgres).await;
                }
            })+
        }
    };
}
pub(crate) use on_both;

/// A house to be.
pub struct Plan {
    database: Option<Postgres>,
    settings: String,
    top: String,
    stages: String,
    /// Instead of the scripted agent.
    agent: Option<String>,
    /// Beside its command.
    agent_line: String,
    /// Instead of git alone.
    forge: Option<FakeGitea>,
}

impl Plan {
    /// With the pipeline of these `[[stage]]` tables; empty for the default one.
    pub fn new(stages: &str) -> Self {
        Self {
            database: None,
            settings: "max_concurrency = 8\nqueue.retry_delay_s = 0\nrepair.node_cool_s = 1\nagent.kill_grace_s = 1\n".to_owned(),
            top: String::new(),
            agent: None,
            agent_line: String::new(),
            forge: None,
            stages: stages.to_owned(),
        }
    }

    /// A line for the settings.
    pub fn set(mut self, line: &str) -> Self {
        self.settings.push_str(line);
        self.settings.push('\n');
        self
    }

    /// A line at the top of the project's file.
    pub fn top(mut self, line: &str) -> Self {
        self.top.push_str(line);
        self.top.push('\n');
        self
    }

    /// A line for the agent's section of the project's file.
    pub fn agent_with(mut self, line: &str) -> Self {
        self.agent_line = line.to_owned();
        self
    }

    /// An agent that is this program.
    pub fn agent(mut self, program: &str) -> Self {
        self.agent = Some(program.to_owned());
        self
    }

    /// The repository is at this Gitea.
    pub fn forge(mut self, gitea: &FakeGitea) -> Self {
        self.forge = Some(gitea.clone());
        self.set(&format!("gitea.url = '{}'", gitea.url))
            .set(&format!("gitea.token = '{TOKEN}'"))
    }

    pub async fn build(self) -> House {
        let room = tempfile::tempdir().unwrap();
        let path = room.path().to_owned();
        for folder in ["out", "roles"] {
            fs::create_dir(path.join(folder)).unwrap();
        }
        git(&path, &["init", "-q", "--bare", "-b", "main", "origin.git"]);
        git(&path, &["clone", "-q", "origin.git", "desk"]);
        let origin = match &self.forge {
            None => path.join("origin.git").display().to_string(),
            Some(gitea) => {
                gitea.adopt(REPOSITORY, &path.join("origin.git"));
                gitea.clone_url(REPOSITORY)
            }
        };
        let out = path.join("out");
        let agent = format!(
            "set -eu\nout='{}'\n{WORDS}\n. '{}/roles/'$ORCH_ROLE.sh\n",
            out.display(),
            path.display()
        );
        fs::write(path.join("agent.sh"), agent).unwrap();
        // What a test says itself stands instead of what is usual here.
        let key = |line: &str| line.split('=').next().map(str::trim).map(str::to_owned);
        let said: Vec<_> = self.settings.lines().map(key).collect();
        let last = |(n, _): &(usize, &str)| !said[n + 1..].contains(&said[*n]);
        let settings: Vec<_> = self
            .settings
            .lines()
            .enumerate()
            .filter(last)
            .map(|(_, line)| line)
            .collect();
        fs::write(path.join("orch.toml"), settings.join("\n")).unwrap();
        let project = format!(
            "name = 'shop'\nrepo = '{origin}'\n{top}\n{tests}\n[agent]\ncommand = {agent}\nprompt = 'file'\n{line}\n{stages}",
            tests = if self.top.contains("test_command") {
                String::new()
            } else {
                // Notes each tree that was tested; a file called `broken` fails.
                format!(
                    "test_command = '''git rev-parse 'HEAD^{{tree}}' >>'{}/tested'; test ! -e broken'''",
                    out.display()
                )
            },
            top = self.top,
            line = self.agent_line,
            agent = match &self.agent {
                Some(program) => format!("['{program}']"),
                None => format!("['sh', '{}']", path.join("agent.sh").display()),
            },
            stages = self.stages,
        );
        fs::write(path.join("shop.toml"), project).unwrap();
        let clock = Clock::default();
        let (engine, project, hints) = open(&path, &clock, "first").await;
        let house = House {
            room,
            engine,
            project,
            clock,
            hints,
            database: self.database,
        };
        git(&house.desk(), &["switch", "-q", "-c", "main"]);
        house.commit("main", &[("README.md", "hello\n")]);
        house.role("analyst", "analysed");
        house.role("architect", "decided");
        house.role(
            "developer",
            "mkdir -p src; echo \"work $nth\" >\"src/$ORCH_WORK_ITEM.txt\"",
        );
        house.role("reviewer", "verdict APPROVED");
        house.role("tester", "tested PASS");
        house.role("deployer", "deployed SUCCESS");
        house
    }
}

/// A program that another test starts at this moment holds the lock of the last store until it is itself.
async fn open_store(url: &str) -> Store {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match Store::open(url) {
            Err(StoreError::InUse { .. }) if Instant::now() < deadline => {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            opened => return opened.unwrap(),
        }
    }
}

async fn open(
    room: &Path,
    clock: &Clock,
    instance: &str,
) -> (Engine, Arc<ProjectHandle>, mpsc::UnboundedReceiver<Hint>) {
    let options = LoadOptions {
        config_file: Some(room.join("orch.toml")),
        env: Vec::new(),
        cwd: room.to_owned(),
    };
    let (settings, _) = Settings::load(options).unwrap();
    fs::create_dir_all(&settings.data_dir).unwrap();
    let project = Project::load(&room.join("shop.toml"), &settings).unwrap();
    let store = open_store(&settings.database.url).await;
    let (name, prefix) = (project.name.clone(), project.prefix.clone());
    let row = store
        .write(move |tx| projects::ensure(tx, &name, &prefix, Timestamp(0)))
        .await
        .unwrap();
    let settings = Arc::new(settings);
    let handle = Arc::new(ProjectHandle::new(row.id, project, &settings).unwrap());
    let (sender, hints) = mpsc::unbounded_channel();
    let (time, breaks) = (clock.time.clone(), clock.breaks.clone());
    let engine = Engine::new(Parts {
        store,
        settings,
        projects: BTreeMap::from([(row.id, handle.clone())]),
        names: BTreeMap::from([(row.id, handle.config.name.clone())]),
        instance: InstanceId::trusted(instance),
        exe: PathBuf::from(env!("CARGO_BIN_EXE_orch")),
        presets: Presets::builtin().unwrap(),
        prices: Prices::load(None).unwrap(),
        hints: sender,
        clock: Arc::new(move || {
            assert!(!breaks.swap(false, Ordering::SeqCst), "the clock is broken");
            Timestamp(time.load(Ordering::SeqCst))
        }),
    });
    if engine.store().is_shared() {
        let (id, settings) = (engine.instance(), engine.settings());
        let enrolled = instances::enroll(engine.store(), id, settings, Timestamp(0));
        assert_eq!(enrolled.await.unwrap(), Enrolled::Yes);
        instances::beat(&engine).await.unwrap();
    }
    (engine, handle, hints)
}

/// The home.
pub struct House {
    room: TempDir,
    pub engine: Engine,
    pub project: Arc<ProjectHandle>,
    clock: Clock,
    pub hints: mpsc::UnboundedReceiver<Hint>,
    /// Goes after the store.
    database: Option<Postgres>,
}

/// What the engine takes for the time.
struct Clock {
    time: Arc<AtomicI64>,
    /// Whoever reads it next panics.
    breaks: Arc<AtomicBool>,
}

impl Default for Clock {
    fn default() -> Self {
        Self {
            time: Arc::new(AtomicI64::new(1_800_000_000_000_000)),
            breaks: Arc::default(),
        }
    }
}

/// A line of a raw query.
#[derive(QueryableByName)]
struct Line {
    #[diesel(sql_type = Text)]
    line: String,
}

impl House {
    pub async fn short() -> Self {
        Plan::new(SHORT).build().await
    }

    pub async fn confirmed() -> Self {
        Plan::new(CONFIRMED).build().await
    }

    /// The service dies and starts again: another boot, a new engine on the same files.
    pub async fn restart(&mut self) {
        self.engine.store().close().await;
        let room = self.room.path().to_owned();
        let (engine, project, hints) = open(&room, &self.clock, "second").await;
        (self.engine, self.project, self.hints) = (engine, project, hints);
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.room.path().join(name)
    }

    pub fn origin(&self) -> PathBuf {
        self.path("origin.git")
    }

    fn desk(&self) -> PathBuf {
        self.path("desk")
    }

    pub fn data(&self) -> &Path {
        &self.engine.settings().data_dir
    }

    // --- time and agents

    pub fn later(&self, by: Duration) {
        let micros = i64::try_from(by.as_micros()).unwrap();
        self.clock.time.fetch_add(micros, Ordering::SeqCst);
    }

    /// Whoever reads the clock next panics, once.
    pub fn break_clock(&self) {
        self.clock.breaks.store(true, Ordering::SeqCst);
    }

    /// What a role does from now on, in sh.
    pub fn role(&self, role: &str, script: &str) {
        fs::write(self.path(&format!("roles/{role}.sh")), format!("{script}\n")).unwrap();
    }

    /// How often each role ran, in order.
    pub fn ran(&self) -> Vec<String> {
        lines(&self.path("out/runs"))
    }

    /// The trees that were tested, in order.
    pub fn tested(&self) -> Vec<String> {
        lines(&self.path("out/tested"))
    }

    /// Waits until an agent holds at a point of its script.
    pub async fn reached(&self, point: &str) {
        let path = self.path(&format!("out/{point}.reached"));
        self.until(&format!("an agent holds at {point}"), || path.exists())
            .await;
    }

    /// Lets what holds there go on.
    pub fn go(&self, point: &str) {
        fs::write(self.path(&format!("out/{point}.go")), "").unwrap();
    }

    pub async fn until(&self, what: &str, condition: impl Fn() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !condition() {
            assert!(Instant::now() < deadline, "waited in vain until {what}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    // --- the repository

    /// Commits files on a branch at origin, as a person would.
    pub fn commit(&self, branch: &str, files: &[(&str, &str)]) -> Sha {
        let desk = self.desk();
        if self.head(branch).is_some() {
            git(&desk, &["fetch", "-q", "origin", branch]);
            git(&desk, &["switch", "-q", "--detach", "FETCH_HEAD"]);
        }
        for (name, content) in files {
            let path = desk.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        git(&desk, &["add", "-A"]);
        git(&desk, &["commit", "-q", "-m", "by a person"]);
        git(
            &desk,
            &["push", "-q", "origin", &format!("HEAD:refs/heads/{branch}")],
        );
        Sha::parse(&git(&desk, &["rev-parse", "HEAD"])).unwrap()
    }

    /// Head of a branch at origin.
    pub fn head(&self, branch: &str) -> Option<Sha> {
        let name = format!("refs/heads/{branch}");
        let found = git(&self.origin(), &["for-each-ref", "--format=%(objectname)", &name]);
        (!found.is_empty()).then(|| Sha::parse(&found).unwrap())
    }

    pub fn main(&self) -> Sha {
        self.head("main").unwrap()
    }

    /// Every branch at origin with its head.
    pub fn refs(&self) -> String {
        git(&self.origin(), &["for-each-ref", "refs/heads"])
    }

    /// The trees of the commits on main, newest first.
    pub fn trees_of_main(&self) -> Vec<String> {
        let log = git(&self.origin(), &["log", "--first-parent", "--format=%T", "main"]);
        log.lines().map(str::to_owned).collect()
    }

    /// A file at a commit.
    pub fn file(&self, at: &str, path: &str) -> Option<String> {
        let output = command(&self.origin(), &["show", &format!("{at}:{path}")])
            .output()
            .unwrap();
        output
            .status
            .success()
            .then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Where unfinished work is kept.
    pub fn wip(&self) -> Vec<String> {
        let clone = self.engine.settings().repos_dir.join("shop.git");
        let listed = git(&clone, &["for-each-ref", "--format=%(refname)", "refs/orch/wip"]);
        listed.lines().map(str::to_owned).collect()
    }

    /// A file in kept work.
    pub fn kept(&self, wip: &str, path: &str) -> Option<String> {
        let clone = self.engine.settings().repos_dir.join("shop.git");
        let output = command(&clone, &["show", &format!("{wip}:{path}")])
            .output()
            .unwrap();
        output
            .status
            .success()
            .then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Folders that a run or a check left behind.
    pub fn leftovers(&self) -> Vec<String> {
        let mut found = Vec::new();
        for folder in ["worktrees", "scratch", "checks"] {
            for entry in fs::read_dir(self.data().join(folder)).into_iter().flatten() {
                found.push(format!(
                    "{folder}/{}",
                    entry.unwrap().file_name().to_string_lossy()
                ));
            }
        }
        let clone = self.engine.settings().repos_dir.join("shop.git");
        if clone.exists() {
            let listed = git(&clone, &["worktree", "list", "--porcelain"]);
            let trees = listed.lines().filter_map(|l| l.strip_prefix("worktree "));
            found.extend(
                trees
                    .filter(|t| !t.ends_with("shop.git"))
                    .map(|t| format!("git {t}")),
            );
        }
        found
    }

    // --- tasks and people

    pub async fn add(&self, title: &str) -> TaskId {
        self.add_with(AddTask {
            title: title.to_owned(),
            ..empty_task()
        })
        .await
    }

    pub async fn add_with(&self, new: AddTask) -> TaskId {
        let name = intake::add(&self.engine, new, self.engine.now())
            .await
            .unwrap()
            .task
            .id;
        self.sql_lines(&format!(
            "SELECT CAST(id AS TEXT) AS line FROM tasks WHERE work_item_id = '{name}'"
        ))[0]
            .parse()
            .map(TaskId)
            .unwrap()
    }

    pub async fn gesture(&self, task: TaskId, gesture: &str) -> GestureView {
        self.try_gesture(task, gesture).await.unwrap()
    }

    pub async fn try_gesture(&self, task: TaskId, gesture: &str) -> Result<GestureView, EngineError> {
        let make = MakeGesture {
            gesture: gesture.to_owned(),
            person: Some("ann".to_owned()),
            comment: None,
            candidate: None,
        };
        let name = self.task(task).await.work_item_id.to_string();
        gestures::apply(&self.engine, &name, make, self.engine.now()).await
    }

    // --- the queue

    /// Claims what fits.
    pub async fn claim(&self) -> Vec<Job> {
        let claimed = queue::claim(&self.engine).await.unwrap();
        assert_eq!(claimed.broken, [], "rows that cannot be read");
        claimed.jobs
    }

    /// Claims the one job that fits.
    pub async fn claim_one(&self) -> Claim {
        let jobs = self.claim().await;
        assert_eq!(jobs.len(), 1, "{jobs:?}");
        claim_of(&jobs[0])
    }

    /// A drive that goes on only while it is polled.
    pub fn driving(&self, claim: Claim) -> Driving {
        Driving::new(self.engine.clone(), claim)
    }

    pub async fn drive(&self, claim: Claim) -> Driven {
        Box::pin(drive(&self.engine, claim)).await.unwrap()
    }

    /// Claims and drives one job after the other until there is none to claim now.
    pub async fn run_all(&self) {
        for _ in 0..100 {
            let jobs = self.claim().await;
            if jobs.is_empty() {
                return;
            }
            for job in jobs {
                assert_eq!(self.drive(claim_of(&job)).await, Driven::Over);
            }
        }
        panic!("there is always another job to claim");
    }

    /// The same until the task waits for a claim of this kind and stage; answers the claim, not yet driven.
    pub async fn run_until(&self, kind: &str, stage: &str) -> Claim {
        for _ in 0..50 {
            let jobs = self.claim().await;
            assert!(!jobs.is_empty(), "no {kind} job at {stage} came");
            for job in jobs {
                if job.kind.as_str() == kind && job.stage.as_str() == stage {
                    return claim_of(&job);
                }
                self.drive(claim_of(&job)).await;
            }
        }
        panic!("no {kind} job at {stage} came");
    }

    /// Delivers the outbox until nothing is due; answers what the log was told.
    pub async fn deliver(&self) -> Vec<(String, String)> {
        self.delivered().await.0
    }

    /// The same, and what could not be delivered.
    pub async fn delivered(&self) -> (Vec<(String, String)>, Vec<String>) {
        let told = std::sync::Mutex::new(Vec::new());
        let say = |about: &str, text: &str| {
            told.lock().unwrap().push((about.to_owned(), text.to_owned()));
        };
        let receivers = Receivers::of(self.engine.settings());
        let rounds = async {
            let mut trouble = Vec::new();
            loop {
                let round = deliver::deliver(&self.engine, &receivers, &say).await.unwrap();
                trouble.extend(round.trouble);
                if !round.more {
                    return trouble;
                }
            }
        };
        let trouble = tokio::task::LocalSet::new().run_until(rounds).await;
        (told.into_inner().unwrap(), trouble)
    }

    // --- rows

    pub async fn task(&self, id: TaskId) -> Task {
        let read = self.engine.store().read(move |tx| tasks::by_id(tx, id));
        read.await.unwrap().unwrap()
    }

    /// "stage status", for short assertions.
    pub async fn stands(&self, id: TaskId) -> String {
        let task = self.task(id).await;
        format!("{} {}", task.stage, task.status)
    }

    pub async fn job(&self, claim: Claim) -> Job {
        let read = self.engine.store().read(move |tx| jobs::by_id(tx, claim.job));
        read.await.unwrap().unwrap()
    }

    pub async fn live_job(&self, task: TaskId) -> Option<Job> {
        let read = self.engine.store().read(move |tx| jobs::live_of_task(tx, task));
        read.await.unwrap()
    }

    pub async fn jobs(&self, task: TaskId) -> Vec<Job> {
        let read = self.engine.store().read(move |tx| jobs::of_task(tx, task));
        read.await.unwrap().rows
    }

    /// Kind and status of every job of a task, oldest first.
    pub async fn job_words(&self, task: TaskId) -> Vec<String> {
        let word = |j: &Job| {
            j.role
                .map_or_else(|| j.kind.as_str().to_owned(), |r| r.as_str().to_owned())
        };
        let status = |s: JobStatus| s.as_str();
        self.jobs(task)
            .await
            .iter()
            .map(|j| format!("{} {}", word(j), status(j.status)))
            .collect()
    }

    pub async fn run_of(&self, claim: Claim) -> Option<Run> {
        let read = self.engine.store().read(move |tx| runs::of_claim(tx, claim));
        read.await.unwrap()
    }

    pub async fn runs(&self, task: TaskId) -> Vec<Run> {
        let read = self.engine.store().read(move |tx| runs::of_task(tx, task));
        read.await.unwrap().rows
    }

    /// "kind: text" of every event of a task.
    pub async fn events(&self, task: TaskId) -> Vec<String> {
        let read = self.engine.store().read(move |tx| events::of_task(tx, task));
        let found = read.await.unwrap();
        found.iter().map(|e| format!("{}: {}", e.kind, e.text)).collect()
    }

    pub async fn pull_requests(&self) -> Vec<pull_requests::PullRequest> {
        let id = self.project.id;
        let read = self
            .engine
            .store()
            .read(move |tx| pull_requests::of_project(tx, id));
        read.await.unwrap()
    }

    /// Notices that wait to be delivered, by cause.
    pub async fn waiting(&self) -> Vec<String> {
        let now = self.engine.now();
        let read = self.engine.store().read(move |tx| outbox::due(tx, now, 1000));
        read.await.unwrap().rows.into_iter().map(|n| n.cause).collect()
    }

    /// Runs SQL beside the store.
    pub fn sql(&self, text: &str) {
        match &self.database {
            Some(postgres) => connect_pg(postgres).batch_execute(text).unwrap(),
            None => self.connect().batch_execute(text).unwrap(),
        }
    }

    pub fn sql_lines(&self, query: &str) -> Vec<String> {
        let query = diesel::sql_query(query);
        let rows: Vec<Line> = match &self.database {
            Some(postgres) => query.load(&mut connect_pg(postgres)).unwrap(),
            None => query.load(&mut self.connect()).unwrap(),
        };
        rows.into_iter().map(|l| l.line).collect()
    }

    /// Changes what a column of JSON says, in every row that has it.
    pub fn edit_json(&self, table: &str, column: &str, edit: impl Fn(&mut Value)) {
        let rows = self.sql_lines(&format!(
            "SELECT CAST(id AS TEXT) || ' ' || {column} AS line FROM {table} WHERE {column} IS NOT NULL"
        ));
        for row in rows {
            let (id, text) = row.split_once(' ').unwrap();
            let mut json = serde_json::from_str(text).unwrap();
            edit(&mut json);
            self.sql(&format!("UPDATE {table} SET {column} = '{json}' WHERE id = {id}"));
        }
    }

    pub fn count(&self, from: &str) -> i64 {
        let lines = self.sql_lines(&format!("SELECT CAST(count(*) AS TEXT) AS line FROM {from}"));
        lines[0].parse().unwrap()
    }

    fn connect(&self) -> SqliteConnection {
        let url = &self.engine.settings().database.url;
        let path = url.trim_start_matches("sqlite:");
        let mut conn = SqliteConnection::establish(path).unwrap();
        conn.batch_execute("PRAGMA busy_timeout = 60000").unwrap();
        conn
    }

    /// Every row of every table, one line each.
    pub fn dump(&self) -> Vec<String> {
        if self.database.is_some() {
            return self.dump_pg();
        }
        let tables = self.sql_lines(
            "SELECT name AS line FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%' ORDER BY name",
        );
        let mut found = Vec::new();
        for table in tables {
            let columns = self.sql_lines(&format!("SELECT name AS line FROM pragma_table_info('{table}')"));
            let columns: Vec<_> = columns.iter().map(|c| format!("\"{c}\"")).collect();
            let query = format!(
                "SELECT '{table} ' || json_array({}) AS line FROM \"{table}\" ORDER BY rowid",
                columns.join(", ")
            );
            found.extend(self.sql_lines(&query));
        }
        found
    }
}

impl House {
    fn dump_pg(&self) -> Vec<String> {
        let tables = self.sql_lines(
            "SELECT CAST(table_name AS TEXT) AS line FROM information_schema.tables \
             WHERE table_schema = current_schema() ORDER BY 1",
        );
        let rows = tables.iter().flat_map(|table| {
            let query = format!(
                "SELECT '{table} ' || CAST(row_to_json(t) AS TEXT) AS line FROM \"{table}\" t ORDER BY 1"
            );
            self.sql_lines(&query)
        });
        rows.collect()
    }
}

fn connect_pg(postgres: &Postgres) -> PgConnection {
    PgConnection::establish(postgres.url()).unwrap()
}

impl Drop for House {
    fn drop(&mut self) {
        let folders = ["runs", "checks"].map(|f| self.data().join(f));
        for dir in folders
            .iter()
            .flat_map(|f| fs::read_dir(f).into_iter().flatten().flatten())
        {
            let Ok(Some(record)) = process::read_shim(&dir.path()) else {
                continue;
            };
            let deadline = Instant::now() + PATIENCE;
            while matches!(process::stop(&record.shim), Ok(Liveness::Alive)) && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }
}

/// A task to be filled in.
pub fn empty_task() -> AddTask {
    AddTask {
        project: None,
        title: String::new(),
        description: String::new(),
        id: None,
        depends_on: Vec::new(),
        modifies: Vec::new(),
        executor: None,
        priority: 0,
        hold: false,
        external_id: None,
    }
}

fn lines(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
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

pub fn shell(script: &str) {
    let status = Command::new("sh").args(["-euc", script]).status().unwrap();
    assert!(status.success(), "{script}");
}
