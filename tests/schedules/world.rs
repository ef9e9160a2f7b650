//! The pure model of a schedule: rows as values, each operation as a few lines over them. It says what both databases
//! have to answer, and what has to stand in them afterwards.

use std::collections::BTreeMap;
use std::time::Duration;

use orch::domain::id::{
    BranchName, ClaimEpoch, InstanceId, JobId, MonitorEpoch, NodeName, ProjectId, RunId, StageName, TaskId,
    TaskVersion, Visit,
};
use orch::domain::job::{Claim, Job, JobEnd, JobKind, JobStatus};
use orch::domain::pipeline::Role;
use orch::domain::run::{ProcessIdentity, Run, RunStep};
use orch::domain::task::{Task, TaskStatus};
use orch::domain::time::Timestamp;
use orch::store::instances::Instance;
use orch::store::jobs::{Budgets, ClaimRequest, NewJob, Nodes};
use orch::store::leases::{Lease, LeaseRequest};
use orch::store::runs::{NewRun, RunPatch};
use orch::store::tasks::{NewTask, TaskChange};

use super::op::{Limits, Op, PROJECTS, Pick, TASKS};
use crate::store::support::{self, NOW};

/// Where kept work lies.
pub const WIP: &str = "refs/orch/wip/kept";
pub const REPO: &str = "shop";
const STAGE: &str = "development";
const NODES: [&str; 2] = ["local", "other"];
pub const SILENT: &str = "not heard";

/// All that stands in the tables, every id counted from 1 in the order of making.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tables {
    pub jobs: Vec<Job>,
    /// Dead looks, by job.
    pub looks: Vec<i64>,
    pub runs: Vec<Run>,
    pub tasks: Vec<Task>,
    /// Those that are held.
    pub leases: Vec<Lease>,
    /// The token of each lease, held or not.
    pub tokens: BTreeMap<String, i64>,
    pub boots: Vec<Instance>,
}

/// The tables, the clock, and what anybody was ever given.
#[derive(Clone, Debug)]
pub struct World {
    pub now: Timestamp,
    pub limits: Limits,
    pub tables: Tables,
    /// Every claim that was ever won.
    pub claims: Vec<Claim>,
    /// Every lease as it was ever held.
    pub held: Vec<Lease>,
}

impl std::ops::Deref for World {
    type Target = Tables;
    fn deref(&self) -> &Tables {
        &self.tables
    }
}

fn pick<T>(number: Pick, among: &[T]) -> Option<&T> {
    among.get(usize::from(number).checked_rem(among.len())?)
}

pub fn task_pick(number: Pick) -> usize {
    usize::from(number) % TASKS
}

/// The project of the task with that index, counted from 1.
pub fn project_of(task: usize) -> ProjectId {
    ProjectId(i64::try_from(task % PROJECTS).unwrap() + 1)
}

fn index(id: i64) -> usize {
    usize::try_from(id - 1).unwrap()
}

/// The number of what comes next behind so many.
pub fn next(len: usize) -> i64 {
    i64::try_from(len).unwrap() + 1
}

pub fn new_task(project: ProjectId, n: usize) -> NewTask {
    NewTask {
        external_id: format!("T-{n}"),
        ..support::new_task(project, &format!("T-{n}"))
    }
}

/// A change of a task: it enters its stage anew, or is over, or somebody writes a line about it.
pub fn change(enter: bool, over: bool) -> TaskChange {
    TaskChange {
        enter: enter.then(|| StageName::trusted(STAGE)),
        status: over.then_some(TaskStatus::Done),
        reason: Some(Some("moved".to_owned())),
        ..TaskChange::default()
    }
}

pub fn claim_of_run(run: &Run) -> Claim {
    Claim {
        job: run.job_id,
        epoch: run.claim_epoch,
    }
}

/// One of the monitors that a run had.
pub fn monitor_pick(run: &Run, number: Pick) -> MonitorEpoch {
    MonitorEpoch(i64::from(number) % run.monitor_epoch.0 + 1)
}

pub fn patch(step: RunStep) -> RunPatch {
    RunPatch {
        step: Some(step),
        error: Some(format!("at {}", step.as_str())),
        ..RunPatch::default()
    }
}

pub fn new_run(job: &Job, claim: Claim) -> NewRun {
    NewRun {
        claim,
        ..support::new_run(job)
    }
}

/// How a reaper ends what it found dead.
pub fn reaped(job: &Job, now: Timestamp) -> JobEnd {
    let error = "its agent is gone".to_owned();
    if job.attempts < job.max_attempts {
        JobEnd::Retry {
            error,
            available_at: now,
            notes: None,
            timeout_percent: None,
        }
    } else {
        JobEnd::Failed(error)
    }
}

/// How the jobs of a lost node end.
pub fn silent(now: Timestamp) -> JobEnd {
    JobEnd::Snooze {
        reason: SILENT.to_owned(),
        available_at: now,
    }
}

impl World {
    pub fn new(limits: Limits) -> Self {
        let task = |n: usize| {
            let new = new_task(project_of(n), n);
            Task {
                id: TaskId(next(n)),
                project_id: new.project_id,
                work_item_id: new.work_item_id,
                tracker: new.tracker,
                external_id: new.external_id,
                title: new.title,
                description: new.description,
                branch: new.branch,
                stage: new.stage,
                status: new.status,
                version: TaskVersion(1),
                visit: Visit(1),
                stage_entered_at: NOW,
                developer_retries: 0,
                reason: None,
                candidate: None,
                code_tree: None,
                evidence: None,
                priority: new.priority,
                executor: None,
                modifies: Vec::new(),
                created_at: NOW,
                updated_at: NOW,
                finished_at: None,
            }
        };
        Self {
            now: NOW,
            limits,
            tables: Tables {
                tasks: (0..TASKS).map(task).collect(),
                ..Tables::default()
            },
            claims: Vec::new(),
            held: Vec::new(),
        }
    }

    pub fn job(&self, number: Pick) -> Option<&Job> {
        pick(number, &self.jobs)
    }

    pub fn run(&self, number: Pick) -> Option<&Run> {
        pick(number, &self.runs)
    }

    pub fn claim(&self, number: Pick) -> Option<Claim> {
        pick(number, &self.claims).copied()
    }

    pub fn lease(&self, number: Pick) -> Option<Lease> {
        pick(number, &self.held).cloned()
    }

    pub fn boot(&self, number: Pick) -> &Instance {
        pick(number, &self.boots).expect("every schedule begins with boots")
    }

    pub fn job_of(&self, claim: Claim) -> &Job {
        &self.jobs[index(claim.job.0)]
    }

    /// Whether the job runs under this claim.
    pub fn is_current(&self, claim: Claim) -> bool {
        let job = self.job_of(claim);
        job.status == JobStatus::Running && job.claim_epoch == claim.epoch
    }

    pub fn next_boot(&self, number: Pick) -> Instance {
        Instance {
            id: InstanceId::trusted(format!("boot-{}", next(self.boots.len()))),
            node: NodeName::trusted(NODES[usize::from(number) % NODES.len()]),
            process: ProcessIdentity {
                boot_id: "boot".to_owned(),
                pid_namespace: 1,
                pid: 42,
                start_time: 7,
            },
            started_at: self.now,
            heartbeat_at: self.now,
            stopped_at: None,
        }
    }

    /// The job that an operation enqueues.
    pub fn new_job(&self, op: Op) -> Option<NewJob> {
        let Op::Enqueue {
            task,
            kind,
            priority,
            wait,
        } = op
        else {
            return None;
        };
        Some(NewJob {
            kind,
            role: (kind == JobKind::Agent).then_some(Role::Developer),
            priority,
            available_at: self.now + Duration::from_secs(u64::from(wait)),
            max_transient_attempts: 1,
            ..support::new_job(&self.tasks[task_pick(task)])
        })
    }

    /// The job that follows one that ended well, but for the task's new version and visit.
    pub fn follow_up(&self, job: &Job) -> NewJob {
        NewJob {
            kind: job.kind,
            role: job.role,
            priority: job.priority,
            available_at: self.now,
            ..support::new_job(&self.tasks[index(job.task_id.0)])
        }
    }

    pub fn request(&self, op: Op) -> Option<ClaimRequest> {
        let Op::Claim { boot, limit, paused } = op else {
            return None;
        };
        let boot = self.boot(boot);
        Some(ClaimRequest {
            now: self.now,
            node: boot.node.clone(),
            instance: boot.id.clone(),
            known_projects: None,
            max_concurrency: self.limits.agents,
            project_concurrency: Vec::new(),
            default_project_concurrency: self.limits.in_project,
            paused,
            no_room: false,
            no_watch: false,
            half_open: Duration::from_secs(1800),
            budgets: Budgets::default(),
            nodes: Nodes::default(),
            reserved_ceiling: self.limits.reserved,
            limit: usize::from(limit),
        })
    }

    pub fn lease_request(&self, op: Op) -> Option<LeaseRequest> {
        let Op::Acquire { task, boot, ttl } = op else {
            return None;
        };
        let task = &self.tasks[task_pick(task)];
        Some(LeaseRequest {
            repo: REPO.to_owned(),
            task: task.id,
            branch: BranchName::trusted(task.branch.as_str()),
            instance: self.boot(boot).id.clone(),
            ttl: Duration::from_secs(u64::from(ttl)),
        })
    }

    pub fn fresh_job(&self, new: &NewJob) -> Job {
        Job {
            id: JobId(next(self.jobs.len())),
            task_id: new.task_id,
            project_id: new.project_id,
            kind: new.kind,
            role: new.role,
            stage: new.stage.clone(),
            visit: new.visit,
            task_version: new.task_version,
            status: JobStatus::Queued,
            priority: new.priority,
            available_at: new.available_at,
            attempts: new.attempts,
            max_attempts: new.max_attempts,
            transient_attempts: new.transient_attempts,
            max_transient_attempts: new.max_transient_attempts,
            claim_epoch: ClaimEpoch(0),
            node: None,
            instance: None,
            claimed_at: None,
            finished_at: None,
            error: None,
            notes: new.notes.clone(),
            created_at: self.now,
            timeout_percent: 100,
            agent_node: None,
        }
    }

    pub fn fresh_run(&self, new: NewRun) -> Run {
        Run {
            id: RunId(next(self.runs.len())),
            job_id: new.claim.job,
            task_id: new.task_id,
            claim_epoch: new.claim.epoch,
            monitor_epoch: MonitorEpoch(1),
            role: new.role,
            agent: new.agent,
            stage: new.stage,
            visit: new.visit,
            node: new.node,
            instance: new.instance,
            step: RunStep::Claimed,
            start_sha: None,
            start_tree: None,
            end_sha: None,
            end_tree: None,
            wip_ref: None,
            shim: None,
            exit: None,
            error: None,
            usage: None,
            started_at: self.now,
            finished_at: None,
        }
    }
}
