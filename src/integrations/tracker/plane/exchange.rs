//! One request to Plane and its answer, within what the key may ask. Everything that is asked here can be asked twice, so a
//! request whose pooled connection turned out to be gone is sent once more on a fresh one.

use std::time::Duration;

use awc::http::Method;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::domain::time::Timestamp;
use crate::integrations::exchange::{self, Broken, Request, patiently};
use crate::settings::Secret;

use super::error::PlaneError;
use super::shared::{Permit, Shared};

/// What a refusal without a time is taken to mean.
const PAUSE: Duration = Duration::from_secs(60);

/// An API token, and the setting that it stands in.
#[derive(Clone)]
pub(super) struct Token {
    pub secret: Secret,
    pub setting: String,
}

/// What is asked.
pub(super) struct Call<'a> {
    pub method: Method,
    /// Without query.
    pub url: String,
    pub query: Vec<(&'static str, String)>,
    pub body: Option<Value>,
    pub token: &'a Token,
}

/// An answer that is no failure: 2xx, or 409.
pub(super) struct Answer {
    url: String,
    body: Vec<u8>,
}

impl Answer {
    pub(super) fn read<T: DeserializeOwned>(&self) -> Result<T, PlaneError> {
        serde_json::from_slice(&self.body).map_err(|e| PlaneError::Unreadable {
            url: self.url.clone(),
            why: e.to_string(),
        })
    }
}

enum Failed {
    For(PlaneError),
    Broken(Broken),
}

/// Asks.
///
/// # Errors
/// See [`PlaneError`].
pub(super) async fn ask(
    http: &awc::Client,
    shared: &Shared,
    call: &Call<'_>,
    now: Timestamp,
) -> Result<Answer, PlaneError> {
    let exchange = async {
        match once(http, shared, call, now, false).await {
            Err(Failed::Broken(Broken::Connection(_))) => once(http, shared, call, now, true).await,
            other => other,
        }
    };
    let url = || call.url.clone();
    let unanswered = |why| PlaneError::Unanswered { url: url(), why };
    let asked = patiently(exchange).await.map_err(unanswered)?;
    asked.map_err(|failed| match failed {
        Failed::For(e) => e,
        Failed::Broken(Broken::Unreachable(why)) => PlaneError::Unreachable { url: url(), why },
        Failed::Broken(Broken::Connection(why) | Broken::Unanswered(why)) => unanswered(why),
    })
}

async fn once(
    http: &awc::Client,
    shared: &Shared,
    call: &Call<'_>,
    now: Timestamp,
    fresh: bool,
) -> Result<Answer, Failed> {
    let permit = shared.take(&call.token.secret, now).map_err(|after| {
        Failed::For(PlaneError::Limited {
            url: call.url.clone(),
            after,
        })
    })?;
    let request = Request {
        method: call.method.clone(),
        url: &call.url,
        query: &call.query,
        key: ("X-API-Key", call.token.secret.expose()),
        body: call.body.as_ref(),
    };
    let answer = exchange::once(http, &request, fresh)
        .await
        .map_err(Failed::Broken)?;
    count(&permit, &answer);
    judge(call, answer, (&permit, now)).map_err(Failed::For)
}

/// What Plane tells of its own count.
fn count(permit: &Permit, answer: &exchange::Answer) {
    let (left, reset) = (
        answer.number("x-ratelimit-remaining"),
        answer.number("x-ratelimit-reset"),
    );
    if let (Some(left), Some(reset)) = (left, reset) {
        let reset = i64::try_from(reset).unwrap_or(0).saturating_mul(1_000_000);
        permit.told(left, Timestamp(reset));
    }
}

fn judge(
    call: &Call<'_>,
    answer: exchange::Answer,
    (permit, now): (&Permit, Timestamp),
) -> Result<Answer, PlaneError> {
    let (url, status) = (call.url.clone(), answer.status);
    let after = answer.retry_after(now);
    match status {
        200..=299 | 409 => Ok(Answer {
            url,
            body: answer.body,
        }),
        401 | 403 => Err(PlaneError::Denied {
            url,
            status,
            setting: call.token.setting.clone(),
        }),
        404 | 410 => Err(PlaneError::NotFound { url }),
        429 => {
            let after = after.unwrap_or(PAUSE);
            permit.close(after, now);
            Err(PlaneError::Limited { url, after })
        }
        400 | 405..=499 => Err(PlaneError::Refused {
            url,
            status,
            words: answer.words(),
        }),
        _ => Err(PlaneError::Failed {
            url,
            status,
            words: answer.words(),
            after,
        }),
    }
}
