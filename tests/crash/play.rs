//! What happens in a walk, and what people do in it. Whatever a person does may be done again: the answer to it may have
//! been lost.

use std::io;

use orch::engine::views::{JobView, TaskDetail, TaskView};
use serde_json::{Value, json};

use crate::support::{Agent, Api, Repo, TestService};

/// One course of things.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Play {
    /// An agent that fails, a verdict that sends back, a main that moved, two gestures.
    Walk,
    /// A question, a job that a person cancels and queues again while the queue is paused, work that is restored, a
    /// message that is refused and sent again.
    Hands,
    /// The walk again, in the life after the service died here.
    After(&'static str),
}

/// All of them.
pub const PLAYS: [Play; 4] = [
    Play::Walk,
    Play::Hands,
    Play::After("deed start a shim:after"),
    Play::After("git rebase:before"),
];

pub const STAGES: &str = r#"
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
        }
    }
}

/// Somebody who does what is due.
pub struct Person {
    play: Play,
    moved_main: bool,
}

impl Person {
    pub fn new(play: Play) -> Self {
        let moved_main = false;
        Self { play, moved_main }
    }

    /// Does what is due. True when nothing is left to be done by anybody.
    pub fn act(&mut self, service: &TestService, repo: &Repo) -> io::Result<bool> {
        let api = service.api();
        let tasks: Vec<TaskView> = api.try_ask("GET", "/api/v1/tasks?all=true", None)?.ok();
        let Some(task) = tasks.first() else {
            let body = json!({ "title": "Search", "external_id": "one" });
            api.try_ask("POST", "/api/v1/tasks", Some(&body))?;
            return Ok(false);
        };
        assert_eq!(tasks.len(), 1, "one request, one task");
        let gesture = match (task.status.as_str(), task.stage.as_str()) {
            ("waiting_human", "review") => {
                if !std::mem::replace(&mut self.moved_main, true) {
                    repo.commit(&[("other.txt", "by a person\n")], "Something else");
                }
                "approved"
            }
            ("waiting_human", _) => "confirm-deploy",
            ("needs_input", _) => "in-progress",
            ("done", _) => return self.nothing_left(&api),
            ("active" | "blocked", _) if self.play == Play::Hands => {
                return with_the_job(service, &api, &task.id).map(|()| false);
            }
            ("active", _) => return Ok(false),
            (status, stage) => panic!(
                "{status} at {stage}: {}",
                service.explain(&service.task(&task.id))
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

    fn nothing_left(&self, api: &Api) -> io::Result<bool> {
        let queue: Value = api.try_ask("GET", "/queue", None)?.ok();
        let outbox: Value = api.try_ask("GET", "/api/v1/outbox", None)?.ok();
        let outbox = outbox.as_array().unwrap();
        for dead in outbox.iter().filter(|n| n["status"] == "dead") {
            let path = format!("/api/v1/outbox/{}/resend", dead["id"]);
            api.try_ask("POST", &path, Some(&json!({})))?;
        }
        let mut left = queue["live"] != json!([]) || !outbox.is_empty();
        if self.play == Play::Hands {
            let kept: Value = api.try_ask("GET", "/api/v1/wip", None)?.ok();
            for kept in kept.as_array().unwrap().iter().filter(|k| k["branch"].is_null()) {
                let path = format!("/api/v1/runs/{}/rescue", kept["run"]);
                api.try_ask("POST", &path, Some(&json!({})))?;
                left = true;
            }
        }
        Ok(!left)
    }
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
