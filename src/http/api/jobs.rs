//! Jobs: look, cancel, retry, reprioritise.

use actix_web::{Responder, web};
use serde::Deserialize;

use crate::engine::{Engine, operate, queries};
use crate::http::body::Body;
use crate::http::error::Problem;
use crate::http::{now, resource};

pub(super) fn routes(cfg: &mut web::ServiceConfig) {
    cfg.service(
        resource("/jobs/{id}", "GET, PATCH")
            .route(web::get().to(show))
            .route(web::patch().to(change)),
    )
    .service(resource("/jobs/{id}/cancel", "POST").route(web::post().to(cancel)))
    .service(resource("/jobs/{id}/retry", "POST").route(web::post().to(retry)));
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    priority: i32,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Cancel {
    #[serde(default)]
    reason: String,
}

async fn show(engine: web::Data<Engine>, id: web::Path<i64>) -> Result<impl Responder, Problem> {
    Ok(web::Json(queries::job(&engine, *id).await?))
}

async fn change(
    engine: web::Data<Engine>,
    id: web::Path<i64>,
    change: Body<Change>,
) -> Result<impl Responder, Problem> {
    Ok(web::Json(
        operate::set_priority(&engine, *id, change.0.priority, now()).await?,
    ))
}

async fn cancel(
    engine: web::Data<Engine>,
    id: web::Path<i64>,
    cancel: Body<Cancel>,
) -> Result<impl Responder, Problem> {
    Ok(web::Json(
        operate::cancel_job(&engine, *id, &cancel.0.reason, now()).await?,
    ))
}

async fn retry(engine: web::Data<Engine>, id: web::Path<i64>) -> Result<impl Responder, Problem> {
    Ok(web::Json(operate::retry_job(&engine, *id, now()).await?))
}
