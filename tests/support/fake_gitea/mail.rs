//! Webhooks: what happened, written and signed as Gitea or Forgejo does.

use serde_json::{Value, json};

use super::{Status, World, rest};
use crate::support::courier::{Repeated, signature};
use crate::support::repo::git;

const NOBODY: &str = "0000000000000000000000000000000000000000";

/// Whose deliveries they look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavour {
    /// From 1.24 on.
    Gitea,
    /// 1.23: a status comes without a word in `X-Gitea-Event`.
    Gitea123,
    /// With headers of its own, and `action_run_*` instead of `workflow_run`.
    Forgejo,
}

/// A delivery that is to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mail {
    /// Another one where it is sent again by hand.
    pub delivery: String,
    pub event: String,
    pub event_type: String,
    pub signature: String,
    pub body: Vec<u8>,
    flavour: Flavour,
}

impl Mail {
    /// The headers that name and sign it.
    pub fn headers(&self) -> Vec<(&'static str, String)> {
        let event = match self.flavour {
            Flavour::Gitea123 if self.event == "status" => String::new(),
            _ => self.event.clone(),
        };
        let mut headers = vec![
            ("X-Gitea-Delivery", self.delivery.clone()),
            ("X-Gitea-Event", event.clone()),
            ("X-Gitea-Event-Type", self.event_type.clone()),
            ("X-Gitea-Signature", self.signature.clone()),
            ("X-Hub-Signature-256", format!("sha256={}", self.signature)),
            ("X-GitHub-Event", event.clone()),
        ];
        if self.flavour == Flavour::Forgejo {
            headers.push(("X-Forgejo-Event", event));
            headers.push(("X-Forgejo-Event-Type", self.event_type.clone()));
            headers.push(("X-Forgejo-Signature", self.signature.clone()));
        }
        headers
    }
}

impl Repeated for Mail {
    fn again(&self) -> Self {
        Self {
            delivery: format!("{}-again", self.delivery),
            ..self.clone()
        }
    }
}

fn send(world: &mut World, (event, event_type): (&str, &str), name: &str, by: &str, mut body: Value) {
    let (owner, short) = name.split_once('/').unwrap();
    body["repository"] = json!({
        "id": 1, "name": short, "full_name": name, "default_branch": "main", "owner": { "login": owner },
    });
    body["sender"] = json!({ "id": 2, "login": by });
    let body = body.to_string().into_bytes();
    let mail = Mail {
        delivery: format!("00000000-0000-4000-8000-{:012x}", world.id()),
        event: event.to_owned(),
        event_type: event_type.to_owned(),
        signature: signature(&world.secret, &body),
        body,
        flavour: world.flavour,
    };
    world.mail.push(mail);
}

pub(super) fn pushed(
    world: &mut World,
    name: &str,
    branch: &str,
    (old, new): (Option<&String>, Option<&String>),
    by: &str,
) {
    let bare = world.bare(name);
    let sha = |side: Option<&String>| side.map_or(NOBODY, String::as_str).to_owned();
    let (old, new) = (sha(old), sha(new));
    let commits: Vec<_> = match new == NOBODY {
        true => Vec::new(),
        false => {
            let range = if old == NOBODY {
                new.clone()
            } else {
                format!("{old}..{new}")
            };
            let log = git(&bare, &["log", "-5", "--format=%H", &range]);
            log.lines()
                .map(|id| json!({ "id": id, "message": "…" }))
                .collect()
        }
    };
    let body = json!({
        "ref": format!("refs/heads/{branch}"), "before": old, "after": new, "total_commits": commits.len(),
        "head_commit": commits.first(), "commits": commits, "pusher": { "login": by },
    });
    send(world, ("push", "push"), name, by, body);
}

pub(super) fn pull_request(world: &mut World, name: &str, number: u64, action: &str, by: &str) {
    let pull = world.repositories[name]
        .pulls
        .iter()
        .find(|p| p.number == number)
        .unwrap();
    let body = json!({ "action": action, "number": number, "pull_request": rest::pull(world, name, pull) });
    let event_type = match action {
        "synchronized" => "pull_request_sync",
        _ => "pull_request",
    };
    send(world, ("pull_request", event_type), name, by, body);
}

pub(super) fn reviewed(world: &mut World, name: &str, number: u64, state: &str, by: &str) {
    let kind = match state {
        "APPROVED" => "pull_request_approved",
        "REQUEST_CHANGES" => "pull_request_rejected",
        _ => "pull_request_comment",
    };
    let pull = world.repositories[name]
        .pulls
        .iter()
        .find(|p| p.number == number)
        .unwrap();
    let body = json!({
        "action": "reviewed", "number": number, "pull_request": rest::pull(world, name, pull),
        "review": { "type": kind, "content": "" },
    });
    send(world, (kind, kind), name, by, body);
}

pub(super) fn status(world: &mut World, name: &str, status: &Status) {
    let at = world.when();
    let body = json!({
        "id": status.id, "sha": status.sha, "state": status.state, "context": status.context,
        "description": status.description, "target_url": "", "created_at": at, "updated_at": at,
        "commit": { "sha": status.sha },
    });
    send(world, ("status", "status"), name, "ci", body);
}

pub(super) fn workflow_run(world: &mut World, name: &str, branch: &str, conclusion: &str) {
    let head = world.heads(name)[branch].clone();
    if world.flavour == Flavour::Forgejo {
        let kind = match conclusion {
            "success" => "action_run_success",
            _ => "action_run_failure",
        };
        let run = json!({ "commit_sha": head, "prettyref": branch, "status": conclusion });
        let body = json!({ "action": conclusion, "run": run });
        send(world, (kind, kind), name, "ci", body);
        return;
    }
    let id = world.id();
    let body = json!({
        "action": "completed",
        "workflow_run": {
            "id": id, "event": "push", "head_sha": head, "head_branch": branch, "status": "completed",
            "conclusion": conclusion, "html_url": "",
        },
    });
    send(world, ("workflow_run", "workflow_run"), name, "ci", body);
}
