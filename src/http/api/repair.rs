//! Failures and how they are answered: rules, incidents, circuit breakers.

use std::time::Duration;

use actix_web::{HttpResponse, Responder, web};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use crate::domain::pipeline::Role;
use crate::engine::Engine;
use crate::engine::repair::operate;
use crate::engine::views::{BreakerView, IncidentView, MatchView, RulesView, StrategyStats, shapes};
use crate::http::body::Body;
use crate::http::bounded::Bounded;
use crate::http::error::Problem;
use crate::http::openapi::refusals::{NoSuch, Unusable};
use crate::http::resource;

/// Incidents in an answer, unless the client asks for another number.
const USUAL: usize = 20;
/// Days that the figures are about, unless the client asks for another number.
const DAYS: u64 = 30;

pub(super) fn routes(cfg: &mut web::ServiceConfig) {
    cfg.service(resource("/repair/check", "POST").route(web::post().to(check)))
        .service(resource("/repair/reload", "POST").route(web::post().to(reload)))
        .service(resource("/repair/stats", "GET").route(web::get().to(stats)))
        .service(resource("/repair/incidents", "GET").route(web::get().to(incidents)))
        .service(resource("/breakers", "GET").route(web::get().to(breakers)))
        .service(resource("/breakers/reset", "POST").route(web::post().to(reset)));
}

/// What the rules are asked about.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = RepairCheck)]
pub(super) struct Check {
    /// The error text: how the attempt ended, in its first line, and what it printed last.
    text: String,
    /// As what the agent worked; absent: rules of every role are asked.
    #[schema(value_type = Option<shapes::Role>)]
    role: Option<Role>,
}

/// Which rule matches a text, and why. Changes nothing.
#[utoipa::path(
    post, path = "/repair/check", tag = "repair", operation_id = "check_repair", request_body = Check,
    responses((status = OK, description = "The rule that matches first.", body = MatchView))
)]
pub(super) async fn check(engine: web::Data<Engine>, asked: Body<Check>) -> Result<impl Responder, Problem> {
    let asked = asked.0;
    Ok(web::Json(operate::check(&engine, asked.text, asked.role).await?))
}

/// Reads the file of rules again, if it changed.
#[utoipa::path(
    post, path = "/repair/reload", tag = "repair", operation_id = "reload_repair",
    responses((status = OK, description = "The rules in force.", body = RulesView))
)]
pub(super) async fn reload(engine: web::Data<Engine>) -> Result<impl Responder, Problem> {
    Ok(web::Json(operate::reload_now(&engine).await?))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct StatsQuery {
    /// Of the last so many days; 30 unless it is given.
    #[param(inline)]
    days: Option<Bounded<1, 1000>>,
}

/// How often each rule matched, and helped.
#[utoipa::path(
    get, path = "/repair/stats", tag = "repair", operation_id = "repair_stats", params(StatsQuery),
    responses((status = OK, description = "The rules.", body = Vec<StrategyStats>))
)]
pub(super) async fn stats(
    engine: web::Data<Engine>,
    query: web::Query<StatsQuery>,
) -> Result<impl Responder, Problem> {
    let days = query
        .days
        .and_then(|days| u64::try_from(days.get()).ok())
        .unwrap_or(DAYS);
    Ok(web::Json(
        operate::stats(&engine, Duration::from_secs(86_400 * days)).await?,
    ))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct IncidentsQuery {
    /// At most; 20 unless it is given.
    #[param(inline)]
    limit: Option<Bounded<1, 1000>>,
}

/// The last failures and how they were answered, newest first.
#[utoipa::path(
    get, path = "/repair/incidents", tag = "repair", operation_id = "list_incidents", params(IncidentsQuery),
    responses((status = OK, description = "The failures.", body = Vec<IncidentView>))
)]
pub(super) async fn incidents(
    engine: web::Data<Engine>,
    query: web::Query<IncidentsQuery>,
) -> Result<impl Responder, Problem> {
    let limit = query.limit.and_then(|limit| usize::try_from(limit.get()).ok());
    Ok(web::Json(operate::recent(&engine, limit.unwrap_or(USUAL)).await?))
}

/// The circuit breakers of all scopes that failed since their last success.
#[utoipa::path(
    get, path = "/breakers", tag = "repair", operation_id = "list_breakers",
    responses((status = OK, description = "The breakers.", body = Vec<BreakerView>))
)]
pub(super) async fn breakers(engine: web::Data<Engine>) -> Result<impl Responder, Problem> {
    Ok(web::Json(operate::breakers(&engine).await?))
}

/// Which breaker is closed.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ResetBreaker)]
pub(super) struct Reset {
    /// `project:<name>` or `batch:<name>`.
    #[schema(value_type = shapes::ScopeName)]
    scope: String,
}

/// Closes a breaker and forgets the failures of its scope.
#[utoipa::path(
    post, path = "/breakers/reset", tag = "repair", operation_id = "reset_breaker", request_body = Reset,
    responses((status = NO_CONTENT, description = "Closed."), NoSuch, Unusable)
)]
pub(super) async fn reset(engine: web::Data<Engine>, asked: Body<Reset>) -> Result<HttpResponse, Problem> {
    operate::reset(&engine, &asked.0.scope).await?;
    Ok(HttpResponse::NoContent().finish())
}
