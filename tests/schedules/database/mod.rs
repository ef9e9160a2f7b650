//! A schedule on a real database, by the store's own functions; or with one of them replaced by a wrong one.

mod deeds;
mod operations;

use std::path::Path;

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text};
use orch::domain::id::{JobId, ProjectId, RunId, TaskId};
use orch::domain::job::{Claim, Job};
use orch::domain::run::Run;
use orch::domain::task::Task;
use orch::store::jobs;
use orch::store::leases::{self, Lease};
use orch::store::runs;
use orch::store::tasks::{self, Inserted};
use orch::store::{Conn, Guarded, Store, StoreError, instances};

use crate::schedules::op::{Answer, Op, PROJECTS, TASKS};
use crate::schedules::world::{self, Tables, World};
use crate::store::support::{Bed, NOW, Place};

/// Who executes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Executor {
    /// As the service does it.
    True,
    /// Ends jobs by their id alone.
    WithoutEpoch,
    /// Moves the task before it has won the claim.
    ActsFirst,
}

/// Why nothing of a command stays.
enum Undo {
    Lost,
    Store(StoreError),
}

impl From<StoreError> for Undo {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// A database, and the ids that stand in it in the order of making.
pub struct Database {
    bed: Bed,
    pub name: &'static str,
    executor: Executor,
    projects: Vec<ProjectId>,
    tasks: Vec<TaskId>,
    jobs: Vec<JobId>,
    runs: Vec<RunId>,
}

#[derive(QueryableByName)]
struct Named {
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = BigInt)]
    n: i64,
}

fn named(tx: &mut Conn, sql: &str) -> Result<Vec<Named>, StoreError> {
    Ok(match tx {
        Conn::Sqlite(c) => diesel::sql_query(sql).load(c),
        Conn::Pg(c) => diesel::sql_query(sql).load(c),
    }?)
}

fn execute(tx: &mut Conn, sql: &str) -> Result<(), StoreError> {
    match tx {
        Conn::Sqlite(c) => diesel::sql_query(sql).execute(c),
        Conn::Pg(c) => diesel::sql_query(sql).execute(c),
    }?;
    Ok(())
}

/// The number of an id, from 1.
fn number<T: PartialEq + std::fmt::Debug>(of: &T, among: &[T]) -> i64 {
    let at = among.iter().position(|known| known == of);
    i64::try_from(at.unwrap_or_else(|| panic!("{of:?} is not known"))).unwrap() + 1
}

/// The real id behind a number.
fn at<T: Copy>(number: i64, among: &[T]) -> T {
    among[usize::try_from(number - 1).unwrap()]
}

impl Database {
    /// In memory where the system has a place for that: what a disk keeps is not the question here.
    pub fn sqlite(executor: Executor) -> Self {
        let folder = match Path::new("/dev/shm") {
            memory if memory.is_dir() => tempfile::tempdir_in(memory).unwrap(),
            _ => tempfile::tempdir().unwrap(),
        };
        let url = folder.path().join("orch.db").display().to_string();
        let bed = Bed {
            store: Store::open(&url).unwrap(),
            url,
            place: Place::Folder(folder),
        };
        Self::new("SQLite", bed, executor)
    }

    /// Without waiting for its disk. None where there is no server.
    pub fn postgres(executor: Executor) -> Option<Self> {
        let bed = Bed::postgres()?;
        bed.sql(
            "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET synchronous_commit = off', current_database()); END $$",
        );
        let store = Store::open(&bed.url).unwrap();
        Some(Self::new("PostgreSQL", Bed { store, ..bed }, executor))
    }

    fn new(name: &'static str, bed: Bed, executor: Executor) -> Self {
        let names = ["one", "two"];
        let projects = names[..PROJECTS].iter().map(|name| bed.project(name)).collect();
        Self {
            bed,
            name,
            executor,
            projects,
            tasks: Vec::new(),
            jobs: Vec::new(),
            runs: Vec::new(),
        }
    }

    /// Empties the tables and puts the tasks back.
    pub fn reset(&mut self) {
        let new: Vec<_> = (0..TASKS)
            .map(|n| world::new_task(at(world::project_of(n).0, &self.projects), n))
            .collect();
        self.tasks = self.bed.write(move |tx| {
            for table in ["runs", "jobs", "leases", "instances", "tasks"] {
                execute(tx, &format!("DELETE FROM {table}"))?;
            }
            let mut made = Vec::new();
            for new in &new {
                match tasks::insert(tx, new, NOW)? {
                    Inserted::New(task) | Inserted::Existing(task) => made.push(task.id),
                }
            }
            Ok(made)
        });
        self.jobs.clear();
        self.runs.clear();
    }

    fn job(&mut self, job: Job) -> Job {
        if !self.jobs.contains(&job.id) {
            self.jobs.push(job.id);
        }
        Job {
            id: JobId(number(&job.id, &self.jobs)),
            task_id: TaskId(number(&job.task_id, &self.tasks)),
            project_id: ProjectId(number(&job.project_id, &self.projects)),
            ..job
        }
    }

    fn run(&mut self, run: Run) -> Run {
        if !self.runs.contains(&run.id) {
            self.runs.push(run.id);
        }
        Run {
            id: RunId(number(&run.id, &self.runs)),
            job_id: JobId(number(&run.job_id, &self.jobs)),
            task_id: TaskId(number(&run.task_id, &self.tasks)),
            ..run
        }
    }

    fn lease(&self, lease: Lease) -> Lease {
        Lease {
            task: TaskId(number(&lease.task, &self.tasks)),
            ..lease
        }
    }

    fn real_lease(&self, lease: Lease) -> Lease {
        Lease {
            task: at(lease.task.0, &self.tasks),
            ..lease
        }
    }

    fn real_claim(&self, claim: Claim) -> Claim {
        Claim {
            job: at(claim.job.0, &self.jobs),
            ..claim
        }
    }

    fn guarded_job(&mut self, answer: Guarded<Job>) -> Answer {
        match answer {
            Guarded::Won(job) => Answer::Job(Box::new(self.job(job))),
            Guarded::Lost => Answer::Lost,
        }
    }

    fn guarded_run(&mut self, answer: Guarded<Run>) -> Answer {
        match answer {
            Guarded::Won(run) => Answer::Run(Box::new(self.run(run))),
            Guarded::Lost => Answer::Lost,
        }
    }

    /// Does what the schedule says; the world says what is known before it.
    pub fn apply(&mut self, op: Op, world: &World) -> Answer {
        self.try_apply(op, world).unwrap_or(Answer::Nothing)
    }

    fn try_apply(&mut self, op: Op, world: &World) -> Option<Answer> {
        let now = world.now;
        Some(match op {
            Op::Jump(_) => Answer::Nothing,
            Op::Start(_) | Op::Beat(_) | Op::Sweep(_) => return self.boots(op, world),
            Op::Enqueue { .. } | Op::Claim { .. } => return self.queue(op, world),
            Op::Cancel(_) | Op::CancelTask(_) | Op::Retry(_) | Op::Reprioritise(..) | Op::Wake(_) => {
                return self.operate(op, world);
            }
            Op::Move { task, enter } => {
                let task = &world.tasks[world::task_pick(task)];
                let (id, version) = (at(task.id.0, &self.tasks), task.version);
                let change = world::change(enter, false);
                match self
                    .bed
                    .write(move |tx| tasks::compare_and_set(tx, id, version, &change, now))
                {
                    Guarded::Won(_) => Answer::Won,
                    Guarded::Lost => Answer::Lost,
                }
            }
            Op::Finish(..) | Op::Advance { .. } | Op::Reap(_) | Op::Open(_) => {
                return self.end(op, world);
            }
            Op::LookDead(_) | Op::SeeAlive(_) | Op::Holds(_) | Op::IsOf(..) => return self.look(op, world),
            Op::TakeOver(..) | Op::Record { .. } | Op::RunHolds(..) | Op::Close(..) | Op::Keep(_) => {
                return self.monitor(op, world);
            }
            Op::Acquire { .. }
            | Op::Renew(..)
            | Op::Release(_)
            | Op::Reclaim(_)
            | Op::Check(_)
            | Op::ReleaseTask(_) => return self.merge_lease(op, world),
        })
    }

    /// All that stands in the tables.
    pub fn tables(&mut self, world: &World) -> Tables {
        let (tasks, boots) = (self.tasks.clone(), world.boots.clone());
        let (jobs, looks, runs, tasks, leases, tokens, boots) = self.bed.write(move |tx| {
            let mut jobs = jobs::recent(tx, 10_000)?.rows;
            jobs.reverse();
            let looks = named(
                tx,
                "SELECT '' AS name, CAST(dead_looks AS BIGINT) AS n FROM jobs ORDER BY id",
            )?;
            let (mut runs, mut found, mut alive) = (Vec::new(), Vec::new(), Vec::new());
            for task in &tasks {
                runs.extend(runs::of_task(tx, *task)?.rows);
                found.extend(tasks::by_id(tx, *task)?);
            }
            for boot in &boots {
                alive.extend(instances::by_id(tx, &boot.id)?);
            }
            runs.sort_by_key(|run| run.id);
            let tokens = named(tx, "SELECT repo AS name, token AS n FROM leases ORDER BY repo")?;
            Ok((jobs, looks, runs, found, leases::list(tx)?, tokens, alive))
        });
        Tables {
            jobs: jobs.into_iter().map(|job| self.job(job)).collect(),
            looks: looks.iter().map(|named| named.n).collect(),
            runs: runs.into_iter().map(|run| self.run(run)).collect(),
            tasks: tasks.into_iter().map(|task| self.task(task)).collect(),
            leases: leases.into_iter().map(|lease| self.lease(lease)).collect(),
            tokens: tokens.into_iter().map(|named| (named.name, named.n)).collect(),
            boots,
        }
    }

    fn task(&self, task: Task) -> Task {
        Task {
            id: TaskId(number(&task.id, &self.tasks)),
            project_id: ProjectId(number(&task.project_id, &self.projects)),
            ..task
        }
    }
}

fn won(answer: Guarded<()>) -> Answer {
    match answer {
        Guarded::Won(()) => Answer::Won,
        Guarded::Lost => Answer::Lost,
    }
}
