//! Does to a task what a gesture asks for, inside a transaction of whoever applies it.

use crate::domain::gesture::{Effect, effect};
use crate::domain::id::{Sha, StageName};
use crate::domain::job::{Job, JobKind};
use crate::domain::pipeline::Stage;
use crate::domain::task::{Gesture, Task, TaskStatus};
use crate::domain::walk::{self, Entry};
use crate::engine::look::confirm_key;
use crate::engine::transition::{self, Abort, Briefing, Setting};
use crate::store::gestures::NewGesture;
use crate::store::intents::{IntentKind, NewIntent};
use crate::store::{Conn, StoreError, gestures, intents, jobs, spend};

/// What a gesture did, inside its transaction.
pub(in crate::engine) struct Applied {
    /// The task as it stands now.
    pub task: Task,
    /// What was decided.
    pub effect: Effect,
    /// The same in words.
    pub said: String,
    /// Jobs that were taken away from whoever works on them.
    pub stopped: Vec<Job>,
}

/// A gesture as somebody makes it.
pub(in crate::engine) struct Made {
    /// What.
    pub gesture: Gesture,
    /// Who.
    pub person: String,
    /// What they wrote with it.
    pub comment: Option<String>,
    /// The beginning of the candidate that is meant.
    pub candidate: Option<String>,
}

/// Why a gesture leaves no trace.
pub(in crate::engine) enum Refused {
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

/// Decides and performs a gesture, and records it whatever it did.
///
/// # Errors
/// See [`Refused`].
pub(in crate::engine) fn perform(
    tx: &mut Conn,
    s: &Setting,
    task: Task,
    made: &Made,
) -> Result<Applied, Refused> {
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

fn stage<'a>(s: &'a Setting, name: &StageName) -> Result<&'a Stage, Abort> {
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
    crate::engine::repair::begin_anew(tx, task)?;
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
    // The same candidate may be asked about once more: the first confirmation was refused.
    intents::aim(tx, &intent, s.now)?;
    let going = transition::stand(tx, s.now, task, TaskStatus::Active, None, b)?;
    transition::queue(tx, s, &going, JobKind::DeployFinalizer, None, None, s.now)?;
    Ok(going)
}

pub(super) fn say(effect: &Effect, task: &Task) -> String {
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
