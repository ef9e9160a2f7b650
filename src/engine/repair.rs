//! Answers the failure of an attempt: what the rules say of its error text, whether the budget of its scope allows
//! another attempt, and what becomes of the node. All of it is written in the transaction that ends the job.

pub mod audit;
mod deciding;
pub mod operate;
mod rules;

use std::collections::BTreeSet;
use std::time::Duration;

use crate::agents::quota;
use crate::domain::classify::{Class, classify};
use crate::domain::id::{NodeName, RunId};
use crate::domain::job::{Job, JobEnd};
use crate::domain::quoted;
use crate::domain::repair::plan::{NodeFix, Plan, Situation, Terms, plan};
use crate::domain::repair::{ErrorText, Fingerprint, Match, MatchedBy, OUTPUT_TAIL};
use crate::domain::retry::{Counts, Decision, Limits, Scope, WINDOW};
use crate::domain::run::{ExitRecord, StopCause};
use crate::domain::task::Task;
use crate::domain::time::Timestamp;
use crate::process;
use crate::store::incidents::{self, NewIncident};
use crate::store::jobs::Offer;
use crate::store::nodes::{self, Leaving, NodeCut, NodeOff, Off, Others};
use crate::store::retries::{self, AuditEvent, NewAudit};
use crate::store::{Conn, StoreError};

use deciding::Deciding;
pub(super) use rules::Loaded;
pub use rules::{Reload, reload, rules_now};

use super::run::Attempt;
use super::run::agent::time_limit;
use super::transition::Abort;
use super::views::MatchedView;
use super::{Engine, EngineError, blocking};

/// Longest error that is kept with an incident, characters.
const ERROR: usize = 300;

/// A failed attempt and what the rules say of it, gathered before the transaction that ends it.
pub(super) struct Failure {
    text: ErrorText,
    found: Match,
    class: Class,
    /// The program itself is not there.
    absent: bool,
    resets_at: Option<Timestamp>,
    /// One line, without secrets.
    error: String,
    node: NodeName,
    /// Agents that the node runs when nothing was taken from it.
    slots: u32,
    /// Nodes of this service that could take the job.
    takers: Vec<NodeName>,
    /// What a node has to be for it.
    labels: BTreeSet<String>,
    own_node: NodeName,
    heard_since: Timestamp,
    timeout: Duration,
    timeout_cap: Duration,
    retry_delay: Duration,
    /// The scope of its project, as people name it.
    project: String,
    terms: Terms,
    limits: Limits,
}

impl Failure {
    /// What is shown of it once it is written. None where no rule matched.
    pub(super) fn matched(&self, task: &Task, now: Timestamp) -> Option<MatchedView> {
        (self.found.by != MatchedBy::Nothing).then(|| MatchedView {
            at: now.to_string(),
            task: task.work_item_id.to_string(),
            strategy: self.found.strategy.clone(),
            fix: self.found.fix.as_str().to_owned(),
        })
    }
}

/// How a failure is answered.
pub(super) struct Answer {
    /// What becomes of the job.
    pub end: JobEnd,
    /// Told with it.
    pub line: String,
}

/// What the rules say of an attempt that ended like this: `why` without secrets.
pub(super) async fn look(engine: &Engine, a: &Attempt, why: &str) -> Result<Failure, EngineError> {
    let dir = a.run_dir(engine);
    // What an agent printed that ended well is no error text; one that printed nothing, or whose log is gone, failed all
    // the same.
    let tail = match a.run.exit.as_ref().is_some_and(ExitRecord::succeeded) {
        true => String::new(),
        false => {
            blocking(move || {
                Ok::<_, EngineError>(process::output_tail(&dir, OUTPUT_TAIL as u64).unwrap_or_default())
            })
            .await?
        }
    };
    let settings = engine.settings();
    // Cleaned first: a secret that an escape code divides would be whole again without it.
    let tail = settings.without_secrets(&quoted::clean_tail(&tail, OUTPUT_TAIL));
    let text = ErrorText::new(why, &tail);
    let (rules, role) = (rules_now(engine), a.job.role);
    let (text, found) = blocking(move || {
        let found = rules.matching(&text, role);
        Ok::<_, EngineError>((text, found))
    })
    .await?;
    let now = engine.now();
    let absent = |exit: &ExitRecord| {
        exit.code == Some(127) && matches!(exit.cause, Some(StopCause::NotStarted { .. }))
    };
    let agent = &settings.agent;
    let wanted = a.job.role.map(|role| a.project.config.agent(role).labels.clone());
    let labels = wanted.unwrap_or_default();
    let (node, slots) = worked_on(engine, a);
    Ok(Failure {
        // Further up an agent may speak of any time.
        resets_at: match found.at_end {
            // What the agent reports is in the first line, which a long stream parts from its end.
            true => {
                quota::resets_at(text.first_line(), now).or_else(|| quota::resets_at(text.last_words(), now))
            }
            false => None,
        },
        error: quoted::one_line(why, ERROR),
        class: classify(&text, &found),
        absent: a.run.exit.as_ref().is_some_and(absent),
        found,
        text,
        node,
        slots: u32::try_from(slots).unwrap_or(u32::MAX),
        takers: takers(engine, &labels),
        labels,
        own_node: settings.node.clone(),
        heard_since: now - settings.instance.ttl,
        timeout: time_limit(engine, a)?,
        timeout_cap: agent.timeout_cap,
        retry_delay: settings.queue.retry_delay,
        project: operate::shown(engine, &Scope::Project(a.project.id)),
        terms: settings.repair.terms,
        limits: settings.retry,
    })
}

/// Where the agent ran, and how many may run there.
fn worked_on(engine: &Engine, a: &Attempt) -> (NodeName, usize) {
    let settings = engine.settings();
    match &a.job.agent_node {
        Some(node) => {
            let slots = settings.nodes.find(node).map_or(1, |known| known.slots);
            (node.clone(), slots)
        }
        None => {
            let slots = settings.nodes.own_slots.min(settings.max_concurrency);
            (a.run.node.clone(), slots)
        }
    }
}

/// The nodes of this service that may run an agent of this project and role.
fn takers(engine: &Engine, labels: &BTreeSet<String>) -> Vec<NodeName> {
    let fit = |offer: &Offer| offer.slots > 0 && labels.is_subset(&offer.labels);
    let offers = super::nodes::offers(engine.settings()).into_iter();
    offers.filter(fit).map(|offer| offer.node).collect()
}

/// Answers it: writes the incident, the node, the breaker and the audit, and says how the job ends.
pub(super) fn answer(tx: &mut Conn, a: &Case, f: &Failure, now: Timestamp) -> Result<Answer, Abort> {
    let scope = retries::scope_of(tx, a.task.id, a.task.project_id)?;
    // Before anything is counted: whoever fails in the same scope waits here.
    let breaker = retries::take(tx, &scope)?;
    let window = match &scope {
        Scope::Project(_) => now - WINDOW,
        Scope::Batch(_) => Timestamp(0),
    };
    let (total, retried) = retries::counts(tx, &scope, window, (a.task.id, a.job.visit))?;
    incidents::settle(tx, a.task.id, false, now)?;
    let fingerprint = Fingerprint::of(&f.found, &f.text);
    let head = a.head.as_str();
    let leaving = Leaving {
        node: &f.node,
        own: &f.own_node,
        takers: &f.takers,
        labels: &f.labels,
    };
    let others = nodes::others(tx, leaving, f.heard_since, now)?;
    let situation = situation(tx, a, f, (&fingerprint, head, others), now)?;
    let plan = match f.absent && others == Others::None {
        // Waiting installs nothing, and would hold up every other project.
        true => Plan {
            stop: Some("no other node has it".to_owned()),
            ..Plan::default()
        },
        false => plan(&f.found, &f.text, &situation, f.terms, now),
    };
    let counts = Counts {
        scope: total,
        task: retried,
        attempts_spent: a.job.attempts >= a.job.max_attempts,
    };
    let mut case = Deciding {
        tx,
        a,
        f,
        scope: &scope,
        counts,
        now,
    };
    let (end, decision) = case.decide(&plan, breaker)?;
    apply(tx, f, &plan, now)?;
    let incident = NewIncident {
        task: a.task.id,
        job: a.job.id,
        run: a.run,
        stage: a.job.stage.clone(),
        role: a.job.role,
        node: f.node.clone(),
        strategy: f.found.strategy.clone(),
        fix: f.found.fix,
        diagnosis: f.found.diagnosis.clone(),
        class: f.class.to_string(),
        fingerprint: fingerprint.as_str().to_owned(),
        head: head.to_owned(),
        error: f.error.clone(),
        decision: decision.reason,
    };
    incidents::push(tx, &incident, now)?;
    let line = line(f, &plan, decision);
    Ok(Answer { end, line })
}

/// The attempt that failed, as the transaction needs it.
pub(super) struct Case {
    /// Its job.
    pub job: Job,
    /// Its task.
    pub task: Task,
    /// Itself.
    pub run: RunId,
    /// The commit that it began at; empty when it had not begun.
    pub head: String,
}

impl Case {
    pub(super) fn of(a: &Attempt) -> Self {
        Self {
            job: a.job.clone(),
            task: a.task.clone(),
            run: a.run.id,
            head: a
                .run
                .start_sha
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default(),
        }
    }
}

fn situation(
    tx: &mut Conn,
    a: &Case,
    f: &Failure,
    (fingerprint, head, others): (&Fingerprint, &str, Others),
    now: Timestamp,
) -> Result<Situation, StoreError> {
    let cuts = nodes::cuts(tx, now)?
        .into_iter()
        .filter(|cut| cut.node == f.node)
        .count();
    let cuts = u32::try_from(cuts).unwrap_or(u32::MAX);
    Ok(Situation {
        slots: f.slots.saturating_sub(cuts).max(1),
        others: others == Others::Usable,
        timeout_percent: u32::try_from(a.job.timeout_percent).unwrap_or(100),
        timeout: f.timeout,
        timeout_cap: f.timeout_cap,
        resets_at: f.resets_at,
        passes: matches!(f.class, Class::Transient(_)),
        repeated: incidents::alike(tx, a.task.id, fingerprint.as_str(), head)? + 1,
    })
}

/// What becomes of the node.
fn apply(tx: &mut Conn, f: &Failure, plan: &Plan, now: Timestamp) -> Result<(), StoreError> {
    let reason = format!("{}: {}", f.found.strategy, f.found.diagnosis);
    let off = |how, until| NodeOff {
        node: f.node.clone(),
        how,
        until,
        reason: reason.clone(),
        since: now,
    };
    match plan.node {
        Some(NodeFix::FewerSlots(until)) => {
            let cut = NodeCut {
                node: f.node.clone(),
                until,
                reason,
            };
            nodes::cut(tx, &cut, now)
        }
        Some(NodeFix::Blacklisted(until)) => nodes::turn_off(tx, &off(Off::Blacklisted, until)),
        Some(NodeFix::Cooled(until)) => nodes::turn_off(tx, &off(Off::Cooled, until)),
        None => Ok(()),
    }
}

fn line(f: &Failure, plan: &Plan, decision: Decision) -> String {
    let node = match plan.node {
        Some(NodeFix::FewerSlots(until)) => format!("; node {} has a slot fewer until {until}", f.node),
        Some(NodeFix::Blacklisted(until)) => format!("; node {} is blacklisted until {until}", f.node),
        Some(NodeFix::Cooled(until)) => format!("; node {} cools down until {until}", f.node),
        None => String::new(),
    };
    format!(
        "REPAIR: matched '{}' → fix={}, diagnosis={}; {}, {}{node}",
        f.found.strategy,
        f.found.fix.as_str(),
        f.found.diagnosis,
        f.class,
        decision.reason
    )
}

/// A person lets a task go on: what failed before is neither the same again nor a retry of this visit.
pub(super) fn begin_anew(tx: &mut Conn, task: &Task) -> Result<(), StoreError> {
    incidents::forgive(tx, task.id)?;
    retries::forgive(tx, task.id, task.visit)
}

/// An attempt of the task ended well: what was done before helped, and its scope works.
pub(super) fn helped(tx: &mut Conn, job: &Job, now: Timestamp) -> Result<(), Abort> {
    incidents::settle(tx, job.task_id, true, now)?;
    let scope = retries::scope_of(tx, job.task_id, job.project_id)?;
    if retries::close(tx, &scope)? {
        let entry = NewAudit {
            event: AuditEvent::Closed,
            scope: &scope,
            task: Some((job.task_id, job.visit)),
            reason: None,
            retry_count: 0,
            total: 0,
            error: None,
        };
        retries::audit(tx, &entry, now)?;
    }
    Ok(())
}
