//! Decides what heals a task that no job works for any more. Never asks a gate, never writes.

use std::time::Duration;

use super::gate::GateState;
use super::job::JobKind;
use super::pipeline::{GateKind, Role, Stage};
use super::task::{Task, TaskStatus};
use super::time::Timestamp;
use super::walk::{self, Answer, Entry, Onward};

/// With this begins the reason of a task that went back once too often: only a person lets it go on.
pub const ESCALATED: &str = "escalated: ";

/// For how long a task is left alone, and which are passed over.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// Time for which a task is left alone that nobody works for.
    pub grace: Duration,
    /// Tasks that are blocked or need input are passed over.
    pub skip_parked: bool,
    /// Now.
    pub now: Timestamp,
}

/// What a task without a job is, at first sight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sight {
    /// Nothing is missing, or it is too early to say.
    Fine,
    /// A person has to decide: nobody else does.
    WaitsForPerson,
    /// It should go on by itself.
    Forgotten,
}

/// Since when nobody works for a task: since it entered its stage, or since the last job ended there.
pub fn idle_since(task: &Task, last_end: Option<Timestamp>) -> Timestamp {
    last_end.map_or(task.stage_entered_at, |end| end.max(task.stage_entered_at))
}

/// What a task in `stage` that has no queued or running job is, without asking git. `idle_since` is when the last one
/// ended.
pub fn sight(task: &Task, stage: &Stage, idle_since: Timestamp, policy: &Policy) -> Sight {
    let patient = policy.now.since(idle_since) < policy.grace;
    let escalated = task.reason.as_ref().is_some_and(|r| r.starts_with(ESCALATED));
    match task.status {
        TaskStatus::Done | TaskStatus::Cancelled => Sight::Fine,
        TaskStatus::WaitingHuman => Sight::WaitsForPerson,
        TaskStatus::Blocked | TaskStatus::NeedsInput if policy.skip_parked || escalated => Sight::Fine,
        TaskStatus::Active | TaskStatus::Blocked | TaskStatus::NeedsInput => match walk::entry(stage) {
            Entry::Wait | Entry::Done => Sight::Fine,
            Entry::Work(_) | Entry::Look | Entry::AskConfirm | Entry::Merge if patient => Sight::Fine,
            Entry::Work(_) | Entry::Look | Entry::AskConfirm | Entry::Merge => Sight::Forgotten,
        },
    }
}

/// What is known of a forgotten task once its gates were asked.
#[derive(Clone, Copy, Debug)]
pub struct Found<'a> {
    /// How it stands.
    pub status: TaskStatus,
    /// Its stage.
    pub stage: &'a Stage,
    /// An agent of the stage's role has ended well in this visit.
    pub worked: bool,
    /// The branch head is the one that was judged last.
    pub judged_before: bool,
    /// A red of this gate led to something before, for this very candidate.
    pub red_applied: bool,
    /// What a job would do now.
    pub onward: &'a Onward,
}

/// What heals a forgotten task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heal {
    /// Nothing does.
    Leave,
    /// It goes on as its gates say; a message was lost.
    GoOn,
    /// The job that is missing is queued again.
    Queue(JobKind, Option<Role>),
}

/// What heals it. Green leads on, and a red of which only a message tells is applied once. Whatever else the gates say
/// is said again by the job that is missing, which alone may act on it.
pub fn heal(found: &Found<'_>) -> Heal {
    let missing = missing(found.stage, found.worked);
    // Sent here to be worked on: what was green for the same candidate before proves nothing about this visit.
    let unworked = matches!(walk::entry(found.stage), Entry::Work(_)) && !found.worked && found.judged_before;
    let parked = match found.status {
        TaskStatus::Active => false,
        TaskStatus::Blocked | TaskStatus::NeedsInput => true,
        TaskStatus::WaitingHuman | TaskStatus::Done | TaskStatus::Cancelled => return Heal::Leave,
    };
    if unworked || parked {
        return match found.onward {
            Onward::Advance(_) if !unworked => Heal::GoOn,
            Onward::Advance(_)
            | Onward::Merge
            | Onward::AskConfirm
            | Onward::Retry(_)
            | Onward::RollBack(..)
            | Onward::Restage(_)
            | Onward::Escalate(_)
            | Onward::WaitHuman(_)
            | Onward::AskAgain(_) => match parked {
                true => Heal::Leave,
                false => missing,
            },
        };
    }
    match found.onward {
        Onward::Advance(_) | Onward::Merge | Onward::WaitHuman(_) => Heal::GoOn,
        Onward::Retry(answer) | Onward::RollBack(_, answer) | Onward::Escalate(answer)
            if told_by_message(answer) && !found.red_applied =>
        {
            Heal::GoOn
        }
        // The merge's own job looks for the confirmation, and asks for it where there is none.
        Onward::AskConfirm => Heal::Queue(JobKind::DeployFinalizer, None),
        Onward::Retry(_)
        | Onward::RollBack(..)
        | Onward::Restage(_)
        | Onward::Escalate(_)
        | Onward::AskAgain(_) => missing,
    }
}

/// The job that a task in `stage` misses: an agent where none has worked in this visit, else one that asks the gates.
pub fn missing(stage: &Stage, worked: bool) -> Heal {
    match walk::entry(stage) {
        Entry::Work(role) if !worked => Heal::Queue(JobKind::Agent, Some(role)),
        Entry::Work(_) | Entry::Look => Heal::Queue(JobKind::GateCheck, None),
        Entry::AskConfirm | Entry::Merge => Heal::Queue(JobKind::DeployFinalizer, None),
        Entry::Wait | Entry::Done => Heal::Leave,
    }
}

/// Gates whose red comes from the forge by a message, which can be lost.
fn told_by_message(answer: &Answer) -> bool {
    answer.verdict.state == GateState::Red
        && match &answer.gate.kind {
            GateKind::CiGreen | GateKind::ReviewApproved => true,
            GateKind::AnalysisComplete
            | GateKind::HumanApproved
            | GateKind::ArchitectureDone
            | GateKind::TestsLocal
            | GateKind::ReviewerVerdict
            | GateKind::TestsPassed
            | GateKind::StagingStatus
            | GateKind::BranchMergeable
            | GateKind::StagingImageFresh
            | GateKind::DeployStatus
            | GateKind::Command { .. } => false,
        }
}

#[cfg(test)]
mod tests;
