//! What is not delivered, and sending it again.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, Responder, web};

use crate::engine::views::NoticeView;
use crate::engine::{Engine, deliver};
use crate::http::bounded::RowNumber;
use crate::http::error::Problem;
use crate::http::openapi::refusals::Unfitting;
use crate::http::resource;

pub(super) fn routes(cfg: &mut web::ServiceConfig) {
    cfg.service(resource("/outbox", "GET").route(web::get().to(list)))
        .service(resource("/outbox/{id}/resend", "POST").route(web::post().to(resend)));
}

/// Notices that are not delivered: 200 that were given up, newest first, then 200 that wait, the next one first.
#[utoipa::path(
    get, path = "/outbox", tag = "service", operation_id = "list_outbox",
    responses((status = OK, description = "What is not delivered.", body = Vec<NoticeView>))
)]
pub(super) async fn list(engine: web::Data<Engine>) -> Result<impl Responder, Problem> {
    Ok(web::Json(deliver::list(&engine).await?))
}

/// Sends a notice again that was given up.
#[utoipa::path(
    post, path = "/outbox/{id}/resend", tag = "service", operation_id = "resend_notice",
    params(("id" = inline(RowNumber), Path, description = "The notice's number.")),
    responses((status = NO_CONTENT, description = "It is sent soon."), Unfitting)
)]
pub(super) async fn resend(engine: web::Data<Engine>, id: web::Path<i64>) -> Result<impl Responder, Problem> {
    deliver::resend(&engine, *id).await?;
    Ok(HttpResponse::new(StatusCode::NO_CONTENT))
}
