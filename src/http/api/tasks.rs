//! Tasks, and what people do to them.

use actix_web::http::{StatusCode, header};
use actix_web::{HttpResponse, Responder, web};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::engine::views::shapes::TaskName;
use crate::engine::views::{AddTask, GestureView, MakeGesture, RunView, TaskDetail, TaskView};
use crate::engine::{Engine, gestures, intake, queries};
use crate::http::body::Body;
use crate::http::bounded::Bounded;
use crate::http::error::Problem;
use crate::http::openapi::refusals::{NoSuch, Unfitting, Unusable};
use crate::http::resource;

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

type Limit = Bounded<1, MOST>;

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListQuery {
    /// Only of this project.
    project: Option<String>,
    /// Finished ones too.
    #[serde(default)]
    all: bool,
    /// At most.
    #[param(inline)]
    limit: Option<Limit>,
    /// Only those older than the task of this name: the next page.
    #[param(inline, value_type = Option<TaskName>)]
    before: Option<String>,
}

/// Tasks, newest first.
#[utoipa::path(
    get, path = "/tasks", tag = "tasks", operation_id = "list_tasks", params(ListQuery),
    responses((status = OK, description = "The tasks.", body = Vec<TaskView>), NoSuch, Unfitting, Unusable)
)]
pub(super) async fn list(
    engine: web::Data<Engine>,
    query: web::Query<ListQuery>,
) -> Result<impl Responder, Problem> {
    let query = query.into_inner();
    let wanted = queries::TaskQuery {
        project: query.project,
        all: query.all,
        before: query.before,
        limit: query.limit.map_or(MOST, Limit::get),
    };
    Ok(web::Json(queries::tasks(&engine, wanted, engine.now()).await?))
}

/// Adds a task and starts it, unless it is to be held.
#[utoipa::path(
    post, path = "/tasks", tag = "tasks", operation_id = "add_task", request_body = AddTask,
    responses(
        (status = CREATED, description = "The task.", body = TaskView,
         headers(("Location", description = "Where it is found."))),
        (status = OK, description = "The task that was added with this `external_id` before.", body = TaskView,
         headers(("Location", description = "Where it is found."))),
        NoSuch, Unfitting, Unusable
    )
)]
pub(super) async fn add(engine: web::Data<Engine>, task: Body<AddTask>) -> Result<HttpResponse, Problem> {
    let added = intake::add(&engine, task.0, engine.now()).await?;
    let status = if added.created {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    Ok(HttpResponse::build(status)
        .insert_header((header::LOCATION, format!("/api/v1/tasks/{}", added.task.id)))
        .json(added.task))
}

/// A task with all that is known of it.
#[utoipa::path(
    get, path = "/tasks/{id}", tag = "tasks", operation_id = "show_task",
    params(("id" = inline(TaskName), Path, description = "The task's name.")),
    responses((status = OK, description = "The task.", body = TaskDetail), NoSuch, Unfitting, Unusable)
)]
pub(super) async fn show(
    engine: web::Data<Engine>,
    id: web::Path<String>,
) -> Result<impl Responder, Problem> {
    Ok(web::Json(queries::task(&engine, &id, engine.now()).await?))
}

/// Does what a person decides: start, approve, reject, confirm, park, cancel.
#[utoipa::path(
    post, path = "/tasks/{id}/gestures", tag = "tasks", operation_id = "make_gesture", request_body = MakeGesture,
    params(("id" = inline(TaskName), Path, description = "The task's name.")),
    responses(
        (status = OK, description = "What it did, or why nothing.", body = GestureView),
        NoSuch, Unfitting, Unusable
    )
)]
pub(super) async fn gesture(
    engine: web::Data<Engine>,
    id: web::Path<String>,
    gesture: Body<MakeGesture>,
) -> Result<impl Responder, Problem> {
    Ok(web::Json(
        gestures::apply(&engine, &id, gesture.0, engine.now()).await?,
    ))
}

/// A task's runs, newest first.
#[utoipa::path(
    get, path = "/tasks/{id}/runs", tag = "tasks", operation_id = "list_task_runs",
    params(("id" = inline(TaskName), Path, description = "The task's name.")),
    responses((status = OK, description = "The runs.", body = Vec<RunView>), NoSuch, Unfitting, Unusable)
)]
pub(super) async fn runs(
    engine: web::Data<Engine>,
    id: web::Path<String>,
) -> Result<impl Responder, Problem> {
    Ok(web::Json(queries::runs(&engine, &id, engine.now()).await?))
}
