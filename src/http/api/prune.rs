//! Pruning: what it would remove, and one sweep now.

use actix_web::{Responder, web};

use crate::engine::views::PruneReport;
use crate::engine::{Engine, prune};
use crate::http::error::Problem;
use crate::http::openapi::refusals::Unfitting;
use crate::http::resource;

pub(super) fn routes(cfg: &mut web::ServiceConfig) {
    cfg.service(
        resource("/prune", "GET, POST")
            .route(web::get().to(plan))
            .route(web::post().to(sweep)),
    );
}

/// What would be pruned now. Changes nothing.
#[utoipa::path(
    get, path = "/prune", tag = "service", operation_id = "plan_prune",
    responses((status = OK, description = "What would go.", body = PruneReport))
)]
pub(super) async fn plan(engine: web::Data<Engine>) -> Result<impl Responder, Problem> {
    Ok(web::Json(prune::plan(&engine).await?))
}

/// Prunes now, also where the daily sweep is switched off. Answers when it is done.
#[utoipa::path(
    post, path = "/prune", tag = "service", operation_id = "prune",
    responses((status = OK, description = "What has gone.", body = PruneReport), Unfitting)
)]
pub(super) async fn sweep(engine: web::Data<Engine>) -> Result<impl Responder, Problem> {
    Ok(web::Json(prune::sweep(&engine).await?))
}
