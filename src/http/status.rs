//! How the service is: `/health`, `/ready`, `/status`, `/queue`. Never changes anything.

use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::middleware::from_fn;
use actix_web::{HttpResponse, Responder, web};
use serde::Serialize;
use utoipa::ToSchema;

use super::error::Problem;
use super::openapi::refusals::NotNow;
use super::{auth, resource};
use crate::domain::job::Claim;
use crate::engine::repair::operate;
use crate::engine::views::{HealingView, InstanceView, PostDeployView, QueueView, RepairView, TaskView};
use crate::engine::{Engine, heal, instances, production, queries};

/// Most tasks that `/status` lists.
const STATUS_TASKS: i64 = 500;
/// Most healings that `/status` lists.
const STATUS_HEALED: usize = 20;

/// An actor, as `/status` shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct ActorView {
    /// "queue", "monitor-17".
    pub name: String,
    /// How many of it there have been, this one included.
    pub incarnation: u64,
    /// How often it was restarted.
    pub restarts: u64,
    /// Why it was restarted last.
    pub last_cause: Option<String>,
    /// Since when this one lives, RFC 3339.
    pub up_since: String,
}

/// What the status routes show that the engine does not know.
#[derive(Clone)]
pub struct Sources {
    /// The supervisor's actors.
    pub actors: Arc<dyn Fn() -> Vec<ActorView> + Send + Sync>,
    /// The mechanisms that heal.
    pub healing: Arc<dyn Fn() -> Healing + Send + Sync>,
    /// Whether a claim has a live monitor.
    pub watched: Arc<dyn Fn(Claim) -> bool + Send + Sync>,
    /// This boot of the service.
    pub instance: String,
}

/// How the healing mechanisms stand; the default is "all off".
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Healing {
    /// Retries of what failed.
    pub resilience: Switch,
    /// Lost webhooks.
    pub reconcile: Reconcile,
    /// Dead executors.
    pub reaper: Reaper,
}

/// A mechanism that is on or off.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Switch {
    /// Off means that it does nothing.
    pub enabled: bool,
}

/// How the reconciler stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Reconcile {
    /// Off means that it does nothing.
    pub enabled: bool,
    /// Whether it asks the tracker too.
    pub plane_enabled: bool,
    /// Seconds between sweeps.
    pub interval: u64,
    /// Its last sweep, RFC 3339.
    #[schema(format = DateTime)]
    pub last_run_ts: Option<String>,
    /// Tasks it moved since the start.
    pub unblocked_total: u64,
    /// The last of them.
    pub last_unblocked: Option<String>,
    /// Looks at a task that failed since the start; the log says which.
    pub failed_total: u64,
}

impl Healing {
    /// How they stand now.
    pub fn of(engine: &Engine) -> Self {
        let (settings, stands) = (&engine.settings().reconcile, engine.reconciliation());
        let (reaper, reaped) = (&engine.settings().reaper, engine.reaper_stats());
        Self {
            resilience: Switch {
                enabled: engine.settings().retry.consent,
            },
            reaper: Reaper {
                enabled: reaper.enabled,
                interval: reaper.interval.as_secs(),
                last_run_ts: reaped.last_run.map(|at| at.to_string()),
                reaped_total: reaped.reaped_total,
                last_reaped: reaped.last_reaped.map(|last| Reaped {
                    job_id: last.job_id,
                    agent: last.agent,
                    outcome: last.outcome,
                }),
                lease_reclaimed_total: reaped.lease_reclaimed_total,
                failed_total: reaped.trouble_total,
            },
            reconcile: Reconcile {
                enabled: settings.enabled,
                plane_enabled: settings.plane_enabled,
                interval: settings.interval.as_secs(),
                last_run_ts: stands.last_run.map(|at| at.to_string()),
                unblocked_total: stands.unblocked_total,
                last_unblocked: stands.last_unblocked,
                failed_total: stands.failed_total,
            },
        }
    }
}

/// How the reaper stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Reaper {
    /// Off means that it does nothing.
    pub enabled: bool,
    /// Seconds between sweeps.
    pub interval: u64,
    /// Its last sweep, RFC 3339.
    #[schema(format = DateTime)]
    pub last_run_ts: Option<String>,
    /// Jobs it settled since the start.
    pub reaped_total: u64,
    /// The last of them.
    pub last_reaped: Option<Reaped>,
    /// Leases it took back since the start.
    pub lease_reclaimed_total: u64,
    /// Jobs it could not settle, tried again at the next sweep.
    pub failed_total: u64,
}

/// A job that the reaper settled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Reaped {
    /// The job.
    pub job_id: i64,
    /// Who worked at it.
    pub agent: String,
    /// What became of it.
    pub outcome: String,
}

/// `GET /health`.
#[derive(Serialize, ToSchema)]
pub(super) struct Health {
    /// Always `ok`.
    status: &'static str,
    /// Always `orchestrator`.
    service: &'static str,
}

/// `GET /ready`.
#[derive(Serialize, ToSchema)]
pub(super) struct Ready {
    /// Always `ready`.
    status: &'static str,
}

/// `GET /status`.
#[derive(Serialize, ToSchema)]
pub(super) struct StatusView {
    /// Tasks that are not done, newest first, 500 at most.
    tasks: Vec<TaskView>,
    /// The service's actors.
    actors: Vec<ActorView>,
    /// What was healed last, newest first, 20 at most.
    healed: Vec<HealingView>,
    /// Watching what was deployed.
    post_deploy: PostDeployView,
    /// The program's version.
    version: &'static str,
    /// This boot of the service.
    instance: String,
    /// All services on this database that have not stopped.
    instances: Vec<InstanceView>,
    /// Claims that ended under this one since its start: cancelled, or taken over by another.
    superseded_total: u64,
    /// Writes and deeds of this one that were refused because their claim was over.
    refused_total: u64,
}

/// `GET /queue`.
#[derive(Serialize, ToSchema)]
pub(super) struct QueuePage {
    #[serde(flatten)]
    queue: QueueView,
    #[serde(flatten)]
    healing: Healing,
    /// Watching what was deployed.
    post_deploy: PostDeployView,
    /// Failures and their repair, and what is not in order.
    repair: RepairView,
}

pub(super) fn routes(cfg: &mut web::ServiceConfig) {
    cfg.service(
        resource("/health", "GET, HEAD")
            .route(web::get().to(health))
            .route(web::head().to(health)),
    )
    .service(
        resource("/ready", "GET, HEAD")
            .route(web::get().to(ready))
            .route(web::head().to(ready)),
    )
    .service(
        resource("/status", "GET")
            .wrap(from_fn(auth::check))
            .route(web::get().to(status)),
    )
    .service(
        resource("/queue", "GET")
            .wrap(from_fn(auth::check))
            .route(web::get().to(queue)),
    );
}

/// Whether the service lives.
#[utoipa::path(
    method(get, head), path = "/health", tag = "service", operation_id = "health", security(()),
    responses((status = OK, description = "It does.", body = Health))
)]
pub(super) async fn health() -> impl Responder {
    // In this order: installations compare it as it stands.
    web::Json(Health {
        status: "ok",
        service: "orchestrator",
    })
}

/// Whether the service can work: what the last boot left is looked at, and the database takes writes.
#[utoipa::path(
    method(get, head), path = "/ready", tag = "service", operation_id = "ready", security(()),
    responses((status = OK, description = "It can.", body = Ready), NotNow)
)]
pub(super) async fn ready(engine: web::Data<Engine>) -> Result<HttpResponse, Problem> {
    match engine.ready().await {
        Ok(()) => Ok(HttpResponse::Ok().json(Ready { status: "ready" })),
        Err(why) => Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, why)),
    }
}

/// Tasks that are not done, and the service's actors.
#[utoipa::path(
    get, path = "/status", tag = "service", operation_id = "status",
    responses((status = OK, description = "How it is.", body = StatusView))
)]
pub(super) async fn status(
    engine: web::Data<Engine>,
    sources: web::Data<Sources>,
) -> Result<impl Responder, Problem> {
    let unfinished = queries::TaskQuery {
        project: None,
        all: false,
        before: None,
        limit: STATUS_TASKS,
    };
    Ok(web::Json(StatusView {
        tasks: queries::tasks(&engine, unfinished, engine.now()).await?,
        actors: (sources.actors)(),
        healed: heal::recent(&engine, STATUS_HEALED).await?,
        post_deploy: production::stands(&engine).await?,
        version: env!("CARGO_PKG_VERSION"),
        instance: sources.instance.clone(),
        instances: instances::list(&engine).await?,
        superseded_total: engine.superseded_total(),
        refused_total: engine.refused_total(),
    }))
}

/// The queue, and how the mechanisms that heal stand.
#[utoipa::path(
    get, path = "/queue", tag = "service", operation_id = "queue",
    responses((status = OK, description = "How it is.", body = QueuePage))
)]
pub(super) async fn queue(
    engine: web::Data<Engine>,
    sources: web::Data<Sources>,
) -> Result<impl Responder, Problem> {
    Ok(web::Json(QueuePage {
        queue: queries::queue(&engine, engine.now()).await?,
        healing: (sources.healing)(),
        post_deploy: production::stands(&engine).await?,
        repair: operate::stands_now(&engine).await?,
    }))
}
