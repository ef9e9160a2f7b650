//! What a decision about a task's gates means for the task, whoever asked: a job that ends with it, or a sweep that
//! found no job at all.

use crate::domain::id::StageName;
use crate::domain::job::JobKind;
use crate::domain::pipeline::{GateKind, Role, Stage};
use crate::domain::reconcile::ESCALATED;
use crate::domain::task::{Task, TaskStatus};
use crate::domain::walk::{Answer, MAX_RESTAGES, Onward};
use crate::store::Conn;

use super::{Abort, Briefing, Setting, ask_confirm, block, comment, confirm_text, enter, queue, stand};
use crate::engine::look::Judged;

/// What a move needs beside the task and the decision.
#[derive(Clone, Debug)]
pub(in crate::engine) struct Asked {
    /// The candidate as it was judged.
    pub judged: Judged,
    /// Evidence packet (JSON) of a red gate.
    pub evidence: Option<String>,
    /// The same for the prompt of the role that tries again.
    pub notes: Option<String>,
    /// The role that works in the stage.
    pub role: Option<Role>,
}

/// Moves the task as its gates say. No job of it may be live.
pub(in crate::engine) fn go_on(
    tx: &mut Conn,
    s: &Setting,
    task: &Task,
    onward: &Onward,
    asked: &Asked,
) -> Result<Task, Abort> {
    let b = Briefing {
        candidate: Some(asked.judged.clone()),
        kind: "stage",
        ..Briefing::default()
    };
    let from = &task.stage;
    match onward {
        Onward::Advance(to) => {
            let text = format!("{from} → {to}");
            enter(tx, s, task, stage(s, to)?, &Briefing { text, ..b })
        }
        Onward::Merge => {
            let text = "gates are green: merging".into();
            let merging = stand(tx, s.now, task, TaskStatus::Active, None, &Briefing { text, ..b })?;
            queue(tx, s, &merging, JobKind::DeployFinalizer, None, None, s.now)?;
            Ok(merging)
        }
        Onward::AskConfirm => {
            let text = confirm_text(Some(&asked.judged.head));
            let b = Briefing {
                text: text.clone(),
                ..b
            };
            let waiting = stand(tx, s.now, task, TaskStatus::WaitingHuman, Some(text), &b)?;
            ask_confirm(tx, &waiting, s.now)?;
            Ok(waiting)
        }
        Onward::WaitHuman(answer) => ask_person(tx, s, task, answer, b),
        Onward::AskAgain(answer) => {
            let text = said(answer);
            let b = Briefing {
                text: text.clone(),
                kind: "gate",
                ..b
            };
            let asking = stand(tx, s.now, task, TaskStatus::Active, Some(text), &b)?;
            queue(tx, s, &asking, JobKind::GateCheck, None, None, s.now)?;
            Ok(asking)
        }
        Onward::Retry(answer) => {
            let b = Briefing {
                text: format!("{} is red: {}", answer.gate.name, answer.verdict.reason),
                kind: "gate",
                ..b
            };
            let again = stand(tx, s.now, task, TaskStatus::Active, None, &b)?;
            let notes = asked.notes.clone();
            queue(tx, s, &again, JobKind::Agent, asked.role, notes, s.now)?;
            Ok(again)
        }
        Onward::RollBack(to, answer) => {
            let b = Briefing {
                text: format!(
                    "{} is red: {} ({from} → {to})",
                    answer.gate.name, answer.verdict.reason
                ),
                kind: "rollback",
                evidence: asked.evidence.clone(),
                developer_retries: Some(task.developer_retries + 1),
                ..b
            };
            enter(tx, s, task, stage(s, to)?, &b)
        }
        Onward::Restage(answer) => {
            let text = format!("{}; {from} again", said(answer));
            enter(tx, s, task, stage(s, from)?, &Briefing { text, ..b })
        }
        Onward::Escalate(answer) => {
            let tried = match answer.gate.kind == GateKind::StagingImageFresh {
                true => format!("although staging was deployed {MAX_RESTAGES} times more"),
                false => format!("after {} developer retries", task.developer_retries),
            };
            let why = format!("{} is red {tried}: {}", answer.gate.name, answer.verdict.reason);
            let b = Briefing {
                text: why.clone(),
                kind: "escalated",
                evidence: asked.evidence.clone(),
                ..b
            };
            block(tx, s.now, task, &format!("{ESCALATED}{why}"), &b)
        }
    }
}

/// An answer that is not green, for people.
pub(in crate::engine) fn said(answer: &Answer) -> String {
    let verdict = &answer.verdict;
    format!("{} is {}: {}", answer.gate.name, verdict.state, verdict.reason)
}

fn ask_person(tx: &mut Conn, s: &Setting, task: &Task, answer: &Answer, b: Briefing) -> Result<Task, Abort> {
    let text = format!("{}: {}", answer.gate.name, answer.verdict.reason);
    let b = Briefing {
        text: text.clone(),
        kind: "gate",
        ..b
    };
    let waiting = stand(tx, s.now, task, TaskStatus::WaitingHuman, Some(text.clone()), &b)?;
    comment(tx, &waiting, "human", &text, s.now)?;
    Ok(waiting)
}

fn stage<'a>(s: &'a Setting, name: &StageName) -> Result<&'a Stage, Abort> {
    s.project.config.pipeline.stage(name).ok_or(Abort::Lost)
}
