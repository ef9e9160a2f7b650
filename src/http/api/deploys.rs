//! Deploys: listed; a revision let out of quarantine by a person.

use actix_web::{HttpResponse, Responder, web};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use crate::engine::views::DeployView;
use crate::engine::{Engine, deploys};
use crate::http::body::Body;
use crate::http::bounded::RowNumber;
use crate::http::error::Problem;
use crate::http::openapi::refusals::{NoSuch, Unfitting};
use crate::http::resource;

pub(super) fn routes(cfg: &mut web::ServiceConfig) {
    cfg.service(resource("/deploys", "GET").route(web::get().to(list)))
        .service(resource("/deploys/release", "POST").route(web::post().to(release)))
        .service(resource("/deploys/{id}/settle", "POST").route(web::post().to(settle)));
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct DeploysQuery {
    /// Only those of this project.
    project: Option<String>,
}

/// Which revision is let out of quarantine.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ReleaseRevision)]
pub(super) struct Release {
    /// The project.
    project: String,
    /// The revision, or its first digits, 7 at least.
    revision: String,
}

/// How an attempt ended, as a person found.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = SettleDeploy)]
pub(super) struct Settle {
    /// Production runs the new version; else the one before.
    succeeded: bool,
}

/// Settles a deploy of which nobody knows how it ended.
#[utoipa::path(
    post, path = "/deploys/{id}/settle", tag = "deploys", operation_id = "settle_deploy", request_body = Settle,
    params(("id" = inline(RowNumber), Path, description = "The attempt.")),
    responses((status = NO_CONTENT, description = "It is settled."), NoSuch, Unfitting)
)]
pub(super) async fn settle(
    engine: web::Data<Engine>,
    id: web::Path<i64>,
    wanted: Body<Settle>,
) -> Result<HttpResponse, Problem> {
    deploys::settle(&engine, *id, wanted.0.succeeded).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// The latest deploys, newest first, 50 of each project at most.
#[utoipa::path(
    get, path = "/deploys", tag = "deploys", operation_id = "list_deploys", params(DeploysQuery),
    responses((status = OK, description = "The deploys.", body = Vec<DeployView>), NoSuch)
)]
pub(super) async fn list(
    engine: web::Data<Engine>,
    query: web::Query<DeploysQuery>,
) -> Result<impl Responder, Problem> {
    Ok(web::Json(deploys::list(&engine, query.project.as_deref()).await?))
}

/// Lets a revision out of quarantine.
#[utoipa::path(
    post, path = "/deploys/release", tag = "deploys", operation_id = "release_revision", request_body = Release,
    responses((status = NO_CONTENT, description = "It may be deployed again."), NoSuch, Unfitting)
)]
pub(super) async fn release(
    engine: web::Data<Engine>,
    wanted: Body<Release>,
) -> Result<HttpResponse, Problem> {
    deploys::release(&engine, &wanted.0.project, &wanted.0.revision).await?;
    Ok(HttpResponse::NoContent().finish())
}
