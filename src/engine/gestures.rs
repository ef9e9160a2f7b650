//! Applies what people do to a task, from wherever it comes: one path for command line, API and tracker.

use crate::domain::gesture::{Effect, effect};
use crate::domain::id::{Sha, WorkItemId};
use crate::domain::job::{Job, JobKind};
use crate::domain::task::{Gesture, Task, TaskStatus};
use crate::domain::time::Timestamp;
use crate::domain::walk::{self, Entry};
use crate::store::gestures::NewGesture;
use crate::store::intents::{IntentKind, NewIntent};
use crate::store::{Conn, StoreError, gestures, intents, jobs, spend, tasks};

use super::intake::longer;
use super::look::confirm_key;
use super::run::claim_of;
use super::transition::{self, Abort, Briefing, Setting};
use super::views::{GestureView, MakeGesture};
use super::{Engine, EngineError, Hint, present, queries};

/// What a gesture did, inside its transaction.
struct Applied {
    task: Task,
    effect: Effect,
    said: String,
    stopped: Vec<Job>,
}

pub(super) struct Made {
    gesture: Gesture,
    person: String,
    comment: Option<String>,
    candidate: Option<String>,
}

/// Why a gesture leaves no trace.
enum Refused {
    /// Another candidate was meant than the one there is.
    OtherCandidate(Option<Sha>),
    /// Main is being changed for the task at this moment.
    Merging,
    Abort(Abort),
}

impl From<Abort> for Refused {
    fn from(a: Abort) -> Self {
        Refused::Abort(a)
    }
}

impl From<StoreError> for Refused {
    fn from(e: StoreError) -> Self {
        Refused::Abort(e.into())
    }
}

// Lengths are in characters, as JSON Schema counts them.
pub(super) const COMMENT_MAX: usize = 16 * 1024;
pub(super) const PERSON_MAX: usize = 100;

/// Applies a gesture: decided and performed in one transaction, recorded whatever it did.
///
/// # Errors
/// `NotFound` for an unknown task, `Invalid` for an unknown gesture, `Lost` when somebody was faster.
pub async fn apply(
    engine: &Engine,
    task: &str,
    make: MakeGesture,
    now: Timestamp,
) -> Result<GestureView, EngineError> {
    let made = parse(make)?;
    let found = queries::find_task(engine, task).await?;
    let project = match engine.project(found.project_id) {
        Ok(project) => project,
        // What has no place any more can still be given up.
        Err(_) if made.gesture == Gesture::Cancelled => {
            return cancel_unplaced(engine, found, made, now).await;
        }
        Err(e) => return Err(e),
    };
    let setting = Setting::new(engine, &project, now);
    let applied = engine
        .store()
        .write(move |tx| {
            let task = tasks::by_id(tx, found.id)?.ok_or(Abort::Lost)?;
            if let Some(meant) = &made.candidate
                && !task
                    .candidate
                    .as_ref()
                    .is_some_and(|c| c.as_str().starts_with(meant))
            {
                return Err(Refused::OtherCandidate(task.candidate));
            }
            perform(tx, &setting, task, &made)
        })
        .await
        .map_err(|refused| match refused {
            Refused::OtherCandidate(now) => {
                let now = now.map_or_else(|| "not there yet".to_owned(), |c| c.to_string());
                let what = format!("the task's candidate is another: {now}; look at it and decide anew");
                EngineError::Conflict { what }
            }
            Refused::Merging => EngineError::Conflict {
                what: "the task is being merged at this moment: look again, then decide".into(),
            },
            Refused::Abort(a) => a.into(),
        })?;
    for job in &applied.stopped {
        engine.hint(Hint::Stop(claim_of(job)));
    }
    engine.committed();
    Ok(GestureView {
        applied: !matches!(applied.effect, Effect::Nothing(_)),
        effect: applied.said,
        task: present::task_view(&applied.task, &project.config.name),
    })
}

/// Cancels a task whose project has no file any more.
async fn cancel_unplaced(
    engine: &Engine,
    found: Task,
    made: Made,
    now: Timestamp,
) -> Result<GestureView, EngineError> {
    let name = engine.project_name(found.project_id);
    let said = say(&Effect::Cancel, &found);
    let text = format!("{} by {}: {said}", made.gesture.as_str(), made.person);
    let write = engine.store().write(move |tx| {
        let task = tasks::by_id(tx, found.id)?.ok_or(Abort::Lost)?;
        if task.status.is_terminal() {
            return Ok((task, Vec::new(), false));
        }
        let mut stopped = Vec::from_iter(jobs::cancel_live(tx, task.id, &text, now)?);
        let b = Briefing::line("gesture", text.clone());
        transition::let_go(tx, &task, now)?;
        let status = TaskStatus::Cancelled;
        let cancelled = transition::stand(tx, now, &task, status, made.comment.clone(), &b)?;
        stopped.extend(transition::strand(tx, &cancelled, now)?);
        Ok::<_, Abort>((cancelled, stopped, true))
    });
    let (task, stopped, applied) = write.await?;
    for job in &stopped {
        engine.hint(Hint::Stop(claim_of(job)));
    }
    engine.committed();
    Ok(GestureView {
        applied,
        effect: if applied {
            said
        } else {
            format!("already {}", task.status)
        },
        task: present::task_view(&task, &name),
    })
}

pub(super) fn parse(make: MakeGesture) -> Result<Made, EngineError> {
    let Some(gesture) = Gesture::parse(&make.gesture) else {
        let known: Vec<_> = Gesture::ALL.iter().map(|g| g.as_str()).collect();
        let what = format!("no gesture {:?}; there are: {}", make.gesture, known.join(", "));
        return Err(EngineError::Invalid { what });
    };
    let person = make.person.unwrap_or_else(|| "operator".into());
    if person.is_empty() || longer(&person, PERSON_MAX) || person.chars().any(char::is_control) {
        return Err(EngineError::Invalid {
            what: format!("person: give one line of 1 to {PERSON_MAX} characters"),
        });
    }
    // PostgreSQL keeps no NUL in a text.
    let unfit = |c: &String| longer(c, COMMENT_MAX) || c.contains('\0');
    if make.comment.as_ref().is_some_and(unfit) {
        return Err(EngineError::Invalid {
            what: format!("comment: give at most {COMMENT_MAX} characters, without NUL"),
        });
    }
    if let Some(candidate) = &make.candidate
        && !((7..=64).contains(&candidate.len()) && candidate.bytes().all(|b| b.is_ascii_hexdigit()))
    {
        return Err(EngineError::Invalid {
            what: "candidate: give a commit, or its first 7 or more digits".into(),
        });
    }
    Ok(Made {
        gesture,
        person,
        candidate: make.candidate.map(|c| c.to_ascii_lowercase()),
        comment: make.comment.filter(|c| !c.trim().is_empty()),
    })
}

fn perform(tx: &mut Conn, s: &Setting, task: Task, made: &Made) -> Result<Applied, Refused> {
    let live = jobs::live_of_task(tx, task.id)?;
    let deploying = live.as_ref().is_some_and(|j| j.kind == JobKind::DeployFinalizer);
    let effect = effect(made.gesture, &task, &s.project.config.pipeline, deploying);
    let takes_away = match &effect {
        Effect::Again | Effect::BackTo(_) | Effect::Park(_) | Effect::Cancel => true,
        Effect::Nothing(_)
        | Effect::Start(_)
        | Effect::Unpark
        | Effect::Approve
        | Effect::AskGates
        | Effect::Confirm => false,
    };
    if takes_away && transition::is_merging(tx, &task, live.as_ref())? {
        return Err(Refused::Merging);
    }
    record(tx, s, &task, made, &effect)?;
    let said = say(&effect, &task);
    let mut stopped = Vec::new();
    let text = format!("{} by {}: {said}", made.gesture.as_str(), made.person);
    let b = Briefing::line("gesture", text);
    let after = match &effect {
        Effect::Nothing(_) => {
            transition::say(tx, &task, b.kind, &b.text, s.now)?;
            task
        }
        Effect::Start(to) => transition::enter(tx, s, &task, stage(s, to)?, &b)?,
        Effect::Unpark => unpark(tx, s, &task, made, b)?,
        Effect::Approve | Effect::AskGates => ask_gates(tx, s, task, live.as_ref(), &b)?,
        Effect::Again => {
            stopped.extend(jobs::cancel_live(tx, task.id, &b.text, s.now)?);
            let here = stage(s, &task.stage)?;
            transition::enter(
                tx,
                s,
                &task,
                here,
                &Briefing {
                    notes: notes(made),
                    ..b
                },
            )?
        }
        Effect::BackTo(to) => {
            stopped.extend(jobs::cancel_live(tx, task.id, &b.text, s.now)?);
            transition::let_go(tx, &task, s.now)?;
            transition::enter(
                tx,
                s,
                &task,
                stage(s, to)?,
                &Briefing {
                    notes: notes(made),
                    ..b
                },
            )?
        }
        Effect::Confirm => confirm(tx, s, &task, made, &b)?,
        Effect::Park(status) => {
            stopped.extend(jobs::cancel_live(tx, task.id, &b.text, s.now)?);
            transition::let_go(tx, &task, s.now)?;
            let reason = made
                .comment
                .clone()
                .unwrap_or_else(|| format!("parked by {}", made.person));
            transition::stand(tx, s.now, &task, *status, Some(reason), &b)?
        }
        Effect::Cancel => {
            stopped.extend(jobs::cancel_live(tx, task.id, &b.text, s.now)?);
            transition::let_go(tx, &task, s.now)?;
            let gone = transition::stand(tx, s.now, &task, TaskStatus::Cancelled, made.comment.clone(), &b)?;
            stopped.extend(transition::strand(tx, &gone, s.now)?);
            gone
        }
    };
    Ok(Applied {
        task: after,
        effect,
        said,
        stopped,
    })
}

fn stage<'a>(
    s: &'a Setting,
    name: &crate::domain::id::StageName,
) -> Result<&'a crate::domain::pipeline::Stage, Abort> {
    s.project.config.pipeline.stage(name).ok_or(Abort::Lost)
}

fn record(tx: &mut Conn, s: &Setting, task: &Task, made: &Made, effect: &Effect) -> Result<(), Abort> {
    let row = NewGesture {
        task_id: task.id,
        gesture: made.gesture,
        person: made.person.clone(),
        comment: made.comment.clone(),
        stage: task.stage.clone(),
        visit: task.visit,
        candidate: task.candidate.clone(),
        effect: if matches!(effect, Effect::Nothing(_)) {
            "nothing".into()
        } else {
            "applied".into()
        },
    };
    gestures::record(tx, &row, s.now)?;
    Ok(())
}

fn notes(made: &Made) -> Option<String> {
    let comment = made.comment.as_deref().unwrap_or("no comment was given");
    Some(format!(
        "{} {} this work. Comment: {comment}",
        made.person,
        made.gesture.as_str()
    ))
}

/// Goes on in the stage where the task was parked, with fresh retries.
fn unpark(tx: &mut Conn, s: &Setting, task: &Task, made: &Made, b: Briefing) -> Result<Task, Abort> {
    spend::let_go_on(tx, task.id)?;
    super::repair::begin_anew(tx, task)?;
    let here = stage(s, &task.stage)?;
    let entry = walk::entry(here);
    let (status, reason) = match entry {
        Entry::AskConfirm => (
            TaskStatus::WaitingHuman,
            Some(transition::confirm_text(task.candidate.as_ref())),
        ),
        Entry::Done => (TaskStatus::Done, None),
        Entry::Work(_) | Entry::Look | Entry::Merge | Entry::Wait => (TaskStatus::Active, None),
    };
    let going = transition::stand(
        tx,
        s.now,
        task,
        status,
        reason,
        &Briefing {
            developer_retries: Some(0),
            ..b
        },
    )?;
    let notes = made
        .comment
        .as_ref()
        .map(|c| format!("{} says: {c}", made.person));
    transition::queue_for(tx, s, &going, &entry, notes, s.now)?;
    if entry == Entry::AskConfirm {
        transition::ask_confirm(tx, &going, s.now)?;
    }
    Ok(going)
}

/// Lets the gates be asked now by a reserved job; an agent's job asks them by itself when it ends.
fn ask_gates(
    tx: &mut Conn,
    s: &Setting,
    task: Task,
    live: Option<&Job>,
    b: &Briefing,
) -> Result<Task, Abort> {
    if let Some(live) = live {
        if live.kind.is_reserved() {
            // Lost: it runs, or need not wait.
            drop(jobs::wake(tx, task.id, s.now)?);
        }
        transition::say(tx, &task, b.kind, &b.text, s.now)?;
        return Ok(task);
    }
    let asked = transition::stand(tx, s.now, &task, TaskStatus::Active, None, b)?;
    transition::queue(tx, s, &asked, JobKind::GateCheck, None, None, s.now)?;
    Ok(asked)
}

/// Bound to the very candidate that was asked for, once.
fn confirm(tx: &mut Conn, s: &Setting, task: &Task, made: &Made, b: &Briefing) -> Result<Task, Abort> {
    let candidate = task.candidate.as_ref().ok_or(Abort::Lost)?;
    let intent = NewIntent {
        key: confirm_key(task, candidate),
        task_id: task.id,
        claim: None,
        kind: IntentKind::Confirm,
        payload: serde_json::json!({ "candidate": candidate, "person": made.person }),
    };
    intents::intend(tx, &intent, s.now)?;
    let going = transition::stand(tx, s.now, task, TaskStatus::Active, None, b)?;
    transition::queue(tx, s, &going, JobKind::DeployFinalizer, None, None, s.now)?;
    Ok(going)
}

fn say(effect: &Effect, task: &Task) -> String {
    match effect {
        Effect::Start(to) => format!("started: {to}"),
        Effect::Unpark => format!("goes on at {}, retries reset", task.stage),
        Effect::Approve => format!("approved at {}", task.stage),
        Effect::AskGates => format!("the gates of {} are asked", task.stage),
        Effect::Again => format!("{} again, with the comment", task.stage),
        Effect::BackTo(to) => format!("back to {to}, no retry counted"),
        Effect::Confirm => "confirmed: this candidate is merged and deployed".into(),
        Effect::Park(status) => format!("parked: {status}"),
        Effect::Cancel => "cancelled; work is kept".into(),
        Effect::Nothing(why) => why.clone(),
    }
}

/// Parses a task's name as people give it.
pub(super) fn work_item(name: &str) -> Result<WorkItemId, EngineError> {
    WorkItemId::parse(name).map_err(|e| EngineError::Invalid { what: e.to_string() })
}
