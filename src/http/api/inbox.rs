//! Deliveries of webhooks, and applying a parked one again.

use actix_web::{Responder, web};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::engine::views::{DeliveryDetail, DeliveryView};
use crate::engine::{Engine, inbox};
use crate::http::bounded::RowNumber;
use crate::http::error::Problem;
use crate::http::openapi::refusals::{NoSuch, Unfitting};
use crate::http::resource;

pub(super) fn routes(cfg: &mut web::ServiceConfig) {
    cfg.service(resource("/inbox", "GET").route(web::get().to(list)))
        .service(resource("/inbox/{id}", "GET").route(web::get().to(show)))
        .service(resource("/inbox/{id}/replay", "POST").route(web::post().to(replay)));
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct InboxQuery {
    /// Only those that stand so.
    #[param(inline)]
    status: Option<StatusWord>,
}

/// How a delivery stands.
#[derive(Clone, Copy, Debug, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
enum StatusWord {
    Pending,
    Applied,
    Ignored,
    Parked,
}

impl StatusWord {
    fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Applied => "applied",
            Self::Ignored => "ignored",
            Self::Parked => "parked",
        }
    }
}

/// The latest deliveries of webhooks, newest first, 200 at most.
#[utoipa::path(
    get, path = "/inbox", tag = "service", operation_id = "list_inbox", params(InboxQuery),
    responses((status = OK, description = "Deliveries.", body = Vec<DeliveryView>))
)]
pub(super) async fn list(
    engine: web::Data<Engine>,
    query: web::Query<InboxQuery>,
) -> Result<impl Responder, Problem> {
    let status = query.status.map(StatusWord::as_str);
    Ok(web::Json(inbox::list(&engine, status).await?))
}

/// A delivery with its body.
#[utoipa::path(
    get, path = "/inbox/{id}", tag = "service", operation_id = "show_delivery",
    params(("id" = inline(RowNumber), Path, description = "The delivery's number.")),
    responses((status = OK, description = "The delivery.", body = DeliveryDetail), NoSuch)
)]
pub(super) async fn show(engine: web::Data<Engine>, id: web::Path<i64>) -> Result<impl Responder, Problem> {
    Ok(web::Json(inbox::show(&engine, *id).await?))
}

/// Has a parked delivery applied again.
#[utoipa::path(
    post, path = "/inbox/{id}/replay", tag = "service", operation_id = "replay_delivery",
    params(("id" = inline(RowNumber), Path, description = "The delivery's number.")),
    responses((status = OK, description = "It is applied soon.", body = DeliveryView), NoSuch, Unfitting)
)]
pub(super) async fn replay(engine: web::Data<Engine>, id: web::Path<i64>) -> Result<impl Responder, Problem> {
    Ok(web::Json(inbox::replay(&engine, *id).await?))
}
