//! Applies what people do to a task, from wherever it comes: one path for command line, API and tracker.

mod perform;

use crate::domain::gesture::Effect;
use crate::domain::id::WorkItemId;
use crate::domain::task::{Gesture, Task, TaskStatus};
use crate::domain::time::Timestamp;
use crate::store::{jobs, tasks};

use super::intake::{longer, person};
use super::run::claim_of;
use super::transition::{self, Abort, Briefing, Setting};
use super::views::{GestureView, MakeGesture};
use super::{Engine, EngineError, Hint, present, queries};

use perform::say;
pub(super) use perform::{Made, Refused, perform};

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
                what: "the task is being merged or deployed at this moment: look again, then decide".into(),
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
    let person = person(make.person)?;
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

/// Parses a task's name as people give it.
pub(super) fn work_item(name: &str) -> Result<WorkItemId, EngineError> {
    WorkItemId::parse(name).map_err(|e| EngineError::Invalid { what: e.to_string() })
}
