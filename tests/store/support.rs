//! A fresh database for each test, and builders for what stands in it.

use std::time::Duration;

use diesel::RunQueryDsl as _;
use orch::domain::id::{
    BranchName, InstanceId, NodeName, ProjectId, ProjectName, StageName, Visit, WorkItemId,
};
use orch::domain::job::{Claim, Job, JobKind};
use orch::domain::pipeline::Role;
use orch::domain::task::{Task, TaskStatus, TrackerKind};
use orch::domain::time::Timestamp;
use orch::store::jobs::{self, Budgets, ClaimRequest, Enqueued, NewJob, Nodes};
use orch::store::runs::{self, NewRun};
use orch::store::tasks::{self, Inserted, NewTask};
use orch::store::{Conn, Guarded, Store, StoreError, projects};

use crate::support::Postgres;

/// The time at which tests begin.
pub const NOW: Timestamp = Timestamp(1_700_000_000_000_000);

/// `NOW` and so many seconds.
pub fn later(seconds: u64) -> Timestamp {
    NOW + std::time::Duration::from_secs(seconds)
}

/// Runs the same body on each database.
macro_rules! on_both {
    ($($(#[$meta:meta])* fn $name:ident($bed:ident) $body:block)+) => {$(
        mod $name {
            use super::*;

            fn body($bed: &Bed) $body

            $(#[$meta])*
            #[test]
            fn on_sqlite() {
                body(&Bed::sqlite());
            }

            $(#[$meta])*
            #[test]
            fn on_postgres() {
                if let Some(bed) = Bed::postgres() {
                    body(&bed);
                }
            }
        }
    )+};
}

/// A store on a database of its own.
pub struct Bed {
    pub store: Store,
    pub url: String,
    /// Goes after the store.
    pub place: Place,
}

pub enum Place {
    Folder(#[expect(dead_code, reason = "removed when dropped")] tempfile::TempDir),
    Server(#[expect(dead_code, reason = "dropped with it")] Postgres),
}

impl Bed {
    pub fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = folder.path().join("orch.db").display().to_string();
        Self {
            store: Store::open(&url).unwrap(),
            url,
            place: Place::Folder(folder),
        }
    }

    pub fn postgres() -> Option<Self> {
        let postgres = Postgres::fresh()?;
        let url = postgres.url().to_owned();
        Some(Self {
            store: Store::open(&url).unwrap(),
            url,
            place: Place::Server(postgres),
        })
    }

    /// Runs a command that must succeed.
    pub fn write<T: Send + 'static>(
        &self,
        f: impl FnOnce(&mut Conn) -> Result<T, StoreError> + Send + 'static,
    ) -> T {
        self.store.write_blocking(f).unwrap()
    }

    /// Changes rows behind the store's back.
    pub fn sql(&self, sql: &'static str) {
        self.write(move |c| {
            match c {
                Conn::Sqlite(c) => diesel::sql_query(sql).execute(c),
                Conn::Pg(c) => diesel::sql_query(sql).execute(c),
            }?;
            Ok(())
        });
    }

    pub fn project(&self, name: &'static str) -> ProjectId {
        self.write(move |c| projects::ensure(c, &ProjectName::trusted(name), "T", NOW))
            .id
    }

    pub fn task(&self, name: &str) -> Task {
        self.task_with(name, |_| {})
    }

    pub fn task_with(&self, name: &str, change: impl FnOnce(&mut NewTask)) -> Task {
        let mut new = new_task(self.project("shop"), name);
        change(&mut new);
        match self.write(move |c| tasks::insert(c, &new, NOW)) {
            Inserted::New(task) => task,
            Inserted::Existing(task) => panic!("{task:?} was there already"),
        }
    }

    pub fn job(&self, task: &Task) -> Job {
        self.job_with(task, |_| {})
    }

    pub fn job_with(&self, task: &Task, change: impl FnOnce(&mut NewJob)) -> Job {
        let mut new = new_job(task);
        change(&mut new);
        match self.write(move |c| jobs::enqueue(c, &new, NOW)) {
            Enqueued::New(job) => job,
            Enqueued::AlreadyLive(job) => panic!("{job:?} was there already"),
        }
    }

    /// Claims with these limits; nothing may be broken.
    pub fn claim(&self, request: ClaimRequest) -> Vec<Job> {
        let listing = self.write(move |c| jobs::claim_next(c, &request));
        assert_eq!(listing.broken, []);
        listing.rows
    }

    /// A task whose job was claimed.
    pub fn claimed(&self, name: &str) -> (Task, Job) {
        let task = self.task(name);
        let job = self.job(&task);
        let mut wide = request();
        wide.max_concurrency = 1000;
        let claimed = self.claim(wide);
        let job = claimed.into_iter().find(|c| c.id == job.id).unwrap();
        (task, job)
    }

    /// The run of a claimed job.
    pub fn run(&self, job: &Job) -> orch::domain::run::Run {
        let new = new_run(job);
        self.write(move |c| runs::create(c, &new, NOW)).won().unwrap()
    }
}

/// The claim of a job as it was read.
pub fn claim_of(job: &Job) -> Claim {
    Claim {
        job: job.id,
        epoch: job.claim_epoch,
    }
}

pub fn new_task(project_id: ProjectId, name: &str) -> NewTask {
    NewTask {
        project_id,
        work_item_id: WorkItemId::trusted(name),
        tracker: TrackerKind::Local,
        external_id: format!("{project_id}/{name}"),
        title: "Sell more".to_owned(),
        description: "Much more.".to_owned(),
        branch: BranchName::trusted(format!("feature/{name}")),
        stage: StageName::trusted("development"),
        status: TaskStatus::Active,
        priority: 0,
        executor: None,
        modifies: Vec::new(),
    }
}

pub fn new_job(task: &Task) -> NewJob {
    NewJob {
        task_id: task.id,
        project_id: task.project_id,
        kind: JobKind::Agent,
        role: Some(Role::Developer),
        stage: task.stage.clone(),
        visit: task.visit,
        task_version: task.version,
        priority: 0,
        available_at: NOW,
        attempts: 0,
        max_attempts: 2,
        transient_attempts: 0,
        max_transient_attempts: 5,
        notes: None,
        waits: None,
    }
}

pub fn new_run(job: &Job) -> NewRun {
    NewRun {
        claim: claim_of(job),
        task_id: job.task_id,
        role: job.role,
        agent: "claude".to_owned(),
        stage: job.stage.clone(),
        visit: Visit(1),
        node: NodeName::trusted("local"),
        instance: InstanceId::trusted("boot-1"),
    }
}

pub fn request() -> ClaimRequest {
    ClaimRequest {
        now: NOW,
        node: NodeName::trusted("local"),
        instance: InstanceId::trusted("boot-1"),
        known_projects: None,
        max_concurrency: 100,
        project_concurrency: Vec::new(),
        default_project_concurrency: None,
        paused: false,
        no_room: false,
        no_watch: false,
        half_open: Duration::from_secs(1800),
        budgets: Budgets::default(),
        nodes: Nodes::default(),
        reserved_ceiling: 100,
        limit: 100,
    }
}

/// The value of a write that had to win.
pub fn won<T: std::fmt::Debug>(guarded: Guarded<T>) -> T {
    match guarded {
        Guarded::Won(value) => value,
        Guarded::Lost => panic!("the write lost"),
    }
}
