//! Who may write about a run, and who may merge.

use std::time::Duration;

use orch::domain::id::{FencingToken, MonitorEpoch};
use orch::domain::run::RunStep;
use orch::store::leases::{Lease, LeaseRequest};

use super::{close, is_open};
use crate::schedules::op::{Answer, Op};
use crate::schedules::world::{self, REPO, WIP, World};

impl World {
    pub(super) fn monitor(&mut self, op: Op) -> Option<Answer> {
        let (Op::TakeOver(pick, _)
        | Op::Record { run: pick, .. }
        | Op::RunHolds(pick, _)
        | Op::Close(pick, _)
        | Op::Keep(pick)) = op
        else {
            return None;
        };
        let (now, seen) = (self.now, self.run(pick)?.clone());
        let claimed = self.is_current(world::claim_of_run(&seen));
        let mut runs = self.tables.runs.iter_mut();
        let run = runs.find(|run| run.id == seen.id)?;
        let is_last = |number| world::monitor_pick(&seen, number) == seen.monitor_epoch;
        if let Op::RunHolds(_, monitor) = op {
            return Some(Answer::Yes(is_open(run) && claimed && is_last(monitor)));
        }
        if !is_open(run) {
            return Some(Answer::Lost);
        }
        Some(match op {
            Op::TakeOver(_, monitor) if is_last(monitor) => {
                run.monitor_epoch = MonitorEpoch(run.monitor_epoch.0 + 1);
                Answer::Count(run.monitor_epoch.0)
            }
            Op::Record { monitor, step, .. } if is_last(monitor) && claimed && run.step <= step => {
                run.step = step;
                run.error = world::patch(step).error;
                if !is_open(run) {
                    run.finished_at = Some(now);
                }
                Answer::Run(Box::new(run.clone()))
            }
            Op::Close(_, well) => {
                let step = if well {
                    RunStep::Finalised
                } else {
                    RunStep::Abandoned
                };
                close(run, step, "closed", now);
                Answer::Run(Box::new(run.clone()))
            }
            Op::Keep(_) => {
                run.wip_ref = Some(WIP.to_owned());
                Answer::Won
            }
            _ => Answer::Lost,
        })
    }

    pub(super) fn acquire(&mut self, request: LeaseRequest) -> Answer {
        let now = self.now;
        let expires_at = now + request.ttl;
        let token = self.tables.tokens.entry(REPO.to_owned()).or_insert(0);
        let lease = match self.tables.leases.pop() {
            Some(held) if held.expires_at > now && held.task != request.task => {
                self.tables.leases.push(held.clone());
                return Answer::Busy(held);
            }
            Some(own) if own.expires_at > now => Lease {
                instance: request.instance,
                expires_at,
                ..own
            },
            Some(_) | None => {
                *token += 1;
                Lease {
                    repo: request.repo,
                    task: request.task,
                    branch: request.branch,
                    instance: request.instance,
                    acquired_at: now,
                    expires_at,
                    token: FencingToken(*token),
                }
            }
        };
        self.tables.leases.push(lease.clone());
        self.held.push(lease.clone());
        Answer::Held(lease)
    }

    pub(super) fn merge_lease(&mut self, op: Op) -> Option<Answer> {
        let now = self.now;
        let leases = &mut self.tables.leases;
        if let Op::ReleaseTask(pick) = op {
            let (task, before) = (self.tables.tasks[world::task_pick(pick)].id, leases.len());
            leases.retain(|l| l.task != task);
            return Some(Answer::Count(i64::from(leases.len() < before)));
        }
        let (Op::Renew(pick, _) | Op::Release(pick) | Op::Reclaim(pick) | Op::Check(pick)) = op else {
            return None;
        };
        let known = self.lease(pick)?;
        let leases = &mut self.tables.leases;
        let own = |l: &Lease| l.task == known.task && l.token == known.token;
        let held = leases.first().is_some_and(|l| own(l) && l.expires_at > now);
        Some(match op {
            Op::Check(_) => Answer::Yes(held),
            Op::Renew(_, ttl) if held => {
                leases[0].expires_at = now + Duration::from_secs(u64::from(ttl));
                let renewed = leases[0].clone();
                self.held.push(renewed.clone());
                Answer::Held(renewed)
            }
            Op::Release(_) if leases.first().is_some_and(own) => {
                leases.clear();
                Answer::Won
            }
            Op::Reclaim(_)
                if leases.first().is_some_and(|l| {
                    own(l) && l.instance == known.instance && l.expires_at == known.expires_at
                }) =>
            {
                leases.clear();
                Answer::Won
            }
            _ => Answer::Lost,
        })
    }
}
