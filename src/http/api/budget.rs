//! What agents cost and may cost.

use actix_web::{Responder, web};

use crate::engine::views::BudgetView;
use crate::engine::{Engine, budget};
use crate::http::error::Problem;
use crate::http::resource;

pub(super) fn routes(cfg: &mut web::ServiceConfig) {
    cfg.service(resource("/budget", "GET").route(web::get().to(show)));
}

/// What every project spent today, and every task that is not over; what is reserved for agents that run, and the
/// limits.
#[utoipa::path(
    get, path = "/budget", tag = "budget", operation_id = "show_budget",
    responses((status = OK, description = "The budgets.", body = BudgetView))
)]
pub(super) async fn show(engine: web::Data<Engine>) -> Result<impl Responder, Problem> {
    Ok(web::Json(budget::show(&engine).await?))
}
