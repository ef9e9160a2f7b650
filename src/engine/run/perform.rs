//! Performs a decision about a task: one transaction with the end of the job that led to it.

use std::time::Duration;

use crate::domain::evidence_packet::EvidencePacket;
use crate::domain::id::StageName;
use crate::domain::job::{JobEnd, JobKind};
use crate::domain::pipeline::Role;
use crate::domain::run::RunStep;
use crate::domain::task::TaskStatus;
use crate::domain::walk::{self, Answer, Entry, Onward};
use crate::store::{Conn, gestures};

use super::super::lease::Waiting;
use super::super::look::Looked;
use super::super::transition::{self, Abort, Asked, Briefing, Ending, Setting};
use super::super::{Engine, EngineError};
use super::judge::Judgement;
use super::{Attempt, failed, finish};

/// Who waits for a lease is woken when it is given back; this is the fallback.
pub(super) const LEASE_FALLBACK: Duration = Duration::from_secs(30);

/// Performs a decision in one transaction with the job's end.
pub(super) async fn perform(
    engine: &Engine,
    a: &mut Attempt,
    onward: Onward,
    judgement: Judgement,
) -> Result<(), EngineError> {
    let Judgement { looked, tail, waits } = judgement;
    let packet = match &onward {
        Onward::Retry(answer) | Onward::RollBack(_, answer) | Onward::Escalate(answer) => {
            Some(finish::evidence_packet(engine, a, answer, &looked.judged.head, &tail).await?)
        }
        Onward::Advance(_)
        | Onward::Merge
        | Onward::AskConfirm
        | Onward::Restage(_)
        | Onward::WaitHuman(_)
        | Onward::AskAgain(_) => None,
    };
    let merges = match &onward {
        Onward::Merge => true,
        Onward::Advance(to) => leads_to_merge(a, to),
        Onward::AskConfirm
        | Onward::Restage(_)
        | Onward::WaitHuman(_)
        | Onward::AskAgain(_)
        | Onward::Retry(_)
        | Onward::RollBack(..)
        | Onward::Escalate(_) => false,
    };
    let act = Act {
        ending: Ending {
            keeps_lease: merges,
            delivered: matches!(
                onward,
                Onward::Advance(_) | Onward::Merge | Onward::AskConfirm | Onward::WaitHuman(_)
            ),
            ..a.ending(JobEnd::Done)
        },
        job: a.job.clone(),
        task: a.task.clone(),
        role: failed::entry_role(a),
        pause: a.pause(engine),
        waits,
        packet,
        looked,
    };
    let s = a.setting(engine);
    engine
        .store()
        .write(move |tx| {
            transition::keep(tx, &act.looked.fresh, s.now)?;
            act.perform(tx, &s, &onward)
        })
        .await?;
    a.run.step = RunStep::Evaluated;
    engine.committed();
    Ok(())
}

fn leads_to_merge(a: &Attempt, to: &StageName) -> bool {
    let to = a.project.config.pipeline.stage(to);
    to.is_some_and(|s| walk::entry(s) == Entry::Merge)
}

struct Act {
    ending: Ending,
    job: crate::domain::job::Job,
    task: crate::domain::task::Task,
    role: Option<Role>,
    pause: Duration,
    waits: Option<Waiting>,
    packet: Option<EvidencePacket>,
    looked: Looked,
}

impl Act {
    fn perform(mut self, tx: &mut Conn, s: &Setting, onward: &Onward) -> Result<(), Abort> {
        match onward {
            // The person was faster than this look at the gates: asked once more, at once.
            Onward::WaitHuman(answer) if gestures::approved(tx, self.task.id, self.task.visit)?.is_some() => {
                self.pause = Duration::ZERO;
                self.ask_again(tx, s, answer)
            }
            Onward::AskAgain(answer) => self.ask_again(tx, s, answer),
            Onward::Retry(answer) if self.job.kind == JobKind::Agent => self.retry(tx, s, answer),
            Onward::Advance(_)
            | Onward::Merge
            | Onward::AskConfirm
            | Onward::WaitHuman(_)
            | Onward::Retry(_)
            | Onward::RollBack(..)
            | Onward::Restage(_)
            | Onward::Escalate(_) => {
                self.end(tx, s)?;
                transition::go_on(tx, s, &self.task, onward, &self.asked()).map(drop)
            }
        }
    }

    fn asked(&self) -> Asked {
        Asked {
            judged: self.looked.judged.clone(),
            evidence: self.packet.as_ref().and_then(|p| serde_json::to_string(p).ok()),
            notes: self.packet.as_ref().map(EvidencePacket::render),
            role: self.role,
        }
    }

    fn briefing(&self, text: String) -> Briefing {
        Briefing {
            candidate: Some(self.looked.judged.clone()),
            text,
            kind: "gate",
            ..Briefing::default()
        }
    }

    fn end(&self, tx: &mut Conn, s: &Setting) -> Result<(), Abort> {
        transition::end_claim(tx, &self.ending, s.now).map(|_| ())
    }

    /// Neither advance nor roll back. A reserved job waits itself; an agent's job is over and a reserved one waits.
    fn ask_again(&mut self, tx: &mut Conn, s: &Setting, answer: &Answer) -> Result<(), Abort> {
        let text = transition::said(answer);
        if self.job.kind.is_reserved() {
            transition::alert_if_overdue(tx, s, &self.task, &text)?;
            let (reason, available_at) = match &self.waits {
                Some(waiting) => (waiting.why.clone(), waiting.until(tx, s.now, LEASE_FALLBACK)?),
                None => (text, s.now + self.pause),
            };
            self.ending.end = JobEnd::Snooze { reason, available_at };
            return self.end(tx, s);
        }
        // Whoever waits for the lease is found by the reason of its job, which a fresh one has not: it looks once more.
        let at = match &self.waits {
            Some(_) => s.now,
            None => s.now + self.pause,
        };
        self.end(tx, s)?;
        let b = self.briefing(text.clone());
        let task = transition::stand(tx, s.now, &self.task, TaskStatus::Active, Some(text), &b)?;
        transition::queue(tx, s, &task, JobKind::GateCheck, None, None, at)
    }

    /// The same role again: spends an attempt of its job.
    fn retry(&mut self, tx: &mut Conn, s: &Setting, answer: &Answer) -> Result<(), Abort> {
        let error = format!("{} is red: {}", answer.gate.name, answer.verdict.reason);
        let b = self.briefing(error.clone());
        if self.job.attempts < self.job.max_attempts {
            self.ending.end = JobEnd::Retry {
                error: error.clone(),
                available_at: s.now,
                notes: self.packet.as_ref().map(EvidencePacket::render),
                timeout_percent: None,
            };
            self.end(tx, s)?;
            transition::say(tx, &self.task, b.kind, &b.text, s.now)?;
            return Ok(());
        }
        self.ending.end = JobEnd::Failed(error.clone());
        self.end(tx, s)?;
        transition::block(tx, s.now, &self.task, &error, &b).map(|_| ())
    }
}
