//! The API as OpenAPI describes it, made from the handlers and the shapes they take and give. What every operation of
//! a kind has in common (the token, its refusals) is added here, so that a handler names only what is its own.
//! Never kept by hand: a test compares it with the routes, another one lets schemathesis use it.

pub(super) mod refusals;

use actix_web::{Responder, web};
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::request_body::RequestBody;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{Components, Content, RefOr, Required, Schema};
use utoipa::{IntoResponses, OpenApi};

use self::refusals::{Broken, NoToken, NotFromThere, NotJson, NotNow, TooLarge, TooSlow, Unreadable};
use super::auth::Access;
use super::error::Document;
use super::{api, resource, status, webhooks};

#[cfg(test)]
mod tests;

/// The name of the security scheme.
const TOKEN: &str = "token";

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Orch",
        description = "Orch delivers the work of coding agents. The token is `ORCH_API_TOKEN`, else what the file \
                       `api-token` in the service's data directory holds. While no token is configured, a reader on \
                       the service's own machine needs none."
    ),
    components(schemas(Document)),
    paths(
        status::health, status::ready, status::status, status::queue, webhooks::plane, webhooks::forge,
    ),
    nest((path = "/api/v1", api = api::Described)),
    tags(
        (name = "service", description = "How the service is"),
        (name = "projects", description = "Repositories under care"),
        (name = "tasks", description = "Units of work, and what people do to them"),
        (name = "jobs", description = "Entries of the queue"),
        (name = "webhooks", description = "What trackers and forges deliver"),
        (name = "deploys", description = "What was brought to production"),
        (name = "leases", description = "Who may merge into which repository"),
        (name = "budget", description = "What agents cost and may cost"),
        (name = "repair", description = "Failures and how they are answered"),
        (name = "runs", description = "Attempts at jobs, and what their agents print"),
    )
)]
struct Described;

pub(super) fn routes(cfg: &mut web::ServiceConfig) {
    cfg.service(resource("/openapi.json", "GET").route(web::get().to(show)));
}

/// This description.
///
/// Read like everything else: what a service tells of itself has one rule.
#[utoipa::path(
    get, path = "/openapi.json", tag = "service", operation_id = "describe",
    responses((status = OK, description = "The description.", body = serde_json::Value))
)]
pub(super) async fn show(access: web::Data<Access>) -> impl Responder {
    web::Json(document(access.reading_takes_token()))
}

/// The document, for a service that does or does not want a token from local readers.
fn document(reading_takes_token: bool) -> utoipa::openapi::OpenApi {
    let mut document = Described::openapi();
    let components = document.components.get_or_insert_default();
    for item in document.paths.paths.values_mut() {
        complete(item, reading_takes_token);
        for operation in [&mut item.post, &mut item.patch].into_iter().flatten() {
            if let Some(RefOr::T(body)) = operation.request_body.as_mut() {
                require(body, components);
            }
        }
    }
    let scheme = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
    components.add_security_scheme(TOKEN, scheme);
    document
}

/// An absent body counts as `{}`: one is required only where a field is.
fn require(body: &mut RequestBody, components: &Components) {
    let needs = body.content.values().any(|content| match content {
        RefOr::T(Content {
            schema: Some(RefOr::Ref(to)),
            ..
        }) => {
            let name = to.ref_location.rsplit('/').next().unwrap_or_default();
            let shape = components.schemas.get(name);
            matches!(shape, Some(RefOr::T(Schema::Object(object))) if !object.required.is_empty())
        }
        RefOr::T(_) | RefOr::Ref(_) => true,
    });
    body.required = Some(if needs { Required::True } else { Required::False });
}

fn complete(item: &mut PathItem, reading_takes_token: bool) {
    // Described with its GET, and an operation of its own.
    if let Some(id) = item.head.as_mut().and_then(|head| head.operation_id.as_mut()) {
        id.push_str("_head");
    }
    for read in [&mut item.get, &mut item.head].into_iter().flatten() {
        guard(read, reading_takes_token);
    }
    for change in [&mut item.post, &mut item.patch].into_iter().flatten() {
        // Open to who signs what it sends, from wherever.
        if change.security.is_none() {
            guard(change, true);
            add::<NotFromThere>(change);
        }
        add::<NotNow>(change);
    }
}

/// What the token guards, unless the operation says that it is open to everyone.
fn guard(operation: &mut Operation, takes_token: bool) {
    if operation.security.is_some() {
        return;
    }
    let token = SecurityRequirement::new(TOKEN, [""; 0]);
    let open = (!takes_token).then(SecurityRequirement::default);
    operation.security = Some(open.into_iter().chain([token]).collect());
    add::<NoToken>(operation);
    add::<NotJson>(operation);
    add::<Broken>(operation);
    if operation.request_body.is_some() {
        add::<TooLarge>(operation);
        add::<TooSlow>(operation);
    }
    if operation.request_body.is_some() || operation.parameters.is_some() {
        add::<Unreadable>(operation);
    }
}

fn add<R: IntoResponses>(operation: &mut Operation) {
    operation.responses.responses.extend(R::responses());
}
