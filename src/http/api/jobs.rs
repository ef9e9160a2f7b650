//! Jobs: look, cancel, retry, reprioritise.

use actix_web::{Responder, web};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::engine::views::JobView;
use crate::engine::views::shapes::Priority;
use crate::engine::{Engine, operate, queries};
use crate::http::body::Body;
use crate::http::bounded::RowNumber;
use crate::http::error::Problem;
use crate::http::openapi::refusals::{NoSuch, Unfitting};
use crate::http::resource;

pub(super) fn routes(cfg: &mut web::ServiceConfig) {
    cfg.service(
        resource("/jobs/{id}", "GET, PATCH")
            .route(web::get().to(show))
            .route(web::patch().to(change)),
    )
    .service(resource("/jobs/{id}/cancel", "POST").route(web::post().to(cancel)))
    .service(resource("/jobs/{id}/retry", "POST").route(web::post().to(retry)));
}

/// What of a job can be changed.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ChangeJob)]
pub(super) struct Change {
    /// Higher goes first.
    #[schema(value_type = Priority)]
    priority: i32,
}

/// What cancelling a job takes.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = CancelJob)]
pub(super) struct Cancel {
    /// Why; its first 300 characters are kept.
    #[serde(default)]
    reason: String,
}

/// A job.
#[utoipa::path(
    get, path = "/jobs/{id}", tag = "jobs", operation_id = "show_job",
    params(("id" = inline(RowNumber), Path, description = "The job's number.")),
    responses((status = OK, description = "The job.", body = JobView), NoSuch)
)]
pub(super) async fn show(engine: web::Data<Engine>, id: web::Path<i64>) -> Result<impl Responder, Problem> {
    Ok(web::Json(queries::job(&engine, *id).await?))
}

/// Gives a queued job another priority.
#[utoipa::path(
    patch, path = "/jobs/{id}", tag = "jobs", operation_id = "change_job", request_body = Change,
    params(("id" = inline(RowNumber), Path, description = "The job's number.")),
    responses((status = OK, description = "The job.", body = JobView), NoSuch, Unfitting)
)]
pub(super) async fn change(
    engine: web::Data<Engine>,
    id: web::Path<i64>,
    change: Body<Change>,
) -> Result<impl Responder, Problem> {
    Ok(web::Json(
        operate::set_priority(&engine, *id, change.0.priority, engine.now()).await?,
    ))
}

/// Cancels a queued or running job; its agent is stopped and its work kept.
#[utoipa::path(
    post, path = "/jobs/{id}/cancel", tag = "jobs", operation_id = "cancel_job", request_body = Cancel,
    params(("id" = inline(RowNumber), Path, description = "The job's number.")),
    responses((status = OK, description = "The job.", body = JobView), NoSuch, Unfitting)
)]
pub(super) async fn cancel(
    engine: web::Data<Engine>,
    id: web::Path<i64>,
    cancel: Body<Cancel>,
) -> Result<impl Responder, Problem> {
    Ok(web::Json(
        operate::cancel_job(&engine, *id, &cancel.0.reason, engine.now()).await?,
    ))
}

/// Queues a fresh job like one that failed or was cancelled, or lets one be claimed now that waits for its time.
#[utoipa::path(
    post, path = "/jobs/{id}/retry", tag = "jobs", operation_id = "retry_job",
    params(("id" = inline(RowNumber), Path, description = "The job's number.")),
    responses((status = OK, description = "The fresh job.", body = JobView), NoSuch, Unfitting)
)]
pub(super) async fn retry(engine: web::Data<Engine>, id: web::Path<i64>) -> Result<impl Responder, Problem> {
    Ok(web::Json(operate::retry_job(&engine, *id, engine.now()).await?))
}
