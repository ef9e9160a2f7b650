//! One request and its answer, bounded in time and size. Never repeats a request.

use awc::error::{ConnectError, SendRequestError};
use awc::http::StatusCode;
use awc::http::header::{self, HeaderMap};

use crate::domain::delivery::Sending;
use crate::domain::time::Timestamp;
use crate::integrations::exchange::{patiently, retry_after};

/// Largest answer that is read.
const MOST_BYTES: usize = 64 << 10;

/// An answer, whatever it says.
pub(super) struct Answer {
    pub status: StatusCode,
    pub body: Vec<u8>,
    headers: HeaderMap,
}

/// Sends one request.
///
/// # Errors
/// How the sending went, when there is no answer.
pub(super) async fn post(request: awc::ClientRequest, body: Vec<u8>) -> Result<Answer, Sending> {
    // On a connection of its own: one that lay in a pool may be gone, and then nobody knows whether the request arrived.
    let request = request
        .force_close()
        .insert_header((header::CONTENT_TYPE, "application/json"));
    let exchange = async {
        let mut response = request.send_body(body).await.map_err(of)?;
        let (status, headers) = (response.status(), response.headers().clone());
        let body = response.body().limit(MOST_BYTES).await;
        Ok(Answer {
            status,
            headers,
            // The status says enough.
            body: body.map(|b| b.to_vec()).unwrap_or_default(),
        })
    };
    match patiently(exchange).await {
        Ok(answer) => answer,
        Err(why) => Err(Sending::Unanswered { why }),
    }
}

fn of(e: SendRequestError) -> Sending {
    let why = e.to_string();
    match e {
        // That is also how a connection that ended before its answer is told.
        SendRequestError::Connect(ConnectError::Disconnected) => Sending::Unanswered { why },
        SendRequestError::Url(_)
        | SendRequestError::Connect(_)
        | SendRequestError::Http(_)
        | SendRequestError::TunnelNotSupported => Sending::Down { why, after: None },
        _ => Sending::Unanswered { why },
    }
}

impl Answer {
    /// What a status means for the notice. `words` are the receiver's own.
    pub(super) fn judge(&self, words: &str, now: Timestamp) -> Sending {
        let why = match words {
            "" => format!("HTTP {}", self.status.as_u16()),
            words => format!("HTTP {}: {words}", self.status.as_u16()),
        };
        match self.status.as_u16() {
            200..=299 => Sending::Accepted,
            // It is about this very notice.
            400 | 413 | 422 => Sending::Refused { why },
            _ => Sending::Down {
                why,
                after: retry_after(&self.headers, now),
            },
        }
    }
}
