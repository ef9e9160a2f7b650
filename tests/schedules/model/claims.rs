//! What ends a claim, and what people do to jobs.

use orch::domain::id::TaskVersion;
use orch::domain::job::{Claim, Job, JobEnd, JobStatus};
use orch::domain::run::RunStep;
use orch::store::jobs::NewJob;
use orch::store::tasks::TaskChange;

use super::{cancel, close, is_open, lost_or_job};
use crate::schedules::op::{Answer, Op};
use crate::schedules::world::{self, World};

impl World {
    pub(super) fn end(&mut self, claim: Claim, how: &JobEnd) -> Answer {
        if !self.is_current(claim) {
            return Answer::Lost;
        }
        let now = self.now;
        let (status, error, again) = match how {
            JobEnd::Done => (JobStatus::Done, None, None),
            JobEnd::Failed(why) => (JobStatus::Failed, Some(why), None),
            JobEnd::Cancelled(why) => (JobStatus::Cancelled, Some(why), None),
            JobEnd::Retry {
                error, available_at, ..
            }
            | JobEnd::Held {
                error, available_at, ..
            }
            | JobEnd::RetryTransient { error, available_at } => {
                (JobStatus::Queued, Some(error), Some(*available_at))
            }
            JobEnd::Snooze { reason, available_at } => (JobStatus::Queued, Some(reason), Some(*available_at)),
        };
        if again.is_some() {
            *self.looks(claim) = 0;
        }
        let job = self.job_mut(claim.job);
        job.status = status;
        job.error = error.cloned();
        match again {
            Some(at) => {
                job.available_at = at;
                (job.node, job.instance, job.claimed_at) = (None, None, None);
                job.finished_at = None;
            }
            None => job.finished_at = Some(now),
        }
        match how {
            JobEnd::Retry {
                notes: Some(notes), ..
            } => job.notes = Some(notes.clone()),
            JobEnd::RetryTransient { .. } => {
                job.attempts -= 1;
                job.transient_attempts += 1;
            }
            JobEnd::Held { notes, .. } => {
                job.attempts -= 1;
                job.notes = notes.clone().or(job.notes.take());
            }
            JobEnd::Snooze { .. } => job.attempts -= 1,
            JobEnd::Retry { notes: None, .. } | JobEnd::Done | JobEnd::Failed(_) | JobEnd::Cancelled(_) => {}
        }
        Answer::Job(Box::new(job.clone()))
    }

    pub(super) fn compare_and_set(
        &mut self,
        task: usize,
        expected: TaskVersion,
        change: &TaskChange,
    ) -> Option<()> {
        let now = self.now;
        let task = &mut self.tables.tasks[task];
        if task.version != expected || task.status.is_terminal() {
            return None;
        }
        task.version.0 += 1;
        task.updated_at = now;
        if change.enter.is_some() {
            task.visit.0 += 1;
            task.stage_entered_at = now;
        }
        if let Some(status) = change.status {
            task.status = status;
            task.finished_at = Some(now);
        }
        task.reason = change.reason.clone().flatten();
        Some(())
    }

    /// All of it or nothing.
    pub(super) fn advance(&mut self, claim: Claim, over: bool) -> Answer {
        let job = self.job_of(claim).clone();
        let before = self.clone();
        if self.end(claim, &JobEnd::Done) == Answer::Lost {
            return Answer::Lost;
        }
        let task = usize::try_from(job.task_id.0 - 1).expect("counted from 1");
        if self
            .compare_and_set(task, job.task_version, &world::change(true, over))
            .is_none()
        {
            *self = before;
            return Answer::Lost;
        }
        if !over {
            let moved = &self.tasks[task];
            let (visit, task_version) = (moved.visit, moved.version);
            let new = NewJob {
                visit,
                task_version,
                ..self.follow_up(&job)
            };
            self.enqueue(&new);
        }
        Answer::Won
    }

    pub(super) fn reap(&mut self, claim: Claim) -> Answer {
        let end = world::reaped(self.job_of(claim), self.now);
        if self.end(claim, &end) == Answer::Lost {
            return Answer::Lost;
        }
        let now = self.now;
        let mut runs = self.tables.runs.iter_mut();
        if let Some(run) = runs.find(|run| world::claim_of_run(run) == claim && is_open(run)) {
            close(run, RunStep::Abandoned, "reaped", now);
        }
        Answer::Won
    }

    pub(super) fn open(&mut self, claim: Claim) -> Answer {
        if !self.is_current(claim) {
            return Answer::Lost;
        }
        if let Some(run) = self.runs.iter().find(|run| world::claim_of_run(run) == claim) {
            return Answer::Run(Box::new(run.clone()));
        }
        let run = self.fresh_run(world::new_run(self.job_of(claim), claim));
        self.tables.runs.push(run.clone());
        Answer::Run(Box::new(run))
    }

    pub(super) fn operate(&mut self, op: Op) -> Option<Answer> {
        let now = self.now;
        let live = |j: &&mut Job| matches!(j.status, JobStatus::Queued | JobStatus::Running);
        Some(match op {
            Op::Cancel(pick) => {
                let id = self.job(pick)?.id;
                let found = self.tables.jobs.iter_mut().filter(live).find(|j| j.id == id);
                lost_or_job(found.map(|job| cancel(job, now)))
            }
            Op::CancelTask(pick) => {
                let task = self.tasks[world::task_pick(pick)].id;
                let found = self
                    .tables
                    .jobs
                    .iter_mut()
                    .filter(live)
                    .find(|j| j.task_id == task);
                lost_or_job(found.map(|job| cancel(job, now)))
            }
            Op::Reprioritise(pick, to) => {
                let id = self.job(pick)?.id;
                let job = self.job_mut(id);
                let queued = (job.status == JobStatus::Queued).then(|| {
                    job.priority = to;
                    job.clone()
                });
                lost_or_job(queued)
            }
            Op::Wake(pick) => {
                let task = self.tasks[world::task_pick(pick)].id;
                let waits =
                    |j: &&mut Job| j.task_id == task && j.status == JobStatus::Queued && j.available_at > now;
                lost_or_job(self.tables.jobs.iter_mut().find(waits).map(|job| {
                    job.available_at = now;
                    job.clone()
                }))
            }
            Op::Retry(pick) => self.retry(&self.job(pick)?.clone()),
            _ => return None,
        })
    }

    pub(super) fn retry(&mut self, failed: &Job) -> Answer {
        if !matches!(failed.status, JobStatus::Failed | JobStatus::Cancelled) {
            return Answer::Refused("not failed");
        }
        let task = self.tasks.iter().find(|t| t.id == failed.task_id);
        let task = task.expect("tasks are never removed");
        if task.stage != failed.stage || task.visit != failed.visit || task.status.is_terminal() {
            return Answer::Refused("stale");
        }
        let new = NewJob {
            visit: failed.visit,
            task_version: task.version,
            max_attempts: failed.max_attempts,
            max_transient_attempts: failed.max_transient_attempts,
            notes: failed.notes.clone(),
            ..self.follow_up(failed)
        };
        self.enqueue(&new)
    }
}
