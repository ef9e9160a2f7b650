//! Projects under care.

use actix_web::{Responder, web};

use crate::engine::{Engine, queries};
use crate::http::resource;

pub(super) fn routes(cfg: &mut web::ServiceConfig) {
    cfg.service(resource("/projects", "GET").route(web::get().to(list)));
}

async fn list(engine: web::Data<Engine>) -> impl Responder {
    web::Json(queries::projects(&engine))
}
