//! The machines on which agents run.

use std::time::Duration;

use actix_web::{HttpResponse, Responder, web};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::engine::Engine;
use crate::engine::nodes;
use crate::engine::views::{GivenUp, NodeView, shapes};
use crate::http::body::Body;
use crate::http::error::Problem;
use crate::http::openapi::refusals::{NoSuch, Unfitting, Unusable};
use crate::http::resource;

/// How long a node is off, unless the client says it.
const USUAL: u64 = 1800;
/// Longest, seconds: a year.
const LONGEST: u64 = 366 * 86_400;

pub(super) fn routes(cfg: &mut web::ServiceConfig) {
    cfg.service(resource("/nodes", "GET").route(web::get().to(list)))
        .service(resource("/nodes/blacklist", "POST").route(web::post().to(blacklist)))
        .service(resource("/nodes/give-up", "POST").route(web::post().to(give_up)))
        .service(resource("/nodes/clear", "POST").route(web::post().to(clear)));
}

/// The machines on which agents run, what runs there, and what was taken from them.
#[utoipa::path(
    get, path = "/nodes", tag = "repair", operation_id = "list_nodes",
    responses((status = OK, description = "The nodes.", body = Vec<NodeView>))
)]
pub(super) async fn list(engine: web::Data<Engine>) -> Result<impl Responder, Problem> {
    Ok(web::Json(nodes::list(&engine).await?))
}

/// Which node is given nothing, and why.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = BlacklistNode)]
pub(super) struct Blacklist {
    /// Its name.
    #[schema(value_type = shapes::NodeName)]
    node: String,
    /// For how long, seconds, at least 1; 1800 unless it is given.
    for_s: Option<u64>,
    /// Why, for whoever finds it off.
    #[schema(value_type = shapes::Reason)]
    reason: String,
}

/// Until when a node is given nothing.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = NodeOff)]
pub(super) struct OffView {
    /// RFC 3339. Later than asked for where something keeps it off for longer already.
    #[schema(format = DateTime)]
    until: String,
}

/// Gives a node nothing for a while. What runs there goes on.
#[utoipa::path(
    post, path = "/nodes/blacklist", tag = "repair", operation_id = "blacklist_node", request_body = Blacklist,
    responses((status = OK, description = "It is given nothing.", body = OffView), NoSuch, Unusable)
)]
pub(super) async fn blacklist(
    engine: web::Data<Engine>,
    asked: Body<Blacklist>,
) -> Result<impl Responder, Problem> {
    let asked = asked.0;
    let within = within(asked.for_s);
    let until = nodes::blacklist(&engine, &asked.node, within, &asked.reason).await?;
    let until = until.to_string();
    Ok(web::Json(OffView { until }))
}

/// Which node is not waited for any more.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = GiveUpNode)]
pub(super) struct GiveUp {
    /// Its name.
    #[schema(value_type = shapes::NodeName)]
    node: String,
    /// For how long it is given nothing, seconds, at least 1; 1800 unless it is given.
    for_s: Option<u64>,
}

/// Gives up what is on a node that does not come back: its jobs go elsewhere, and what it has of them is not taken.
#[utoipa::path(
    post, path = "/nodes/give-up", tag = "repair", operation_id = "give_up_node", request_body = GiveUp,
    responses((status = OK, description = "It is not waited for.", body = GivenUp), NoSuch, Unfitting, Unusable)
)]
pub(super) async fn give_up(
    engine: web::Data<Engine>,
    asked: Body<GiveUp>,
) -> Result<impl Responder, Problem> {
    let within = within(asked.0.for_s);
    Ok(web::Json(nodes::give_up(&engine, &asked.0.node, within).await?))
}

fn within(for_s: Option<u64>) -> Duration {
    Duration::from_secs(for_s.unwrap_or(USUAL).clamp(1, LONGEST))
}

/// Which node gets everything back.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ClearNode)]
pub(super) struct Clear {
    /// Its name.
    #[schema(value_type = shapes::NodeName)]
    node: String,
}

/// Gives a node back all that was taken from it.
#[utoipa::path(
    post, path = "/nodes/clear", tag = "repair", operation_id = "clear_node", request_body = Clear,
    responses((status = NO_CONTENT, description = "Given back."), NoSuch, Unusable)
)]
pub(super) async fn clear(engine: web::Data<Engine>, asked: Body<Clear>) -> Result<HttpResponse, Problem> {
    nodes::clear(&engine, &asked.0.node).await?;
    Ok(HttpResponse::NoContent().finish())
}
