//! Runs and their logs. A log is read from the file while the agent writes it.

use actix_web::http::header::ContentType;
use actix_web::{HttpResponse, Responder, web};
use serde::Deserialize;

use super::log_chunk::{self, Chunk};
use crate::engine::{Engine, queries};
use crate::http::error::Problem;
use crate::http::wait::{self, Look};
use crate::http::{now, resource};

pub(super) fn routes(cfg: &mut web::ServiceConfig) {
    cfg.service(resource("/runs/{id}", "GET").route(web::get().to(show)))
        .service(resource("/runs/{id}/log", "GET").route(web::get().to(log)));
}

async fn show(engine: web::Data<Engine>, id: web::Path<i64>) -> Result<impl Responder, Problem> {
    Ok(web::Json(queries::run(&engine, *id, now()).await?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LogQuery {
    #[serde(default)]
    offset: u64,
    #[serde(default)]
    wait_s: u64,
}

/// Bytes from `offset`. The client is done when the run is finished and the answer is empty.
async fn log(
    engine: web::Data<Engine>,
    id: web::Path<i64>,
    query: web::Query<LogQuery>,
) -> Result<impl Responder, Problem> {
    let (chunk, finished) = wait::until(engine.changed(), wait::capped(query.wait_s), async || {
        look(&engine, *id, query.offset).await
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
