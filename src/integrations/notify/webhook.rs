//! A JSON webhook: one POST for each notification. The receiver tells a repetition by `id`, which is also sent as
//! `Idempotency-Key`. With a secret, `X-Orch-Signature` is the HMAC-SHA256 of the body in lower-case hexadecimal.

use hmac::{Hmac, Mac};
use serde_json::json;
use sha2::Sha256;

use super::exchange::post;
use crate::domain::delivery::Sending;
use crate::domain::time::Timestamp;
use crate::settings::{Secret, Settings};
use crate::store::outbox::Notice;

#[derive(Clone)]
pub(super) struct Webhook {
    url: String,
    secret: Option<Secret>,
}

impl Webhook {
    pub(super) fn of(settings: &Settings) -> Option<Self> {
        let notify = &settings.notify;
        Some(Self {
            url: notify.webhook_url.clone()?,
            secret: notify.webhook_secret.clone(),
        })
    }

    pub(super) async fn send(&self, http: &awc::Client, notice: &Notice, now: Timestamp) -> Sending {
        let id = key(notice);
        let body = json!({
            "id": id,
            "about": notice.text("about"),
            "task": notice.payload.get("task"),
            "text": notice.text("text"),
            "at": notice.created_at.to_string(),
        });
        let body = body.to_string().into_bytes();
        let mut request = http
            .post(&self.url)
            .insert_header(("Idempotency-Key", id))
            .insert_header(("User-Agent", concat!("orch/", env!("CARGO_PKG_VERSION"))));
        if let Some(signature) = self.secret.as_ref().and_then(|secret| sign(secret, &body)) {
            request = request.insert_header(("X-Orch-Signature", signature));
        }
        match post(request, body).await {
            Ok(answer) => answer.judge("", now),
            Err(sending) => sending,
        }
    }
}

/// The notification's cause, the same on every channel.
fn key(notice: &Notice) -> &str {
    let own = format!("@{}", notice.channel.as_str());
    notice.cause.strip_suffix(own.as_str()).unwrap_or(&notice.cause)
}

fn sign(secret: &Secret, body: &[u8]) -> Option<String> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes()).ok()?;
    mac.update(body);
    let digest = mac.finalize().into_bytes();
    Some(digest.iter().map(|byte| format!("{byte:02x}")).collect())
}
