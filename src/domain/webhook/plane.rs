//! Plane's deliveries: both versions of its bodies, both spellings of its actions, `state` and `state_id`.
//!
//! Shapes: Plane 1.3 as it sends them, and version 2 as its documentation shows it
//! (<https://developers.plane.so/dev-tools/intro-webhooks>).

use serde::Deserialize;
use serde::de::IgnoredAny;
use std::collections::BTreeMap;

use super::text::Text;
use super::{Malformed, Said, decode, need, short, some};
use crate::domain::time::Timestamp;

/// Something happened to an issue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssueEvent {
    /// The issue's id at Plane.
    pub issue: String,
    /// The project's id at Plane; a deletion does not tell it.
    pub project: Option<String>,
    /// Who did it, where the body says so.
    pub actor: Option<String>,
    /// What.
    pub what: IssueChange,
}

/// What happened to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IssueChange {
    /// It is new, or has come to another state: this is how it stands.
    Stands(Issue),
    /// It was deleted.
    Gone,
}

/// An issue as a delivery shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Issue {
    /// Its state's id.
    pub state_id: Option<String>,
    /// Its state's name, where the body has it.
    pub state_name: Option<String>,
    /// Its number in its project.
    pub number: Option<i64>,
    /// Its title.
    pub title: Option<String>,
    /// Its description, without markup.
    pub description: Option<String>,
    /// When it was changed last: two deliveries may arrive in another order than they were sent.
    pub updated_at: Option<Timestamp>,
    /// It has got another state since: Plane writes a delivery later than it happened.
    pub overtaken: bool,
}

impl Issue {
    /// The state that it got is this one, whatever it has by now.
    fn was(&mut self, got: Option<String>) {
        let got = got.filter(|id| uuid::Uuid::try_parse(id).is_ok());
        if got.is_some() && got != self.state_id {
            (self.state_id, self.state_name, self.overtaken) = (got, None, true);
        }
    }
}

#[derive(Deserialize)]
struct Head {
    event: Text,
    #[serde(default)]
    action: Option<Text>,
    #[serde(default)]
    version: Option<Text>,
}

/// What a delivery says.
///
/// # Errors
/// [`Malformed`] names the field.
pub fn parse(body: &[u8]) -> Result<Said<IssueEvent>, Malformed> {
    let head: Head = decode(body)?;
    let event = head.event.as_ref();
    match head.version.is_some() {
        true => second(event, body),
        false => first(event, some(head.action), body),
    }
}

#[derive(Clone, Copy)]
enum Action {
    Created,
    Updated,
    Deleted,
}

impl Action {
    fn parse(word: &str) -> Option<Self> {
        match word {
            "created" | "create" => Some(Self::Created),
            "updated" | "update" => Some(Self::Updated),
            "deleted" | "delete" => Some(Self::Deleted),
            _ => None,
        }
    }
}

/// Version 1: `{event: "issue", action, data, activity}`, one delivery for each field that changed.
fn first(event: &str, action: Option<String>, body: &[u8]) -> Result<Said<IssueEvent>, Malformed> {
    if event != "issue" {
        return Ok(Said::nothing(format!(
            "events of kind {:?} are not used",
            short(event)
        )));
    }
    let word = need(action, "action")?;
    let Some(action) = Action::parse(&word) else {
        return Ok(Said::nothing(format!(
            "action {:?} of an issue is not used",
            short(&word)
        )));
    };
    let read: First = decode(body)?;
    let activity = read.activity.unwrap_or_default();
    let actor = activity.actor.and_then(|actor| {
        let names = [actor.display_name, actor.email, actor.id];
        names.into_iter().filter_map(some).find(|name| !name.is_empty())
    });
    let field = some(activity.field);
    match (action, field.as_deref()) {
        (Action::Updated, Some("state" | "state_id")) => {
            let mut event = event_of(action, read.data, actor)?;
            if let IssueChange::Stands(issue) = &mut event.what {
                issue.was(some(activity.new_value));
            }
            Ok(Said::Event(event))
        }
        (Action::Created | Action::Deleted, _) => event_of(action, read.data, actor).map(Said::Event),
        (Action::Updated, Some(field)) => Ok(Said::nothing(format!(
            "a change of {:?} is not used",
            short(field)
        ))),
        (Action::Updated, None) => Ok(Said::nothing("it does not say which field changed")),
    }
}

#[derive(Deserialize)]
struct First {
    data: Data,
    #[serde(default)]
    activity: Option<Activity>,
}

#[derive(Default, Deserialize)]
struct Activity {
    #[serde(default)]
    field: Option<Text>,
    #[serde(default)]
    new_value: Option<Text>,
    #[serde(default)]
    actor: Option<Actor>,
}

#[derive(Deserialize)]
struct Actor {
    #[serde(default)]
    id: Option<Text>,
    #[serde(default)]
    email: Option<Text>,
    #[serde(default)]
    display_name: Option<Text>,
}

/// Version 2: `{version, event: "workitem.updated", data, previous_attributes}`. Its documentation also shows the name
/// of the constant in the place of the event.
fn second(event: &str, body: &[u8]) -> Result<Said<IssueEvent>, Malformed> {
    let plain = event.rsplit("ScopeChoices.").next().unwrap_or(event);
    let plain = plain.to_ascii_lowercase().replace("work_item", "workitem");
    let action = plain
        .strip_prefix("workitem")
        .and_then(|rest| Action::parse(rest.trim_start_matches(['.', '_'])));
    let Some(action) = action else {
        return Ok(Said::nothing(format!(
            "events of kind {:?} are not used",
            short(event)
        )));
    };
    let read: Second = decode(body)?;
    let before = read.previous_attributes.unwrap_or_default();
    let moved = before
        .keys()
        .any(|key| matches!(key.as_ref(), "state" | "state_id"));
    match (action, moved) {
        (Action::Updated, false) => Ok(Said::nothing("its state did not change")),
        (Action::Updated, true) | (Action::Created | Action::Deleted, _) => {
            event_of(action, read.data, None).map(Said::Event)
        }
    }
}

#[derive(Deserialize)]
struct Second {
    data: Data,
    #[serde(default)]
    previous_attributes: Option<BTreeMap<Text, IgnoredAny>>,
}

#[derive(Deserialize)]
struct Data {
    #[serde(default)]
    id: Option<Text>,
    #[serde(default)]
    project: Option<Text>,
    #[serde(default)]
    project_id: Option<Text>,
    #[serde(default)]
    state: Option<State>,
    #[serde(default)]
    state_id: Option<Text>,
    #[serde(default)]
    sequence_id: Option<i64>,
    #[serde(default)]
    name: Option<Text>,
    #[serde(default)]
    description_stripped: Option<Text>,
    #[serde(default)]
    updated_at: Option<Text>,
}

/// Expanded, or its id alone.
#[derive(Deserialize)]
#[serde(untagged)]
enum State {
    Id(String),
    Whole { id: String, name: Option<String> },
}

fn event_of(action: Action, data: Data, actor: Option<String>) -> Result<IssueEvent, Malformed> {
    let issue = need(some(data.id).filter(|id| !id.is_empty()), "data.id")?;
    let project = some(data.project).or_else(|| some(data.project_id));
    let what = match action {
        Action::Deleted => IssueChange::Gone,
        Action::Created | Action::Updated => {
            let (state_id, state_name) = match data.state {
                Some(State::Whole { id, name }) => (Some(id), name),
                Some(State::Id(id)) => (Some(id), None),
                None => (some(data.state_id), None),
            };
            need(state_id.as_ref(), "data.state")?;
            need(project.as_ref(), "data.project")?;
            IssueChange::Stands(Issue {
                state_id,
                state_name,
                number: data.sequence_id,
                title: some(data.name),
                description: some(data.description_stripped),
                updated_at: some(data.updated_at).and_then(|text| instant(&text)),
                overtaken: false,
            })
        }
    };
    Ok(IssueEvent {
        issue,
        project,
        actor,
        what,
    })
}

/// RFC 3339; what is none is as if it were absent.
fn instant(text: &str) -> Option<Timestamp> {
    let at: jiff::Timestamp = text.parse().ok()?;
    Some(Timestamp(at.as_microsecond()))
}

#[cfg(test)]
mod tests;
