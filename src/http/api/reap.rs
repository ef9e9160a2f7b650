//! The reaper: what it would settle, and one sweep now.

use actix_web::{Responder, web};

use crate::engine::views::{ReapPlan, ReapReport, ReapedView};
use crate::engine::{Engine, EngineError, reap};
use crate::http::Sources;
use crate::http::error::Problem;
use crate::http::openapi::refusals::Unfitting;
use crate::http::resource;

pub(super) fn routes(cfg: &mut web::ServiceConfig) {
    cfg.service(
        resource("/reap", "GET, POST")
            .route(web::get().to(plan))
            .route(web::post().to(sweep)),
    );
}

/// What the reaper's next sweep would settle, and why. Changes nothing.
#[utoipa::path(
    get, path = "/reap", tag = "jobs", operation_id = "plan_reap",
    responses((status = OK, description = "What it would do.", body = ReapPlan))
)]
pub(super) async fn plan(
    engine: web::Data<Engine>,
    sources: web::Data<Sources>,
) -> Result<impl Responder, Problem> {
    Ok(web::Json(ReapPlan {
        enabled: engine.settings().reaper.enabled,
        jobs: reap::plan(&engine, &*sources.watched).await?,
    }))
}

/// One sweep of the reaper now.
#[utoipa::path(
    post, path = "/reap", tag = "jobs", operation_id = "reap",
    responses((status = OK, description = "What it did.", body = ReapReport), Unfitting)
)]
pub(super) async fn sweep(
    engine: web::Data<Engine>,
    sources: web::Data<Sources>,
) -> Result<impl Responder, Problem> {
    if !engine.settings().reaper.enabled {
        let what = "the reaper is switched off: set reaper.enabled and restart the service".to_owned();
        return Err(EngineError::Conflict { what }.into());
    }
    let swept = reap::sweep(&engine, &*sources.watched).await?;
    let reaped = swept.reaped.into_iter().map(|r| ReapedView {
        job_id: r.job_id,
        agent: r.agent,
        outcome: r.outcome,
    });
    Ok(web::Json(ReapReport {
        reaped: reaped.collect(),
        trouble: swept.trouble,
    }))
}
