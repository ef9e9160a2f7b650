//! Webhooks: what happened, written in either version, signed, and carried by a post that may not be trusted.

use serde_json::{Value, json};

use super::rest::item;
use super::{World, when};
use crate::support::courier::{Repeated, signature};
use crate::support::fake_plane::http::Seen;

const WORKSPACE_ID: &str = "735476fa-918c-4fa4-84b0-2062ddc3eda3";

/// How its deliveries are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    First,
    Second,
}

/// A delivery that is to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mail {
    /// Another one with each attempt.
    pub delivery: String,
    pub event: String,
    pub signature: String,
    pub body: Vec<u8>,
}

impl Mail {
    /// Plane's headers.
    pub fn headers(&self) -> [(&'static str, String); 3] {
        [
            ("X-Plane-Delivery", self.delivery.clone()),
            ("X-Plane-Event", self.event.clone()),
            ("X-Plane-Signature", self.signature.clone()),
        ]
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

pub(super) fn created(world: &mut World, project: &str, id: &str) {
    let activity = json!({ "field": null, "old_value": null, "new_value": null, "actor": actor("a-person") });
    issue(world, project, id, "created", &activity, &json!({}));
}

pub(super) fn moved(
    world: &mut World,
    project: &str,
    id: &str,
    field: &str,
    (old, new): (&str, &str),
    by: &str,
) {
    let activity = json!({
        "field": field, "old_value": old, "new_value": new, "actor": actor(by),
        "old_identifier": old, "new_identifier": new,
    });
    issue(
        world,
        project,
        id,
        "updated",
        &activity,
        &json!({ "state_id": old }),
    );
}

pub(super) fn commented(world: &mut World, project: &str, comment: &Value, by: &str) {
    let body = match world.version {
        Version::First => json!({
            "event": "issue_comment", "action": "created", "webhook_id": "w", "workspace_id": WORKSPACE_ID,
            "data": comment, "activity": { "field": null, "actor": actor(by) },
        }),
        Version::Second => {
            let id = world.id();
            json!({ "version": "v2", "event_id": id, "event": "workitem.comment.created", "data": comment })
        }
    };
    let _ = project;
    send(world, "issue_comment", &body);
}

fn issue(world: &mut World, project: &str, id: &str, action: &str, activity: &Value, previous: &Value) {
    let known = &world.projects[project];
    let found = known.items.iter().find(|i| i.id == id).unwrap();
    let body = match world.version {
        Version::First => {
            let expanded = Seen {
                query: vec![("expand".into(), "state".into())],
                ..Seen::default()
            };
            json!({
                "event": "issue", "action": action, "webhook_id": "w", "workspace_id": WORKSPACE_ID,
                "data": item(found, known, project, &expanded), "activity": activity,
            })
        }
        Version::Second => {
            let data = json!({
                "id": id, "name": found.name, "state_id": found.state, "project_id": project,
                "updated_at": when(found.updated), "sequence_id": found.sequence, "is_draft": false,
            });
            let event_id = world.id();
            json!({
                "version": "v2", "delivery_id": event_id, "event_id": event_id, "entity_id": id,
                "entity_type": "issue", "event": format!("workitem.{action}"), "workspace_id": WORKSPACE_ID,
                "data": data, "previous_attributes": previous,
            })
        }
    };
    send(world, "issue", &body);
}

fn actor(id: &str) -> Value {
    json!({ "id": id, "email": "dev@example.com", "display_name": id })
}

fn send(world: &mut World, event: &str, body: &Value) {
    let body = body.to_string().into_bytes();
    let mail = Mail {
        delivery: world.id(),
        event: event.to_owned(),
        signature: signature(&world.secret, &body),
        body,
    };
    world.mail.push(mail);
}
