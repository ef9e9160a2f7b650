//! One walk with all that can go wrong by itself: an agent that fails, a verdict that sends back, a main that moved, two
//! gestures, notifications to a webhook.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::time::{Duration, Instant};

use orch::engine::views::{TaskDetail, TaskView};
use serde_json::{Value, json};

use crate::support::{
    Agent, FakeService, PATIENCE, Postgres, Project, Reply, Repo, Setup, TestService, wait_until,
};

const STAGES: &str = r#"
[[stage]]
name = "development"
role = "developer"
gates = ["tests_local"]
rollback_to = "development"

[[stage]]
name = "review"
role = "reviewer"
gates = ["reviewer_verdict", "human_approved"]
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

/// The first one fails and leaves work behind.
const DEVELOPER: &str = r#"
if [ "$nth" = 1 ]; then echo half >half.txt; exit 3; fi
mkdir -p src; echo "$nth" >"src/$ORCH_WORK_ITEM.txt"; commit "write it"
"#;
/// The first one sends back.
const REVIEWER: &str = r#"if [ "$nth" = 1 ]; then verdict REQUEST_CHANGES; else verdict APPROVED; fi"#;

const FAIL_POINT: &str = "FAILPOINT_ABORT";
const FAIL_TRACE: &str = "FAILPOINT_TRACE";

/// Where the truth lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Database {
    Sqlite,
    Postgres,
}

/// What a walk leaves behind, in words that are the same each time.
#[derive(Debug, PartialEq, Eq)]
pub struct End {
    /// What happened to the stage, in order.
    moves: Vec<String>,
    /// What people were told, each once by its key.
    told: Vec<String>,
    /// The same message came again, by its key.
    twice: BTreeSet<String>,
    /// How often each role worked.
    worked: Vec<(&'static str, u32)>,
    /// Kind, stage and status of every job.
    jobs: Vec<String>,
}

impl End {
    /// What is wrong with another end; a death between a message and its record may repeat that message.
    pub fn differs_from(&self, other: &End, point: &str) -> Option<String> {
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
        let may_repeat = point == "deed tell the webhook:after"
            || point.starts_with("commit engine::deliver::") && point.ends_with(":before");
        let repeated = other.twice.len();
        (repeated > usize::from(may_repeat)).then(|| format!("told twice: {:?}", other.twice))
    }
}

pub struct Scene {
    service: TestService,
    repo: Repo,
    webhook: FakeService,
    /// Dropped after the service.
    _database: Option<Postgres>,
    base: String,
    moved: bool,
}

impl Scene {
    /// None where there is no PostgreSQL server, after saying so.
    pub fn new(database: Database) -> Option<Self> {
        let own = match database {
            Database::Sqlite => None,
            Database::Postgres => Some(Postgres::fresh()?),
        };
        let repo = Repo::new();
        let webhook = FakeService::new(|_| Reply::new(204, ""));
        let agent = Agent::new()
            .role("developer", DEVELOPER)
            .role("reviewer", REVIEWER);
        let mut setup = Setup::new()
            .set("shutdown", "leave")
            .set("queue.tick_s", 1)
            .set("notify.webhook_url", webhook.url.clone())
            .project(Project::new("shop", &repo).agent(&agent).then(STAGES));
        if let Some(own) = &own {
            setup = setup.set("database.url", own.url());
        }
        Some(Self {
            base: repo.sha("main"),
            service: setup.prepare(),
            repo,
            webhook,
            _database: own,
            moved: false,
        })
    }

    /// Walks undisturbed, and tells which points were reached.
    pub fn traced(mut self) -> (Vec<String>, End) {
        let trace = self.service.home().join("trace");
        self.service.set_env(FAIL_TRACE, &trace.display().to_string());
        let died = self.walk();
        assert!(!died, "nothing was to die");
        self.service.stop();
        let reached = fs::read_to_string(&trace).unwrap();
        self.service.start();
        let end = self.end();
        (reached.lines().map(str::to_owned).collect(), end)
    }

    /// Walks, dies at this point, and walks on.
    pub fn dies_at(mut self, point: &str) -> End {
        self.service.set_env(FAIL_POINT, &format!("{point} 1"));
        let died = self.walk() || self.stops();
        assert!(died, "the walk never came to {point}");
        self.end()
    }

    /// Until the task is done and nothing is left to do; starts the service again when it dies. Whether it did.
    fn walk(&mut self) -> bool {
        let mut died = false;
        let mut seen = 0;
        let began = Instant::now();
        self.service.spawn();
        loop {
            assert!(
                began.elapsed() < PATIENCE * 2,
                "not done in time\n{}",
                self.service.log()
            );
            if let Some(status) = self.service.exited() {
                assert_eq!(status.signal(), Some(libc::SIGABRT), "{}", self.service.log());
                assert!(!died, "died twice");
                died = true;
                self.service.unset_env(FAIL_POINT);
                seen = self.service.log().len();
                self.service.spawn();
            }
            // Whatever is asked may be cut off by its death.
            if self.service.is_ready(seen) && self.person().unwrap_or(false) {
                return died;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
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

    /// Does what is due for a person. True when nothing is left to be done by anybody.
    fn person(&mut self) -> std::io::Result<bool> {
        let api = self.service.api();
        let tasks: Vec<TaskView> = api.try_ask("GET", "/api/v1/tasks?all=true", None)?.ok();
        let Some(task) = tasks.first() else {
            let body = json!({ "title": "Search", "external_id": "one" });
            api.try_ask("POST", "/api/v1/tasks", Some(&body))?;
            return Ok(false);
        };
        assert_eq!(tasks.len(), 1, "one request, one task");
        let gesture = match (task.status.as_str(), task.stage.as_str()) {
            ("waiting_human", "review") => {
                if !std::mem::replace(&mut self.moved, true) {
                    self.repo
                        .commit(&[("other.txt", "by a person\n")], "Something else");
                }
                "approved"
            }
            ("waiting_human", _) => "confirm-deploy",
            ("done", _) => {
                let queue: Value = api.try_ask("GET", "/queue", None)?.ok();
                let outbox: Value = api.try_ask("GET", "/api/v1/outbox", None)?.ok();
                return Ok(queue["live"] == json!([]) && outbox == json!([]));
            }
            ("active", _) => return Ok(false),
            (status, stage) => panic!(
                "{status} at {stage}: {}",
                self.service.explain(&self.service.task(&task.id))
            ),
        };
        let body = json!({ "gesture": gesture, "person": "tester" });
        api.try_ask(
            "POST",
            &format!("/api/v1/tasks/{}/gestures", task.id),
            Some(&body),
        )?;
        Ok(false)
    }

    /// How it ended, after all that must hold of every end was held against it.
    fn end(mut self) -> End {
        let detail = self.service.task("SHOP-001");
        let explained = |what: &str| format!("{what}\n{}", self.service.explain(&detail));
        assert_eq!(detail.task.status, "done", "{}", explained("not done"));
        let main = self.repo.sha("main");
        assert_eq!(
            detail.task.candidate.as_deref(),
            Some(main.as_str()),
            "{}",
            explained("main")
        );
        let since = self.repo.since(&self.base).len();
        assert_eq!(self.repo.merge_commits_since(&self.base), 0);
        assert!(since > 1, "main has the person's commit and the task's");
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
        };
        let mut by_key: BTreeMap<String, (String, usize)> = BTreeMap::new();
        for asked in self.webhook.asked() {
            let body: Value = serde_json::from_str(&asked.body).unwrap();
            let word = |key: &str| body[key].as_str().unwrap().to_owned();
            by_key.entry(word("id")).or_insert((word("about"), 0)).1 += 1;
        }
        // That the lease of the service that died was taken back is told as well.
        let told = by_key
            .values()
            .map(|(about, _)| about.clone())
            .filter(|about| about != "lease");
        let mut told: Vec<String> = told.collect();
        told.sort();
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
        text.split(' ').map(word).collect::<Vec<_>>().join(" ")
    };
    told.map(|e| format!("{}: {}", e.kind, plain(&e.text))).collect()
}

fn entries(dir: &std::path::Path) -> Vec<String> {
    let found = fs::read_dir(dir).into_iter().flatten().flatten();
    found.map(|e| e.path().display().to_string()).collect()
}
