//! Asks an address of the project's once: status and body, bounded in time and size. Never judges an answer, never sends
//! anything but the question.

use std::time::Duration;

use awc::http::header;
use futures_util::StreamExt as _;

/// As much of a body is kept; what comes after it is not read.
const MOST_BYTES: usize = 1 << 20;
/// How often an answer may send elsewhere.
const MOST_REDIRECTS: u8 = 3;

/// An answer, whatever it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// HTTP status.
    pub status: u16,
    /// The beginning of its body, at most 1 MiB.
    pub body: Vec<u8>,
}

/// One GET on a connection of its own, with at most three redirects. `timeout` is for all of it.
///
/// # Errors
/// In words, when there is no whole answer in time.
pub async fn get(url: &str, timeout: Duration) -> Result<Fetched, String> {
    // A client of its own: it belongs to a thread, and what asks is seldom and on any.
    let http = awc::Client::builder().max_redirects(MOST_REDIRECTS);
    asked(http.disable_timeout().finish(), url, timeout).await
}

/// The same, from that very address: being sent elsewhere is an answer.
///
/// # Errors
/// As [`get`].
pub async fn get_there(url: &str, timeout: Duration) -> Result<Fetched, String> {
    let http = awc::Client::builder().disable_redirects();
    asked(http.disable_timeout().finish(), url, timeout).await
}

async fn asked(http: awc::Client, url: &str, timeout: Duration) -> Result<Fetched, String> {
    if !url.starts_with("http://") && !url.starts_with("https://") {
        return Err("only http:// and https:// are asked".to_owned());
    }
    let exchange = async {
        let request = http
            .get(url)
            .insert_header((header::USER_AGENT, concat!("orch/", env!("CARGO_PKG_VERSION"))))
            .force_close();
        let mut response = request.send().await.map_err(|e| e.to_string())?;
        let status = response.status().as_u16();
        let whole = response.headers().get(header::CONTENT_LENGTH);
        let whole: Option<usize> = whole.and_then(|n| n.to_str().ok()?.trim().parse().ok());
        let mut body = Vec::new();
        while body.len() < MOST_BYTES
            && let Some(part) = response.next().await
        {
            let part = part.map_err(|e| format!("the answer broke off: {e}"))?;
            let room = MOST_BYTES - body.len();
            body.extend_from_slice(&part[..part.len().min(room)]);
        }
        // awc takes the end of the connection for the end of the answer.
        if whole.is_some_and(|whole| body.len() < whole.min(MOST_BYTES)) {
            return Err("the answer broke off".to_owned());
        }
        Ok(Fetched { status, body })
    };
    match tokio::time::timeout(timeout, exchange).await {
        Ok(done) => done,
        Err(_) => Err(format!("no answer within {} s", timeout.as_secs_f32())),
    }
}
