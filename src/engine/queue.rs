//! Claims jobs for this instance. What a claim may take is decided in the store's transaction, by `domain::claim`.

use std::collections::BTreeMap;

use crate::domain::budget::Budget;
use crate::domain::claim::Held;
use crate::domain::id::{JobId, TaskId};
use crate::domain::job::Job;
use crate::domain::pipeline::Role;
use crate::domain::time::Timestamp;
use crate::store::jobs::{self, ClaimRequest, Nodes};
use crate::store::{Conn, StoreError, flags, tasks};

use super::{Engine, EngineError, budget, host, nodes};

/// The flag that pauses agent jobs.
pub const PAUSED: &str = "queue.paused";

/// Reserved jobs that may run at once.
const RESERVED_CEILING: usize = 16;
/// Claims in one go.
const BATCH: usize = 32;
/// Queued jobs, best first, of which is told why they wait.
const HELD_WINDOW: usize = 200;

/// What claiming gave.
#[derive(Clone, Debug)]
pub struct Claimed {
    /// Jobs that are ours now.
    pub jobs: Vec<Job>,
    /// When the next queued job becomes available, if one waits for its time.
    pub next_at: Option<Timestamp>,
    /// Rows that could not be read, with the reason.
    pub broken: Vec<(i64, String)>,
}

/// Claims what fits, in one transaction. Without anything to claim, nothing is written.
///
/// # Errors
/// The database's.
pub async fn claim(engine: &Engine) -> Result<Claimed, EngineError> {
    engine.be_in_time()?;
    let now = engine.now();
    let request = ClaimRequest {
        no_room: host::is_full(engine).await,
        ..request(engine, now)
    };
    // Before the claim: what has spent what it may must not keep its place in the queue.
    let next_day = budget::enforce(engine, &request.budgets, now).await?;
    let (claimed, next_at) = engine
        .store()
        .write(move |tx| {
            let paused = paused(tx)?;
            let request = ClaimRequest { paused, ..request };
            let claimed = jobs::claim_next(tx, &request)?;
            let available = jobs::next_available_at(tx, now)?;
            // Whoever got something asks again.
            let opens = match claimed.rows.is_empty() {
                true => jobs::opens_at(tx, &request)?,
                false => None,
            };
            let next = available.into_iter().chain(opens).chain(next_day).min();
            Ok::<_, StoreError>((claimed, next))
        })
        .await?;
    let unread = claimed.broken.iter().map(|(id, _)| JobId(*id));
    engine.reaped.note_unread(unread, now);
    if !claimed.rows.is_empty() {
        engine.changed.send_modify(|n| *n += 1);
    }
    Ok(Claimed {
        jobs: claimed.rows,
        next_at,
        broken: claimed.broken,
    })
}

/// What may run at once, as the settings and the projects say.
pub(super) fn request(engine: &Engine, now: Timestamp) -> ClaimRequest {
    let settings = engine.settings();
    let limits = engine
        .projects()
        .filter_map(|p| p.config.max_concurrency.map(|n| (p.id, n)))
        .collect();
    ClaimRequest {
        now,
        node: settings.node.clone(),
        instance: engine.instance().clone(),
        // A service alone tells what is missing; among several, the others may have it.
        known_projects: engine
            .store()
            .is_shared()
            .then(|| engine.projects().map(|p| p.id).collect()),
        max_concurrency: settings.max_concurrency,
        project_concurrency: limits,
        default_project_concurrency: Some(settings.queue.project_concurrency).filter(|n| *n > 0),
        paused: false,
        no_room: host::was_full(engine),
        no_watch: !settings.post_deploy.enabled,
        half_open: settings.retry.half_open,
        budgets: budget::budgets(engine),
        nodes: places(engine),
        reserved_ceiling: RESERVED_CEILING,
        limit: BATCH,
    }
}

/// Where agents can run, and what the projects want of a node.
fn places(engine: &Engine) -> Nodes {
    let settings = engine.settings();
    let wanted = engine.projects().flat_map(|project| {
        Role::ALL.into_iter().filter_map(|role| {
            let labels = &project.config.agent(role).labels;
            (!labels.is_empty()).then(|| ((project.id, role), labels.clone()))
        })
    });
    Nodes {
        own_slots: Some(settings.nodes.own_slots).filter(|slots| *slots < settings.max_concurrency),
        own_labels: settings.nodes.own_labels.clone(),
        ssh: settings.nodes.ssh.iter().map(nodes::offer).collect(),
        wanted: wanted.collect(),
    }
}

/// True while an operator paused the queue.
pub(super) fn paused(tx: &mut Conn) -> Result<bool, StoreError> {
    Ok(flags::get(tx, PAUSED)?.as_deref() == Some("true"))
}

/// Why queued jobs are not claimed although their time has come, for people.
pub(super) fn held(tx: &mut Conn, request: &ClaimRequest) -> Result<BTreeMap<JobId, String>, StoreError> {
    let request = ClaimRequest {
        paused: paused(tx)?,
        ..request.clone()
    };
    let mut found = BTreeMap::new();
    for (job, why) in jobs::held(tx, &request, HELD_WINDOW)? {
        let text = match why {
            Held::UnknownProject => {
                "this service has no file of its project; one that has claims it".to_owned()
            }
            Held::NoRoom => {
                "the disk of this service is too full (host.disk_stop_percent): `orch prune` makes room"
                    .to_owned()
            }
            Held::NoWatch => "production is not watched (post_deploy.enabled)".to_owned(),
            Held::Paused => "the queue is paused".to_owned(),
            Held::NodeOff if request.nodes.ssh.is_empty() => format!(
                "node {} is given nothing for a while: `orch node list` says why, `orch node clear {0}` ends it",
                request.node
            ),
            Held::NodeOff => "each node that could take it is given nothing for a while: `orch node list` says why, `orch node clear` ends it".to_owned(),
            Held::NoSuchNode(labels) if labels.is_empty() => "no node may run an agent (node_slots, slots of [nodes.…])".to_owned(),
            Held::NoSuchNode(labels) => {
                let labels: Vec<_> = labels.into_iter().collect();
                format!("no node has the labels that its agent needs: {}", labels.join(", "))
            }
            Held::NodesFull => "the nodes that could take it run as many agents as they may: `orch node list`".to_owned(),
            Held::BreakerOpen => {
                "too many failures in a row: `orch breaker list` shows until when, `orch breaker reset` ends it".to_owned()
            }
            Held::Budget(Budget::Task) => {
                "its task has spent what it may (budget.task_usd): it is parked".to_owned()
            }
            Held::Budget(Budget::ProjectDay) => {
                "what its project may spend today is spent, or reserved for agents that run (budget.project_day_usd): `orch budget` shows it"
                    .to_owned()
            }
            Held::NoAgentSlot => format!(
                "all {} agent slots are taken (max_concurrency)",
                request.max_concurrency
            ),
            Held::NoReservedSlot => format!("all {RESERVED_CEILING} slots of reserved jobs are taken"),
            Held::ProjectLimit => "its project runs as many agents as it may (max_concurrency)".to_owned(),
            Held::WaitsFor(tasks) => {
                let names = tasks.into_iter().map(|t| name_of(tx, t));
                format!("waits for {}", names.collect::<Result<Vec<_>, _>>()?.join(", "))
            }
            Held::Overlaps(task) => format!("{} changes the same paths", name_of(tx, task)?),
        };
        found.insert(job, text);
    }
    Ok(found)
}

/// A task's name for people.
pub(super) fn name_of(tx: &mut Conn, task: TaskId) -> Result<String, StoreError> {
    Ok(tasks::by_id(tx, task)?.map_or_else(|| format!("task #{task}"), |t| t.work_item_id.to_string()))
}
