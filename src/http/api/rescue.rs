//! Unfinished work that was kept: listed, shown, restored as a branch.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, Responder, web};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::engine::views::shapes::TaskName;
use crate::engine::views::{KeptDetail, KeptView, RescueView, RescueWork};
use crate::engine::{Engine, rescue};
use crate::http::body::Body;
use crate::http::bounded::{Bounded, RowNumber};
use crate::http::error::Problem;
use crate::http::openapi::refusals::{NoSuch, Unfitting, Unusable};
use crate::http::resource;

/// Entries in a list, unless the client asks for another number.
const USUAL: i64 = 50;
/// Most of them.
const MOST: i64 = 200;

pub(super) fn routes(cfg: &mut web::ServiceConfig) {
    cfg.service(resource("/wip", "GET").route(web::get().to(list)))
        .service(resource("/runs/{id}/wip", "GET").route(web::get().to(show)))
        .service(resource("/runs/{id}/rescue", "POST").route(web::post().to(restore)));
}

type Limit = Bounded<1, MOST>;

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListQuery {
    /// Only of this task.
    #[param(inline, value_type = Option<TaskName>)]
    task: Option<String>,
    /// Only of runs before this one: the next page.
    #[param(inline)]
    before: Option<RowNumber>,
    /// At most; 50 when left out.
    #[param(inline)]
    limit: Option<Limit>,
}

/// Unfinished work that was kept, newest first.
#[utoipa::path(
    get, path = "/wip", tag = "runs", operation_id = "list_kept_work", params(ListQuery),
    responses((status = OK, description = "What is kept.", body = Vec<KeptView>), NoSuch, Unfitting, Unusable)
)]
pub(super) async fn list(
    engine: web::Data<Engine>,
    query: web::Query<ListQuery>,
) -> Result<impl Responder, Problem> {
    let query = query.into_inner();
    let wanted = rescue::KeptQuery {
        task: query.task,
        before: query.before.map(RowNumber::get),
        limit: query.limit.map_or(USUAL, Limit::get),
    };
    Ok(web::Json(rescue::list(&engine, wanted).await?))
}

/// What is kept of a run, with its patch.
#[utoipa::path(
    get, path = "/runs/{id}/wip", tag = "runs", operation_id = "show_kept_work",
    params(("id" = inline(RowNumber), Path, description = "The run's number.")),
    responses((status = OK, description = "What is kept.", body = KeptDetail), NoSuch, Unfitting)
)]
pub(super) async fn show(engine: web::Data<Engine>, id: web::Path<i64>) -> Result<impl Responder, Problem> {
    Ok(web::Json(rescue::show(&engine, *id).await?))
}

/// Makes a branch of the project's repository from what is kept of a run.
#[utoipa::path(
    post, path = "/runs/{id}/rescue", tag = "runs", operation_id = "rescue_run", request_body = RescueWork,
    params(("id" = inline(RowNumber), Path, description = "The run's number.")),
    responses(
        (status = CREATED, description = "The branch that was made.", body = RescueView),
        (status = OK, description = "The branch that had it already.", body = RescueView),
        NoSuch, Unfitting, Unusable
    )
)]
pub(super) async fn restore(
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
