//! Tasks that are submitted together.

use actix_web::http::{StatusCode, header};
use actix_web::{HttpResponse, Responder, web};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::engine::views::shapes::{self, BatchName};
use crate::engine::views::{BatchChange, BatchDetail, SubmitBatch};
use crate::engine::{Engine, batches};
use crate::http::body::Body;
use crate::http::error::Problem;
use crate::http::openapi::refusals::{NoSuch, Unfitting, Unusable};
use crate::http::resource;

pub(super) fn routes(cfg: &mut web::ServiceConfig) {
    cfg.service(resource("/batches", "POST").route(web::post().to(submit)))
        .service(resource("/batches/{name}", "GET").route(web::get().to(show)))
        .service(resource("/batches/{name}/resume", "POST").route(web::post().to(resume)))
        .service(resource("/batches/{name}/cancel", "POST").route(web::post().to(cancel)));
}

/// Adds the tasks of a batch and starts them: all or none.
#[utoipa::path(
    post, path = "/batches", tag = "batches", operation_id = "submit_batch", request_body = SubmitBatch,
    responses(
        (status = CREATED, description = "The batch.", body = BatchDetail,
         headers(("Location", description = "Where it is found."))),
        (status = OK, description = "The batch that was submitted with this name and content before.", body = BatchDetail,
         headers(("Location", description = "Where it is found."))),
        NoSuch, Unfitting, Unusable
    )
)]
pub(super) async fn submit(
    engine: web::Data<Engine>,
    batch: Body<SubmitBatch>,
) -> Result<HttpResponse, Problem> {
    let submitted = batches::submit(&engine, batch.0, engine.now()).await?;
    let status = if submitted.created {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    let location = format!("/api/v1/batches/{}", submitted.batch.name);
    Ok(HttpResponse::build(status)
        .insert_header((header::LOCATION, location))
        .json(submitted.batch))
}

/// A batch: its tasks, its breaker, the retries that it used.
#[utoipa::path(
    get, path = "/batches/{name}", tag = "batches", operation_id = "show_batch",
    params(("name" = inline(BatchName), Path, description = "The batch's name.")),
    responses((status = OK, description = "The batch.", body = BatchDetail), NoSuch, Unusable)
)]
pub(super) async fn show(
    engine: web::Data<Engine>,
    name: web::Path<String>,
) -> Result<impl Responder, Problem> {
    Ok(web::Json(batches::show(&engine, &name).await?))
}

/// In whose name a batch is resumed or cancelled.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ChangeBatch)]
pub(super) struct Change {
    /// Who.
    #[serde(default)]
    #[schema(value_type = Option<shapes::Person>)]
    person: Option<String>,
}

/// Closes its breaker and lets its blocked tasks go on.
#[utoipa::path(
    post, path = "/batches/{name}/resume", tag = "batches", operation_id = "resume_batch", request_body = Change,
    params(("name" = inline(BatchName), Path, description = "The batch's name.")),
    responses((status = OK, description = "What was changed.", body = BatchChange), NoSuch, Unusable)
)]
pub(super) async fn resume(
    engine: web::Data<Engine>,
    name: web::Path<String>,
    asked: Body<Change>,
) -> Result<impl Responder, Problem> {
    let changed = batches::resume(&engine, &name, asked.0.person, engine.now());
    Ok(web::Json(changed.await?))
}

/// Cancels its tasks that are not finished: agents end, leases are released, work is kept.
#[utoipa::path(
    post, path = "/batches/{name}/cancel", tag = "batches", operation_id = "cancel_batch", request_body = Change,
    params(("name" = inline(BatchName), Path, description = "The batch's name.")),
    responses((status = OK, description = "What was changed.", body = BatchChange), NoSuch, Unusable)
)]
pub(super) async fn cancel(
    engine: web::Data<Engine>,
    name: web::Path<String>,
    asked: Body<Change>,
) -> Result<impl Responder, Problem> {
    let changed = batches::cancel(&engine, &name, asked.0.person, engine.now());
    Ok(web::Json(changed.await?))
}
