//! Merge leases and stopped merges: listed, released by a person.

use actix_web::{HttpResponse, Responder, web};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::engine::lease::stop;
use crate::engine::views::LeasesView;
use crate::engine::{Engine, reclaim};
use crate::http::body::Body;
use crate::http::error::Problem;
use crate::http::openapi::refusals::{NoSuch, Unfitting};
use crate::http::resource;

pub(super) fn routes(cfg: &mut web::ServiceConfig) {
    cfg.service(resource("/leases", "GET").route(web::get().to(list)))
        .service(resource("/leases/release", "POST").route(web::post().to(release)))
        .service(resource("/leases/resume", "POST").route(web::post().to(resume)));
}

/// Which lease is released.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ReleaseLease)]
pub(super) struct Release {
    /// The repository, as it is listed.
    repo: String,
    /// The token under which it was seen.
    token: i64,
    /// Also while its holder merges.
    #[serde(default)]
    force: bool,
}

/// The merge leases that are held, and the repositories into which nobody merges.
#[utoipa::path(
    get, path = "/leases", tag = "leases", operation_id = "list_leases",
    responses((status = OK, description = "The leases.", body = LeasesView))
)]
pub(super) async fn list(engine: web::Data<Engine>) -> Result<impl Responder, Problem> {
    Ok(web::Json(LeasesView {
        held: reclaim::list(&engine).await?,
        stopped: stop::list(&engine).await?,
    }))
}

/// Releases a lease that is still held under this token.
#[utoipa::path(
    post, path = "/leases/release", tag = "leases", operation_id = "release_lease", request_body = Release,
    responses((status = NO_CONTENT, description = "Released."), NoSuch, Unfitting)
)]
pub(super) async fn release(
    engine: web::Data<Engine>,
    wanted: Body<Release>,
) -> Result<HttpResponse, Problem> {
    let wanted = wanted.0;
    reclaim::release(&engine, &wanted.repo, wanted.token, wanted.force).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Where merges go on.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ResumeMerges)]
pub(super) struct Resume {
    /// The repository, as it is listed, or the name of its project.
    repo: String,
}

/// Lets merges go on that were stopped since main had something else than what was tested.
#[utoipa::path(
    post, path = "/leases/resume", tag = "leases", operation_id = "resume_merges", request_body = Resume,
    responses((status = NO_CONTENT, description = "They go on."), NoSuch)
)]
pub(super) async fn resume(engine: web::Data<Engine>, wanted: Body<Resume>) -> Result<HttpResponse, Problem> {
    stop::lift(&engine, &wanted.0.repo, engine.now()).await?;
    Ok(HttpResponse::NoContent().finish())
}
