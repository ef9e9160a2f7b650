//! How production is watched, for people and machines. Never looks at production, never writes.

use crate::domain::post_deploy::{ActionTaken, Probe};
use crate::domain::time::Timestamp;
use crate::store::deploys::Deploy;
use crate::store::{Conn, StoreError, deploys, jobs, probes};

use super::queue::name_of;
use super::views::{PostDeployView, ProductionView, WatchingView};
use super::{Engine, EngineError};

/// What is known of a deploy that is watched.
struct Watched {
    deploy: Deploy,
    task: String,
    start: Timestamp,
    over: usize,
    failed: usize,
}

/// How watching production stands now.
///
/// # Errors
/// The database's.
pub async fn stands(engine: &Engine) -> Result<PostDeployView, EngineError> {
    let read = engine.store().read(|tx| {
        let last = match deploys::last_judged(tx)? {
            Some(deploy) => Some((name_of(tx, deploy.task_id)?, deploy)),
            None => None,
        };
        Ok::<_, StoreError>((watched(tx)?, last))
    });
    let (watched, last) = read.await?;
    Ok(PostDeployView {
        enabled: engine.settings().post_deploy.enabled,
        watching: watched.into_iter().map(|w| watching(engine, w)).collect(),
        last: last.map(|(task, deploy)| ProductionView {
            task,
            project: engine.project_name(deploy.project_id),
            revision: deploy.revision.to_string(),
            status: deploy.health.map_or("", |h| h.as_str()).to_owned(),
            action: deploy.action.map_or("", |a| a.as_str()).to_owned(),
            at: deploy.judged_at.map(|at| at.to_string()),
        }),
    })
}

fn watched(tx: &mut Conn) -> Result<Vec<Watched>, StoreError> {
    let mut found = Vec::new();
    for (task, start) in jobs::watching(tx)? {
        let Some(deploy) = deploys::running_of_task(tx, task)? else {
            continue;
        };
        let looks = probes::of_deploy(tx, deploy.id)?;
        let after = || looks.iter().filter(|k| k.slot >= 0);
        found.push(Watched {
            task: name_of(tx, task)?,
            start,
            over: after().count(),
            failed: after().filter(|k| matches!(k.probe, Probe::Failed(_))).count(),
            deploy,
        });
    }
    Ok(found)
}

fn watching(engine: &Engine, w: Watched) -> WatchingView {
    let project = engine.project(w.deploy.project_id).ok();
    let plan = project.and_then(|project| project.config.post_deploy.as_ref().map(|p| p.plan));
    WatchingView {
        task: w.task,
        project: engine.project_name(w.deploy.project_id),
        revision: w.deploy.revision.to_string(),
        probes: plan.map(|plan| plan.probes),
        probes_over: w.over,
        failed: w.failed,
        until: plan.map(|plan| plan.until(w.start).to_string()),
        rolling_back: w.deploy.action == Some(ActionTaken::RollingBack),
    }
}
