//! How long a task waits for Orch, against limits and against bare git in the same run: from the request for a
//! task to its first agent's first word, and from one agent's last word to the next one's first.
//! `cargo bench --bench latency [-- <tasks> [<seconds that an agent works>]]`
//!
//! The engine, the actors, SQLite on disk, git and the shim are the real ones. Only HTTP is left out. An agent is
//! a script; it says its first and last word into a named pipe, where a thread of its own notes the time, so the
//! start of `sh` and the way through the pipe count too.
#![expect(clippy::print_stdout, reason = "its table is what it is for")]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use orch::actors::supervisor::{Escalation, Intensity, Supervisor, SupervisorConfig};
use orch::actors::{AddressBook, hints, now};
use orch::agents::{Presets, Prices};
use orch::domain::id::{BranchName, InstanceId};
use orch::engine::views::AddTask;
use orch::engine::{Engine, Parts, ProjectHandle, intake, queries};
use orch::git::{self, Spent, sample};
use orch::settings::{LoadOptions, Settings};
use orch::store::{Store, StoreError, projects};
use tokio::sync::mpsc;

const STAGES: [&str; 4] = ["architecture", "development", "review", "testing"];
/// Files of the sample repository; each agent's worktree holds them all.
const FILES: usize = 400;
const TASKS: usize = 60;
const WARM_UP: usize = 3;
/// Tasks that are asked for in the same moment: one of them finds the worktree that stands ready.
const BURST: usize = 3;
/// How long an agent works, in seconds. Real ones take minutes; what Orch does meanwhile (the next worktree) has to fit
/// in here, which on a disk that takes long to make files is more than a moment.
const WORK: f64 = 0.2;
const PATIENCE: Duration = Duration::from_secs(60);

/// A word of an agent, with what had been spent until then.
struct Word {
    what: String,
    at: Moment,
}

type Words = mpsc::UnboundedReceiver<Word>;

#[derive(Clone, Copy)]
struct Moment {
    at: Instant,
    git: Spent,
    writes: u32,
}

/// What lies between two moments.
#[derive(Clone, Copy)]
struct Span {
    total: f64,
    git: f64,
    calls: u64,
    writes: u32,
}

impl Moment {
    fn now(database: &Path) -> Self {
        Self {
            at: Instant::now(),
            git: git::spent(),
            writes: writes(database),
        }
    }

    fn until(&self, later: &Self) -> Span {
        Span {
            total: ms(later.at - self.at),
            git: ms(later.git.time.saturating_sub(self.git.time)),
            calls: later.git.calls - self.git.calls,
            writes: later.writes.wrapping_sub(self.writes),
        }
    }
}

/// How often the database was written and synced: `iChange` of the index of SQLite's log.
fn writes(database: &Path) -> u32 {
    let mut head = [0; 12];
    let index = PathBuf::from(format!("{}-shm", database.display()));
    match File::open(index).and_then(|mut file| file.read_exact(&mut head)) {
        Ok(()) => u32::from_ne_bytes([head[8], head[9], head[10], head[11]]),
        Err(_) => 0,
    }
}

fn main() -> Result<()> {
    let mut words = std::env::args().filter_map(|word| word.parse::<f64>().ok());
    let tasks = words.next().map(|tasks| tasks as usize);
    let work = words.next().unwrap_or(WORK);
    let home = Home::make(work)?;
    let mut words = listen(&home)?;
    let load = load();
    let measured = measure(&home, &mut words, tasks.unwrap_or(TASKS));
    let Measured {
        first,
        next,
        burst,
        made,
        ended,
    } = actix_rt::System::new().block_on(measured)?;
    println!(
        "{} tasks of {} stages, {FILES} files, agents of {work} s; load {load} before, {} after",
        first.len(),
        STAGES.len(),
        self::load()
    );
    println!(
        "{:<58} {:>8} {:>8} {:>8}  target",
        "milliseconds", "p50", "p90", "p99"
    );
    row(
        "task asked for → agent process started",
        &first,
        |s| s.total,
        &[(50, 10.0), (99, 25.0)],
    );
    row("  of that in git", &first, |s| s.git, &[]);
    row("  of that not in git", &first, |s| s.total - s.git, &[]);
    row(
        "agent exit → next stage's agent runs",
        &next,
        |s| s.total,
        &[(50, 150.0)],
    );
    row("  of that in git", &next, |s| s.git, &[]);
    row("  of that not in git", &next, |s| s.total - s.git, &[(50, 20.0)]);
    row(
        &format!("{BURST} tasks asked for at once → each agent started"),
        &burst,
        |s| s.total,
        &[],
    );
    row(
        "by hand: branch, worktree add, start of the same agent",
        &made,
        |s| *s,
        &[],
    );
    row(
        "by hand: commit, push, worktree add, start of the next",
        &ended,
        |s| *s,
        &[],
    );
    let count = |name: &str, spans: &[Span]| {
        let (mut calls, mut writes): (Vec<_>, Vec<_>) = spans
            .iter()
            .map(|s| (s.calls as f64, f64::from(s.writes)))
            .unzip();
        println!(
            "{name}: {} processes of git, {} commits of the database (p50)",
            percentile(&mut calls, 50),
            percentile(&mut writes, 50)
        );
    };
    count("task asked for → agent", &first);
    count("agent → next agent", &next);
    Ok(())
}

fn row<T>(name: &str, spans: &[T], value: impl Fn(&T) -> f64, targets: &[(usize, f64)]) {
    let mut values: Vec<f64> = spans.iter().map(value).collect();
    let mut verdict = String::new();
    for (p, limit) in targets {
        let found = percentile(&mut values, *p);
        let word = if found <= *limit { "met" } else { "MISSED" };
        verdict += &format!("p{p} ≤ {limit}: {word} ({:.0} %)  ", found / limit * 100.0);
    }
    let [p50, p90, p99] = [50, 90, 99].map(|p| percentile(&mut values, p));
    println!("{name:<58} {p50:>8.1} {p90:>8.1} {p99:>8.1}  {verdict}");
}

fn percentile(values: &mut [f64], p: usize) -> f64 {
    values.sort_by(f64::total_cmp);
    let at = (values.len() * p).div_ceil(100).saturating_sub(1);
    values.get(at).copied().unwrap_or(f64::NAN)
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or("?").to_owned()
}

/// A folder with everything: repository, agent, settings, data. Gone when dropped.
struct Home {
    folder: tempfile::TempDir,
    script: PathBuf,
    settings: Arc<Settings>,
}

impl Home {
    fn make(work: f64) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let root = folder.path();
        let repository = root.join("origin");
        let text = "a line of text that stands for code\n".repeat(30);
        let names: Vec<String> = (0..FILES)
            .map(|n| format!("src/{}/file_{n}.txt", n / 20))
            .collect();
        let files: Vec<(&str, &str)> = names.iter().map(|n| (n.as_str(), text.as_str())).collect();
        let commit = sample::SampleCommit {
            message: "begin",
            files: &files,
        };
        sample::create(&repository, &BranchName::trusted("main"), &[commit])?;
        let pipe = root.join("words");
        run(Command::new("mkfifo").arg(&pipe))?;
        let script = root.join("agent.sh");
        fs::write(
            &script,
            AGENT
                .replace("@PIPE@", &pipe.display().to_string())
                .replace("@WORK@", &work.to_string()),
        )?;
        fs::write(
            root.join("orch.toml"),
            format!("data_dir = {:?}\nmax_concurrency = {BURST}\n", root.join("data")),
        )?;
        let project = PROJECT
            .replace("@REPO@", &repository.display().to_string())
            .replace("@AGENT@", &script.display().to_string());
        fs::create_dir_all(root.join("data/projects"))?;
        fs::write(root.join("data/projects/bench.toml"), project)?;
        let options = LoadOptions {
            config_file: Some(root.join("orch.toml")),
            cwd: root.to_owned(),
            ..LoadOptions::default()
        };
        let (settings, _) = Settings::load(options)?;
        Ok(Self {
            script,
            settings: Arc::new(settings),
            folder,
        })
    }

    fn database(&self) -> PathBuf {
        self.settings.data_dir.join("orch.db")
    }
}

/// Notes when each word arrives.
fn listen(home: &Home) -> Result<Words> {
    // Also open for writing, so that it never ends.
    let both = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(home.folder.path().join("words"))?;
    let database = home.database();
    let (sender, words) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in BufReader::new(both).lines().map_while(Result::ok) {
            let at = Moment::now(&database);
            if sender.send(Word { what: line, at }).is_err() {
                return;
            }
        }
    });
    Ok(words)
}

const AGENT: &str = r#"
echo "start $ORCH_STAGE" >@PIPE@
case $ORCH_STAGE in
architecture) mkdir -p "$ORCH_ARTIFACTS_DIR/06-adr"; echo decided >"$ORCH_ARTIFACTS_DIR/06-adr/ADR-1.md" ;;
development) echo "$ORCH_WORK_ITEM" >>src/7/file_150.txt ;;
review) mkdir -p "$ORCH_ARTIFACTS_DIR"; printf -- '---\nverdict: APPROVED\n---\n' >"$ORCH_ARTIFACTS_DIR/12-review.md" ;;
testing) mkdir -p "$ORCH_ARTIFACTS_DIR"; printf -- '---\nresult: PASS\n---\n' >"$ORCH_ARTIFACTS_DIR/13-test-report.md" ;;
esac
sleep @WORK@
echo "end $ORCH_STAGE" >@PIPE@
"#;

const PROJECT: &str = r#"
repo = "@REPO@"
agent = { command = ["sh", "@AGENT@"], prompt = "file" }
[[stage]]
name = "architecture"
role = "architect"
gates = ["architecture_done"]
[[stage]]
name = "development"
role = "developer"
[[stage]]
name = "review"
role = "reviewer"
gates = ["reviewer_verdict"]
rollback_to = "development"
[[stage]]
name = "testing"
role = "tester"
gates = ["tests_passed", "analysis_approved"]
rollback_to = "development"
[[stage]]
name = "done"
"#;

/// The service without HTTP.
struct Service {
    engine: Engine,
    supervisor: Supervisor,
    book: AddressBook,
}

impl Service {
    async fn start(home: &Home) -> Result<Self> {
        let settings = home.settings.clone();
        let store = Store::open(&settings.database.url)?;
        let configs = orch::settings::project::load_all(&settings.projects_dir, &settings)?;
        let config = configs.into_iter().next().context("a project")?;
        let (name, prefix) = (config.name.clone(), config.prefix.clone());
        let row = store
            .write(move |tx| projects::ensure(tx, &name, &prefix, now()))
            .await
            .map_err(|e: StoreError| e)?;
        let project = Arc::new(ProjectHandle::new(row.id, config, &settings)?);
        project.repository()?;
        let (sender, receiver) = mpsc::unbounded_channel();
        let engine = Engine::new(Parts {
            store,
            settings,
            projects: BTreeMap::from([(row.id, project)]),
            names: BTreeMap::new(),
            instance: InstanceId::trusted("bench"),
            exe: env!("CARGO_BIN_EXE_orch").into(),
            presets: Presets::builtin()?,
            prices: Prices::load(None)?,
            hints: sender,
            clock: Arc::new(now),
        });
        let supervisor = Supervisor::start(SupervisorConfig::default(), Escalation::exit(|| ()));
        let book = AddressBook::new(engine.clone(), supervisor.clone());
        actix_rt::spawn(hints::forward(receiver, book.clone()));
        let intensity = Intensity {
            restarts: 3,
            within: Duration::from_secs(60),
        };
        book.start(intensity)?;
        Ok(Self {
            engine,
            supervisor,
            book,
        })
    }

    /// Nothing is under way any more.
    async fn rest(&self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        let mut calm = git::spent();
        loop {
            tokio::time::sleep(Duration::from_millis(50)).await;
            let present = git::spent();
            if self.book.monitor_count() == 0 && present == calm {
                return Ok(());
            }
            calm = present;
            ensure!(Instant::now() < deadline, "the service does not come to rest");
        }
    }

    /// The next word, which must be this one.
    async fn word(&self, words: &mut Words, what: &str, stage: &str, task: &str) -> Result<Moment> {
        let expected = format!("{what} {stage}");
        match tokio::time::timeout(PATIENCE, words.recv()).await {
            Ok(Some(word)) if word.what == expected => Ok(word.at),
            Ok(word) => bail!("{:?} was said instead of {expected:?}", word.map(|w| w.what)),
            Err(_) => {
                let detail = queries::task(&self.engine, task, now()).await?;
                bail!("{expected:?} was never said: {detail:#?}")
            }
        }
    }

    async fn stop(self) {
        self.supervisor.stop_all(PATIENCE).await;
        self.engine.store().close().await;
    }
}

/// Spans from the request to the first agent, and from agent to agent; the same by hand.
struct Measured {
    first: Vec<Span>,
    next: Vec<Span>,
    burst: Vec<Span>,
    made: Vec<f64>,
    ended: Vec<f64>,
}

async fn measure(home: &Home, words: &mut Words, tasks: usize) -> Result<Measured> {
    let service = Service::start(home).await?;
    let measured = drive(home, words, &service, tasks).await;
    service.stop().await;
    measured
}

async fn drive(home: &Home, words: &mut Words, service: &Service, tasks: usize) -> Result<Measured> {
    let (mut first, mut next) = (Vec::new(), Vec::new());
    let mut by_hand = ByHand::make(home)?;
    for n in 0..WARM_UP + tasks {
        service.rest().await?;
        let new = AddTask {
            title: format!("task {n}"),
            ..AddTask::default()
        };
        let mut before = Moment::now(&home.database());
        let task = intake::add(&service.engine, new, now()).await?.task.id;
        for stage in STAGES {
            let started = service.word(words, "start", stage, &task).await?;
            if n >= WARM_UP {
                let spans = if stage == STAGES[0] { &mut first } else { &mut next };
                spans.push(before.until(&started));
            }
            before = service.word(words, "end", stage, &task).await?;
        }
        service.rest().await?;
        by_hand.round(words, n).await?;
    }
    let mut burst = Vec::new();
    for _ in 0..tasks.div_ceil(BURST) {
        burst.extend(at_once(home, words, service).await?);
    }
    let ByHand { made, ended, .. } = by_hand;
    Ok(Measured {
        first,
        next,
        burst,
        made,
        ended,
    })
}

/// Tasks come faster than worktrees can be made ahead.
async fn at_once(home: &Home, words: &mut Words, service: &Service) -> Result<Vec<Span>> {
    service.rest().await?;
    let before = Moment::now(&home.database());
    for n in 0..BURST {
        let new = AddTask {
            title: format!("at once {n}"),
            ..AddTask::default()
        };
        intake::add(&service.engine, new, now()).await?;
    }
    let mut spans = Vec::new();
    for _ in 0..2 * BURST * STAGES.len() {
        let word = tokio::time::timeout(PATIENCE, heard(words)).await??;
        if word.what == format!("start {}", STAGES[0]) {
            spans.push(before.until(&word.at));
        }
    }
    Ok(spans)
}

/// The same with git alone: what nobody can save who makes a worktree per agent when it is wanted. One round after each
/// task, so that both meet the same disk.
struct ByHand<'a> {
    home: &'a Home,
    bare: PathBuf,
    made: Vec<f64>,
    ended: Vec<f64>,
}

impl<'a> ByHand<'a> {
    fn make(home: &'a Home) -> Result<Self> {
        let root = home.folder.path();
        git_at(root, &["clone", "--quiet", "--bare", "origin", "by-hand.git"])?;
        Ok(Self {
            home,
            bare: root.join("by-hand.git"),
            made: Vec::new(),
            ended: Vec::new(),
        })
    }

    fn add(&self, name: &str, head: &str) -> Result<PathBuf> {
        let path = self.home.folder.path().join(name);
        let at = path.display().to_string();
        git_at(&self.bare, &["worktree", "add", "--quiet", "--detach", &at, head])?;
        Ok(path)
    }

    fn agent(&self, stage: &str, at: &Path) -> Result<std::process::Child> {
        let mut sh = Command::new("sh");
        sh.arg(&self.home.script)
            .current_dir(at)
            .env("ORCH_STAGE", stage)
            .env("ORCH_ARTIFACTS_DIR", "docs");
        Ok(sh.stdin(Stdio::null()).spawn()?)
    }

    async fn round(&mut self, words: &mut Words, n: usize) -> Result<()> {
        let (branch, first, second) = (
            format!("by-hand/{n}"),
            format!("first-{n}"),
            format!("second-{n}"),
        );
        let began = Instant::now();
        git_at(
            &self.bare,
            &["push", "--quiet", "origin", &format!("main:refs/heads/{branch}")],
        )?;
        let path = self.add(&first, "main")?;
        let mut one = self.agent("development", &path)?;
        self.made.push(ms(heard(words).await?.at.at - began));
        one.wait()?;
        let began = heard(words).await?.at.at;
        git_at(&path, &["add", "--all"])?;
        let author = ["-c", "user.name=x", "-c", "user.email=x@localhost"];
        git_at(
            &path,
            &[&author[..], &["commit", "--quiet", "--message=x"]].concat(),
        )?;
        git_at(
            &path,
            &["push", "--quiet", "origin", &format!("HEAD:refs/heads/{branch}")],
        )?;
        let head = fs::read_to_string(self.bare.join(format!("worktrees/{first}/HEAD")))?;
        let mut two = self.agent("review", &self.add(&second, head.trim())?)?;
        self.ended.push(ms(heard(words).await?.at.at - began));
        two.wait()?;
        heard(words).await?;
        for name in [first, second] {
            fs::remove_dir_all(self.home.folder.path().join(name))?;
        }
        Ok(())
    }
}

async fn heard(words: &mut Words) -> Result<Word> {
    words.recv().await.context("no more words")
}

fn git_at(at: &Path, args: &[&str]) -> Result<()> {
    run(Command::new("git").current_dir(at).args(args))
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.stdin(Stdio::null()).output()?;
    ensure!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}
