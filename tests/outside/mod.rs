//! Twenty issues of a Plane become merged pull requests of a Gitea, through a post that loses, repeats and reorders webhooks,
//! and with requests that fail; and what each part of the service is for is seen when the others are off.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::io::Write as _;
use std::time::{Duration, Instant};

use orch::engine::views::{TaskDetail, TaskView};
use serde_json::Value;

use crate::support::courier::{Post as Courier, Repeated, unreliable};
use crate::support::fake_gitea::{self, FakeGitea, Flavour, REPOSITORY};
use crate::support::fake_plane::{self, FakePlane, KEY, PROJECT, Version, WORKSPACE};
use crate::support::{Agent, Post, Postgres, Project, SECRET, Setup, TestService};

const ISSUES: usize = 20;
/// Longer than it takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(400);

const STAGES: &str = r#"
[[stage]]
name = "analysis"
role = "analyst"
gates = ["analysis_complete", "analysis_approved"]
rollback_to = "analysis"

[[stage]]
name = "development"
role = "developer"
gates = ["ci_green"]
rollback_to = "development"

[[stage]]
name = "review"
role = "reviewer"
gates = ["reviewer_verdict", "branch_mergeable"]
rollback_to = "development"

[[stage]]
name = "done"
"#;

/// A delivery of either, with where it goes to.
#[derive(Clone)]
enum Mail {
    Plane(fake_plane::Mail),
    Gitea(fake_gitea::Mail),
}

impl Repeated for Mail {
    fn again(&self) -> Self {
        match self {
            Self::Plane(mail) => Self::Plane(mail.again()),
            Self::Gitea(mail) => Self::Gitea(mail.again()),
        }
    }
}

impl Mail {
    fn post(&self) -> Post<'static> {
        let (path, headers, body) = match self {
            Self::Plane(mail) => ("/webhook/plane", mail.headers().to_vec(), &mail.body),
            Self::Gitea(mail) => ("/webhook/gitea", mail.headers(), &mail.body),
        };
        Post {
            path,
            headers,
            body: body.clone(),
        }
    }

    /// The issue that a person moved by it, and into what.
    fn gesture(&self) -> Option<(String, String)> {
        let Self::Plane(mail) = self else { return None };
        let body: Value = serde_json::from_slice(&mail.body).unwrap();
        let by_person = body["activity"]["actor"]["id"] == "ann";
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        by_person.then(|| (text(&body["data"]["id"]), text(&body["data"]["state"]["name"])))
    }
}

/// The world around the service: the board, the forge, who works there, and the post.
struct Outside {
    plane: FakePlane,
    gitea: FakeGitea,
    issues: Vec<String>,
    /// Written, and not carried yet.
    bag: Vec<Mail>,
    since: Instant,
    round: u64,
    seed: u64,
    /// What a person did and nobody was told of, by issue.
    untold: BTreeMap<String, Vec<String>>,
    carried: usize,
    lost: usize,
}

impl Outside {
    fn new(seed: u64) -> Self {
        let (plane, gitea) = (FakePlane::new(), FakeGitea::new());
        plane.rate_limit(None);
        plane.webhooks(Version::First, SECRET);
        gitea.webhooks(Flavour::Gitea, SECRET);
        gitea.ci(Some("success"));
        let issues = (1..=ISSUES).map(|n| plane.issue(PROJECT, &format!("Part {n}")));
        let issues = issues.collect();
        Self {
            plane,
            gitea,
            issues,
            bag: Vec::new(),
            since: Instant::now(),
            round: 0,
            seed,
            untold: BTreeMap::new(),
            carried: 0,
            lost: 0,
        }
    }

    fn setup(&self) -> Setup {
        let mut project = Project::new("shop", &crate::support::Repo::new());
        project = project.repo(&self.gitea.clone_url(REPOSITORY));
        Setup::new()
            .set("max_concurrency", 4)
            .set("queue.tick_s", 1)
            .set("reconcile.interval_s", 1)
            .set("reconcile.grace_default_s", 1)
            .set("plane.url", self.plane.url.clone())
            .set("plane.workspace", WORKSPACE)
            .set("plane.requests_per_minute", 1_000_000)
            .set("gitea.url", self.gitea.url.clone())
            .env("ORCH_PLANE_API_TOKEN", KEY)
            .env("ORCH_PLANE_WEBHOOK_SECRET", SECRET)
            .env("ORCH_GITEA_TOKEN", fake_gitea::TOKEN)
            .env("ORCH_GITEA_WEBHOOK_SECRET", SECRET)
            .project(
                project
                    .agent(&Agent::diligent())
                    .top("tracker = 'plane'")
                    .top(&format!("plane_project = '{PROJECT}'"))
                    .then(STAGES),
            )
    }

    /// Everybody moves once: people do what the board asks them for, and the post carries what lies there for long enough.
    fn act(&mut self, service: &TestService) {
        for issue in &self.issues {
            match self.plane.state_of(issue).as_str() {
                "Todo" => self.plane.drag(issue, "In Progress", "ann"),
                "In Review" => self.plane.drag(issue, "Approved", "ann"),
                _ => {}
            }
        }
        self.bag.extend(self.plane.mail().into_iter().map(Mail::Plane));
        self.bag.extend(self.gitea.mail().into_iter().map(Mail::Gitea));
        if self.bag.len() >= 12 || self.since.elapsed() > Duration::from_millis(400) {
            self.carry(service);
        }
    }

    fn carry(&mut self, service: &TestService) {
        let bag = std::mem::take(&mut self.bag);
        (self.since, self.round) = (Instant::now(), self.round + 1);
        let post = Courier {
            lose: 30,
            repeat: 20,
            delay: 20,
            shuffle: true,
        };
        let arriving = unreliable(bag.clone(), post, self.seed * 1_000 + self.round);
        let told: Vec<_> = arriving.iter().filter_map(Mail::gesture).collect();
        for (issue, state) in bag.iter().filter_map(Mail::gesture) {
            if !told.contains(&(issue.clone(), state.clone())) {
                self.untold.entry(issue).or_default().push(state);
            }
        }
        self.carried += arriving.len();
        self.lost += bag.len().saturating_sub(arriving.len());
        for mail in arriving {
            let answer = mail.post().send(service);
            assert_eq!(answer.status, 202, "{}", answer.text());
        }
    }
}

fn tasks(service: &TestService) -> Vec<TaskView> {
    service.api().get("/api/v1/tasks?all=true").ok()
}

fn say(line: &str) {
    let said = writeln!(std::io::stderr(), "{line}");
    said.unwrap();
}

/// Until all are done.
fn finish(outside: &mut Outside, service: &TestService) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        outside.act(service);
        let tasks = tasks(service);
        let on_board = |issue: &String| outside.plane.state_of(issue) == "Done";
        if tasks.len() == ISSUES
            && tasks.iter().all(|t| t.status == "done")
            && outside.issues.iter().all(on_board)
            && service.api().get("/api/v1/outbox").ok::<Value>() == Value::Array(Vec::new())
        {
            return;
        }
        assert!(
            Instant::now() < deadline,
            "{:#?}\n{}",
            tasks
                .iter()
                .map(|t| format!("{} {} {} {:?}", t.id, t.stage, t.status, t.reason))
                .collect::<Vec<_>>(),
            service
                .log()
                .lines()
                .rev()
                .take(30)
                .collect::<Vec<_>>()
                .join("\n")
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Nothing happened twice.
fn hold_against(outside: &Outside, service: &TestService) {
    let tasks = tasks(service);
    assert_eq!(tasks.len(), ISSUES);
    for task in &tasks {
        let detail: TaskDetail = service.task(&task.id);
        let agents = detail.jobs.iter().filter(|j| j.kind == "agent").count();
        assert_eq!(agents, 3, "{}", service.explain(&detail));
        for role in ["analyst", "developer", "reviewer"] {
            assert_eq!(service.worked(&task.id, role), 1, "{} {role}", task.id);
        }
    }
    let pulls = outside.gitea.pulls(REPOSITORY);
    assert_eq!(pulls.len(), ISSUES);
    assert!(pulls.iter().all(|p| p["merged"] == true), "{pulls:#?}");
    for pull in &pulls {
        let comments = outside
            .gitea
            .comments(REPOSITORY, pull["number"].as_u64().unwrap());
        assert_eq!(comments.len(), 1, "{comments:?}");
    }
    for issue in &outside.issues {
        let mut history = outside.plane.history(issue);
        history.dedup_by_key(|(state, _)| state.clone());
        assert_eq!(history.len(), outside.plane.history(issue).len(), "{history:?}");
        let words: Vec<_> = history.iter().map(|(state, _)| state.as_str()).collect();
        assert_eq!(
            words,
            ["In Progress", "In Review", "Approved", "In Progress", "Done"],
            "{history:?}"
        );
        let said = outside.plane.comments(issue);
        let mut causes: Vec<_> = said.iter().map(|c| c["external_id"].to_string()).collect();
        causes.sort();
        let all = causes.len();
        causes.dedup();
        assert_eq!((causes.len(), all > 0), (all, true), "{said:#?}");
    }
}

fn all_are_delivered(setup: impl Fn(Setup) -> Setup) {
    let mut outside = Outside::new(1);
    outside.plane.failing(10, 7);
    outside.gitea.failing(10, 8);
    let began = Instant::now();
    let mut service = setup(outside.setup()).start();
    finish(&mut outside, &service);
    hold_against(&outside, &service);
    say(&format!(
        "outside: {ISSUES} of {ISSUES} done in {} s; of what people did {} was never told; {} deliveries arrived, {} or more lost",
        began.elapsed().as_secs(),
        outside.untold.values().map(Vec::len).sum::<usize>(),
        outside.carried,
        outside.lost
    ));
    service.stop();
}

#[test]
fn all_are_delivered_once_whatever_is_lost_repeated_or_fails_on_sqlite() {
    all_are_delivered(|setup| setup);
}

#[test]
fn all_are_delivered_once_whatever_is_lost_repeated_or_fails_on_postgresql() {
    let Some(database) = Postgres::fresh() else { return };
    all_are_delivered(|setup| setup.set("database.url", database.url()));
}

#[test]
fn without_the_reconciler_what_nobody_was_told_of_waits_for_it_and_nothing_else_does() {
    let mut outside = Outside::new(2);
    let mut service = outside.setup().set("reconcile.enabled", false).start();
    let deadline = Instant::now() + PATIENCE;
    let mut quiet_since = Instant::now();
    let mut before = Vec::new();
    // Until nothing has moved for long.
    while quiet_since.elapsed() < Duration::from_secs(6) {
        outside.act(&service);
        let stand: Vec<_> = tasks(&service)
            .iter()
            .map(|t| format!("{} {} {}", t.title, t.stage, t.status))
            .collect();
        if stand != before || !service.queue().live.is_empty() {
            (quiet_since, before) = (Instant::now(), stand);
        }
        assert!(Instant::now() < deadline, "{before:#?}");
        std::thread::sleep(Duration::from_millis(20));
    }
    let lost = |state: &str| {
        let issues = outside.untold.iter();
        issues.filter(|(_, all)| all.iter().any(|s| s == state)).count()
    };
    let (unstarted, unapproved) = (lost("In Progress"), lost("Approved"));
    let tasks = tasks(&service);
    let at = |status: &str| tasks.iter().filter(|t| t.status == status).count();
    say(&format!(
        "outside: without the reconciler {} of {ISSUES} done, {unstarted} never started, {unapproved} wait though approved; \
         {} deliveries arrived, {} or more lost",
        at("done"),
        outside.carried,
        outside.lost
    ));
    assert_eq!(tasks.len(), ISSUES - unstarted);
    assert_eq!(at("waiting_human"), unapproved);
    assert_eq!(at("done"), ISSUES - unstarted - unapproved);
    assert!(
        unstarted > 0 && unapproved > 0,
        "the post lost too little to show anything"
    );
    service.stop();
    service.set_env("ORCH_RECONCILE_ENABLED", "true");
    service.start();
    finish(&mut outside, &service);
    hold_against(&outside, &service);
    service.stop();
}
