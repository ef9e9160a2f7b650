//! What can happen in a schedule, and what it answers. Operations name what they are about by a number that picks from
//! what is known by then, so that a schedule stays one when a part of it is taken out.

use std::time::Duration;

use orch::domain::job::{Job, JobEnd, JobKind};
use orch::domain::run::{Run, RunStep};
use orch::domain::time::Timestamp;
use orch::store::leases::Lease;
use proptest::prelude::*;

/// One of what is known, counted round.
pub type Pick = u8;

/// Tasks of a schedule, and the projects that they are of in turn.
pub const TASKS: usize = 3;
pub const PROJECTS: usize = 2;

/// One thing that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// The clock is set forward or back, seconds.
    Jump(i32),
    /// A new boot of a node: those before it are over, what they ran is adopted.
    Start(Pick),
    Beat(Pick),
    /// Jobs of boots that were not heard for so many seconds are queued again.
    Sweep(u8),
    Enqueue {
        task: Pick,
        kind: JobKind,
        priority: i32,
        wait: u8,
    },
    Claim {
        boot: Pick,
        limit: u8,
        paused: bool,
    },
    /// Whoever has any claim, however old, makes its run.
    Open(Pick),
    Finish(Pick, How),
    /// Ends the claim, moves its task and queues what follows, or does nothing of it.
    Advance {
        claim: Pick,
        over: bool,
    },
    /// What a reaper does that looked at any claim: ends it and closes its run.
    Reap(Pick),
    LookDead(Pick),
    SeeAlive(Pick),
    Holds(Pick),
    IsOf(Pick, Pick),
    Cancel(Pick),
    CancelTask(Pick),
    Retry(Pick),
    Reprioritise(Pick, i32),
    Wake(Pick),
    /// A person moves the task, or only writes about it.
    Move {
        task: Pick,
        enter: bool,
    },
    /// A monitor that saw this epoch takes the run over.
    TakeOver(Pick, Pick),
    Record {
        run: Pick,
        monitor: Pick,
        step: RunStep,
    },
    RunHolds(Pick, Pick),
    Close(Pick, bool),
    Keep(Pick),
    Acquire {
        task: Pick,
        boot: Pick,
        ttl: u8,
    },
    Renew(Pick, u8),
    Release(Pick),
    Reclaim(Pick),
    Check(Pick),
    ReleaseTask(Pick),
}

/// How a claim is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    Done,
    Failed,
    Cancelled,
    Again,
    Transient,
    Snooze,
}

impl How {
    /// As the engine decides it: again only while attempts are left.
    pub fn end(self, job: &Job, now: Timestamp) -> JobEnd {
        let available_at = match self {
            Self::Transient => now + Duration::from_secs(2),
            Self::Done | Self::Failed | Self::Cancelled | Self::Again | Self::Snooze => now,
        };
        let error = "it failed".to_owned();
        match self {
            Self::Done => JobEnd::Done,
            Self::Cancelled => JobEnd::Cancelled("by hand".to_owned()),
            Self::Again if job.attempts < job.max_attempts => JobEnd::Retry {
                error,
                available_at,
                notes: Some(format!("after attempt {}", job.attempts)),
                timeout_percent: None,
            },
            Self::Transient if job.transient_attempts < job.max_transient_attempts => {
                JobEnd::RetryTransient { error, available_at }
            }
            Self::Failed | Self::Again | Self::Transient => JobEnd::Failed(error),
            Self::Snooze => JobEnd::Snooze {
                reason: "has to wait".to_owned(),
                available_at,
            },
        }
    }
}

/// What an operation answered, with every id counted from 1 in the order of making.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// There was nothing to do it to.
    Nothing,
    Lost,
    Won,
    Yes(bool),
    Count(i64),
    Job(Box<Job>),
    AlreadyLive(Box<Job>),
    Jobs(Vec<Job>),
    /// A retry that was refused.
    Refused(&'static str),
    Run(Box<Run>),
    Held(Lease),
    Busy(Lease),
}

impl Answer {
    /// One word for it.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Lost => "lost",
            Self::Won => "won",
            Self::Yes(true) => "yes",
            Self::Yes(false) => "no",
            Self::Count(0) => "none",
            Self::Count(_) => "some",
            Self::Job(_) => "job",
            Self::AlreadyLive(_) => "already live",
            Self::Jobs(jobs) if jobs.is_empty() => "no jobs",
            Self::Jobs(_) => "jobs",
            Self::Refused(why) => why,
            Self::Run(_) => "run",
            Self::Held(_) => "held",
            Self::Busy(_) => "busy",
        }
    }
}

/// The limits under which all claims of a schedule are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub agents: usize,
    pub in_project: Option<usize>,
    pub reserved: usize,
}

/// A schedule: the first boots are there, the rest is up to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    pub limits: Limits,
    pub ops: Vec<Op>,
}

fn how() -> impl Strategy<Value = How> {
    prop::sample::select(vec![
        How::Done,
        How::Failed,
        How::Cancelled,
        How::Again,
        How::Again,
        How::Transient,
        How::Snooze,
    ])
}

fn queue() -> impl Strategy<Value = Op> {
    let kind = prop::sample::select(vec![JobKind::Agent, JobKind::Agent, JobKind::GateCheck]);
    let enqueue = (any::<Pick>(), kind, -1..=1, prop::sample::select(vec![0, 0, 3]));
    let claim = (any::<Pick>(), 1..=3u8, prop::bool::weighted(0.1));
    prop_oneof![
        4 => enqueue.prop_map(|(task, kind, priority, wait)| Op::Enqueue { task, kind, priority, wait }),
        8 => claim.prop_map(|(boot, limit, paused)| Op::Claim { boot, limit, paused }),
        1 => any::<Pick>().prop_map(Op::Cancel),
        1 => any::<Pick>().prop_map(Op::CancelTask),
        1 => any::<Pick>().prop_map(Op::Retry),
        1 => (any::<Pick>(), -1..=1).prop_map(|(job, to)| Op::Reprioritise(job, to)),
        1 => any::<Pick>().prop_map(Op::Wake),
        1 => (any::<Pick>(), any::<bool>()).prop_map(|(task, enter)| Op::Move { task, enter }),
    ]
}

fn claims() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (any::<Pick>(), how()).prop_map(|(claim, how)| Op::Finish(claim, how)),
        3 => (any::<Pick>(), prop::bool::weighted(0.1)).prop_map(|(claim, over)| Op::Advance { claim, over }),
        2 => any::<Pick>().prop_map(Op::Reap),
        3 => any::<Pick>().prop_map(Op::Open),
        2 => any::<Pick>().prop_map(Op::LookDead),
        1 => any::<Pick>().prop_map(Op::SeeAlive),
        1 => any::<Pick>().prop_map(Op::Holds),
        1 => any::<(Pick, Pick)>().prop_map(|(claim, boot)| Op::IsOf(claim, boot)),
    ]
}

fn runs() -> impl Strategy<Value = Op> {
    let step = prop::sample::select(RunStep::ALL.to_vec());
    prop_oneof![
        2 => any::<(Pick, Pick)>().prop_map(|(run, seen)| Op::TakeOver(run, seen)),
        4 => (any::<(Pick, Pick)>(), step).prop_map(|((run, monitor), step)| Op::Record { run, monitor, step }),
        1 => any::<(Pick, Pick)>().prop_map(|(run, monitor)| Op::RunHolds(run, monitor)),
        1 => any::<(Pick, bool)>().prop_map(|(run, well)| Op::Close(run, well)),
        1 => any::<Pick>().prop_map(Op::Keep),
    ]
}

fn leases() -> impl Strategy<Value = Op> {
    let acquire = (any::<(Pick, Pick)>(), 1..=5u8);
    prop_oneof![
        4 => acquire.prop_map(|((task, boot), ttl)| Op::Acquire { task, boot, ttl }),
        2 => (any::<Pick>(), 1..=5u8).prop_map(|(lease, ttl)| Op::Renew(lease, ttl)),
        1 => any::<Pick>().prop_map(Op::Release),
        2 => any::<Pick>().prop_map(Op::Reclaim),
        1 => any::<Pick>().prop_map(Op::Check),
        1 => any::<Pick>().prop_map(Op::ReleaseTask),
    ]
}

fn boots() -> impl Strategy<Value = Op> {
    prop_oneof![
        3 => (-4..=6).prop_map(Op::Jump),
        1 => any::<Pick>().prop_map(Op::Start),
        1 => any::<Pick>().prop_map(Op::Beat),
        1 => (1..=4u8).prop_map(Op::Sweep),
    ]
}

pub fn schedule() -> impl Strategy<Value = Schedule> {
    let limits = (
        prop::sample::select(vec![1, 2, 10_000]),
        prop::sample::select(vec![None, None, Some(1)]),
        1..=2usize,
    );
    let limits = limits.prop_map(|(agents, in_project, reserved)| Limits {
        agents,
        in_project,
        reserved,
    });
    let op = prop_oneof![8 => queue(), 8 => claims(), 4 => runs(), 4 => leases(), 4 => boots()];
    (limits, prop::collection::vec(op, 1..48)).prop_map(|(limits, ops)| Schedule { limits, ops })
}
