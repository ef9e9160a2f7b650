//! Where the agents of a claimer can run: its own node and those that it reaches by ssh, each with what is left of its
//! slots. Never decides which one a job takes.

use std::collections::BTreeMap;

use diesel::prelude::*;

use super::Running;
use super::closed::Closed;
use super::request::ClaimRequest;
use crate::domain::claim::Place;
use crate::domain::id::{NodeName, ProjectId};
use crate::domain::job::JobKind;
use crate::schema::jobs;
use crate::store::{Conn, StoreError};

/// A running job as the limits see it.
pub(super) struct RunningJob {
    pub project: ProjectId,
    pub reserved: bool,
    /// The machine of its service.
    node: Option<String>,
    /// Where its agent runs, when not there.
    agent_node: Option<String>,
}

/// What runs now, anywhere.
pub(super) fn running(conn: &mut Conn) -> Result<Vec<RunningJob>, StoreError> {
    type Columns = (i64, String, Option<String>, Option<String>);
    let found: Vec<Columns> = on!(conn, c => jobs::table
        .filter(Running)
        .select((jobs::project_id, jobs::kind, jobs::node, jobs::agent_node))
        .load(c))?;
    Ok(found
        .into_iter()
        .map(|(project, kind, node, agent_node)| RunningJob {
            project: ProjectId(project),
            // A kind that cannot be read takes a slot: rather one too few than one too many.
            reserved: JobKind::parse(&kind).is_some_and(JobKind::is_reserved),
            node,
            agent_node,
        })
        .collect())
}

/// The places, the claimer's own node first. One that may run nothing is none.
pub(super) fn places(request: &ClaimRequest, closed: &Closed, running: &[RunningJob]) -> Vec<Place> {
    let nodes = &request.nodes;
    let agents = || running.iter().filter(|r| !r.reserved);
    let here = Some(request.node.as_str());
    let own_taken = agents().filter(|r| r.agent_node.is_none() && r.node.as_deref() == here);
    let own_slots = nodes.own_slots.unwrap_or(request.max_concurrency);
    let own = Place {
        node: None,
        labels: nodes.own_labels.clone(),
        off: closed.off.contains(request.node.as_str()),
        free: left(&request.node, own_slots, closed, own_taken.count()),
    };
    let others = nodes.ssh.iter().map(|offer| {
        let name = offer.node.as_str();
        let taken = agents().filter(|r| r.agent_node.as_deref() == Some(name));
        let place = Place {
            node: Some(offer.node.clone()),
            labels: offer.labels.clone(),
            off: closed.off.contains(name),
            free: left(&offer.node, offer.slots, closed, taken.count()),
        };
        (offer.slots, place)
    });
    std::iter::once((own_slots, own))
        .chain(others)
        .filter(|(slots, _)| *slots > 0)
        .map(|(_, place)| place)
        .collect()
}

fn left(node: &NodeName, slots: usize, closed: &Closed, taken: usize) -> usize {
    let cuts = closed.cuts.get(node.as_str()).copied().unwrap_or(0);
    // At least one: a node that loses its last slot is turned off instead.
    slots.saturating_sub(cuts).max(slots.min(1)).saturating_sub(taken)
}

/// How many agents run on each node now, by its name.
///
/// # Errors
/// See [`StoreError`].
pub fn agents_by_node(conn: &mut Conn) -> Result<BTreeMap<NodeName, u32>, StoreError> {
    let mut taken = BTreeMap::new();
    for job in running(conn)?.into_iter().filter(|job| !job.reserved) {
        if let Some(node) = job.agent_node.or(job.node) {
            *taken.entry(NodeName::trusted(node)).or_default() += 1;
        }
    }
    Ok(taken)
}
