//! The stage on which a play is given: a service that may die, a repository, a webhook and a chat that are told. Holds what
//! is left at the end against what must hold of every end.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use orch::actors::fault::{DEMO_MARK, MONITOR_PANIC};
use orch::engine::views::TaskDetail;
use serde_json::Value;

use super::play::{Person, Play};
use super::rows::Rows;
use super::{at_gitea, production};
use crate::support::fake_gitea::{FakeGitea, REPOSITORY, TOKEN};
use crate::support::{
    FakeService, PATIENCE, Postgres, Project, Reply, Repo, SECRET, Setup, TestService, wait_until,
};

const FAIL_POINT: &str = "FAILPOINT_ABORT";
const FAIL_TRACE: &str = "FAILPOINT_TRACE";

/// Where the truth lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Database {
    Sqlite,
    Postgres,
}

type Variable = (&'static str, String);

/// What a walk leaves behind, in words that are the same each time.
#[derive(Debug, PartialEq, Eq)]
pub struct End {
    /// What happened to the stage, in order.
    moves: Vec<String>,
    /// What people were told, each once by its key.
    told: Vec<String>,
    /// The same message came again, by its key.
    twice: BTreeSet<String>,
    /// How often the service died because the play says so.
    deaths: usize,
    /// How often each role worked.
    worked: Vec<(&'static str, u32)>,
    /// Kind, stage and status of every job.
    jobs: Vec<String>,
}

impl End {
    /// What is wrong with an end after one more death.
    pub fn differs_from(&self, other: &End) -> Option<String> {
        for (what, expected, found) in [
            (
                "moves",
                format!("{:#?}", self.moves),
                format!("{:#?}", other.moves),
            ),
            ("told", format!("{:?}", self.told), format!("{:?}", other.told)),
            (
                "worked",
                format!("{:?}", self.worked),
                format!("{:?}", other.worked),
            ),
            ("jobs", format!("{:#?}", self.jobs), format!("{:#?}", other.jobs)),
        ] {
            if expected != found {
                return Some(format!("{what}: expected {expected}, found {found}"));
            }
        }
        // Whoever dies may have sent a message that is not recorded: it comes again under its key, once for a death.
        let repeated = other.twice.len();
        (repeated > 1 + self.deaths).then(|| format!("told twice: {:?}", other.twice))
    }
}

/// What a person has in hand.
pub struct Room<'a> {
    pub service: &'a TestService,
    pub repo: &'a Repo,
    pub rows: &'a Rows,
    pub webhook: &'a FakeService,
    /// Where the play has one.
    pub fake: Option<&'a FakeGitea>,
    /// Set when the service is to end in order and to be started again.
    pub restart: bool,
}

pub struct Scene {
    service: TestService,
    repo: Repo,
    fake: Option<FakeGitea>,
    webhook: FakeService,
    telegram: FakeService,
    /// Where the play has one.
    _health: Option<FakeService>,
    /// Dropped after the service.
    _database: Option<Postgres>,
    rows: Rows,
    base: String,
    play: Play,
    person: Person,
}

impl Scene {
    /// None where there is no PostgreSQL server, after saying so.
    pub fn new(database: Database, play: Play) -> Option<Self> {
        let own = match database {
            Database::Sqlite => None,
            Database::Postgres => Some(Postgres::fresh()?),
        };
        let (repo, fake) = match play {
            Play::Gitea => {
                let (repo, fake) = (Repo::bare(), FakeGitea::new());
                fake.adopt(REPOSITORY, &repo.path);
                (repo, Some(fake))
            }
            Play::Walk
            | Play::Hands
            | Play::Losses
            | Play::Gone
            | Play::Money
            | Play::Production
            | Play::After(_) => (Repo::new(), None),
        };
        let project = match &fake {
            Some(fake) => Project::at("shop", Path::new(&fake.clone_url(REPOSITORY)))
                .top("ci = 'tests'")
                .top(&at_gitea::test_command(&repo)),
            None => Project::new("shop", &repo),
        };
        let health = (play == Play::Production).then(|| production::health(&repo));
        let project = match &health {
            Some(health) => {
                let sections = production::sections(&repo, health);
                let (top, rest) = sections.split_once('\n').unwrap();
                project.top(top).then(rest)
            }
            None => project,
        };
        let webhook = FakeService::new(|_| Reply::new(204, ""));
        let refused = AtomicBool::new(play != Play::Hands);
        let telegram = FakeService::new(move |_| match refused.swap(true, Ordering::Relaxed) {
            true => Reply::new(200, r#"{"ok":true}"#),
            false => Reply::new(400, r#"{"ok":false,"description":"Bad Request"}"#),
        });
        let mut setup = Setup::new()
            .set("shutdown", "leave")
            .set("queue.tick_s", 1)
            .set("notify.webhook_url", webhook.url.clone())
            .env("ORCH_PLANE_WEBHOOK_SECRET", SECRET)
            .env("ORCH_GITEA_WEBHOOK_SECRET", SECRET)
            .set("telegram.base_url", telegram.url.clone())
            .set("telegram.bot_token", "1:x")
            .set("telegram.chat_id", "-1")
            .project(project.agent(&play.agent()).then(play.stages()));
        if let Some(fake) = &fake {
            setup = setup
                .set("gitea.url", fake.url.clone())
                .env("ORCH_GITEA_TOKEN", TOKEN);
        }
        if play == Play::Losses {
            setup = setup
                // The queue would notice at its tick what is left to the reaper here.
                .set("queue.tick_s", 600)
                .set("instance.heartbeat_s", 1)
                .set("reconcile.interval_s", 1)
                .set("reconcile.grace_default_s", 0);
        }
        if play == Play::Money {
            setup = setup
                .set("budget.task_usd", "4")
                .set("budget.project_day_usd", "4");
        }
        if let Some(own) = &own {
            setup = setup.set("database.url", own.url());
        }
        if play == Play::Gone {
            setup = setup.env(MONITOR_PANIC, "SHOP-001 development 1");
        }
        let service = setup.prepare();
        if play == Play::Gone {
            fs::write(service.data().join(DEMO_MARK), "").unwrap();
        }
        let rows = match &own {
            Some(own) => Rows::Postgres(own.url().to_owned()),
            None => Rows::Sqlite(service.data().join("orch.db")),
        };
        Some(Self {
            base: repo.sha("main"),
            service,
            rows,
            repo,
            fake,
            webhook,
            telegram,
            _health: health,
            _database: own,
            play,
            person: Person::new(play),
        })
    }

    /// Gives the play undisturbed, and tells which points were reached; those before a death that is part of it are not
    /// told.
    pub fn traced(mut self) -> (Vec<String>, End) {
        let trace = self.service.home().join("trace");
        let lives = self.lives((FAIL_TRACE, trace.display().to_string()));
        assert_eq!(self.walk(lives), self.deaths(), "nothing else was to die");
        self.service.stop();
        let reached = fs::read_to_string(&trace).unwrap();
        self.service.start();
        let end = self.end();
        (reached.lines().map(str::to_owned).collect(), end)
    }

    /// Gives the play, dies at this point, and goes on. None when the play did not come there this time.
    pub fn dies_at(mut self, point: &str) -> Option<End> {
        let lives = self.lives((FAIL_POINT, format!("{point} 1")));
        let mut died = self.walk(lives);
        if died == self.deaths() {
            died += usize::from(self.stops());
        }
        (died > self.deaths()).then(|| self.end())
    }

    /// How often the service dies because the play says so.
    fn deaths(&self) -> usize {
        match self.play {
            Play::Walk
            | Play::Hands
            | Play::Losses
            | Play::Gone
            | Play::Money
            | Play::Gitea
            | Play::Production => 0,
            Play::After(_) => 1,
        }
    }

    /// What each life is started with.
    fn lives(&self, last: Variable) -> Vec<Variable> {
        match self.play {
            Play::Walk
            | Play::Hands
            | Play::Losses
            | Play::Gone
            | Play::Money
            | Play::Gitea
            | Play::Production => vec![last],
            Play::After(point) => vec![(FAIL_POINT, format!("{point} 1")), last],
        }
    }

    /// Until the task is done and nothing is left to do; starts the service again when it dies. How often it did.
    fn walk(&mut self, lives: Vec<Variable>) -> usize {
        let mut lives = lives.into_iter();
        let (mut died, mut seen, mut ends) = (0, 0, false);
        let began = Instant::now();
        self.begin_life(lives.next());
        loop {
            assert!(
                began.elapsed() < PATIENCE * 2,
                "not done in time\n{}",
                self.service.explain(&self.service.task("SHOP-001"))
            );
            if let Some(status) = self.service.exited() {
                seen = self.service.log().len();
                match std::mem::take(&mut ends) && status.success() {
                    // The same life: what it was to die of is still to come.
                    true => self.service.spawn(),
                    false => {
                        assert_eq!(status.signal(), Some(libc::SIGABRT), "{}", self.service.log());
                        died += 1;
                        self.begin_life(lives.next());
                    }
                }
            }
            if !ends && self.service.is_ready(seen) {
                let mut room = Room {
                    service: &self.service,
                    repo: &self.repo,
                    rows: &self.rows,
                    webhook: &self.webhook,
                    fake: self.fake.as_ref(),
                    restart: false,
                };
                // Whatever is asked may be cut off by its death.
                if self.person.act(&mut room).unwrap_or(false) {
                    return died;
                }
                ends = room.restart;
                if ends {
                    self.service.terminate();
                }
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn begin_life(&mut self, with: Option<Variable>) {
        self.service.unset_env(FAIL_POINT);
        self.service.unset_env(FAIL_TRACE);
        if let Some((name, value)) = with {
            self.service.set_env(name, &value);
        }
        self.service.spawn();
    }

    /// For a point that is reached when the service is asked to stop. Whether it died there.
    fn stops(&mut self) -> bool {
        self.service.terminate();
        let mut status = None;
        wait_until("the service has ended", || {
            status = self.service.exited();
            status.is_some()
        });
        self.service.unset_env(FAIL_POINT);
        self.service.start();
        status.unwrap().signal() == Some(libc::SIGABRT)
    }

    /// How it ended, after all that must hold of every end was held against it.
    fn end(mut self) -> End {
        let detail = self.service.task("SHOP-001");
        let explained = |what: &str| format!("{what}\n{}", self.service.explain(&detail));
        let (status, commits) = match self.play {
            Play::Walk | Play::Hands | Play::Gitea | Play::Production | Play::After(_) => ("done", 2),
            Play::Losses | Play::Money => ("done", 1),
            Play::Gone => ("cancelled", 0),
        };
        assert_eq!(detail.task.status, status, "{}", explained("not over"));
        let main = self.repo.sha("main");
        if status == "done" {
            let candidate = detail.task.candidate.as_deref();
            assert_eq!(candidate, Some(main.as_str()), "{}", explained("main"));
        }
        // A person's, where one moves main, and the task's.
        let since = self.repo.since(&self.base).len();
        assert!(since >= commits && (commits > 0 || since == 0), "{since}");
        assert_eq!(self.repo.merge_commits_since(&self.base), 0);
        if let Some(fake) = &self.fake {
            at_gitea::holds(fake, &self.repo);
        }
        if self.play == Play::Production {
            production::holds(&self.repo);
        }
        let leases: Value = self.service.api().get("/api/v1/leases").ok();
        assert_eq!(leases["held"], Value::Array(Vec::new()), "no lease is held");
        assert_eq!(leases["stopped"], Value::Array(Vec::new()), "no merge is stopped");
        let data = self.service.data();
        wait_until("every worktree is gone", || {
            let left = ["worktrees", "scratch", "checks"].map(|dir| entries(&data.join(dir)));
            left.concat().is_empty()
        });
        let end = End {
            moves: moves(&detail),
            jobs: detail
                .jobs
                .iter()
                .map(|j| format!("{} {} {}", j.kind, j.stage, j.status))
                .collect(),
            worked: ["developer", "reviewer"]
                .map(|role| (role, self.service.worked("SHOP-001", role)))
                .to_vec(),
            told: Vec::new(),
            twice: BTreeSet::new(),
            deaths: self.deaths(),
        };
        // Of the telegrams nobody can tell a repetition but who counts them.
        let sent = self.telegram.asked().len();
        let mut by_key: BTreeMap<String, (String, usize)> = BTreeMap::new();
        // Of a request that its sender did not live to finish nothing is told.
        for asked in self.webhook.asked().into_iter().filter(|a| !a.body.is_empty()) {
            let body: Value = serde_json::from_str(&asked.body).unwrap();
            let word = |key: &str| body[key].as_str().unwrap().to_owned();
            by_key.entry(word("id")).or_insert((word("about"), 0)).1 += 1;
        }
        let expected = by_key.len() + usize::from(self.play == Play::Hands);
        let twice_at_most = expected..=expected + 1 + self.deaths();
        assert!(
            twice_at_most.contains(&sent),
            "{sent} telegrams, {expected} messages"
        );
        // That the lease of the service that died was taken back is told as well.
        let told = by_key
            .values()
            .map(|(about, _)| about.clone())
            .filter(|about| about != "lease");
        let mut told: Vec<String> = told.collect();
        told.sort();
        let again: usize = by_key.values().map(|(_, times)| times - 1).sum();
        assert!(again <= 1 + self.deaths(), "told {again} times too often");
        let twice = by_key.into_iter().filter(|(_, (_, times))| *times > 1);
        let twice = twice.map(|(key, _)| key).collect();
        self.service.stop();
        wait_until("every process is gone", || self.service.processes().is_empty());
        End { told, twice, ..end }
    }
}

/// What happened to the stage, without names of commits.
fn moves(detail: &TaskDetail) -> Vec<String> {
    let kinds = ["stage", "rollback", "merge", "escalated", "parked"];
    let told = detail.events.iter().filter(|e| kinds.contains(&e.kind.as_str()));
    let plain = |text: &str| -> String {
        let word = |w: &str| match w.len() >= 7 && w.chars().all(|c| c.is_ascii_hexdigit() || c == '.') {
            true => "COMMIT".to_owned(),
            false => w.to_owned(),
        };
        // What stood in the way is said by git, or known from how the files are.
        let text = text
            .split_once(" could not follow: ")
            .map_or(text, |(said, _)| said);
        text.split(' ').map(word).collect::<Vec<_>>().join(" ")
    };
    told.map(|e| format!("{}: {}", e.kind, plain(&e.text))).collect()
}

fn entries(dir: &std::path::Path) -> Vec<String> {
    let found = fs::read_dir(dir).into_iter().flatten().flatten();
    found.map(|e| e.path().display().to_string()).collect()
}
