//! Performs what heals a forgotten task: one transaction, after which nobody needs to heal it again.

use std::sync::Arc;

use crate::domain::pipeline::Stage;
use crate::domain::reconcile::Heal;
use crate::domain::task::{Task, TaskStatus};
use crate::domain::walk::{self, Entry, Onward};
use crate::engine::instances::Duty;
use crate::engine::look::Looked;
use crate::engine::run::packet_of;
use crate::engine::transition::{self, Abort, Asked, Briefing, Setting};
use crate::engine::{EngineError, ProjectHandle};
use crate::store::healing::NewHealing;
use crate::store::{Conn, healing, jobs};

use super::{Cure, Sweep};

impl Sweep<'_> {
    /// One transaction, won by the task's version: the move, the next job, and what people are told.
    pub(super) async fn perform(
        &self,
        project: &Arc<ProjectHandle>,
        task: Task,
        cure: Cure,
    ) -> Result<String, EngineError> {
        let s = Setting::new(self.engine, project, self.now);
        let stuck = self.now.since(task.updated_at);
        let (lost, action) = words(&cure);
        let told = format!("{} unblocked at {} ({lost})", task.work_item_id, task.stage);
        let event = NewHealing {
            kind: "reconciler".into(),
            subject: format!("{} at {}", task.work_item_id, task.stage),
            why: lost.into(),
            action: action.clone(),
            stuck: Some(stuck),
            instance: self.engine.instance().clone(),
        };
        let (duty, token) = (Duty::of(self.engine), self.token);
        let notify = self
            .engine
            .settings()
            .reconcile
            .notify_unblock
            .then(|| told.clone());
        let write = self.engine.store().write(move |tx| {
            if duty.held(tx, s.now)? != Some(token) || jobs::live_of_task(tx, task.id)?.is_some() {
                return Err(Abort::Lost);
            }
            transition::say(tx, &task, "healed", &format!("{lost}: {action}"), s.now)?;
            let moved = move_on(tx, &s, &task, &cure)?;
            healing::push(tx, &event, s.now)?;
            match notify {
                Some(text) => transition::notify(tx, &moved, "unblocked", &text, s.now),
                None => Ok(()),
            }
        });
        write.await?;
        self.engine.remember_unblocked(told.clone());
        self.engine.committed();
        Ok(told)
    }
}

/// What was lost, and what is done instead.
fn words(cure: &Cure) -> (&'static str, String) {
    match (&cure.heal, &cure.onward) {
        (Heal::Queue(kind, role), _) => {
            let job = role.map_or(kind.as_str(), |role| role.as_str());
            ("lost job", format!("the {job} job is queued again"))
        }
        (Heal::GoOn | Heal::Leave, Some(Onward::Advance(to))) => {
            ("lost webhook", format!("its gates are green: goes on to {to}"))
        }
        (Heal::GoOn | Heal::Leave, Some(Onward::RollBack(to, answer))) => (
            "lost webhook",
            format!("{}: goes back to {to}", transition::said(answer)),
        ),
        (Heal::GoOn | Heal::Leave, Some(Onward::Retry(answer) | Onward::Escalate(answer))) => {
            ("lost webhook", format!("{}: acted on", transition::said(answer)))
        }
        (
            Heal::GoOn | Heal::Leave,
            Some(
                Onward::Merge
                | Onward::AskConfirm
                | Onward::Restage(_)
                | Onward::WaitHuman(_)
                | Onward::AskAgain(_),
            )
            | None,
        ) => ("lost job", "goes on as its gates say".into()),
    }
}

fn move_on(tx: &mut Conn, s: &Setting, task: &Task, cure: &Cure) -> Result<Task, Abort> {
    match (&cure.heal, &cure.onward, &cure.asked) {
        (Heal::GoOn, Some(onward), Some(asked)) => {
            transition::keep(tx, &cure.fresh, s.now)?;
            transition::go_on(tx, s, task, onward, asked)
        }
        (Heal::Queue(kind, role), ..) => {
            let b = Briefing::line("job", format!("{} is queued again", kind.as_str()));
            let going = transition::stand(tx, s.now, task, TaskStatus::Active, None, &b)?;
            transition::queue(tx, s, &going, *kind, *role, None, s.now)?;
            Ok(going)
        }
        (Heal::GoOn | Heal::Leave, ..) => Err(Abort::Lost),
    }
}

pub(super) async fn asked(
    project: &Arc<ProjectHandle>,
    task: &Task,
    stage: &Stage,
    looked: &Looked,
    onward: &Onward,
) -> Result<Asked, EngineError> {
    let packet = match onward {
        Onward::Retry(answer) | Onward::RollBack(_, answer) | Onward::Escalate(answer) => {
            Some(packet_of(project, task, answer, &looked.judged.head).await?)
        }
        Onward::Advance(_)
        | Onward::Merge
        | Onward::AskConfirm
        | Onward::Restage(_)
        | Onward::WaitHuman(_)
        | Onward::AskAgain(_) => None,
    };
    let role = match walk::entry(stage) {
        Entry::Work(role) => Some(role),
        Entry::Look | Entry::AskConfirm | Entry::Merge | Entry::Wait | Entry::Done => None,
    };
    Ok(Asked {
        judged: looked.judged.clone(),
        evidence: packet.as_ref().and_then(|p| serde_json::to_string(p).ok()),
        notes: packet.as_ref().map(|p| p.render()),
        role,
    })
}
