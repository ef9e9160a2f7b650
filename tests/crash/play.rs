//! What happens in a walk, and what people do in it. Whatever a person does may be done again: the answer to it may have
//! been lost.

use std::collections::BTreeSet;
use std::io;

use orch::engine::views::{JobView, QueueView, TaskDetail, TaskView};
use serde_json::{Value, json};

use super::scene::Room;
use super::{at_gitea, gone, losses, money, production};
use crate::support::{Agent, Api, Post, TestService};

/// One course of things.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Play {
    /// An agent that fails, a verdict that sends back, a main that moved, two gestures.
    Walk,
    /// A batch of one, a delivery that nobody can read, a question, a job that a person cancels and queues again while the queue is paused, work that
    /// is restored, a message that is refused and sent again.
    Hands,
    /// Much is lost, and found again: see `losses.rs`.
    Losses,
    /// A project's file goes away and comes back; the service is started anew for each.
    Gone,
    /// A task and a project that spend what they may.
    Money,
    /// A project at Gitea.
    Gitea,
    /// Staging, a deploy by a hook, and what is done when production is sick.
    Production,
    /// The walk again, in the life after the service died here.
    After(&'static str),
}

/// All of them.
pub const PLAYS: [Play; 9] = [
    Play::Walk,
    Play::Hands,
    Play::Losses,
    Play::Gone,
    Play::Money,
    Play::Gitea,
    Play::Production,
    Play::After("deed start a shim:after"),
    Play::After("git rebase:before"),
];

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
const FAILS_ONCE: &str = r#"
if [ "$nth" = 1 ]; then echo half >half.txt; exit 3; fi
mkdir -p src; echo "$nth" >"src/$ORCH_WORK_ITEM.txt"; commit "write it"
"#;
/// The first one asks, the second one works until it is stopped.
const ASKS_AND_HANGS: &str = r#"
case $nth in
1) asked 'Which way?' ;;
2) echo half >half.txt; here busy; until_told never ;;
*) mkdir -p src; echo "$nth" >"src/$ORCH_WORK_ITEM.txt"; rm -f "$docs/question.md"; commit "write it" ;;
esac
"#;
/// The first one sends back.
const SENDS_BACK_ONCE: &str = r#"if [ "$nth" = 1 ]; then verdict REQUEST_CHANGES; else verdict APPROVED; fi"#;

impl Play {
    pub fn agent(self) -> Agent {
        match self {
            Self::Walk | Self::After(_) => Agent::new()
                .role("developer", FAILS_ONCE)
                .role("reviewer", SENDS_BACK_ONCE),
            Self::Hands => Agent::new()
                .role("developer", ASKS_AND_HANGS)
                .role("reviewer", "verdict APPROVED"),
            Self::Losses => Agent::new().role("developer", losses::AGENT),
            Self::Gone => Agent::new().role("developer", gone::AGENT),
            Self::Money => money::agent(),
            Self::Gitea => at_gitea::agent(),
            Self::Production => production::agent(),
        }
    }

    pub fn stages(self) -> &'static str {
        match self {
            Self::Walk | Self::Hands | Self::Gone | Self::After(_) => STAGES,
            Self::Losses => losses::STAGES,
            Self::Money => money::STAGES,
            Self::Gitea => at_gitea::STAGES,
            Self::Production => production::STAGES,
        }
    }
}

/// Somebody who does what is due.
pub struct Person {
    play: Play,
    /// What was done and lasts, whoever dies.
    done: BTreeSet<&'static str>,
}

impl Person {
    pub fn new(play: Play) -> Self {
        let done = BTreeSet::new();
        Self { play, done }
    }

    /// True the first time.
    pub(super) fn once(&mut self, what: &'static str) -> bool {
        self.done.insert(what)
    }

    pub(super) fn did(&self, what: &'static str) -> bool {
        self.done.contains(what)
    }

    /// Does what is due. True when nothing is left to be done by anybody.
    pub fn act(&mut self, room: &mut Room) -> io::Result<bool> {
        let api = room.service.api();
        let tasks: Vec<TaskView> = api.try_ask("GET", "/api/v1/tasks?all=true", None)?.ok();
        let Some(task) = tasks.first() else {
            if self.play == Play::Losses {
                api.try_ask("POST", "/api/v1/queue/pause", Some(&json!({})))?;
            }
            let task = json!({ "title": "Search", "external_id": "one" });
            let (path, body) = match self.play {
                Play::Hands => {
                    lift_what_repair_took(&api)?;
                    malformed().try_send(room.service)?;
                    for nobodys in nobodys() {
                        nobodys.try_send(room.service)?;
                    }
                    (
                        "/api/v1/batches",
                        json!({ "name": "one", "mode": "parallel", "tasks": [task] }),
                    )
                }
                Play::Walk
                | Play::Losses
                | Play::Gone
                | Play::Money
                | Play::Gitea
                | Play::Production
                | Play::After(_) => ("/api/v1/tasks", task),
            };
            api.try_ask("POST", path, Some(&body))?;
            return Ok(false);
        };
        assert_eq!(tasks.len(), 1, "one request, one task");
        match self.play {
            Play::Losses => return self.find_what_is_lost(room, task),
            Play::Gone => return self.lose_the_project(room, task),
            Play::Money => return self.spend(room, task),
            Play::Gitea => return self.with_pulls(room, task),
            Play::Production => return self.sees_it_deployed(room, task),
            Play::Walk | Play::Hands | Play::After(_) => {}
        }
        let gesture = match (task.status.as_str(), task.stage.as_str()) {
            ("waiting_human", "review") => {
                if self.once("main moved") {
                    room.repo
                        .commit(&[("other.txt", "by a person\n")], "Something else");
                }
                "approved"
            }
            ("waiting_human", _) => "confirm-deploy",
            ("needs_input", _) => "in-progress",
            ("done", _) => return self.nothing_left(room),
            ("active" | "blocked", _) if self.play == Play::Hands => {
                return with_the_job(room.service, &api, &task.id).map(|()| false);
            }
            ("active", _) => return Ok(false),
            (status, stage) => panic!(
                "{status} at {stage}: {}",
                room.service.explain(&room.service.task(&task.id))
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

    fn find_what_is_lost(&mut self, room: &Room, task: &TaskView) -> io::Result<bool> {
        let api = room.service.api();
        let path = format!("/api/v1/tasks/{}", task.id);
        let detail: TaskDetail = api.try_ask("GET", &path, None)?.ok();
        let queue: QueueView = api.try_ask("GET", "/queue", None)?.ok();
        let done = match (task.status.as_str(), task.stage.as_str(), detail.jobs.first()) {
            ("active", "development", Some(job)) if queue.paused => self.before_work(room, job),
            ("active", "development", _) => self.lose_the_agent(room),
            ("waiting_human", ..) => self.confirm_late(room, &task.id),
            ("active", "deploy", Some(job)) => self.make_way(room, job),
            ("active", ..) => Ok(()),
            ("done", ..) => return Ok(self.nothing_left(room)? && self.give_up_work(room, &detail)?),
            (status, stage, _) => panic!("{status} at {stage}: {}", room.service.explain(&detail)),
        };
        done.map(|()| false)
    }

    pub(super) fn nothing_left(&mut self, room: &Room) -> io::Result<bool> {
        let api = room.service.api();
        let queue: Value = api.try_ask("GET", "/queue", None)?.ok();
        let outbox: Value = api.try_ask("GET", "/api/v1/outbox", None)?.ok();
        let outbox = outbox.as_array().unwrap();
        let mut unreadable = 0;
        for dead in outbox.iter().filter(|n| n["status"] == "dead") {
            let path = format!("/api/v1/outbox/{}/resend", dead["id"]);
            let answer = api.try_ask("POST", &path, Some(&json!({})))?;
            // What the play wrote itself can be listed, and never sent.
            unreadable += usize::from(answer.status == 409 && dead["cause"] == "litter");
        }
        let mut left = queue["live"] != json!([]) || outbox.len() > unreadable;
        if self.play == Play::Hands {
            let kept: Value = api.try_ask("GET", "/api/v1/wip", None)?.ok();
            for kept in kept.as_array().unwrap().iter().filter(|k| k["branch"].is_null()) {
                let path = format!("/api/v1/runs/{}/rescue", kept["run"]);
                api.try_ask("POST", &path, Some(&json!({})))?;
                left = true;
            }
            let inbox: Value = api.try_ask("GET", "/api/v1/inbox", None)?.ok();
            let of = |name| inbox.as_array().unwrap().iter().find(|d| d["delivery"] == name);
            left |= ["two", "three"]
                .into_iter()
                .any(|name| of(name).unwrap()["status"] != "ignored");
            let delivery = of("one").unwrap();
            if delivery["status"] == "parked" && !self.did("replayed") {
                let path = format!("/api/v1/inbox/{}/replay", delivery["id"]);
                api.try_ask("POST", &path, Some(&json!({})))?;
                self.once("replayed");
            }
            left |= delivery["status"] != "parked" || !self.did("replayed");
        }
        Ok(!left)
    }
}

/// A delivery that cannot be applied: it is parked, each time.
fn malformed() -> Post<'static> {
    Post::plane("one", br#"{"event": "issue", "action": "updated", "data": 7}"#)
}

/// Deliveries that concern no task.
fn nobodys() -> [Post<'static>; 2] {
    let issue = br#"{"event": "issue", "action": "created",
        "data": {"id": "i", "name": "x", "project": "p", "state": {"id": "s", "name": "Todo"}}}"#;
    let checked =
        br#"{"sha": "d555a5dd07f4d0148a58d4686ec381502ae6a2d4", "repository": {"full_name": "team/app"}}"#;
    [Post::plane("two", issue), Post::forge("three", "status", checked)]
}

/// Nothing was taken: it changes nothing, however often.
fn lift_what_repair_took(api: &Api) -> io::Result<()> {
    for (path, body) in [
        ("/api/v1/breakers/reset", json!({ "scope": "batch:one" })),
        ("/api/v1/nodes/clear", json!({ "node": "local" })),
    ] {
        api.try_ask("POST", path, Some(&body))?;
    }
    Ok(())
}

/// Cancels the job of the agent that hangs, and queues it again at the head of a paused queue.
fn with_the_job(service: &TestService, api: &Api, task: &str) -> io::Result<()> {
    let detail: TaskDetail = api.try_ask("GET", &format!("/api/v1/tasks/{task}"), None)?.ok();
    let Some(job) = detail
        .jobs
        .iter()
        .find(|j| j.role.as_deref() == Some("developer"))
    else {
        return Ok(());
    };
    let path = format!("/api/v1/jobs/{}", job.id);
    let post = |path: String| api.try_ask("POST", &path, Some(&json!({}))).map(drop);
    let hangs = service.worked(task, "developer") == 2 && !service.told("busy").is_empty();
    let was_cancelled = detail.jobs.iter().any(|j| j.status == "cancelled");
    let is = |job: &JobView, status: &str| job.status == status;
    match detail.task.status.as_str() {
        "active" if is(job, "running") && hangs && !was_cancelled => post(format!("{path}/cancel")),
        "blocked" if is(job, "cancelled") => {
            post("/api/v1/queue/pause".to_owned())?;
            post(format!("{path}/retry"))
        }
        "active" if is(job, "queued") && job.priority == 0 && hangs => api
            .try_ask("PATCH", &path, Some(&json!({ "priority": 5 })))
            .map(drop),
        "active" if is(job, "queued") && hangs => post("/api/v1/queue/resume".to_owned()),
        _ => Ok(()),
    }
}
