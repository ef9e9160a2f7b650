//! What happened, and what happens next: a long poll.

use actix_web::{Responder, web};
use serde::Deserialize;

use crate::engine::{Engine, queries};
use crate::http::error::Problem;
use crate::http::resource;
use crate::http::wait::{self, Look};

/// Events in one answer; the client asks again after the last.
const PAGE: i64 = 500;

pub(super) fn routes(cfg: &mut web::ServiceConfig) {
    cfg.service(resource("/events", "GET").route(web::get().to(list)));
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EventsQuery {
    #[serde(default)]
    after: i64,
    #[serde(default)]
    wait_s: u64,
}

async fn list(engine: web::Data<Engine>, query: web::Query<EventsQuery>) -> Result<impl Responder, Problem> {
    let events = wait::until(engine.changed(), wait::capped(query.wait_s), async || {
        let events = queries::events(&engine, query.after, PAGE).await?;
        Ok::<_, Problem>(if events.is_empty() {
            Look::Nothing(events)
        } else {
            Look::Something(events)
        })
    })
    .await?;
    Ok(web::Json(events))
}
