//! Tasks, and what people do to them.

use actix_web::http::{StatusCode, header};
use actix_web::{HttpResponse, Responder, web};
use serde::Deserialize;

use crate::engine::views::{AddTask, MakeGesture};
use crate::engine::{Engine, gestures, intake, queries};
use crate::http::body::Body;
use crate::http::error::Problem;
use crate::http::{now, resource};

/// Tasks in a list, unless the client asks for fewer.
const MOST: i64 = 1000;

pub(super) fn routes(cfg: &mut web::ServiceConfig) {
    cfg.service(
        resource("/tasks", "GET, POST")
            .route(web::get().to(list))
            .route(web::post().to(add)),
    )
    .service(resource("/tasks/{id}", "GET").route(web::get().to(show)))
    .service(resource("/tasks/{id}/gestures", "POST").route(web::post().to(gesture)))
    .service(resource("/tasks/{id}/runs", "GET").route(web::get().to(runs)));
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    project: Option<String>,
    #[serde(default)]
    all: bool,
    limit: Option<i64>,
    before: Option<String>,
}

async fn list(engine: web::Data<Engine>, query: web::Query<ListQuery>) -> Result<impl Responder, Problem> {
    let query = query.into_inner();
    let wanted = queries::TaskQuery {
        project: query.project,
        all: query.all,
        before: query.before,
        limit: query.limit.unwrap_or(MOST).clamp(1, MOST),
    };
    Ok(web::Json(queries::tasks(&engine, wanted, now()).await?))
}

async fn add(engine: web::Data<Engine>, task: Body<AddTask>) -> Result<HttpResponse, Problem> {
    let added = intake::add(&engine, task.0, now()).await?;
    let status = if added.created {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    Ok(HttpResponse::build(status)
        .insert_header((header::LOCATION, format!("/api/v1/tasks/{}", added.task.id)))
        .json(added.task))
}

async fn show(engine: web::Data<Engine>, id: web::Path<String>) -> Result<impl Responder, Problem> {
    Ok(web::Json(queries::task(&engine, &id, now()).await?))
}

async fn gesture(
    engine: web::Data<Engine>,
    id: web::Path<String>,
    gesture: Body<MakeGesture>,
) -> Result<impl Responder, Problem> {
    Ok(web::Json(gestures::apply(&engine, &id, gesture.0, now()).await?))
}

async fn runs(engine: web::Data<Engine>, id: web::Path<String>) -> Result<impl Responder, Problem> {
    Ok(web::Json(queries::runs(&engine, &id, now()).await?))
}
