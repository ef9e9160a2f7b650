//! Projects under care.

use actix_web::{Responder, web};

use crate::engine::views::ProjectView;
use crate::engine::{Engine, queries};
use crate::http::resource;

pub(super) fn routes(cfg: &mut web::ServiceConfig) {
    cfg.service(resource("/projects", "GET").route(web::get().to(list)));
}

/// All projects.
#[utoipa::path(
    get, path = "/projects", tag = "projects", operation_id = "list_projects",
    responses((status = OK, description = "All projects.", body = Vec<ProjectView>))
)]
pub(super) async fn list(engine: web::Data<Engine>) -> impl Responder {
    web::Json(queries::projects(&engine))
}
