//! Keeps every other task's candidate from production while main is at a revision that is quarantined. Never decides which
//! revision is.

use crate::domain::id::Sha;
use crate::domain::job::JobEnd;
use crate::domain::task::TaskStatus;
use crate::store::intents::IntentKind;
use crate::store::{StoreError, intents, quarantine, tasks};

use super::super::transition::{self, Briefing, Ending};
use super::super::{Engine, EngineError};
use super::merge::{Until, in_one_write, snooze};
use super::{Attempt, Step};

/// What a job says that waits until main is at something else.
pub(in crate::engine) const QUARANTINED: &str = "which is quarantined";

/// The tip of main, where another task's deploy of it failed or was rolled back: whatever is deployed on top would bring it
/// to production again.
pub(super) async fn tip(engine: &Engine, a: &Attempt, main: &Sha) -> Result<Option<String>, EngineError> {
    if a.project.config.deploy.hook.is_none() {
        return Ok(None);
    }
    let (project, own, tip) = (a.task.project_id, a.task.id, main.clone());
    let read = engine.store().read(move |tx| {
        let found = quarantine::of(tx, project, &tip)?.filter(|q| q.task_id != own);
        Ok::<_, StoreError>(match found {
            Some(q) => Some((tasks::by_id(tx, q.task_id)?.map(|t| t.work_item_id), q)),
            None => None,
        })
    });
    Ok(read.await?.map(|(brought_by, q)| {
        let by = brought_by.map_or_else(|| format!("task #{}", q.task_id), |id| id.to_string());
        format!(
            "main is at {}, which {by} brought and {QUARANTINED}: {}; bring main on by a fix of {by} or by a revert, \
             or release it with `orch deploy release {} {}`",
            q.revision.short(),
            q.reason,
            a.project.config.name,
            q.revision.short(),
        )
    }))
}

/// Nothing is merged on top of a quarantined main. A person's confirmation is void, and asked for again.
pub(super) async fn refuse(engine: &Engine, a: &mut Attempt, why: String) -> Result<Step, EngineError> {
    if !a.stage.confirm {
        return snooze(engine, a, why, Until::Pause(a.pause(engine))).await;
    }
    let ending = Ending::new(a.hold(), JobEnd::Done);
    in_one_write(engine, a, move |tx, s, task| {
        transition::end_claim(tx, &ending, s.now)?;
        intents::void_open(tx, task.id, IntentKind::Confirm, s.now)?;
        let text = format!("Confirm Deploy is refused: {why}. Confirm Deploy again when that is done.");
        let b = Briefing::line("deploy", text.clone());
        let waiting = transition::stand(tx, s.now, task, TaskStatus::WaitingHuman, Some(text.clone()), &b)?;
        transition::notify(
            tx,
            &waiting,
            "confirm",
            &format!("{}: {text}", waiting.work_item_id),
            s.now,
        )?;
        transition::comment(tx, &waiting, "confirm", &text, s.now)
    })
    .await?;
    Ok(Step::Over)
}
