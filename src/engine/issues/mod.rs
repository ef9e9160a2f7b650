//! Does what a person asks for on the board of a tracker, wherever it was seen: in a delivery, or by looking at the board. One
//! path for both, so that a gesture takes effect once, whichever of them comes first.

mod ask;

use crate::domain::gesture::{Effect, effect};
use crate::domain::inbox::Outcome;
use crate::domain::job::Job;
use crate::domain::sighting::{self, Known, Meaning, Seen};
use crate::domain::task::{Gesture, Task, TaskStatus, TrackerKind};
use crate::domain::webhook::plane::IssueChange;
use crate::store::{Conn, Guarded, StoreError, outbox, tasks};

use super::gestures::{self, Made, Refused};
use super::intake;
use super::run::claim_of;
use super::transition::{self, Abort};
use super::{Engine, EngineError, Hint};

pub(super) use ask::plane_of;
use ask::{Question, Stands, ask};

/// An issue as it was seen.
pub(super) struct Sighting {
    /// Its id at the tracker.
    pub issue: String,
    /// Its project's id there, where that is told.
    pub project: Option<String>,
    /// Who changed it, where that is told.
    pub person: Option<String>,
    /// How it stands.
    pub what: IssueChange,
    /// It is known that it changed; else it was looked at.
    pub changed: bool,
    /// Tries before this one.
    pub tries: i32,
    /// Whether the tracker may be asked about it now.
    pub may_ask: bool,
}

/// Finds what the sighting means and does it: `mark` stands in the same transaction, with what was done. It is not called when
/// the answer is `Later`.
pub(super) async fn apply(
    engine: &Engine,
    sighting: &Sighting,
    mark: impl FnOnce(&mut Conn, &Outcome, Option<&Task>) -> Result<(), Abort> + Send + 'static,
) -> Result<Outcome, EngineError> {
    let asked = match ask(engine, sighting).await? {
        Err(Outcome::Later(why)) => return Ok(Outcome::Later(why)),
        asked => asked,
    };
    let write = engine.store().write(move |tx| {
        let done = match &asked {
            Ok(question) => perform(tx, question)?,
            Err(outcome) => Done::nothing(outcome.clone()),
        };
        mark(tx, &done.outcome, done.task.as_ref())?;
        Ok::<_, Refused>(done)
    });
    let done = match write.await {
        Ok(done) => done,
        Err(Refused::Merging) => {
            return Ok(Outcome::Later(
                "the task is being merged at this moment".to_owned(),
            ));
        }
        Err(Refused::Abort(a)) => return Err(a.into()),
        // Nobody on the board names one.
        Err(Refused::OtherCandidate(_)) => return Err(EngineError::Lost),
    };
    for job in &done.stopped {
        engine.hint(Hint::Stop(claim_of(job)));
    }
    if done.task.is_some() {
        engine.committed();
    }
    Ok(done.outcome)
}

struct Done {
    outcome: Outcome,
    task: Option<Task>,
    stopped: Vec<Job>,
}

impl Done {
    fn nothing(outcome: Outcome) -> Self {
        Self {
            outcome,
            task: None,
            stopped: Vec::new(),
        }
    }

    fn ignored(why: impl Into<String>) -> Self {
        Self::nothing(Outcome::Ignored(why.into()))
    }
}

fn perform(tx: &mut Conn, asked: &Question) -> Result<Done, Refused> {
    let Some(task) = tasks::by_issue(tx, TrackerKind::Plane, &asked.issue)? else {
        return start(tx, asked);
    };
    let Some(stands) = &asked.stands else {
        return gesture(tx, asked, task, Gesture::Cancelled);
    };
    let known = tasks::tracked(tx, task.id)?;
    let seen = Seen {
        state: &stands.state,
        gesture: stands.gesture,
        at: stands.at,
        changed: asked.changed,
        overtaken: stands.overtaken,
    };
    let name = &task.work_item_id;
    match sighting::meaning(&seen, &known) {
        Meaning::TooLate => Ok(Done::ignored(format!(
            "this or a later change of {name} was applied before"
        ))),
        Meaning::Unchanged => Ok(Done::ignored(format!("{name} stands as before"))),
        Meaning::Echo(which) => {
            // Its delivery may still come.
            if let Some(echo) = known.wrote.get(which).filter(|_| asked.changed) {
                // Lost: what tells an echo changes again and again; it is told as one once more at worst.
                let _: Guarded<()> = tasks::saw_back(tx, task.id, echo)?;
            }
            Ok(Done::ignored(format!("what Orch wrote to {name}, seen back")))
        }
        Meaning::Nothing => {
            tasks::saw_state(tx, task.id, &stands.state, stands.at)?;
            Ok(Done::ignored(format!("{:?} asks for nothing", stands.state)))
        }
        Meaning::Asks(Gesture::ConfirmDeploy)
            if would_deploy(asked, &task) && !is_about_this(tx, asked, stands, &task, &known)? =>
        {
            tasks::saw_state(tx, task.id, &stands.state, stands.at)?;
            ask_again(tx, asked, stands, task)
        }
        Meaning::Asks(what) => {
            tasks::saw_state(tx, task.id, &stands.state, stands.at)?;
            gesture(tx, asked, task, what)
        }
    }
}

fn start(tx: &mut Conn, asked: &Question) -> Result<Done, Refused> {
    let Some(stands) = &asked.stands else {
        return Ok(Done::ignored("no task here has this issue"));
    };
    let Some(new) = asked.new.as_ref() else {
        let why = format!("it has no task, and {:?} starts none", stands.state);
        return Ok(Done::ignored(why));
    };
    let (task, created) = intake::start_issue(tx, &asked.setting, new, &asked.person)?;
    tasks::saw_state(tx, task.id, &stands.state, stands.at)?;
    Ok(Done {
        outcome: match created {
            true => Outcome::Applied(format!("{} started by {}", task.work_item_id, asked.person)),
            false => Outcome::Ignored(format!("{} was started before", task.work_item_id)),
        },
        task: Some(task),
        stopped: Vec::new(),
    })
}

fn gesture(tx: &mut Conn, asked: &Question, task: Task, what: Gesture) -> Result<Done, Refused> {
    let made = Made {
        gesture: what,
        person: asked.person.clone(),
        comment: asked.words.clone(),
        candidate: None,
    };
    let name = task.work_item_id.clone();
    let applied = gestures::perform(tx, &asked.setting, task, &made)?;
    let said = format!(
        "{} of {name} by {}: {}",
        what.as_str(),
        asked.person,
        applied.said
    );
    Ok(Done {
        outcome: match applied.effect {
            Effect::Nothing(_) => Outcome::Ignored(said),
            Effect::Start(_)
            | Effect::Unpark
            | Effect::Approve
            | Effect::AskGates
            | Effect::Again
            | Effect::BackTo(_)
            | Effect::Confirm
            | Effect::Park(_)
            | Effect::Cancel => Outcome::Applied(said),
        },
        task: Some(applied.task),
        stopped: applied.stopped,
    })
}

/// A deploy is confirmed by whoever was asked for it: in a delivery, after the issue was given the state that asks, and
/// nothing is to be written since. Told by the tracker's clock alone: ours may differ. What was missed, or was about an
/// earlier candidate, is never made up for.
fn is_about_this(
    tx: &mut Conn,
    asked: &Question,
    stands: &Stands,
    task: &Task,
    known: &Known,
) -> Result<bool, StoreError> {
    let board = &asked.setting.project.config.board;
    let waits = board.state(TaskStatus::WaitingHuman, &task.stage);
    let told = asked.changed && !stands.overtaken && known.is_after(waits, stands.at);
    Ok(told && !outbox::has_state(tx, task.id)?)
}

fn would_deploy(asked: &Question, task: &Task) -> bool {
    let pipeline = &asked.setting.project.config.pipeline;
    effect(Gesture::ConfirmDeploy, task, pipeline, false) == Effect::Confirm
}

/// Once for each time that somebody confirmed in vain.
fn ask_again(tx: &mut Conn, asked: &Question, stands: &Stands, task: Task) -> Result<Done, Refused> {
    let now = asked.setting.now;
    let text = format!(
        "{}: Confirm Deploy by {} was missed, or was given before the present candidate was asked about; nothing is deployed by \
         it. Look at the candidate, then set Confirm Deploy again",
        task.work_item_id, asked.person
    );
    transition::say(tx, &task, "gesture", &text, now)?;
    let about = format!("confirm-again:{}", stands.at.map_or(0, |at| at.0));
    transition::notify(tx, &task, &about, &text, now)?;
    Ok(Done {
        outcome: Outcome::Ignored(text),
        task: Some(task),
        stopped: Vec::new(),
    })
}
