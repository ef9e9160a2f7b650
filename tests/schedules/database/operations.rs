//! One operation, put to the store.

use std::time::Duration;

use orch::store::jobs::{self, Enqueued, Retried};
use orch::store::leases::{self, Acquire};
use orch::store::runs::{self, Closing};
use orch::store::{Guarded, instances};

use super::deeds::{Step, end_by_id, take_silent};
use super::{Database, Executor, Undo, at, won};
use crate::schedules::op::{Answer, Op};
use crate::schedules::world::{self, World};

impl Database {
    pub(super) fn boots(&mut self, op: Op, world: &World) -> Option<Answer> {
        let now = world.now;
        Some(match op {
            Op::Start(pick) => {
                let boot = world.next_boot(pick);
                let adopted = self.bed.write(move |tx| {
                    for other in instances::unstopped(tx)? {
                        if other.node == boot.node {
                            let _ = instances::stop(tx, &other.id, now)?;
                        }
                    }
                    instances::start(tx, &boot.id, &boot.node, &boot.process, now)?;
                    jobs::adopt(tx, &boot.node, &boot.id)
                });
                Answer::Count(i64::try_from(adopted).unwrap())
            }
            Op::Beat(pick) => {
                let id = world.boot(pick).id.clone();
                won(self.bed.write(move |tx| instances::heartbeat(tx, &id, now)))
            }
            Op::Sweep(seconds) => {
                let before = now - Duration::from_secs(u64::from(seconds));
                let taken = self.bed.write(move |tx| take_silent(tx, before, now));
                Answer::Jobs(taken.into_iter().map(|job| self.job(job)).collect())
            }
            _ => return None,
        })
    }

    pub(super) fn queue(&mut self, op: Op, world: &World) -> Option<Answer> {
        let now = world.now;
        let mut own = world.new_job(op).map(|new| (new, ()));
        if let Some((new, ())) = &mut own {
            new.task_id = at(new.task_id.0, &self.tasks);
            new.project_id = at(new.project_id.0, &self.projects);
        }
        Some(match own {
            Some((new, ())) => match self.bed.write(move |tx| jobs::enqueue(tx, &new, now)) {
                Enqueued::New(job) => Answer::Job(Box::new(self.job(job))),
                Enqueued::AlreadyLive(job) => Answer::AlreadyLive(Box::new(self.job(job))),
            },
            None => {
                let claimed = self.bed.claim(world.request(op)?);
                Answer::Jobs(claimed.into_iter().map(|job| self.job(job)).collect())
            }
        })
    }

    pub(super) fn operate(&mut self, op: Op, world: &World) -> Option<Answer> {
        let now = world.now;
        if let Op::CancelTask(pick) | Op::Wake(pick) = op {
            let task = self.tasks[world::task_pick(pick)];
            let answer = self.bed.write(move |tx| match op {
                Op::Wake(_) => jobs::wake(tx, task, now),
                _ => Ok(match jobs::cancel_live(tx, task, "by hand", now)? {
                    Some(job) => Guarded::Won(job),
                    None => Guarded::Lost,
                }),
            });
            return Some(self.guarded_job(answer));
        }
        let (Op::Cancel(pick) | Op::Retry(pick) | Op::Reprioritise(pick, _)) = op else {
            return None;
        };
        let id = at(world.job(pick)?.id.0, &self.jobs);
        Some(match op {
            Op::Retry(_) => match self.bed.write(move |tx| jobs::retry(tx, id, now)) {
                Retried::New(job) => Answer::Job(Box::new(self.job(job))),
                Retried::AlreadyLive(job) => Answer::AlreadyLive(Box::new(self.job(job))),
                Retried::NotFailed => Answer::Refused("not failed"),
                Retried::Stale => Answer::Refused("stale"),
            },
            Op::Reprioritise(_, to) => {
                let answer = self.bed.write(move |tx| jobs::reprioritise(tx, id, to));
                self.guarded_job(answer)
            }
            _ => {
                let answer = self.bed.write(move |tx| jobs::cancel(tx, id, "by hand", now));
                self.guarded_job(answer)
            }
        })
    }

    pub(super) fn end(&mut self, op: Op, world: &World) -> Option<Answer> {
        let (Op::Finish(pick, _) | Op::Advance { claim: pick, .. } | Op::Reap(pick) | Op::Open(pick)) = op
        else {
            return None;
        };
        let numbered = world.claim(pick)?;
        let (claim, now) = (self.real_claim(numbered), world.now);
        let job = world.job_of(numbered);
        let executor = self.executor;
        if let Op::Open(_) = op {
            let mut new = world::new_run(job, numbered);
            new.claim = claim;
            new.task_id = at(job.task_id.0, &self.tasks);
            let answer = self.bed.write(move |tx| runs::create(tx, &new, now));
            return Some(self.guarded_run(answer));
        }
        let ended = match op {
            Op::Advance { over, .. } => {
                let new = world.follow_up(job);
                let (task, project) = (
                    at(job.task_id.0, &self.tasks),
                    at(job.project_id.0, &self.projects),
                );
                let new = jobs::NewJob {
                    task_id: task,
                    project_id: project,
                    ..new
                };
                let step = Step {
                    claim,
                    over,
                    new,
                    now,
                };
                let done = self
                    .bed
                    .store
                    .write_blocking(move |tx| step.perform(tx, executor));
                match done {
                    Ok(Some(next)) => {
                        self.job(next);
                        Guarded::Won(())
                    }
                    Ok(None) => Guarded::Won(()),
                    Err(Undo::Lost) => Guarded::Lost,
                    Err(Undo::Store(error)) => panic!("{error}"),
                }
            }
            Op::Reap(_) => {
                let end = world::reaped(job, now);
                self.bed.write(move |tx| {
                    if !jobs::end(tx, claim, &end, now)?.is_won() {
                        return Ok(Guarded::Lost);
                    }
                    if let Some(run) = runs::of_claim(tx, claim)? {
                        drop(runs::close(tx, run.id, Closing::Abandoned, Some("reaped"), now)?);
                    }
                    Ok(Guarded::Won(()))
                })
            }
            Op::Finish(_, how) => {
                let end = how.end(job, now);
                let answer = self.bed.write(move |tx| match executor {
                    Executor::True | Executor::ActsFirst => jobs::end(tx, claim, &end, now),
                    Executor::WithoutEpoch => end_by_id(tx, claim.job, &end, now),
                });
                return Some(self.guarded_job(answer));
            }
            _ => return None,
        };
        Some(won(ended))
    }

    pub(super) fn look(&mut self, op: Op, world: &World) -> Option<Answer> {
        let (Op::LookDead(pick) | Op::SeeAlive(pick) | Op::Holds(pick) | Op::IsOf(pick, _)) = op else {
            return None;
        };
        let claim = self.real_claim(world.claim(pick)?);
        Some(match op {
            Op::LookDead(_) => match self.bed.write(move |tx| jobs::look_dead(tx, claim)) {
                Guarded::Won(looks) => Answer::Count(i64::from(looks)),
                Guarded::Lost => Answer::Lost,
            },
            Op::SeeAlive(_) => {
                self.bed.write(move |tx| jobs::clear_dead_looks(tx, claim));
                Answer::Nothing
            }
            Op::IsOf(_, boot) => {
                let boot = world.boot(boot).id.clone();
                Answer::Yes(self.bed.write(move |tx| jobs::is_of(tx, claim, Some(&boot))))
            }
            _ => Answer::Yes(self.bed.write(move |tx| jobs::holds(tx, claim))),
        })
    }

    pub(super) fn monitor(&mut self, op: Op, world: &World) -> Option<Answer> {
        let (Op::TakeOver(pick, _)
        | Op::Record { run: pick, .. }
        | Op::RunHolds(pick, _)
        | Op::Close(pick, _)
        | Op::Keep(pick)) = op
        else {
            return None;
        };
        let run = world.run(pick)?;
        let (id, now) = (at(run.id.0, &self.runs), world.now);
        let claim = self.real_claim(world::claim_of_run(run));
        Some(match op {
            Op::TakeOver(_, seen) => {
                let seen = world::monitor_pick(run, seen);
                match self.bed.write(move |tx| runs::take_over(tx, id, seen)) {
                    Guarded::Won(epoch) => Answer::Count(epoch.0),
                    Guarded::Lost => Answer::Lost,
                }
            }
            Op::Record { monitor, step, .. } => {
                let (by, patch) = ((claim, world::monitor_pick(run, monitor)), world::patch(step));
                let answer = self.bed.write(move |tx| runs::record(tx, id, by, &patch, now));
                self.guarded_run(answer)
            }
            Op::RunHolds(_, monitor) => {
                let by = (claim, world::monitor_pick(run, monitor));
                Answer::Yes(self.bed.write(move |tx| runs::holds(tx, id, by)))
            }
            Op::Close(_, well) => {
                let how = if well {
                    Closing::Finalised
                } else {
                    Closing::Abandoned
                };
                let answer = self
                    .bed
                    .write(move |tx| runs::close(tx, id, how, Some("closed"), now));
                self.guarded_run(answer)
            }
            _ => won(self.bed.write(move |tx| runs::keep(tx, id, world::WIP))),
        })
    }

    pub(super) fn merge_lease(&mut self, op: Op, world: &World) -> Option<Answer> {
        let now = world.now;
        if let Some(mut request) = world.lease_request(op) {
            request.task = at(request.task.0, &self.tasks);
            return Some(
                match self.bed.write(move |tx| leases::acquire(tx, &request, now)) {
                    Acquire::Held(lease) => Answer::Held(self.lease(lease)),
                    Acquire::Busy(lease) => Answer::Busy(self.lease(lease)),
                },
            );
        }
        if let Op::ReleaseTask(pick) = op {
            let task = self.tasks[world::task_pick(pick)];
            let freed = self.bed.write(move |tx| leases::release_of_task(tx, task));
            return Some(Answer::Count(i64::try_from(freed).unwrap()));
        }
        let (Op::Renew(pick, _) | Op::Release(pick) | Op::Reclaim(pick) | Op::Check(pick)) = op else {
            return None;
        };
        let known = self.real_lease(world.lease(pick)?);
        Some(match op {
            Op::Renew(_, ttl) => {
                let ttl = Duration::from_secs(u64::from(ttl));
                match self.bed.write(move |tx| leases::renew(tx, &known, ttl, now)) {
                    Guarded::Won(lease) => Answer::Held(self.lease(lease)),
                    Guarded::Lost => Answer::Lost,
                }
            }
            Op::Release(_) => won(self.bed.write(move |tx| leases::release(tx, &known))),
            Op::Reclaim(_) => won(self.bed.write(move |tx| leases::reclaim(tx, &known))),
            _ => Answer::Yes(self.bed.write(move |tx| leases::check(tx, &known, now))),
        })
    }
}
