//! Runs and their logs. A log is read from the file while the agent writes it.

use actix_web::http::header::ContentType;
use actix_web::{HttpResponse, Responder, web};
use serde::Deserialize;
use utoipa::IntoParams;

use super::log_chunk::{self, Chunk};
use crate::engine::views::RunView;
use crate::engine::{Engine, queries};
use crate::http::bounded::{Place, RowNumber};
use crate::http::error::Problem;
use crate::http::openapi::refusals::NoSuch;
use crate::http::resource;
use crate::http::wait::{self, Look, Wait};

pub(super) fn routes(cfg: &mut web::ServiceConfig) {
    cfg.service(resource("/runs/{id}", "GET").route(web::get().to(show)))
        .service(resource("/runs/{id}/log", "GET").route(web::get().to(log)));
}

/// A run.
#[utoipa::path(
    get, path = "/runs/{id}", tag = "runs", operation_id = "show_run",
    params(("id" = inline(RowNumber), Path, description = "The run's number.")),
    responses((status = OK, description = "The run.", body = RunView), NoSuch)
)]
pub(super) async fn show(engine: web::Data<Engine>, id: web::Path<i64>) -> Result<impl Responder, Problem> {
    Ok(web::Json(queries::run(&engine, *id, engine.now()).await?))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct LogQuery {
    /// Bytes that are known already.
    #[serde(default)]
    #[param(inline)]
    offset: Place,
    /// Seconds to wait for output when there is nothing yet.
    #[serde(default)]
    #[param(inline)]
    wait_s: Wait,
}

/// A piece of what the agent printed, from `offset`.
///
/// The reader is done when the run is finished and the piece is empty.
#[utoipa::path(
    get, path = "/runs/{id}/log", tag = "runs", operation_id = "read_run_log",
    params(("id" = inline(RowNumber), Path, description = "The run's number."), LogQuery),
    responses(
        (status = OK, description = "A mebibyte at most.", body = String, content_type = "text/plain",
         headers(
            ("X-Next-Offset" = inline(Place), description = "Where the next piece begins."),
            ("X-Run-Finished" = bool, description = "Nothing will be added any more."),
         )),
        NoSuch
    )
)]
pub(super) async fn log(
    engine: web::Data<Engine>,
    id: web::Path<i64>,
    query: web::Query<LogQuery>,
) -> Result<impl Responder, Problem> {
    let (chunk, finished) = wait::until(engine.changed(), wait::time(query.wait_s), async || {
        look(&engine, *id, query.offset.get().unsigned_abs()).await
    })
    .await?;
    Ok(HttpResponse::Ok()
        .insert_header(ContentType::plaintext())
        .insert_header(("X-Next-Offset", chunk.next.to_string()))
        .insert_header(("X-Run-Finished", finished.to_string()))
        .body(chunk.bytes))
}

async fn look(engine: &Engine, run: i64, offset: u64) -> Result<Look<(Chunk, bool)>, Problem> {
    // Asked before reading: what a finished run printed is all there.
    let log = queries::run_log(engine, run).await?;
    let path = log.path;
    let chunk = web::block(move || log_chunk::read(&path, offset))
        .await
        .map_err(|e| Problem::internal(&e))?
        .map_err(|e| Problem::internal(&e))?;
    let nothing_new = chunk.bytes.is_empty() && chunk.next == offset && !log.finished;
    let found = (chunk, log.finished);
    Ok(if nothing_new {
        Look::Nothing(found)
    } else {
        Look::Something(found)
    })
}
