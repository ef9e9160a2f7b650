//! What each operation does to the model. Written from what the queue promises, not from its SQL.

mod claims;
mod rights;

use std::cmp::Reverse;
use std::time::Duration;

use orch::domain::id::{ClaimEpoch, JobId};
use orch::domain::job::{Claim, Job, JobStatus};
use orch::domain::run::{Run, RunStep};
use orch::domain::time::Timestamp;
use orch::store::jobs::{ClaimRequest, NewJob};

use crate::schedules::op::{Answer, Op};
use crate::schedules::world::{self, World};

impl World {
    /// Lets it happen.
    pub fn apply(&mut self, op: Op) -> Answer {
        self.try_apply(op).unwrap_or(Answer::Nothing)
    }

    fn try_apply(&mut self, op: Op) -> Option<Answer> {
        let now = self.now;
        Some(match op {
            Op::Jump(seconds) => {
                self.now = Timestamp(now.0 + i64::from(seconds) * 1_000_000);
                Answer::Nothing
            }
            Op::Start(pick) => self.start(self.next_boot(pick)),
            Op::Beat(pick) => {
                let id = self.boot(pick).id.clone();
                let mut known = self.tables.boots.iter_mut();
                let alive = known.find(|b| b.id == id && b.stopped_at.is_none());
                lost_or(alive.map(|boot| boot.heartbeat_at = now))
            }
            Op::Sweep(seconds) => self.sweep(now - Duration::from_secs(u64::from(seconds))),
            Op::Enqueue { .. } => self.enqueue(&self.new_job(op)?),
            Op::Claim { .. } => self.claim_next(&self.request(op)?),
            Op::Open(pick) => self.open(self.claim(pick)?),
            Op::Finish(pick, how) => {
                let claim = self.claim(pick)?;
                let end = how.end(self.job_of(claim), now);
                self.end(claim, &end)
            }
            Op::Advance { claim, over } => self.advance(self.claim(claim)?, over),
            Op::Reap(pick) => self.reap(self.claim(pick)?),
            Op::LookDead(pick) => {
                let claim = self.claim(pick)?;
                if !self.is_current(claim) {
                    return Some(Answer::Lost);
                }
                let looks = self.looks(claim);
                *looks += 1;
                Answer::Count(*looks)
            }
            Op::SeeAlive(pick) => {
                let claim = self.claim(pick)?;
                if self.job_of(claim).claim_epoch == claim.epoch {
                    *self.looks(claim) = 0;
                }
                Answer::Nothing
            }
            Op::Holds(pick) => Answer::Yes(self.is_current(self.claim(pick)?)),
            Op::IsOf(pick, boot) => {
                let (claim, boot) = (self.claim(pick)?, &self.boot(boot).id);
                Answer::Yes(self.is_current(claim) && self.job_of(claim).instance.as_ref() == Some(boot))
            }
            Op::Cancel(_) | Op::CancelTask(_) | Op::Retry(_) | Op::Reprioritise(..) | Op::Wake(_) => {
                return self.operate(op);
            }
            Op::Move { task, enter } => {
                let task = world::task_pick(task);
                let version = self.tasks[task].version;
                lost_or(self.compare_and_set(task, version, &world::change(enter, false)))
            }
            Op::TakeOver(..) | Op::Record { .. } | Op::RunHolds(..) | Op::Close(..) | Op::Keep(_) => {
                return self.monitor(op);
            }
            Op::Acquire { .. } => self.acquire(self.lease_request(op)?),
            Op::Renew(..) | Op::Release(_) | Op::Reclaim(_) | Op::Check(_) | Op::ReleaseTask(_) => {
                return self.merge_lease(op);
            }
        })
    }

    fn job_mut(&mut self, id: JobId) -> &mut Job {
        let job = self.tables.jobs.iter_mut().find(|job| job.id == id);
        job.expect("jobs are never removed")
    }

    fn looks(&mut self, claim: Claim) -> &mut i64 {
        let at = self.jobs.iter().position(|job| job.id == claim.job);
        &mut self.tables.looks[at.expect("jobs are never removed")]
    }

    fn start(&mut self, boot: orch::store::instances::Instance) -> Answer {
        let now = self.now;
        for other in &mut self.tables.boots {
            if other.node == boot.node && other.stopped_at.is_none() {
                other.stopped_at = Some(now);
            }
        }
        let mut adopted = 0;
        for job in &mut self.tables.jobs {
            let here = job.node.as_ref() == Some(&boot.node);
            if job.status == JobStatus::Running && here && job.instance.as_ref() != Some(&boot.id) {
                job.instance = Some(boot.id.clone());
                adopted += 1;
            }
        }
        self.tables.boots.push(boot);
        Answer::Count(adopted)
    }

    fn sweep(&mut self, before: Timestamp) -> Answer {
        let silent = |job: &&Job| {
            let of = |b: &&orch::store::instances::Instance| job.instance.as_ref() == Some(&b.id);
            job.status == JobStatus::Running
                && self
                    .boots
                    .iter()
                    .find(of)
                    .is_some_and(|b| b.heartbeat_at < before)
        };
        let claims: Vec<Claim> = self.jobs.iter().filter(silent).map(claim_of).collect();
        let mut taken = Vec::new();
        for claim in claims {
            if let Answer::Job(job) = self.end(claim, &world::silent(self.now)) {
                taken.push(*job);
            }
        }
        Answer::Jobs(taken)
    }

    fn enqueue(&mut self, new: &NewJob) -> Answer {
        let live = |j: &&Job| matches!(j.status, JobStatus::Queued | JobStatus::Running);
        if let Some(job) = self.jobs.iter().filter(live).find(|j| j.task_id == new.task_id) {
            return Answer::AlreadyLive(Box::new(job.clone()));
        }
        let job = self.fresh_job(new);
        self.tables.jobs.push(job.clone());
        self.tables.looks.push(0);
        Answer::Job(Box::new(job))
    }

    fn claim_next(&mut self, request: &ClaimRequest) -> Answer {
        let running =
            |reserved: bool, j: &&Job| j.status == JobStatus::Running && j.kind.is_reserved() == reserved;
        let mut agents: Vec<_> = self
            .jobs
            .iter()
            .filter(|j| running(false, j))
            .map(|j| j.project_id)
            .collect();
        let mut reserved = self.jobs.iter().filter(|j| running(true, j)).count();
        let mut queued: Vec<&Job> = self
            .jobs
            .iter()
            .filter(|j| j.status == JobStatus::Queued && j.available_at <= request.now)
            .collect();
        queued.sort_by_key(|j| (Reverse(j.priority), j.id));
        let mut chosen = Vec::new();
        for job in queued {
            if chosen.len() == request.limit {
                break;
            }
            if job.kind.is_reserved() {
                if reserved < request.reserved_ceiling {
                    reserved += 1;
                    chosen.push(job.id);
                }
                continue;
            }
            let in_project = agents.iter().filter(|p| **p == job.project_id).count();
            let full = request
                .default_project_concurrency
                .is_some_and(|most| in_project >= most);
            if !request.paused && agents.len() < request.max_concurrency && !full {
                agents.push(job.project_id);
                chosen.push(job.id);
            }
        }
        Answer::Jobs(chosen.into_iter().map(|id| self.take(id, request)).collect())
    }

    fn take(&mut self, id: JobId, request: &ClaimRequest) -> Job {
        let job = self.job_mut(id);
        job.status = JobStatus::Running;
        job.attempts += 1;
        job.claim_epoch = ClaimEpoch(job.claim_epoch.0 + 1);
        job.node = Some(request.node.clone());
        job.instance = Some(request.instance.clone());
        job.claimed_at = Some(request.now);
        let job = job.clone();
        let claim = claim_of(&job);
        *self.looks(claim) = 0;
        self.claims.push(claim);
        job
    }
}

pub fn claim_of(job: &Job) -> Claim {
    Claim {
        job: job.id,
        epoch: job.claim_epoch,
    }
}

pub fn is_open(run: &Run) -> bool {
    !matches!(run.step, RunStep::Finalised | RunStep::Abandoned)
}

fn close(run: &mut Run, step: RunStep, error: &str, now: Timestamp) {
    run.step = step;
    run.error = Some(error.to_owned());
    run.finished_at = Some(now);
}

/// Answers the job as it was.
fn cancel(job: &mut Job, now: Timestamp) -> Job {
    let before = job.clone();
    job.status = JobStatus::Cancelled;
    job.finished_at = Some(now);
    job.error = Some("by hand".to_owned());
    before
}

fn lost_or(done: Option<()>) -> Answer {
    match done {
        Some(()) => Answer::Won,
        None => Answer::Lost,
    }
}

fn lost_or_job(job: Option<Job>) -> Answer {
    match job {
        Some(job) => Answer::Job(Box::new(job)),
        None => Answer::Lost,
    }
}
