//! Removes what was kept for long enough: histories of finished tasks, run folders, WIP refs, notices, healings; then
//! lets each project's own command make room. Never touches what belongs to a task that is not over, and one part that
//! fails never keeps another from being pruned.

mod command;
mod folders;

use std::time::Duration;

use crate::domain::id::{RunId, TaskId};
use crate::domain::time::Timestamp;
use crate::git::WipName;
use crate::store::retention::{self, Act, Batch, OldWork};
use crate::store::{Conn, Guarded, StoreError, runs};

use super::instances::Duty;
use super::views::PruneReport;
use super::{Engine, EngineError, blocking};

/// Rows in one transaction: others get the writer in between.
const BATCH: usize = 200;
/// Before everything.
const BEGINNING: Timestamp = Timestamp(i64::MIN);

/// What a sweep would remove. Writes nothing.
///
/// # Errors
/// The database's.
pub async fn plan(engine: &Engine) -> Result<PruneReport, EngineError> {
    let mut sweep = Sweep::new(engine, Act::Count);
    sweep.files().await;
    sweep.rows().await;
    sweep.report.commands = command::all(engine, Act::Count).await;
    Ok(sweep.report)
}

/// Removes it, and runs the projects' own commands.
///
/// # Errors
/// `Conflict` while another sweep is under way.
pub async fn sweep(engine: &Engine) -> Result<PruneReport, EngineError> {
    let _alone = alone(engine)?;
    let mut sweep = Sweep::new(engine, Act::Remove);
    sweep.files().await;
    sweep.rows().await;
    sweep.report.commands = command::all(engine, Act::Remove).await;
    Ok(sweep.report)
}

/// The same by schedule. Rows are pruned by the one of several instances that has the duty; files and refs belong to a
/// node.
///
/// # Errors
/// As [`sweep`]; the database's.
pub async fn scheduled(engine: &Engine) -> Result<PruneReport, EngineError> {
    let _alone = alone(engine)?;
    let (duty, now) = (Duty::of(engine), engine.now());
    let read = engine.store().read(move |tx| duty.held(tx, now));
    let on_duty = read.await?.is_some();
    let mut sweep = Sweep::new(engine, Act::Remove);
    sweep.files().await;
    if on_duty {
        sweep.rows().await;
    }
    sweep.report.commands = command::all(engine, Act::Remove).await;
    Ok(sweep.report)
}

fn alone(engine: &Engine) -> Result<tokio::sync::OwnedMutexGuard<()>, EngineError> {
    let taken = engine.pruning.clone().try_lock_owned();
    taken.map_err(|_| EngineError::Conflict {
        what: "a sweep is under way: wait until it has ended".to_owned(),
    })
}

struct Sweep<'a> {
    engine: &'a Engine,
    act: Act,
    now: Timestamp,
    report: PruneReport,
}

impl<'a> Sweep<'a> {
    fn new(engine: &'a Engine, act: Act) -> Self {
        Self {
            engine,
            act,
            now: engine.now(),
            report: PruneReport {
                dry_run: act == Act::Count,
                ..PruneReport::default()
            },
        }
    }

    fn trouble(&mut self, what: &str, e: &EngineError) {
        self.report.trouble.push(format!("{what}: {e}"));
    }

    /// Work first: a folder whose work is given up goes whole, and so does a history.
    async fn files(&mut self) {
        let keep = self.engine.settings().retention.keep;
        if let Some(keep) = keep.wip
            && let Err(e) = self.work(keep).await
        {
            self.trouble("kept work", &e);
        }
        if let Some(keep) = keep.logs {
            match folders::prune(self.engine, self.act, keep, self.now).await {
                Ok(gone) => {
                    self.report.folders = gone.folders;
                    self.report.bytes = gone.bytes;
                    self.report.trouble.extend(gone.trouble);
                }
                Err(e) => self.trouble("run folders", &e),
            }
        }
    }

    async fn rows(&mut self) {
        let keep = self.engine.settings().retention.keep;
        if let Some(keep) = keep.jobs
            && let Err(e) = self.histories(keep).await
        {
            self.trouble("histories of finished tasks", &e);
        }
        type Prune = fn(&mut Conn, Act, Timestamp, usize) -> Result<usize, StoreError>;
        let singles: [(&str, Option<Duration>, Prune); 7] = [
            ("sent notices", keep.outbox, retention::notices),
            ("healings", keep.healing, retention::healings),
            ("stopped instances", keep.healing, retention::instances),
            ("incidents", keep.healing, retention::incidents),
            ("the audit of retries", keep.healing, retention::audit),
            ("settled deliveries", keep.inbox, retention::deliveries),
            ("what was taken from nodes", keep.healing, retention::node_marks),
        ];
        let mut gone = [0; 7];
        for ((what, keep, prune), gone) in singles.into_iter().zip(&mut gone) {
            let Some(keep) = keep else { continue };
            match self.singles(keep, prune).await {
                Ok(n) => *gone = n,
                Err(e) => self.trouble(what, &e),
            }
        }
        let report = &mut self.report;
        [
            report.notices,
            report.healings,
            report.instances,
            report.incidents,
            report.audit,
            report.deliveries,
            report.nodes,
        ] = gone;
    }

    async fn histories(&mut self, keep: Duration) -> Result<(), EngineError> {
        let (act, now) = (self.act, self.now);
        let mut after = Some((BEGINNING, TaskId(0)));
        while let Some(from) = after {
            let batch = self.batch(move |tx| retention::history(tx, act, (from, now - keep), BATCH, now));
            let batch: Batch = batch.await?;
            let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
            self.report.tasks += count(batch.tasks);
            self.report.jobs += count(batch.jobs);
            self.report.runs += count(batch.runs);
            self.report.details += count(batch.others);
            after = batch.next;
        }
        Ok(())
    }

    async fn singles(
        &self,
        keep: Duration,
        prune: fn(&mut Conn, Act, Timestamp, usize) -> Result<usize, StoreError>,
    ) -> Result<u64, EngineError> {
        let (act, before) = (self.act, self.now - keep);
        let mut gone = 0;
        loop {
            let n = self.batch(move |tx| prune(tx, act, before, BATCH)).await?;
            gone += u64::try_from(n).unwrap_or(u64::MAX);
            if act == Act::Count || n < BATCH {
                return Ok(gone);
            }
        }
    }

    /// One short transaction.
    async fn batch<T: Send + 'static>(
        &self,
        f: impl FnOnce(&mut Conn) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, EngineError> {
        Ok(match self.act {
            Act::Count => self.engine.store().read(f).await?,
            Act::Remove => self.engine.store().write(f).await?,
        })
    }

    async fn work(&mut self, keep: Duration) -> Result<(), EngineError> {
        let before = self.now - keep;
        let mut after = (BEGINNING, RunId(0));
        loop {
            let node = self.engine.settings().node.clone();
            let read = self
                .engine
                .store()
                .read(move |tx| retention::old_work(tx, &node, before, after, BATCH));
            let page = read.await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = (last.finished_at, last.run);
            for old in page {
                let what = format!("kept work of run {}", old.run);
                match self.give_up(old).await {
                    Ok(gone) => self.report.wip_refs += u64::from(gone),
                    Err(e) => self.trouble(&what, &e),
                }
            }
        }
    }

    /// The ref before the row that names it: a service that dies in between finds the ref gone the next time. The ref
    /// goes only as it was seen.
    async fn give_up(&self, old: OldWork) -> Result<bool, EngineError> {
        if self.act == Act::Count {
            return Ok(true);
        }
        let project = self.engine.project(old.project)?;
        if let Some(name) = WipName::parse(&old.wip_ref) {
            blocking(move || {
                let repo = project.repository()?;
                match repo.wip(&name)? {
                    Some(kept) => repo.delete_wip(&kept),
                    None => Ok(()),
                }
            })
            .await?;
        }
        let cleared = self
            .engine
            .store()
            .write(move |tx| runs::give_up_work(tx, old.run, &old.wip_ref));
        Ok(match cleared.await? {
            Guarded::Won(()) => true,
            Guarded::Lost => false,
        })
    }
}
