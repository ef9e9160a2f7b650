//! What people ask of repair: which rule matches, what helped, which breakers are open.

use std::time::Duration;

use super::rules::standing;
use super::{reload, rules_now};
use crate::domain::classify::classify;
use crate::domain::id::{BatchId, ProjectName};
use crate::domain::pipeline::Role;
use crate::domain::repair::{ErrorText, Rules};
use crate::domain::retry::{Breaker, Gate, Scope};
use crate::domain::time::Timestamp;
use crate::engine::views::{
    BreakerView, HangView, IncidentView, MatchView, RepairView, RulesView, StrategyStats, USABLE,
};
use crate::engine::{Engine, EngineError, Hint, blocking};
use crate::store::retries::{AuditEvent, NewAudit};
use crate::store::{StoreError, batches, incidents, readable, retries, tasks};

/// Which rule of those in force matches a text, and why.
///
/// # Errors
/// A thread that ended early.
pub async fn check(engine: &Engine, text: String, role: Option<Role>) -> Result<MatchView, EngineError> {
    let rules = rules_now(engine);
    let found = blocking(move || {
        let text = ErrorText::parse(&text);
        let found = rules.matching(&text, role);
        let class = classify(&text, &found);
        Ok::<_, EngineError>((found, class))
    });
    let (found, class) = found.await?;
    Ok(MatchView {
        strategy: found.strategy,
        fix: found.fix.as_str().to_owned(),
        severity: found.severity.as_str().to_owned(),
        diagnosis: found.diagnosis,
        matched_by: found.by.to_string(),
        class: class.to_string(),
    })
}

/// Reads the rules again, if their file changed.
///
/// # Errors
/// A thread that ended early.
pub async fn reload_now(engine: &Engine) -> Result<RulesView, EngineError> {
    let problem = match reload(engine).await? {
        super::Reload::Taken(_) => None,
        super::Reload::Unchanged(problem) => problem,
        super::Reload::Refused(why) => Some(why),
    };
    let rules = rules_now(engine);
    Ok(RulesView {
        source: standing(engine).source,
        strategies: names(&rules),
        problem,
    })
}

/// How repair stands: its rules, and what is closed or hangs now.
///
/// # Errors
/// The database's.
pub async fn stands_now(engine: &Engine) -> Result<RepairView, EngineError> {
    let rules = standing(engine);
    let mut breakers = breakers(engine).await?;
    breakers.retain(|breaker| breaker.stands != CLOSED);
    let mut nodes = crate::engine::nodes::list(engine).await?;
    nodes.retain(|node| node.stands != USABLE || node.slots_fewer > 0);
    let hanging = engine.hanging().into_iter().map(|(what, long)| HangView {
        what,
        seconds: long.as_secs(),
    });
    Ok(RepairView {
        enabled: engine.settings().repair.enabled,
        source: rules.source,
        since: rules.since.map(|at| at.to_string()),
        problem: rules.problem,
        matched_total: rules.matched,
        last_match: rules.last,
        breakers,
        nodes,
        hanging: hanging.collect(),
    })
}

fn names(rules: &Rules) -> Vec<String> {
    rules.strategies().iter().map(|s| s.name.clone()).collect()
}

/// How often each rule matched within the last days, and helped. Rules of the file that never did are listed too.
///
/// # Errors
/// The database's.
pub async fn stats(engine: &Engine, within: Duration) -> Result<Vec<StrategyStats>, EngineError> {
    let since = engine.now() - within;
    let tally = engine.store().read(move |tx| incidents::tally(tx, since)).await?;
    let mut found: Vec<StrategyStats> = tally
        .into_iter()
        .map(|t| StrategyStats {
            strategy: t.strategy,
            fix: t.fix,
            matched: t.seen,
            helped: t.helped,
            failed_again: t.failed,
        })
        .collect();
    for rule in rules_now(engine).strategies() {
        if !found.iter().any(|f| f.strategy == rule.name) {
            found.push(StrategyStats {
                strategy: rule.name.clone(),
                fix: rule.fix.as_str().to_owned(),
                ..StrategyStats::default()
            });
        }
    }
    Ok(found)
}

/// The last failures and how they were answered, newest first.
///
/// # Errors
/// The database's.
pub async fn recent(engine: &Engine, limit: usize) -> Result<Vec<IncidentView>, EngineError> {
    let found = engine.store().read(move |tx| {
        let mut found = Vec::new();
        for incident in incidents::recent(tx, None, limit)? {
            let task =
                readable(tasks::by_id(tx, incident.what.task))?.map(|task| task.work_item_id.to_string());
            found.push((incident, task));
        }
        Ok::<_, StoreError>(found)
    });
    let view = |(incident, task): (incidents::Incident, Option<String>)| IncidentView {
        id: incident.id,
        at: incident.at.to_string(),
        task: task.unwrap_or_else(|| format!("#{}", incident.what.task)),
        stage: incident.what.stage.to_string(),
        node: incident.what.node.to_string(),
        strategy: incident.what.strategy,
        fix: incident.what.fix.as_str().to_owned(),
        diagnosis: incident.what.diagnosis,
        class: incident.what.class,
        error: incident.what.error,
        decision: incident.what.decision.as_str().to_owned(),
        outcome: incident
            .helped
            .map(|helped| if helped { "helped" } else { "failed" }.to_owned()),
    };
    Ok(found.await?.into_iter().map(view).collect())
}

/// A scope as people name it: `project:shop`, `batch:spring`.
pub(super) fn shown(engine: &Engine, scope: &Scope) -> String {
    match scope {
        Scope::Project(id) => format!("project:{}", engine.project_name(*id)),
        Scope::Batch(id) => format!("batch:{id}"),
    }
}

/// The inverse of [`shown`].
fn named(engine: &Engine, text: &str) -> Result<Scope, EngineError> {
    let invalid = |what: String| EngineError::Invalid { what };
    match text.split_once(':') {
        Some(("project", name)) => {
            let name = ProjectName::parse(name).map_err(|e| invalid(e.to_string()))?;
            let known = engine.parts.names.iter().find(|(_, known)| **known == name);
            let missing = || EngineError::NotFound {
                what: format!("no project is called {name}: `orch project list` shows them"),
            };
            known.map(|(id, _)| Scope::Project(*id)).ok_or_else(missing)
        }
        Some(("batch", name)) => BatchId::parse(name)
            .map(Scope::Batch)
            .map_err(|e| invalid(e.to_string())),
        _ => Err(invalid(
            "a scope is project:<name> or batch:<name>: `orch breaker list` shows them".to_owned(),
        )),
    }
}

/// The breakers of all scopes that failed since their last success.
///
/// # Errors
/// The database's.
pub async fn breakers(engine: &Engine) -> Result<Vec<BreakerView>, EngineError> {
    let found = engine.store().read(retries::scopes).await?;
    let (half_open, now) = (engine.settings().retry.half_open, engine.now());
    let view = |state: retries::ScopeState| {
        let (stands, until) = stands(state.breaker, half_open, now);
        BreakerView {
            scope: shown(engine, &state.scope),
            stands: stands.to_owned(),
            failures: state.breaker.failures,
            opened_at: state.breaker.opened_at.map(|at| at.to_string()),
            until,
        }
    };
    Ok(found.into_iter().map(view).collect())
}

/// How a breaker stands that keeps nothing back.
const CLOSED: &str = "closed";

/// What people are told of a breaker: how it stands, and when an open one lets a job through.
pub(in crate::engine) fn stands(
    breaker: Breaker,
    half_open: Duration,
    now: Timestamp,
) -> (&'static str, Option<String>) {
    match breaker.gate(half_open, now) {
        Gate::Closed => (CLOSED, None),
        Gate::Open(until) => ("open", Some(until.to_string())),
        Gate::HalfOpen => ("half open", None),
    }
}

/// Closes a breaker by hand and forgets the failures of its scope.
///
/// # Errors
/// A scope that cannot be; the database's.
pub async fn reset(engine: &Engine, scope: &str) -> Result<(), EngineError> {
    let scope = named(engine, scope)?;
    if let Scope::Batch(id) = &scope {
        let wanted = id.clone();
        let known = engine.store().read(move |tx| batches::by_id(tx, &wanted)).await?;
        let missing = || EngineError::NotFound {
            what: format!("no batch is called {id}: `orch breaker list` shows the scopes that failed"),
        };
        known.ok_or_else(missing)?;
    }
    close(engine, scope, engine.now()).await
}

/// The same, of a scope that is known.
pub(in crate::engine) async fn close(
    engine: &Engine,
    scope: Scope,
    now: Timestamp,
) -> Result<(), EngineError> {
    let reset = engine.store().write(move |tx| {
        retries::take(tx, &scope)?;
        retries::close(tx, &scope)?;
        let entry = NewAudit {
            event: AuditEvent::Reset,
            scope: &scope,
            task: None,
            reason: None,
            retry_count: 0,
            total: 0,
            error: None,
        };
        retries::audit(tx, &entry, now)
    });
    reset.await?;
    engine.committed();
    engine.hint(Hint::Audit);
    Ok(())
}
