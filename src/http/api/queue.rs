//! Pausing and resuming the queue. How it stands is at `/queue`.

use actix_web::{Responder, web};

use crate::engine::{Engine, operate};
use crate::http::error::Problem;
use crate::http::{now, resource};

pub(super) fn routes(cfg: &mut web::ServiceConfig) {
    cfg.service(resource("/queue/pause", "POST").route(web::post().to(pause)))
        .service(resource("/queue/resume", "POST").route(web::post().to(resume)));
}

async fn pause(engine: web::Data<Engine>) -> Result<impl Responder, Problem> {
    set_paused(&engine, true).await
}

async fn resume(engine: web::Data<Engine>) -> Result<impl Responder, Problem> {
    set_paused(&engine, false).await
}

async fn set_paused(engine: &Engine, paused: bool) -> Result<web::Json<serde_json::Value>, Problem> {
    operate::set_paused(engine, paused, now()).await?;
    Ok(web::Json(serde_json::json!({ "paused": paused })))
}
