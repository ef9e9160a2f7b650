//! Unfinished work that was kept: listed, shown, restored as a branch.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, Responder, web};
use serde::Deserialize;

use crate::engine::views::RescueWork;
use crate::engine::{Engine, rescue};
use crate::http::body::Body;
use crate::http::error::Problem;
use crate::http::resource;

/// Entries in a list, unless the client asks for another number.
const USUAL: i64 = 50;

pub(super) fn routes(cfg: &mut web::ServiceConfig) {
    cfg.service(resource("/wip", "GET").route(web::get().to(list)))
        .service(resource("/runs/{id}/wip", "GET").route(web::get().to(show)))
        .service(resource("/runs/{id}/rescue", "POST").route(web::post().to(restore)));
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    task: Option<String>,
    before: Option<i64>,
    limit: Option<i64>,
}

async fn list(engine: web::Data<Engine>, query: web::Query<ListQuery>) -> Result<impl Responder, Problem> {
    let query = query.into_inner();
    let wanted = rescue::KeptQuery {
        task: query.task,
        before: query.before,
        limit: query.limit.unwrap_or(USUAL),
    };
    Ok(web::Json(rescue::list(&engine, wanted).await?))
}

async fn show(engine: web::Data<Engine>, id: web::Path<i64>) -> Result<impl Responder, Problem> {
    Ok(web::Json(rescue::show(&engine, *id).await?))
}

async fn restore(
    engine: web::Data<Engine>,
    id: web::Path<i64>,
    wanted: Body<RescueWork>,
) -> Result<HttpResponse, Problem> {
    let restored = rescue::restore(&engine, *id, wanted.0).await?;
    let status = if restored.created {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    Ok(HttpResponse::build(status).json(restored))
}
