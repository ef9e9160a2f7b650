//! What happened, and what happens next: a long poll.

use actix_web::{Responder, web};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::engine::views::EventView;
use crate::engine::{Engine, queries};
use crate::http::bounded::Place;
use crate::http::error::Problem;
use crate::http::resource;
use crate::http::wait::{self, Look, Wait};

/// Events in one answer; the client asks again after the last.
const PAGE: i64 = 500;

pub(super) fn routes(cfg: &mut web::ServiceConfig) {
    cfg.service(resource("/events", "GET").route(web::get().to(list)));
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct EventsQuery {
    /// The last event that is known already.
    #[serde(default)]
    #[param(inline)]
    after: Place,
    /// Seconds to wait for something to happen when there is nothing yet.
    #[serde(default)]
    #[param(inline)]
    wait_s: Wait,
}

/// What happened after an event, oldest first, 500 at most.
#[utoipa::path(
    get, path = "/events", tag = "tasks", operation_id = "list_events", params(EventsQuery),
    responses((status = OK, description = "The events.", body = Vec<EventView>))
)]
pub(super) async fn list(
    engine: web::Data<Engine>,
    query: web::Query<EventsQuery>,
) -> Result<impl Responder, Problem> {
    let events = wait::until(engine.changed(), wait::time(query.wait_s), async || {
        let events = queries::events(&engine, query.after.get(), PAGE).await?;
        Ok::<_, Problem>(if events.is_empty() {
            Look::Nothing(events)
        } else {
            Look::Something(events)
        })
    })
    .await?;
    Ok(web::Json(events))
}
