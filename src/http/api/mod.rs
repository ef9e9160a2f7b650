//! `/api/v1`: all that the command line does. One file per family; each handler is one call into the engine.

mod events;
mod jobs;
mod log_chunk;
mod projects;
mod queue;
mod runs;
mod tasks;

use actix_web::web;

pub(super) fn routes(cfg: &mut web::ServiceConfig) {
    cfg.configure(projects::routes)
        .configure(tasks::routes)
        .configure(events::routes)
        .configure(jobs::routes)
        .configure(queue::routes)
        .configure(runs::routes);
}
