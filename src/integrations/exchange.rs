//! One request and its answer, bounded in time and size. Follows nobody elsewhere, never judges an answer, never tells what
//! was in a request.

use std::time::Duration;

use awc::error::{ConnectError, SendRequestError};
use awc::http::Method;
use awc::http::header::{self, HeaderMap};
use serde_json::Value;

use crate::domain::time::Timestamp;

/// How long request and answer may take together.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);
/// Largest answer that is read.
const MOST_BYTES: usize = 4 << 20;

/// What is sent.
pub(super) struct Request<'a> {
    pub method: Method,
    /// Without query.
    pub url: &'a str,
    pub query: &'a [(&'static str, String)],
    /// The header that carries a key, and what it says.
    pub key: (&'static str, &'a str),
    pub body: Option<&'a Value>,
}

/// An answer, whatever it says.
pub(super) struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

/// Why there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Broken {
    /// It ended before an answer began: a connection that lay in a pool may be gone.
    Connection(String),
    /// Nobody is there: nothing was sent.
    Unreachable(String),
    /// It was sent, and no whole answer came.
    Unanswered(String),
}

/// A client that follows nobody elsewhere: what is sent is meant for the receiver that was named. Belongs to one thread.
pub(super) fn client() -> awc::Client {
    awc::Client::builder()
        .disable_redirects()
        .disable_timeout()
        .finish()
}

/// Sends it once; with `fresh`, on a connection of its own.
pub(super) async fn once(http: &awc::Client, request: &Request<'_>, fresh: bool) -> Result<Answer, Broken> {
    let mut sending = http
        .request(request.method.clone(), request.url)
        .insert_header(request.key)
        .insert_header((header::ACCEPT, "application/json"))
        .insert_header((header::USER_AGENT, concat!("orch/", env!("CARGO_PKG_VERSION"))))
        .query(&request.query)
        .map_err(|e| Broken::Unreachable(e.to_string()))?;
    if fresh {
        sending = sending.force_close();
    }
    let sent = match request.body {
        Some(body) => sending.send_json(body).await,
        None => sending.send().await,
    };
    let mut response = sent.map_err(|e| match e {
        // What awc says of a connection that ended before an answer began.
        SendRequestError::Connect(ConnectError::Disconnected) => Broken::Connection(e.to_string()),
        SendRequestError::Url(_) | SendRequestError::Connect(_) | SendRequestError::TunnelNotSupported => {
            Broken::Unreachable(e.to_string())
        }
        e => Broken::Connection(e.to_string()),
    })?;
    let status = response.status().as_u16();
    let headers = response.headers().clone();
    let body = match response.body().limit(MOST_BYTES).await {
        Ok(body) => body.to_vec(),
        // The status says enough.
        Err(_) if status >= 400 && status != 409 => Vec::new(),
        Err(e) => return Err(Broken::Unanswered(format!("the answer broke off: {e}"))),
    };
    let answer = Answer {
        status,
        headers,
        body,
    };
    // awc takes the end of the connection for the end of the answer.
    let whole = answer
        .number("content-length")
        .map_or(0, |n| usize::try_from(n).unwrap_or(usize::MAX));
    if status < 400 && answer.body.len() < whole {
        return Err(Broken::Unanswered("the answer broke off".to_owned()));
    }
    Ok(answer)
}

/// Waits for all of an exchange, but not for ever.
///
/// # Errors
/// In words, when it took too long.
pub(super) async fn patiently<T>(exchange: impl Future<Output = T>) -> Result<T, String> {
    tokio::time::timeout(PATIENCE, exchange)
        .await
        .map_err(|_| format!("no answer within {} s", PATIENCE.as_secs()))
}

impl Answer {
    /// How long it asks to be left alone.
    pub(super) fn retry_after(&self, now: Timestamp) -> Option<Duration> {
        retry_after(&self.headers, now)
    }

    /// A header that is a number.
    pub(super) fn number(&self, name: &str) -> Option<u64> {
        self.headers.get(name)?.to_str().ok()?.trim().parse().ok()
    }

    /// The beginning of its body, in one line.
    pub(super) fn words(&self) -> String {
        one_line(&String::from_utf8_lossy(&self.body))
    }
}

/// The beginning of a text of somebody else's, in one line.
pub(super) fn one_line(text: &str) -> String {
    let plain = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    plain.take(200).collect()
}

/// `Retry-After`: seconds, or a date (RFC 9110, 10.2.3).
pub(super) fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = jiff::fmt::rfc2822::parse(text).ok()?;
    Some(Timestamp(at.timestamp().as_microsecond()).since(now))
}
