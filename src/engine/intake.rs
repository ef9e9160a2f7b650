//! Adds tasks. A task is unique by (tracker, external id): whoever comes second finds the first one's.

use crate::agents::Presets;
use crate::domain::id::{BranchName, ProjectName, TaskId, WorkItemId};
use crate::domain::pipeline::Stage;
use crate::domain::task::{Task, TaskStatus, TrackerKind};
use crate::domain::time::Timestamp;
use crate::store::tasks::{self, AddDependency, Inserted, NewTask};
use crate::store::{Conn, StoreError, projects};

use super::gestures::PERSON_MAX;
use super::transition::{self, Abort, Briefing, Setting};
use super::views::{AddTask, TaskView};
use super::{Engine, EngineError, ProjectHandle, present};

/// A task after it was added.
#[derive(Clone, Debug)]
pub struct Added {
    /// The task.
    pub task: TaskView,
    /// False when it existed before.
    pub created: bool,
}

// Lengths are in characters, as JSON Schema counts them.
pub(super) const TITLE_MAX: usize = 300;
pub(super) const DESCRIPTION_MAX: usize = 64 * 1024;
pub(super) const EXTERNAL_ID_MAX: usize = 200;

/// Adds a task and, unless it is held, starts it: one transaction.
///
/// # Errors
/// `Invalid` for names and texts that cannot be used, `NotFound` for an unknown project, dependency or preset,
/// `Conflict` when the name is taken or a dependency was cancelled.
pub async fn add(engine: &Engine, new: AddTask, now: Timestamp) -> Result<Added, EngineError> {
    let project = choose_project(engine, new.project.as_deref())?;
    let given = Given::check(engine, new)?;
    let setting = Setting::new(engine, &project, now);
    let write = engine.store().write(move |tx| insert(tx, &setting, &given, None));
    let (task, created) = write.await?;
    engine.committed();
    Ok(Added {
        task: present::task_view(&task, &project.config.name),
        created,
    })
}

/// A task whose names and texts can be used.
pub(super) struct Given {
    pub new: AddTask,
    id: Option<WorkItemId>,
    depends_on: Vec<WorkItemId>,
}

impl Given {
    pub(super) fn check(engine: &Engine, new: AddTask) -> Result<Self, EngineError> {
        check_texts(&new, engine.presets())?;
        let parse = |name: &String| WorkItemId::parse(name).map_err(invalid);
        Ok(Self {
            id: new.id.as_ref().map(parse).transpose()?,
            depends_on: new.depends_on.iter().map(parse).collect::<Result<_, _>>()?,
            new,
        })
    }
}

/// Why a task is not added.
pub(super) enum InsertError {
    Taken(WorkItemId),
    Unknown(WorkItemId, ProjectName),
    NeverDone(WorkItemId),
    Abort(Abort),
}

impl From<StoreError> for InsertError {
    fn from(e: StoreError) -> Self {
        InsertError::Abort(e.into())
    }
}

impl From<InsertError> for EngineError {
    fn from(e: InsertError) -> Self {
        match e {
            InsertError::Taken(id) => EngineError::Conflict {
                what: format!("{id} exists already in this project: choose another id, or leave it out"),
            },
            InsertError::Unknown(id, project) => EngineError::NotFound {
                what: format!("depends_on: no task {id} in project {project}"),
            },
            InsertError::NeverDone(id) => EngineError::Conflict {
                what: format!("depends_on: {id} was cancelled and will never be done"),
            },
            InsertError::Abort(a) => a.into(),
        }
    }
}

/// Writes a task, which waits for the one that it comes `after`, and starts it unless it is held. False: it was there.
pub(super) fn insert(
    tx: &mut Conn,
    s: &Setting,
    given: &Given,
    after: Option<TaskId>,
) -> Result<(Task, bool), InsertError> {
    let (new, project) = (&given.new, &s.project.config);
    let mut depends_on = Vec::from_iter(after);
    for name in &given.depends_on {
        depends_on.push(named(tx, &s.project, name)?);
    }
    let id = match &given.id {
        Some(id) => id.clone(),
        None => free_number(tx, &s.project)?,
    };
    let external_id = match &new.external_id {
        Some(key) => format!("{}:{key}", project.name),
        None => format!("{}/{id}", project.name),
    };
    let row = NewTask {
        project_id: s.project.id,
        branch: BranchName::for_task(&id, &new.title),
        work_item_id: id.clone(),
        tracker: TrackerKind::Local,
        external_id,
        title: new.title.trim().to_owned(),
        description: new.description.clone(),
        stage: project.pipeline.first().name.clone(),
        status: TaskStatus::Active,
        priority: new.priority,
        executor: new.executor.clone(),
        modifies: new.modifies.clone(),
    };
    let task = match tasks::insert(tx, &row, s.now)? {
        Inserted::New(task) => task,
        Inserted::Existing(task) if new.external_id.is_some() => return Ok((task, false)),
        Inserted::Existing(_) => return Err(InsertError::Taken(id)),
    };
    for dependency in depends_on {
        let on = tasks::by_id(tx, dependency)?
            .ok_or(Abort::Lost)
            .map_err(InsertError::Abort)?;
        if on.status == TaskStatus::Cancelled {
            return Err(InsertError::NeverDone(on.work_item_id));
        }
        match tasks::add_dependency(tx, task.id, dependency)? {
            AddDependency::Added => {}
            // A new task has nobody that waits for it, and its dependencies were looked up in its project.
            AddDependency::Circle | AddDependency::OtherProject => {
                return Err(InsertError::Abort(Abort::Lost));
            }
        }
    }
    let text = format!("{} added: {}", task.work_item_id, task.title);
    transition::say(tx, &task, "created", &text, s.now)?;
    if new.hold {
        return Ok((task, true));
    }
    let started = start(tx, s, &task).map_err(InsertError::Abort)?;
    Ok((started, true))
}

fn start(tx: &mut Conn, s: &Setting, task: &Task) -> Result<Task, Abort> {
    let first = start_stage(&s.project)?;
    let b = Briefing::line("stage", format!("started: {}", first.name));
    transition::enter(tx, s, task, first, &b)
}

/// Numbers of a tracker that can name a task.
const NUMBERS: std::ops::RangeInclusive<i64> = 1..=99_999_999;

/// An issue of a tracker that a person wants to be worked on.
pub(super) struct NewIssue {
    pub tracker: TrackerKind,
    /// Its id there.
    pub id: String,
    /// Its number there: its task is called by it where that name is free.
    pub number: Option<i64>,
    pub title: String,
    pub description: String,
}

/// Makes the issue's task and starts it. What is too long is cut. False: it was there.
pub(super) fn start_issue(
    tx: &mut Conn,
    s: &Setting,
    issue: &NewIssue,
    person: &str,
) -> Result<(Task, bool), Abort> {
    let project = &s.project.config;
    let plain = issue.title.chars().map(|c| if c.is_control() { ' ' } else { c });
    let title: String = plain.take(TITLE_MAX).collect();
    let title = match title.trim() {
        "" => format!("issue {}", issue.id),
        title => title.to_owned(),
    };
    let own = issue
        .number
        .filter(|n| NUMBERS.contains(n))
        .map(|n| WorkItemId::numbered(&project.prefix, n));
    let id = match own {
        Some(own) if !is_taken(tx, &s.project, &own)? => own,
        Some(_) | None => free_number(tx, &s.project)?,
    };
    let row = NewTask {
        project_id: s.project.id,
        branch: BranchName::for_task(&id, &title),
        work_item_id: id,
        tracker: issue.tracker,
        external_id: issue.id.clone(),
        title,
        description: fit_for_description(&issue.description),
        stage: project.pipeline.first().name.clone(),
        status: TaskStatus::Active,
        priority: 0,
        executor: None,
        modifies: Vec::new(),
    };
    let task = match tasks::insert(tx, &row, s.now)? {
        Inserted::New(task) => task,
        Inserted::Existing(task) => return Ok((task, false)),
    };
    let text = format!("{} added by {person}: {}", task.work_item_id, task.title);
    transition::say(tx, &task, "created", &text, s.now)?;
    start(tx, s, &task).map(|started| (started, true))
}

fn fit_for_description(text: &str) -> String {
    let kept = text.chars().filter(|c| *c != '\0');
    kept.take(DESCRIPTION_MAX).collect()
}

fn start_stage(project: &ProjectHandle) -> Result<&Stage, Abort> {
    let pipeline = &project.config.pipeline;
    pipeline.next(&pipeline.first().name).ok_or(Abort::Lost)
}

/// The project's next number that no hand-made name has taken.
fn free_number(tx: &mut Conn, project: &ProjectHandle) -> Result<WorkItemId, StoreError> {
    loop {
        let number = projects::take_number(tx, project.id)?;
        let id = WorkItemId::numbered(&project.config.prefix, number);
        if !is_taken(tx, project, &id)? {
            return Ok(id);
        }
    }
}

fn is_taken(tx: &mut Conn, project: &ProjectHandle, id: &WorkItemId) -> Result<bool, StoreError> {
    let found = tasks::by_name(tx, id)?;
    Ok(found.iter().any(|t| t.project_id == project.id))
}

pub(super) fn choose_project(
    engine: &Engine,
    name: Option<&str>,
) -> Result<std::sync::Arc<ProjectHandle>, EngineError> {
    let all: Vec<_> = engine.projects().collect();
    let names = || {
        all.iter()
            .map(|p| p.config.name.to_string())
            .collect::<Vec<_>>()
            .join(", ")
    };
    match name {
        Some(name) => all
            .iter()
            .find(|p| p.config.name.as_str() == name)
            .map(|p| (*p).clone())
            .ok_or_else(|| EngineError::NotFound {
                what: format!("no project {name:?}; there are: {}", names()),
            }),
        None => match all.as_slice() {
            [only] => Ok((*only).clone()),
            [] => Err(EngineError::NotFound {
                what: "no project yet: run `orch init` in a repository, then restart the service".into(),
            }),
            _ => Err(EngineError::Invalid {
                what: format!("say which project: {}", names()),
            }),
        },
    }
}

pub(super) fn check_texts(new: &AddTask, presets: &Presets) -> Result<(), EngineError> {
    let fail = |what: String| Err(EngineError::Invalid { what });
    let title = &new.title;
    if title.trim().is_empty() || longer(title, TITLE_MAX) || title.chars().any(char::is_control) {
        return fail(format!("title: give one line of 1 to {TITLE_MAX} characters"));
    }
    // PostgreSQL keeps no NUL in a text.
    if longer(&new.description, DESCRIPTION_MAX) || new.description.contains('\0') {
        return fail(format!(
            "description: give at most {DESCRIPTION_MAX} characters, without NUL"
        ));
    }
    let bad = |p: &&String| {
        p.is_empty()
            || p.starts_with('/')
            || p.split('/').any(|c| c == "..")
            || p.chars().any(char::is_control)
    };
    if let Some(path) = new.modifies.iter().find(bad) {
        return fail(format!("modifies: {path:?} is no path inside the repository"));
    }
    if let Some(name) = &new.executor
        && presets.get(name).is_none()
    {
        let names = presets.names();
        let what = format!("executor: there is no agent preset {name:?}; give one of {names}");
        return Err(EngineError::NotFound { what });
    }
    match &new.external_id {
        Some(key) if key.is_empty() || longer(key, EXTERNAL_ID_MAX) || key.chars().any(char::is_control) => {
            fail(format!(
                "external_id: give one line of 1 to {EXTERNAL_ID_MAX} characters"
            ))
        }
        Some(_) | None => Ok(()),
    }
}

/// In whose name something is done.
pub(super) fn person(given: Option<String>) -> Result<String, EngineError> {
    let person = given.unwrap_or_else(|| "operator".into());
    if person.is_empty() || longer(&person, PERSON_MAX) || person.chars().any(char::is_control) {
        let what = format!("person: give one line of 1 to {PERSON_MAX} characters");
        return Err(EngineError::Invalid { what });
    }
    Ok(person)
}

/// Longer than that many characters.
pub(super) fn longer(text: &str, most: usize) -> bool {
    text.chars().nth(most).is_some()
}

/// The project's task of that name, also when its number is written shorter.
fn named(tx: &mut Conn, project: &ProjectHandle, name: &WorkItemId) -> Result<TaskId, InsertError> {
    for id in std::iter::once(name.clone()).chain(name.with_zeros()) {
        let found = tasks::by_name(tx, &id)?;
        if let Some(task) = found.into_iter().find(|t| t.project_id == project.id) {
            return Ok(task.id);
        }
    }
    Err(InsertError::Unknown(name.clone(), project.config.name.clone()))
}

fn invalid(e: crate::domain::id::InvalidName) -> EngineError {
    EngineError::Invalid { what: e.to_string() }
}
