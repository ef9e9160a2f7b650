//! Deliveries of webhooks: the signature is checked over the raw body, the delivery is stored, then it is answered. Never
//! applies one, and never says more to a stranger than that it is not let in.

use std::collections::BTreeMap;

use actix_web::http::StatusCode;
use actix_web::http::header::HeaderMap;
use actix_web::{HttpRequest, HttpResponse, web};
use hmac::{Hmac, Mac};
use serde::Serialize;
use serde::de::IgnoredAny;
use sha2::{Digest, Sha256};
use utoipa::openapi::{RefOr, Response};
use utoipa::{IntoResponses, ToSchema};

use super::body;
use super::error::Problem;
use super::openapi::refusals::{Broken, TooLarge, TooSlow, Unreadable, Unsigned};
use super::resource;
use crate::domain::inbox::Source;
use crate::engine::{Engine, inbox};
use crate::settings::Settings;
use crate::store::inbox::{NewDelivery, Received};

/// Longest name of a delivery, or of a kind of event, that is kept.
const NAME_MAX: usize = 100;

/// The routes, for a server that knows [`Secrets`], a body limit and the engine.
pub fn routes(cfg: &mut web::ServiceConfig) {
    cfg.service(resource("/webhook/plane", "POST").route(web::post().to(plane)))
        .service(resource("/webhook/gitea", "POST").route(web::post().to(forge)));
}

/// The secrets with which deliveries are signed; without one nothing is accepted.
pub struct Secrets {
    plane: Option<Hmac<Sha256>>,
    forge: Option<Hmac<Sha256>>,
}

impl Secrets {
    /// Those of the settings.
    pub fn of(settings: &Settings) -> Self {
        let keyed = |secret: &Option<crate::settings::Secret>| {
            let secret = secret.as_ref().filter(|secret| !secret.expose().is_empty())?;
            Hmac::new_from_slice(secret.expose().as_bytes()).ok()
        };
        Self {
            plane: keyed(&settings.plane.webhook_secret),
            forge: keyed(&settings.gitea.webhook_secret),
        }
    }
}

/// What a delivery is answered.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Accepted {
    /// Its number in the inbox.
    id: i64,
    /// It was there already.
    duplicate: bool,
    /// It was there, and could not be applied: that is tried again.
    again: bool,
}

/// A delivery of Plane. Answered when it is kept; it is applied afterwards.
#[utoipa::path(
    post, path = "/webhook/plane", tag = "webhooks", operation_id = "deliver_plane", security(()),
    request_body = serde_json::Value,
    params(("X-Plane-Signature" = Option<String>, Header, description = "HMAC-SHA256 of the raw body in lower-case hex.")),
    responses((status = ACCEPTED, description = "It is kept.", body = Accepted), Refusals)
)]
pub(super) async fn plane(
    req: HttpRequest,
    payload: web::Payload,
    engine: web::Data<Engine>,
    secrets: web::Data<Secrets>,
) -> Result<HttpResponse, Problem> {
    let headers = req.headers();
    let signature = Signature::of(headers, &["x-plane-signature"], secrets.plane.as_ref())?;
    let body = signature.body(&req, payload).await?;
    let about = About {
        source: Source::Plane,
        delivery: named(headers, &["x-plane-delivery"]),
        event: named(headers, &["x-plane-event"]),
        event_type: String::new(),
    };
    keep(&engine, about.with(&body)?).await
}

/// A delivery of Gitea or Forgejo. Answered when it is kept; it is applied afterwards.
#[utoipa::path(
    post, path = "/webhook/gitea", tag = "webhooks", operation_id = "deliver_gitea", security(()),
    request_body = serde_json::Value,
    params(("X-Gitea-Signature" = Option<String>, Header, description = "HMAC-SHA256 of the raw body in lower-case hex.")),
    responses((status = ACCEPTED, description = "It is kept.", body = Accepted), Refusals)
)]
pub(super) async fn forge(
    req: HttpRequest,
    payload: web::Payload,
    engine: web::Data<Engine>,
    secrets: web::Data<Secrets>,
) -> Result<HttpResponse, Problem> {
    let new = read_forge(&req, payload, &secrets).await?;
    keep(&engine, new).await
}

/// A delivery of Gitea or Forgejo whose signature is right and whose body is JSON; not kept yet.
///
/// # Errors
/// What it is refused for.
pub async fn read_forge(
    req: &HttpRequest,
    payload: web::Payload,
    secrets: &Secrets,
) -> Result<NewDelivery, Problem> {
    let headers = req.headers();
    let keys = ["x-gitea-signature", "x-forgejo-signature"];
    let signature = Signature::of(headers, &keys, secrets.forge.as_ref())?;
    let body = signature.body(req, payload).await?;
    let about = About {
        source: Source::Forge,
        delivery: named(headers, &["x-gitea-delivery", "x-forgejo-delivery"]),
        event: named(headers, &["x-gitea-event", "x-forgejo-event"]),
        event_type: named(headers, &["x-gitea-event-type", "x-forgejo-event-type"]),
    };
    about.with(&body)
}

/// What a delivery can be refused for.
struct Refusals;

impl IntoResponses for Refusals {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let each = [
            Unsigned::responses(),
            Unreadable::responses(),
            TooLarge::responses(),
            TooSlow::responses(),
            Broken::responses(),
        ];
        each.into_iter().flatten().collect()
    }
}

/// A signature that could be one, and the key it must have been made with.
struct Signature {
    given: [u8; 32],
    key: Hmac<Sha256>,
}

impl Signature {
    /// Looked at before the body is read: what carries none costs nothing.
    fn of(headers: &HeaderMap, keys: &[&str], key: Option<&Hmac<Sha256>>) -> Result<Self, Problem> {
        let key = key.cloned().ok_or_else(refused)?;
        let given = keys
            .iter()
            .find_map(|name| headers.get(*name))
            .ok_or_else(refused)?;
        let given = hex(given.as_bytes()).ok_or_else(refused)?;
        Ok(Self { given, key })
    }

    /// The raw body, if this is its signature.
    async fn body(mut self, req: &HttpRequest, payload: web::Payload) -> Result<web::Bytes, Problem> {
        let body = body::raw(req, payload).await?;
        self.key.update(&body);
        // In constant time.
        self.key.verify_slice(&self.given).map_err(|_| refused())?;
        Ok(body)
    }
}

fn refused() -> Problem {
    Problem::new(
        StatusCode::UNAUTHORIZED,
        "the signature is missing or wrong: sender and service must have the same webhook secret",
    )
}

/// 64 lower-case hex digits, as the senders write them, and nothing else.
fn hex(text: &[u8]) -> Option<[u8; 32]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let (pairs, []) = text.as_chunks::<2>() else {
        return None;
    };
    let bytes: Option<Vec<u8>> = pairs
        .iter()
        .map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?))
        .collect();
    bytes?.try_into().ok()
}

/// The first of these headers that is not empty.
fn named(headers: &HeaderMap, names: &[&str]) -> String {
    let given = names.iter().filter_map(|name| headers.get(*name)?.to_str().ok());
    let given = given
        .map(str::trim)
        .find(|value| !value.is_empty())
        .unwrap_or_default();
    given.chars().filter(|c| !c.is_control()).take(NAME_MAX).collect()
}

/// What the headers say.
struct About {
    source: Source,
    delivery: String,
    event: String,
    event_type: String,
}

impl About {
    fn with(self, body: &[u8]) -> Result<NewDelivery, Problem> {
        let text = std::str::from_utf8(body).map_err(|e| not_json(&e))?;
        serde_json::from_str::<IgnoredAny>(text).map_err(|e| not_json(&e))?;
        let digest = format!("{:x}", Sha256::digest(body));
        Ok(NewDelivery {
            source: self.source,
            delivery: match self.delivery.is_empty() {
                true => digest.clone(),
                false => self.delivery,
            },
            digest,
            event: self.event,
            event_type: self.event_type,
            body: text.to_owned(),
        })
    }
}

async fn keep(engine: &Engine, new: NewDelivery) -> Result<HttpResponse, Problem> {
    let received = inbox::receive(engine, new).await?;
    Ok(HttpResponse::Accepted().json(Accepted {
        id: received.id(),
        duplicate: !matches!(received, Received::New(_)),
        again: matches!(received, Received::Again(_)),
    }))
}

fn not_json(e: &dyn std::fmt::Display) -> Problem {
    Problem::bad_request(format!(
        "the body is not JSON ({e}): set the webhook's content type to application/json"
    ))
}
