//! What Orch healed by itself.

use actix_web::{Responder, web};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::engine::views::HealingView;
use crate::engine::{Engine, heal};
use crate::http::bounded::Bounded;
use crate::http::error::Problem;
use crate::http::resource;

/// Healings in an answer, unless the client asks for another number.
const USUAL: usize = 20;

pub(super) fn routes(cfg: &mut web::ServiceConfig) {
    cfg.service(resource("/healed", "GET").route(web::get().to(list)));
}

type Limit = Bounded<1, 1000>;

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct HealedQuery {
    /// At most; 20 unless it is given.
    #[param(inline)]
    limit: Option<Limit>,
}

/// What was healed last, newest first.
#[utoipa::path(
    get, path = "/healed", tag = "service", operation_id = "list_healed", params(HealedQuery),
    responses((status = OK, description = "What was healed.", body = Vec<HealingView>))
)]
pub(super) async fn list(
    engine: web::Data<Engine>,
    query: web::Query<HealedQuery>,
) -> Result<impl Responder, Problem> {
    let asked = query.limit.and_then(|limit| usize::try_from(limit.get()).ok());
    Ok(web::Json(heal::recent(&engine, asked.unwrap_or(USUAL)).await?))
}
