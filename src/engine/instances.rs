//! Several services on one database: each says that it lives, by the database's clock; one that was silent for too long
//! loses its jobs to the others (`reap::lost`). Its own runs have ended by then, because their shims watch the same silence.
//! On SQLite there is one service, and all of this does nothing.

use std::path::PathBuf;
use std::time::Duration;

use crate::domain::id::{FencingToken, InstanceId};
use crate::domain::job::Claim;
use crate::domain::run::{Run, RunStep};
use crate::domain::time::Timestamp;
use crate::process::{self, Liveness, Moment, RunLease};
use crate::settings::Settings;
use crate::store::instances::Instance;
use crate::store::{Conn, Guarded, Store, StoreError, clock, duties, instances, jobs, runs};

use super::nodes::offers;
use super::views::InstanceView;
use super::{Engine, EngineError};

/// How asking for a place among the instances ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Enrolled {
    /// The boot has its row.
    Yes,
    /// Another boot of this node may still live, where nothing here can tell. It is over when it stays silent until then.
    Wait {
        /// The other one.
        other: InstanceId,
        /// When it was heard last.
        heard_at: Timestamp,
        /// How long it has been silent.
        silent: Duration,
    },
}

/// Gives a boot its row, unless another one works under the same node name: both would take each other's runs for
/// their own.
///
/// # Errors
/// `Conflict` with what to do when the other one lives on this machine; the database's.
pub async fn enroll(
    store: &Store,
    id: &InstanceId,
    settings: &Settings,
    now: Timestamp,
) -> Result<Enrolled, EngineError> {
    let own = process::own_identity()?;
    let (id, node, shared) = (id.clone(), settings.node.clone(), store.is_shared());
    let (ttl, offers) = (settings.instance.ttl, offers(settings));
    let enrolled = store.write(move |tx| {
        let now = clock::now(tx, now)?;
        let known = instances::unstopped(tx)?;
        for other in known.into_iter().filter(|other| other.node == node) {
            // SQLite's file has one service at a time: it is this one.
            let lives = if shared {
                process::is_alive(&other.process)
            } else {
                Liveness::Gone
            };
            let silent = now.since(other.heartbeat_at);
            match lives {
                Liveness::Alive => return Ok(Err(other)),
                Liveness::Elsewhere if silent < ttl => {
                    return Ok(Ok(Enrolled::Wait {
                        other: other.id,
                        heard_at: other.heartbeat_at,
                        silent,
                    }));
                }
                Liveness::Gone | Liveness::Elsewhere => {
                    // Nobody need wait for the silence of who is known to be gone.
                    duties::release(tx, &other.id, now)?;
                    // Lost: it is noted already.
                    let _: Guarded<()> = instances::stop(tx, &other.id, now)?;
                }
            }
        }
        instances::start(tx, &id, &node, &own, now)?;
        instances::offer(tx, &id, &offers)?;
        Ok::<_, StoreError>(Ok(Enrolled::Yes))
    });
    enrolled.await?.map_err(|other: Instance| EngineError::Conflict {
        what: format!(
            "node {:?} has a service already (process {}): stop that one, or give this one another `node` and `data_dir`",
            other.node.as_str(),
            other.process.pid
        ),
    })
}

/// What saying that this instance lives came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Beat {
    /// The duties of which there is one for all instances are this one's until the next beat.
    pub on_duty: bool,
    /// The database's clock minus that of this machine, microseconds.
    pub ahead_us: i64,
}

/// An answer that took longer than this says too little about the database's clock.
const SLOW: Duration = Duration::from_millis(500);

/// Says that this instance lives. What it watches may go on then; without it, it ends by itself.
///
/// # Errors
/// `Lost` when another boot of this node has taken its place; the database's, the disk's.
pub async fn beat(engine: &Engine) -> Result<Beat, EngineError> {
    if !engine.store().is_shared() {
        return Ok(Beat {
            on_duty: true,
            ahead_us: 0,
        });
    }
    // Before the database is asked: its answer may be late.
    let heard = Moment::now()?;
    let asked_at = engine.own_clock();
    let (id, ttl) = (engine.instance().clone(), engine.settings().instance.ttl);
    let written = engine.store().write(move |tx| {
        let now = clock::now(tx, asked_at)?;
        let lives = instances::heartbeat(tx, &id, now)?.is_won();
        let duty = match lives {
            true => duties::hold(tx, duties::SINGLETONS, &id, ttl, now)?,
            false => None,
        };
        Ok::<_, StoreError>((now, lives, duty))
    });
    let (now, lives, duty) = written.await?;
    if !lives {
        return Err(EngineError::Lost);
    }
    let took = engine.own_clock().since(asked_at);
    let ahead_us = now.0 - (asked_at + took / 2).0;
    if took <= SLOW || !engine.is_in_time() {
        engine.set_ahead(ahead_us);
    }
    RunLease::renew(&engine.lease_file(), &heard)?;
    engine.set_heard(heard);
    Ok(Beat {
        on_duty: duty.is_some(),
        ahead_us,
    })
}

/// Of these claims, those that were taken away, be it by a person elsewhere or by another instance.
///
/// # Errors
/// The database's.
pub async fn taken_away(engine: &Engine, claims: Vec<Claim>) -> Result<Vec<Claim>, EngineError> {
    if claims.is_empty() || !engine.store().is_shared() {
        return Ok(Vec::new());
    }
    let read = engine.store().read(move |tx| {
        let ids = claims.iter().map(|claim| claim.job).collect::<Vec<_>>();
        let current = jobs::claims(tx, &ids)?;
        let mut gone = Vec::new();
        for claim in claims.into_iter().filter(|claim| !current.contains(claim)) {
            // Whoever ends a claim by itself says so in the run, in the same transaction, and is tidying up now; a look
            // that only waits leaves no run. Whoever has not begun finds out when it opens its run.
            let run = runs::of_claim(tx, claim)?;
            if run.is_some_and(|run| run.step < RunStep::Evaluated) {
                gone.push(claim);
            }
        }
        Ok::<_, StoreError>(gone)
    });
    Ok(read.await?)
}

/// The instances that have not stopped, for people.
///
/// # Errors
/// The database's.
pub async fn list(engine: &Engine) -> Result<Vec<InstanceView>, EngineError> {
    let (own, shared) = (engine.own_clock(), engine.store().is_shared());
    let read = engine.store().read(move |tx: &mut Conn| {
        let now = clock::now(tx, own)?;
        Ok::<_, StoreError>((now, instances::unstopped(tx)?))
    });
    let (now, found) = read.await?;
    let view = |i: Instance| {
        let silent = now.since(i.heartbeat_at);
        InstanceView {
            state: match () {
                () if i.id == *engine.instance() => "this",
                () if silent < engine.settings().instance.ttl => "alive",
                () => "silent",
            }
            .to_owned(),
            id: i.id.to_string(),
            node: i.node.to_string(),
            pid: i.process.pid,
            started_at: i.started_at.to_string(),
            heard_s_ago: shared.then_some(silent.as_secs()),
        }
    };
    Ok(found.into_iter().map(view).collect())
}

/// What one of all instances does: looked at again in the transaction that does it. A service alone always has it.
#[derive(Clone, Debug)]
pub(super) struct Duty {
    id: InstanceId,
    shared: bool,
}

impl Duty {
    pub(super) fn of(engine: &Engine) -> Self {
        Self {
            id: engine.instance().clone(),
            shared: engine.store().is_shared(),
        }
    }

    /// The token under which this instance has it now; none when it has not.
    pub(super) fn held(&self, tx: &mut Conn, now: Timestamp) -> Result<Option<FencingToken>, StoreError> {
        match self.shared {
            true => duties::held(tx, duties::SINGLETONS, &self.id, now),
            false => Ok(Some(FencingToken(0))),
        }
    }
}

impl Engine {
    /// What a run stands under; none where nobody else could take it.
    pub(super) fn run_lease(&self) -> Option<RunLease> {
        self.store().is_shared().then(|| RunLease {
            file: self.lease_file(),
            ttl: self.settings().instance.run_ttl(),
        })
    }

    /// What a run left lies on its own node.
    pub(super) fn check_here(&self, run: &Run) -> Result<(), EngineError> {
        if run.node == self.settings().node {
            return Ok(());
        }
        let what = format!(
            "run {} was on node {:?}: what it left is there; ask the service of that node",
            run.id,
            run.node.as_str()
        );
        Err(EngineError::Conflict { what })
    }

    fn lease_file(&self) -> PathBuf {
        self.settings().data_dir.join("run-lease.json")
    }

    /// Whether the database has heard this instance lately enough for it to act. After that its runs end, and soon others
    /// take its jobs.
    pub fn is_in_time(&self) -> bool {
        !self.store().is_shared() || !self.left_to_act().is_zero()
    }

    /// As [`Engine::is_in_time`], for what must not be done otherwise.
    pub(super) fn be_in_time(&self) -> Result<(), EngineError> {
        match self.is_in_time() {
            true => Ok(()),
            false => Err(EngineError::OutOfTime),
        }
    }
}
