//! One request to Plane and its answer, bounded in time and size, within what the key may ask. Everything that is asked
//! here can be asked twice, so a request whose pooled connection turned out to be gone is sent once more on a fresh one.

use std::time::Duration;

use awc::error::{ConnectError, SendRequestError};
use awc::http::Method;
use awc::http::header::{self, HeaderMap};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::domain::time::Timestamp;
use crate::settings::Secret;

use super::error::PlaneError;
use super::shared::{Permit, Shared};

/// How long request and answer may take together.
const PATIENCE: Duration = Duration::from_secs(20);
/// Largest answer that is read.
const MOST_BYTES: usize = 4 << 20;
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

enum Broken {
    /// Before an answer began.
    Connection(String),
    For(PlaneError),
}

pub(super) fn client() -> awc::Client {
    awc::Client::builder()
        .disable_redirects()
        .disable_timeout()
        .finish()
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
    let patience = tokio::time::sleep(PATIENCE);
    tokio::pin!(patience);
    let exchange = async {
        match once(http, shared, call, now, false).await {
            Err(Broken::Connection(_)) => once(http, shared, call, now, true).await,
            other => other,
        }
    };
    tokio::select! {
        answer = exchange => answer.map_err(|broken| match broken {
            Broken::For(e) => e,
            Broken::Connection(why) => PlaneError::Unanswered { url: call.url.clone(), why },
        }),
        () = &mut patience => Err(PlaneError::Unanswered {
            url: call.url.clone(),
            why: format!("no answer within {} s", PATIENCE.as_secs()),
        }),
    }
}

async fn once(
    http: &awc::Client,
    shared: &Shared,
    call: &Call<'_>,
    now: Timestamp,
    fresh: bool,
) -> Result<Answer, Broken> {
    let url = || call.url.clone();
    let permit = shared
        .take(&call.token.secret, now)
        .map_err(|after| Broken::For(PlaneError::Limited { url: url(), after }))?;
    let mut request = http
        .request(call.method.clone(), &call.url)
        .insert_header(("X-API-Key", call.token.secret.expose()))
        .insert_header((header::ACCEPT, "application/json"))
        .insert_header((header::USER_AGENT, concat!("orch/", env!("CARGO_PKG_VERSION"))))
        .query(&call.query)
        .map_err(|e| Broken::For(unreachable_at(url(), &e)))?;
    if fresh {
        request = request.force_close();
    }
    let sent = match &call.body {
        Some(body) => request.send_json(body).await,
        None => request.send().await,
    };
    let mut response = sent.map_err(|e| match e {
        // What awc says of a connection that ended before an answer began.
        SendRequestError::Connect(ConnectError::Disconnected) => Broken::Connection(e.to_string()),
        SendRequestError::Url(_) | SendRequestError::Connect(_) | SendRequestError::TunnelNotSupported => {
            Broken::For(unreachable_at(url(), &e))
        }
        e => Broken::Connection(e.to_string()),
    })?;
    let status = response.status().as_u16();
    let headers = response.headers().clone();
    let body = response.body().limit(MOST_BYTES).await;
    count(&permit, &headers);
    let body = match body {
        Ok(body) => body.to_vec(),
        // The status says enough.
        Err(_) if status >= 400 && status != 409 => Vec::new(),
        Err(e) => {
            let why = format!("the answer broke off: {e}");
            return Err(Broken::For(PlaneError::Unanswered { url: url(), why }));
        }
    };
    judge(call, status, &headers, body, (&permit, now)).map_err(Broken::For)
}

fn unreachable_at(url: String, why: &dyn std::fmt::Display) -> PlaneError {
    PlaneError::Unreachable {
        url,
        why: why.to_string(),
    }
}

/// What Plane tells of its own count.
fn count(permit: &Permit, headers: &HeaderMap) {
    let number = |name| headers.get(name)?.to_str().ok()?.trim().parse::<u64>().ok();
    let (left, reset) = (number("x-ratelimit-remaining"), number("x-ratelimit-reset"));
    if let (Some(left), Some(reset)) = (left, reset) {
        let reset = i64::try_from(reset).unwrap_or(0).saturating_mul(1_000_000);
        permit.told(left, Timestamp(reset));
    }
}

fn judge(
    call: &Call<'_>,
    status: u16,
    headers: &HeaderMap,
    body: Vec<u8>,
    (permit, now): (&Permit, Timestamp),
) -> Result<Answer, PlaneError> {
    let url = call.url.clone();
    let after = headers
        .get(header::RETRY_AFTER)
        .and_then(|v| retry_after(v.to_str().ok()?, now));
    let words = || words(&body);
    match status {
        200..=299 | 409 => Ok(Answer { url, body }),
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
            words: words(),
        }),
        _ => Err(PlaneError::Failed {
            url,
            status,
            words: words(),
            after,
        }),
    }
}

/// `Retry-After`: seconds, or a date (RFC 9110, 10.2.3).
fn retry_after(text: &str, now: Timestamp) -> Option<Duration> {
    let text = text.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = jiff::fmt::rfc2822::parse(text).ok()?;
    Some(Timestamp(at.timestamp().as_microsecond()).since(now))
}

/// The beginning of an answer, in one line.
fn words(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let plain = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    plain.take(200).collect()
}
