//! `/api/v1`: all that the command line does. One file per family; each handler is one call into the engine.

mod batches;
mod budget;
mod deploys;
mod events;
mod healed;
mod inbox;
mod jobs;
mod leases;
mod log_chunk;
mod nodes;
mod outbox;
mod projects;
mod prune;
mod queue;
mod reap;
mod repair;
mod rescue;
mod runs;
mod tasks;

use actix_web::web;
use utoipa::OpenApi;

use super::openapi;

/// What these routes are, for the description.
#[derive(OpenApi)]
#[openapi(paths(
    openapi::show,
    batches::submit,
    batches::show,
    batches::resume,
    batches::cancel,
    projects::list,
    tasks::list,
    tasks::add,
    tasks::show,
    tasks::gesture,
    tasks::runs,
    budget::show,
    events::list,
    healed::list,
    jobs::show,
    jobs::change,
    jobs::cancel,
    jobs::retry,
    inbox::list,
    inbox::show,
    inbox::replay,
    outbox::list,
    outbox::resend,
    prune::plan,
    prune::sweep,
    queue::pause,
    queue::resume,
    reap::plan,
    reap::sweep,
    repair::check,
    repair::reload,
    repair::stats,
    repair::incidents,
    repair::breakers,
    repair::reset,
    nodes::list,
    nodes::blacklist,
    nodes::give_up,
    nodes::clear,
    deploys::list,
    deploys::release,
    deploys::settle,
    leases::list,
    leases::release,
    leases::resume,
    runs::show,
    runs::log,
    rescue::list,
    rescue::show,
    rescue::restore,
))]
pub(super) struct Described;

pub(super) fn routes(cfg: &mut web::ServiceConfig) {
    cfg.configure(openapi::routes)
        .configure(batches::routes)
        .configure(projects::routes)
        .configure(tasks::routes)
        .configure(budget::routes)
        .configure(events::routes)
        .configure(healed::routes)
        .configure(jobs::routes)
        .configure(inbox::routes)
        .configure(outbox::routes)
        .configure(prune::routes)
        .configure(queue::routes)
        .configure(reap::routes)
        .configure(repair::routes)
        .configure(deploys::routes)
        .configure(leases::routes)
        .configure(nodes::routes)
        .configure(runs::routes)
        .configure(rescue::routes);
}
