//! What is done: tasks added, gestures applied, runs driven, gates asked, candidates merged.
//!
//! The engine gathers evidence, asks `domain`, performs the answer in guarded transactions, and tells by hints
//! that something may go on now. It can be called by a test without any actor. It never schedules itself:
//! when a thing is done is the actors' business.

pub mod batches;
pub mod budget;
pub mod check;
mod contain;
pub mod deliver;
pub mod deploys;
mod error;
pub mod gestures;
pub mod heal;
pub mod host;
pub mod inbox;
pub mod instances;
pub mod intake;
mod issues;
pub mod lease;
pub mod look;
pub mod mergeable;
pub mod nodes;
pub mod operate;
mod present;
pub mod production;
pub mod project;
pub mod prune;
pub mod queries;
pub mod queue;
pub mod reap;
pub mod reclaim;
pub mod reconcile;
mod records;
pub mod recover;
pub mod repair;
pub mod rescue;
mod revision;
pub mod run;
pub mod spare;
mod transition;
pub mod views;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use crate::agents::{Presets, Prices};
use crate::domain::id::{InstanceId, ProjectId, ProjectName};
use crate::domain::job::Claim;
use crate::domain::time::Timestamp;
use crate::integrations::tracker::plane;
use crate::process::Moment;
use crate::settings::Settings;
use crate::store::Store;

pub(crate) use contain::blocking;
pub use error::EngineError;
pub use project::ProjectHandle;

/// Something may go on now. Hints only make things fast: every receiver finds the same by its own tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hint {
    /// A job became claimable.
    Jobs,
    /// A claimed job was taken away from its monitor: stop what runs.
    Stop(Claim),
    /// The outbox has rows to deliver.
    Outbox,
    /// The inbox has deliveries to apply.
    Inbox,
    /// Something was written into the audit of retries.
    Audit,
    /// The project's spare worktree was used, or main moved on from it.
    Spare(ProjectId),
}

/// Reads the clock on behalf of the engine, which has none of its own.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// What the engine is made of.
pub struct Parts {
    /// The only truth.
    pub store: Store,
    /// Validated settings.
    pub settings: Arc<Settings>,
    /// Projects by id.
    pub projects: BTreeMap<ProjectId, Arc<ProjectHandle>>,
    /// Names of all projects that the database knows, those whose file was removed included.
    pub names: BTreeMap<ProjectId, ProjectName>,
    /// This boot.
    pub instance: InstanceId,
    /// The agents that are known by name.
    pub presets: Presets,
    /// What models cost.
    pub prices: Prices,
    /// The program that has the shim.
    pub exe: PathBuf,
    /// Where hints go.
    pub hints: mpsc::UnboundedSender<Hint>,
    /// The clock.
    pub clock: Clock,
}

/// The engine. Cheap to clone.
#[derive(Clone)]
pub struct Engine {
    parts: Arc<Parts>,
    changed: Arc<watch::Sender<u64>>,
    recovered: Arc<AtomicBool>,
    /// When the database heard this instance last.
    heard: Arc<Mutex<Option<Moment>>>,
    /// The database's clock minus our own, microseconds.
    ahead_us: Arc<AtomicI64>,
    /// Writes and deeds that were refused because their claim was over.
    refused: Arc<AtomicU64>,
    /// Claims that ended under their monitor.
    superseded: Arc<AtomicU64>,
    reconciling: reconcile::Remembered,
    reaped: Arc<reap::Counters>,
    hanging: Arc<contain::Hanging>,
    host: Arc<host::Watch>,
    rules: Arc<repair::Loaded>,
    /// Held while the audit is written to its files, with how far they have come.
    audited: Arc<tokio::sync::Mutex<Option<repair::audit::Standing>>>,
    /// Held while something is pruned.
    pruning: Arc<tokio::sync::Mutex<()>>,
    plane: plane::Shared,
    tidying: Arc<[Arc<tokio::sync::Mutex<()>>; LANES]>,
}

/// Runs are tidied up one at a time per lane; a run is always in the same one.
const LANES: usize = 16;

impl Engine {
    /// Puts the parts together.
    pub fn new(parts: Parts) -> Self {
        let (changed, _) = watch::channel(0);
        Self {
            plane: plane::Shared::of(&parts.settings),
            parts: Arc::new(parts),
            changed: Arc::new(changed),
            recovered: Arc::default(),
            heard: Arc::default(),
            ahead_us: Arc::default(),
            refused: Arc::default(),
            superseded: Arc::default(),
            reconciling: Arc::default(),
            reaped: Arc::default(),
            hanging: Arc::default(),
            host: Arc::default(),
            rules: Arc::default(),
            audited: Arc::default(),
            pruning: Arc::default(),
            tidying: Arc::default(),
        }
    }

    /// The store.
    pub fn store(&self) -> &Store {
        &self.parts.store
    }

    /// The settings.
    pub fn settings(&self) -> &Settings {
        &self.parts.settings
    }

    /// This boot of the service.
    pub fn instance(&self) -> &InstanceId {
        &self.parts.instance
    }

    /// The time, by the database's clock where several instances share it.
    pub fn now(&self) -> Timestamp {
        Timestamp(
            self.own_clock()
                .0
                .saturating_add(self.ahead_us.load(Ordering::Relaxed)),
        )
    }

    /// The time by the clock that was given.
    fn own_clock(&self) -> Timestamp {
        (self.parts.clock)()
    }

    fn set_ahead(&self, us: i64) {
        self.ahead_us.store(us, Ordering::Relaxed);
    }

    fn set_heard(&self, at: Moment) {
        *self.heard.lock().unwrap_or_else(PoisonError::into_inner) = Some(at);
    }

    fn left_to_act(&self) -> Duration {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let ttl = self.settings().instance.run_ttl();
        heard.as_ref().map_or(Duration::ZERO, |at| at.left_of(ttl))
    }

    /// A claim ended under its monitor: somebody cancelled it, or another instance took it over.
    pub fn note_superseded(&self) {
        self.superseded.fetch_add(1, Ordering::Relaxed);
    }

    /// How many did since the start.
    pub fn superseded_total(&self) -> u64 {
        self.superseded.load(Ordering::Relaxed)
    }

    /// How many writes and deeds were refused since the start because their claim was over.
    pub fn refused_total(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// What the reaper did since the start.
    pub fn reaper_stats(&self) -> reap::Stats {
        self.reaped.now()
    }

    /// Grows after each commit that people may see; for those who wait for news.
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// All projects.
    pub fn projects(&self) -> impl Iterator<Item = &Arc<ProjectHandle>> {
        self.parts.projects.values()
    }

    /// A project by id.
    ///
    /// # Errors
    /// `NotFound` when its file was removed while tasks of it exist.
    pub fn project(&self, id: ProjectId) -> Result<Arc<ProjectHandle>, EngineError> {
        self.parts
            .projects
            .get(&id)
            .cloned()
            .ok_or_else(|| {
                let (name, folder) = (self.project_name(id), self.settings().projects_dir.display());
                let what = format!(
                    "project {name} has no file any more: put {folder}/{name}.toml back and restart the service, or cancel the task"
                );
                EngineError::NotFound { what }
            })
    }

    /// A project's name, also when its file was removed.
    pub fn project_name(&self, id: ProjectId) -> String {
        match self.parts.names.get(&id) {
            Some(name) => name.to_string(),
            None => format!("#{id}"),
        }
    }

    /// True once what the last boot left behind was looked at.
    pub fn recovered(&self) -> bool {
        self.recovered.load(Ordering::Acquire)
    }

    /// Held by whoever tidies up after a claim: its monitor and recovery may come to it at the same time.
    async fn tidying(&self, claim: Claim) -> tokio::sync::OwnedMutexGuard<()> {
        let lane = usize::try_from(claim.job.0).unwrap_or(0) % LANES;
        self.tidying[lane].clone().lock_owned().await
    }

    fn presets(&self) -> &Presets {
        &self.parts.presets
    }

    fn exe(&self) -> &std::path::Path {
        &self.parts.exe
    }

    fn hint(&self, hint: Hint) {
        // Nobody listens while the service starts or stops; their own ticks find it.
        let _ = self.parts.hints.send(hint);
    }

    /// Something was committed, here or by another service on the same database: whoever waits looks again.
    pub fn committed(&self) {
        self.changed.send_modify(|n| *n += 1);
        self.hint(Hint::Jobs);
        self.hint(Hint::Outbox);
    }
}
