//! Takes merge leases back from holders that died, and at a person's wish. Never from a live holder within its time, and
//! never without the row being as it was seen.

use serde_json::json;

use crate::domain::delivery::Channel;
use crate::domain::id::{ProjectId, TaskId};
use crate::domain::reclaim::{Holder, reclaim};
use crate::domain::task::Task;
use crate::domain::time::Timestamp;
use crate::process::{self, Liveness};
use crate::store::healing::NewHealing;
use crate::store::leases::{self, Lease};
use crate::store::outbox::{NewOutbox, OutboxKind};
use crate::store::{Conn, StoreError, healing, instances, jobs, outbox, readable, tasks};

use super::contain::{Unit, limited};
use super::transition::{self, WAITS_FOR_LEASE};
use super::views::LeaseView;
use super::{Engine, EngineError};

/// What a sweep did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reclaimed {
    /// One line for each lease that was taken back.
    pub leases: Vec<String>,
    /// What could not be looked at; tried again the next time.
    pub trouble: Vec<String>,
}

/// Takes back what dead holders have and what has expired. Off with `lease_reclaim.enabled`; repositories that
/// `merge.gate_repos` does not cover are left alone.
///
/// # Errors
/// The database's.
pub async fn sweep(engine: &Engine) -> Result<Reclaimed, EngineError> {
    let mut done = Reclaimed::default();
    if !engine.settings().lease_reclaim.enabled || !engine.is_in_time() {
        return Ok(done);
    }
    for lease in engine.store().read(leases::list).await? {
        let repo = lease.repo.clone();
        let unit = Unit::Named(format!("the lease of {repo}"));
        match limited(engine, unit, take_back(engine, lease)).await {
            Ok(Some(line)) => done.leases.push(line),
            Ok(None) | Err(EngineError::Hangs) => {}
            Err(e) => done.trouble.push(format!("the lease of {repo}: {e}")),
        }
    }
    if !done.leases.is_empty() {
        engine.committed();
    }
    Ok(done)
}

async fn take_back(engine: &Engine, lease: Lease) -> Result<Option<String>, EngineError> {
    let own = engine.clone();
    let taken = engine.store().write(move |tx| {
        let task = readable(tasks::by_id(tx, lease.task))?;
        if !covered(&own, &lease, task.as_ref()) {
            return Ok(None);
        }
        let now = own.now();
        let Some(why) = reclaim(&holder(tx, &own, &lease, now)?, lease.expires_at, now) else {
            return Ok(None);
        };
        if !leases::reclaim(tx, &lease)?.is_won() {
            return Ok(None);
        }
        wake(tx, &own, &lease, task.as_ref(), now)?;
        let line = tell(tx, &own, &lease, task.as_ref(), why, now)?;
        Ok::<_, StoreError>(Some(line))
    });
    let line = taken.await?;
    if line.is_some() {
        engine.reaped.note_lease();
    }
    Ok(line)
}

fn covered(engine: &Engine, lease: &Lease, task: Option<&Task>) -> bool {
    let merge = &engine.settings().merge;
    let by_repo = engine.projects().find(|p| p.config.repo == lease.repo);
    let by_task = || task.and_then(|t| engine.parts.names.get(&t.project_id));
    match by_repo.map(|p| &p.config.name).or_else(by_task) {
        Some(name) => merge.covers(name, &lease.repo),
        // Of a project that nobody here knows: only where no repository is named at all.
        None => merge.gate_repos.is_empty(),
    }
}

/// Whether the boot that took the lease lives. A process is asked only on this node; elsewhere the heartbeat tells.
fn holder(tx: &mut Conn, engine: &Engine, lease: &Lease, now: Timestamp) -> Result<Holder, StoreError> {
    if lease.instance == *engine.instance() {
        return Ok(Holder::Alive);
    }
    let Some(boot) = readable(instances::by_id(tx, &lease.instance))? else {
        return Ok(Holder::Unknown);
    };
    let silent = now.since(boot.heartbeat_at);
    let gone = |why: String| Ok(Holder::Gone(why));
    if boot.stopped_at.is_some() {
        return gone("its service has stopped".to_owned());
    }
    if boot.node == engine.settings().node {
        return match process::is_alive(&boot.process) {
            // Two boots of a node never live at once.
            Liveness::Gone | Liveness::Elsewhere => gone("its service died".to_owned()),
            Liveness::Alive => Ok(Holder::Alive),
        };
    }
    if engine.store().is_shared() && silent > engine.settings().instance.ttl {
        return gone(format!(
            "node {} was not heard for {} s",
            boot.node,
            silent.as_secs()
        ));
    }
    Ok(Holder::Alive)
}

/// Whoever waits for a lease of this repository may ask again.
fn wake(
    tx: &mut Conn,
    engine: &Engine,
    lease: &Lease,
    task: Option<&Task>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let of_repo = engine
        .projects()
        .filter(|p| p.config.repo == lease.repo)
        .map(|p| p.id);
    let mut projects: Vec<ProjectId> = of_repo.chain(task.map(|t| t.project_id)).collect();
    projects.sort_unstable_by_key(|id| id.0);
    projects.dedup();
    for project in projects {
        jobs::wake_reserved(tx, project, WAITS_FOR_LEASE, now)?;
    }
    Ok(())
}

fn tell(
    tx: &mut Conn,
    engine: &Engine,
    lease: &Lease,
    task: Option<&Task>,
    why: String,
    now: Timestamp,
) -> Result<String, StoreError> {
    let by = holder_name(lease.task, task);
    let text = format!(
        "the merge lease of {}, held by {by}, was taken back: {why}",
        lease.repo
    );
    if let Some(task) = task {
        transition::say(tx, task, "healed", &text, now)?;
    }
    let healed = NewHealing {
        kind: "lease".to_owned(),
        subject: format!("lease of {} ({by})", lease.repo),
        why,
        action: "released".to_owned(),
        stuck: (lease.expires_at <= now).then(|| now.since(lease.expires_at)),
        instance: engine.instance().clone(),
    };
    healing::push(tx, &healed, now)?;
    let notice = NewOutbox {
        task_id: task.map(|t| t.id),
        cause: format!("lease:{}:{}", lease.repo, lease.token.0),
        kind: OutboxKind::Notification,
        channel: Channel::People,
        payload: json!({ "about": "lease", "task": task.map(|t| t.work_item_id.as_str()), "text": text }),
        available_at: now,
    };
    outbox::push(tx, &notice, now)?;
    Ok(text)
}

fn holder_name(id: TaskId, task: Option<&Task>) -> String {
    task.map_or_else(|| format!("task #{id}"), |t| t.work_item_id.to_string())
}

/// The leases that are held, for people.
///
/// # Errors
/// The database's.
pub async fn list(engine: &Engine) -> Result<Vec<LeaseView>, EngineError> {
    let (own, now) = (engine.clone(), engine.now());
    let read = engine.store().read(move |tx| {
        let mut found = Vec::new();
        for lease in leases::list(tx)? {
            let task = readable(tasks::by_id(tx, lease.task))?;
            let holder = holder(tx, &own, &lease, now)?;
            found.push(LeaseView {
                task: holder_name(lease.task, task.as_ref()),
                branch: lease.branch.to_string(),
                instance: lease.instance.to_string(),
                acquired_at: lease.acquired_at.to_string(),
                expires_at: lease.expires_at.to_string(),
                token: lease.token.0,
                held_by: match (&holder, lease.expires_at <= now) {
                    (Holder::Alive, false) => "a live service",
                    (Holder::Alive, true) => "a live service, expired",
                    (Holder::Gone(_), _) => "a service that is gone",
                    (Holder::Unknown, false) => "nobody known",
                    (Holder::Unknown, true) => "nobody known, expired",
                }
                .to_owned(),
                repo: lease.repo,
            });
        }
        Ok::<_, StoreError>(found)
    });
    Ok(read.await?)
}

/// Why a release leaves no trace.
enum NotReleased {
    Free,
    Another(i64),
    Merging(String),
    Store(StoreError),
}

impl From<StoreError> for NotReleased {
    fn from(e: StoreError) -> Self {
        Self::Store(e)
    }
}

/// Releases a lease at a person's wish, if it is still held under the token that the person saw. What merges at this
/// moment is let alone, unless it is forced: the fencing token then refuses whatever did not pass its last look yet.
///
/// # Errors
/// `NotFound` when nobody holds it; `Conflict` when another token does, or its holder merges.
pub async fn release(engine: &Engine, repo: &str, token: i64, force: bool) -> Result<(), EngineError> {
    let (own, wanted, now) = (engine.clone(), repo.to_owned(), engine.now());
    let wrote = engine.store().write(move |tx| {
        let held = leases::list(tx)?.into_iter().find(|l| l.repo == wanted);
        let lease = held.ok_or(NotReleased::Free)?;
        if lease.token.0 != token {
            return Err(NotReleased::Another(lease.token.0));
        }
        let task = readable(tasks::by_id(tx, lease.task))?;
        if let Some(task) = &task {
            let live = jobs::live_of_task(tx, task.id)?;
            if !force && transition::is_merging(tx, task, live.as_ref())? {
                return Err(NotReleased::Merging(task.work_item_id.to_string()));
            }
        }
        if !leases::release(tx, &lease)?.is_won() {
            return Err(NotReleased::Free);
        }
        wake(tx, &own, &lease, task.as_ref(), now)?;
        if let Some(task) = &task {
            let text = format!("the merge lease of {wanted} was released by a person");
            transition::say(tx, task, "lease", &text, now)?;
        }
        Ok(())
    });
    let what = match wrote.await {
        Ok(()) => {
            engine.committed();
            return Ok(());
        }
        Err(NotReleased::Free) => {
            let what = format!("nobody holds a lease of {repo}: see `orch lease list`");
            return Err(EngineError::NotFound { what });
        }
        Err(NotReleased::Another(token)) => {
            format!(
                "the lease of {repo} is held under token {token} by now: look again with `orch lease list`"
            )
        }
        Err(NotReleased::Merging(task)) => {
            format!("{task} is merging at this moment: look again, or release it with --force")
        }
        Err(NotReleased::Store(e)) => return Err(e.into()),
    };
    Err(EngineError::Conflict { what })
}
