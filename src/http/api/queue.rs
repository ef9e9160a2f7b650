//! Pausing and resuming the queue. How it stands is at `/queue`.

use actix_web::{Responder, web};
use serde::Serialize;
use utoipa::ToSchema;

use crate::engine::{Engine, operate};
use crate::http::error::Problem;
use crate::http::resource;

pub(super) fn routes(cfg: &mut web::ServiceConfig) {
    cfg.service(resource("/queue/pause", "POST").route(web::post().to(pause)))
        .service(resource("/queue/resume", "POST").route(web::post().to(resume)));
}

/// How the queue stands now.
#[derive(Serialize, ToSchema)]
pub(super) struct Paused {
    /// No agent's job is claimed.
    paused: bool,
}

/// Claims no agent's job any more, until it is resumed.
#[utoipa::path(
    post, path = "/queue/pause", tag = "jobs", operation_id = "pause_queue",
    responses((status = OK, description = "Paused.", body = Paused))
)]
pub(super) async fn pause(engine: web::Data<Engine>) -> Result<impl Responder, Problem> {
    set_paused(&engine, true).await
}

/// Claims jobs again.
#[utoipa::path(
    post, path = "/queue/resume", tag = "jobs", operation_id = "resume_queue",
    responses((status = OK, description = "Resumed.", body = Paused))
)]
pub(super) async fn resume(engine: web::Data<Engine>) -> Result<impl Responder, Problem> {
    set_paused(&engine, false).await
}

async fn set_paused(engine: &Engine, paused: bool) -> Result<web::Json<Paused>, Problem> {
    operate::set_paused(engine, paused, engine.now()).await?;
    Ok(web::Json(Paused { paused }))
}
