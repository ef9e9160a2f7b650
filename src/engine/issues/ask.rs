//! What has to be known before a sighting can mean anything: whose the issue is, what its state is called, and what people
//! wrote with it. Asks the tracker, writes nothing.

use std::sync::Arc;

use crate::domain::inbox::Outcome;
use crate::domain::task::{Gesture, Task, TaskStatus, TrackerKind};
use crate::domain::time::Timestamp;
use crate::domain::webhook::plane::{Issue, IssueChange};
use crate::engine::gestures::{COMMENT_MAX, PERSON_MAX};
use crate::engine::intake::NewIssue;
use crate::engine::transition::Setting;
use crate::engine::{Engine, EngineError, ProjectHandle};
use crate::integrations::tracker::plane::{Plane, PlaneError};
use crate::store::tasks;

use super::Sighting;

/// Why nothing was asked.
const SLOW: &str = "Plane answers slowly";

/// A person's words are waited for at so many tries; then the gesture goes without them.
const TRIES_FOR_WORDS: i32 = 6;

/// What there is to do about it, before the transaction that does it.
pub(super) struct Question {
    pub setting: Setting,
    pub issue: String,
    pub person: String,
    pub changed: bool,
    /// None: it is gone.
    pub stands: Option<Stands>,
    /// The person's last words, where they matter.
    pub words: Option<String>,
    /// To be made from it.
    pub new: Option<NewIssue>,
}

pub(super) struct Stands {
    pub state: String,
    pub gesture: Option<Gesture>,
    pub at: Option<Timestamp>,
    pub overtaken: bool,
}

/// Whose it is, what its state is called, and what has to be read at the tracker first.
pub(super) async fn ask(engine: &Engine, seen: &Sighting) -> Result<Result<Question, Outcome>, EngineError> {
    let issue = seen.issue.clone();
    let found = engine
        .store()
        .read(move |tx| tasks::by_issue(tx, TrackerKind::Plane, &issue))
        .await?;
    let Some(project) = project_of(engine, seen, found.as_ref())? else {
        let named = seen.project.as_deref().unwrap_or("that it was in");
        let why = match seen.what {
            IssueChange::Gone => "no task here has this issue".to_owned(),
            IssueChange::Stands(_) => format!("no project here has the Plane project {named}"),
        };
        return Ok(Err(Outcome::Ignored(why)));
    };
    let setting = Setting::new(engine, &project, engine.now());
    let person = one_line(seen.person.as_deref().unwrap_or("somebody in Plane"), PERSON_MAX);
    let mut question = Question {
        setting,
        issue: seen.issue.clone(),
        person,
        changed: seen.changed,
        stands: None,
        words: None,
        new: None,
    };
    let IssueChange::Stands(issue) = &seen.what else {
        return Ok(Ok(question));
    };
    let Some((plane, at_plane)) = plane_of(engine, &project) else {
        let why = "not set up any more: set plane.url, plane.api_token and plane.workspace again";
        return Ok(Err(Outcome::Later(why.to_owned())));
    };
    if !seen.may_ask && issue.state_name.is_none() {
        return Ok(Err(Outcome::Later(SLOW.to_owned())));
    }
    let state = match state_name(&plane, at_plane, issue, engine.now()).await {
        Ok(Some(name)) => name,
        Ok(None) => {
            let why = "its state is none of the project's: nothing is asked for";
            return Ok(Err(Outcome::Ignored(why.to_owned())));
        }
        Err(e) => return Ok(Err(Outcome::Later(e.to_string()))),
    };
    let gesture = project.config.board.gesture(&state);
    let wants = match &found {
        None => gesture == Some(Gesture::InProgress) && issue.description.is_none(),
        Some(task) => wants_words(task, gesture),
    };
    if !seen.may_ask && wants {
        return Ok(Err(Outcome::Later(SLOW.to_owned())));
    }
    let read = match &found {
        None if gesture == Some(Gesture::InProgress) => {
            whole(&plane, at_plane, (&seen.issue, issue), engine.now())
                .await
                .map(|new| question.new = Some(new))
        }
        Some(task) if wants_words(task, gesture) => {
            let words = plane.last_word(at_plane, &seen.issue, engine.now()).await;
            words.map(|word| question.words = word.map(|word| cut(&word.text, COMMENT_MAX)))
        }
        Some(_) | None => Ok(()),
    };
    match read {
        Ok(()) => {}
        // The decision counts for more than what was written with it.
        Err(_) if question.new.is_none() && found.is_some() && seen.tries >= TRIES_FOR_WORDS => {}
        Err(e) => return Ok(Err(Outcome::Later(e.to_string()))),
    }
    question.stands = Some(Stands {
        gesture,
        at: issue.updated_at,
        overtaken: issue.overtaken,
        state,
    });
    Ok(Ok(question))
}

/// The project of the issue's task, or the one that names the issue's project.
fn project_of(
    engine: &Engine,
    seen: &Sighting,
    found: Option<&Task>,
) -> Result<Option<Arc<ProjectHandle>>, EngineError> {
    if let Some(task) = found {
        return engine.project(task.project_id).map(Some);
    }
    let Some(named) = &seen.project else {
        return Ok(None);
    };
    let is = |p: &&Arc<ProjectHandle>| p.config.plane_project.as_ref() == Some(named);
    Ok(engine.projects().find(is).cloned())
}

/// Plane, and the project's id there.
pub(in crate::engine) fn plane_of<'p>(
    engine: &Engine,
    project: &'p ProjectHandle,
) -> Option<(Plane, &'p str)> {
    let named = project.config.plane_project.as_deref()?;
    Some((Plane::of(engine.settings(), &engine.plane)?, named))
}

async fn state_name(
    plane: &Plane,
    project: &str,
    issue: &Issue,
    now: Timestamp,
) -> Result<Option<String>, PlaneError> {
    match (&issue.state_name, &issue.state_id) {
        (Some(name), _) => Ok(Some(name.clone())),
        (None, Some(id)) => plane.state_name(project, id, now).await,
        (None, None) => Ok(None),
    }
}

/// Said by whoever sends work back, or answers a question.
fn wants_words(task: &Task, gesture: Option<Gesture>) -> bool {
    let parked = matches!(task.status, TaskStatus::Blocked | TaskStatus::NeedsInput);
    match gesture {
        Some(Gesture::Rejected) => !task.status.is_terminal(),
        Some(Gesture::InProgress) => parked,
        Some(
            Gesture::Approved
            | Gesture::ConfirmDeploy
            | Gesture::NeedsInput
            | Gesture::Blocked
            | Gesture::Cancelled,
        )
        | None => false,
    }
}

/// What a task is made from; a delivery need not have all of it.
async fn whole(
    plane: &Plane,
    project: &str,
    (id, seen): (&str, &Issue),
    now: Timestamp,
) -> Result<NewIssue, PlaneError> {
    let (title, description, number) = match (&seen.title, &seen.description) {
        (Some(title), Some(description)) => (title.clone(), description.clone(), seen.number),
        (Some(_), None) | (None, _) => {
            let item = plane.work_item(project, id, now).await?;
            let description = item.description();
            (item.name, description, item.sequence_id)
        }
    };
    Ok(NewIssue {
        tracker: TrackerKind::Plane,
        id: id.to_owned(),
        number,
        title,
        description,
    })
}

/// What stands in a line of people's.
fn one_line(text: &str, most: usize) -> String {
    let kept = text.chars().filter(|c| !c.is_control()).take(most);
    let line: String = kept.collect();
    match line.trim() {
        "" => "somebody".to_owned(),
        line => line.to_owned(),
    }
}

fn cut(text: &str, most: usize) -> String {
    text.chars().filter(|c| *c != '\0').take(most).collect()
}
