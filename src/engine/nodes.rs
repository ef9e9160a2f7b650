//! The machines on which agents run, as people see them: listed, blacklisted and given back by hand.
//! Never decides where a job goes: that is the claim's.

use std::collections::BTreeMap;
use std::time::Duration;

use super::views::{GivenUp, NodeView};
use super::{Engine, EngineError, run};
use crate::domain::id::NodeName;
use crate::domain::quoted;
use crate::domain::time::Timestamp;
use crate::settings::{Settings, SshNode};
use crate::store::jobs::Offer;
use crate::store::nodes::{NodeOff, Off};
use crate::store::{StoreError, jobs, nodes};

/// Longest reason that is kept, characters.
const REASON: usize = 200;

/// The nodes that are known, what runs there, and what was taken from them.
///
/// # Errors
/// The database's.
pub async fn list(engine: &Engine) -> Result<Vec<NodeView>, EngineError> {
    let now = engine.now();
    let since = now - engine.settings().instance.ttl;
    let read = engine.store().read(move |tx| {
        let (off, cuts) = (nodes::off(tx, now)?, nodes::cuts(tx, now)?);
        Ok::<_, StoreError>((off, cuts, nodes::heard(tx, since)?, jobs::agents_by_node(tx)?))
    });
    let (off, cuts, heard, taken) = read.await?;
    let mut views = configured(engine);
    for node in heard {
        view(&mut views, &node);
    }
    for (node, agents) in taken {
        view(&mut views, &node).taken = agents;
    }
    for state in off {
        let view = view(&mut views, &state.node);
        view.stands = state.how.as_str().to_owned();
        view.until = Some(state.until.to_string());
        view.reason = Some(state.reason);
    }
    for cut in cuts {
        let view = view(&mut views, &cut.node);
        view.slots_fewer += 1;
        view.reason.get_or_insert(cut.reason);
        view.until.get_or_insert(cut.until.to_string());
    }
    Ok(views.into_values().collect())
}

/// The nodes that a service runs agents on: its own, and those that it reaches.
pub(super) fn offers(settings: &Settings) -> Vec<Offer> {
    let nodes = &settings.nodes;
    let own = Offer {
        node: settings.node.clone(),
        slots: nodes.own_slots.min(settings.max_concurrency),
        labels: nodes.own_labels.clone(),
    };
    std::iter::once(own).chain(nodes.ssh.iter().map(offer)).collect()
}

pub(super) fn offer(node: &SshNode) -> Offer {
    Offer {
        node: node.name.clone(),
        slots: node.slots,
        labels: node.labels.clone(),
    }
}

type Views = BTreeMap<NodeName, NodeView>;

fn view<'v>(views: &'v mut Views, node: &NodeName) -> &'v mut NodeView {
    views.entry(node.clone()).or_insert_with(|| NodeView::named(node))
}

/// This service's own node and those that it reaches.
fn configured(engine: &Engine) -> Views {
    let settings = engine.settings();
    let count = |slots| u32::try_from(slots).ok();
    let mut views = Views::new();
    let own = view(&mut views, &settings.node);
    own.kind = "own".to_owned();
    own.slots = count(settings.nodes.own_slots.min(settings.max_concurrency));
    own.labels = settings.nodes.own_labels.iter().cloned().collect();
    for node in &settings.nodes.ssh {
        let far = view(&mut views, &node.name);
        far.kind = "ssh".to_owned();
        far.slots = count(node.slots);
        far.labels = node.labels.iter().cloned().collect();
    }
    views
}

/// Gives a node nothing for a while, by hand. What keeps it off for longer already stays. What runs there goes on.
/// Answers until when it is off.
///
/// # Errors
/// A name that cannot be, or is not known; the database's.
pub async fn blacklist(
    engine: &Engine,
    node: &str,
    within: Duration,
    reason: &str,
) -> Result<Timestamp, EngineError> {
    let node = named(node)?;
    let reason = quoted::one_line(reason, REASON);
    if reason.is_empty() {
        let what = "say why: whoever finds it off wants to know".to_owned();
        return Err(EngineError::Invalid { what });
    }
    let known = list(engine).await?;
    if !known.iter().any(|view| view.node == node.as_str()) {
        let what = format!("no node is called {node}: `orch node list` shows them");
        return Err(EngineError::NotFound { what });
    }
    let now = engine.now();
    let off = NodeOff {
        node,
        how: Off::Blacklisted,
        until: now + within,
        reason,
        since: now,
    };
    let wrote = engine.store().write(move |tx| {
        nodes::turn_off(tx, &off)?;
        let stands = nodes::off(tx, now)?.into_iter().find(|o| o.node == off.node);
        Ok::<_, StoreError>(stands.map_or(off.until, |stands| stands.until))
    });
    let until = wrote.await?;
    engine.committed();
    Ok(until)
}

/// Gives up what is on a node that does not come back, and gives it nothing for a while: its jobs go elsewhere at no cost,
/// and what it has of them is not taken any more. Of this service's runs alone: each service has its own.
///
/// # Errors
/// `NotFound` for a node that is neither configured nor has anything; `Conflict` while it is just giving something back;
/// the database's.
pub async fn give_up(engine: &Engine, node: &str, within: Duration) -> Result<GivenUp, EngineError> {
    let name = named(node)?;
    let until = match engine.settings().nodes.find(&name) {
        Some(_) => Some(blacklist(engine, node, within, "given up").await?),
        None => None,
    };
    let claims = run::give_up(engine, &name).await?;
    if until.is_none() && claims.is_empty() {
        let what =
            format!("no node is reached by ssh as {name}, and nothing is on it: `orch node list` shows them");
        return Err(EngineError::NotFound { what });
    }
    Ok(GivenUp {
        until: until.map(|until| until.to_string()),
        jobs: claims.into_iter().map(|claim| claim.job.0).collect(),
    })
}

/// Gives a node back all that was taken from it.
///
/// # Errors
/// A name that cannot be; `NotFound` when nothing was taken from it; the database's.
pub async fn clear(engine: &Engine, node: &str) -> Result<(), EngineError> {
    let node = named(node)?;
    let now = engine.now();
    let name = node.clone();
    let cleared = engine.store().write(move |tx| nodes::clear(tx, &node, now));
    match cleared.await? {
        true => {
            engine.committed();
            Ok(())
        }
        false => Err(EngineError::NotFound {
            what: format!("nothing was taken from node {name}: `orch node list` shows what stands"),
        }),
    }
}

fn named(node: &str) -> Result<NodeName, EngineError> {
    NodeName::parse(node).map_err(|e| EngineError::Invalid { what: e.to_string() })
}
