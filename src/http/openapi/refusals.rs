//! Refusals as OpenAPI describes them: each is a problem document, whatever the status. Named in an operation's
//! `responses`; what every operation of a kind can answer is added by [`super::Common`].

use std::collections::BTreeMap;

use actix_web::http::StatusCode;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::response::{Response, ResponseBuilder};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{ContentBuilder, Ref, RefOr};
use utoipa::{IntoResponses, ToSchema};

use crate::http::error::Document;

macro_rules! refusals {
    ($($(#[doc = $doc:literal])+ $name:ident = $status:ident;)+) => {$(
        $(#[doc = $doc])+
        pub(in crate::http) struct $name;

        impl IntoResponses for $name {
            fn responses() -> BTreeMap<String, RefOr<Response>> {
                let status = StatusCode::$status;
                BTreeMap::from([(status.as_str().to_owned(), problem(status, concat!($($doc),+)).into())])
            }
        }
    )+};
}

refusals! {
    /// The address, the query or the body could not be read.
    Unreadable = BAD_REQUEST;
    /// The token is missing or wrong.
    NoToken = UNAUTHORIZED;
    /// The signature is missing or wrong.
    Unsigned = UNAUTHORIZED;
    /// Changes are not taken from there: from a page of another origin, or from another machine while no `api_token` is set.
    NotFromThere = FORBIDDEN;
    /// There is nothing of that name.
    NoSuch = NOT_FOUND;
    /// It does not fit the present state, or the name means several things: look, and decide anew.
    Unfitting = CONFLICT;
    /// The body did not arrive in time.
    TooSlow = REQUEST_TIMEOUT;
    /// The body is larger than `server.body_limit_bytes`.
    TooLarge = PAYLOAD_TOO_LARGE;
    /// A body was sent that is not declared as JSON.
    NotJson = UNSUPPORTED_MEDIA_TYPE;
    /// What was given cannot be used.
    Unusable = UNPROCESSABLE_ENTITY;
    /// Something broke inside; the service's log says what.
    Broken = INTERNAL_SERVER_ERROR;
    /// Not now: try again in a moment.
    NotNow = SERVICE_UNAVAILABLE;
}

fn problem(status: StatusCode, description: &str) -> Response {
    let schema = Ref::from_schema_name(Document::name());
    let content = ContentBuilder::new().schema(Some(schema)).build();
    let response = ResponseBuilder::new().description(description.trim());
    let response = response.content("application/problem+json", content);
    match status {
        StatusCode::UNAUTHORIZED => response.header("WWW-Authenticate", text("How to authenticate.")),
        StatusCode::SERVICE_UNAVAILABLE => response.header("Retry-After", text("Seconds to wait.")),
        _ => response,
    }
    .build()
}

fn text(description: &str) -> utoipa::openapi::Header {
    let text = ObjectBuilder::new().schema_type(Type::String);
    HeaderBuilder::new()
        .schema(Some(text))
        .description(Some(description))
        .build()
}
