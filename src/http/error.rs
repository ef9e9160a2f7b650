//! What a refusal looks like (RFC 9457), and the one place that maps failures to status codes.
//! Never sends the cause of an internal failure to a client: that goes to the log.

use std::error::Error;
use std::fmt;

use actix_web::body::BoxBody;
use actix_web::http::StatusCode;
use actix_web::http::header;
use actix_web::{HttpResponse, ResponseError};

use serde::Serialize;
use utoipa::ToSchema;

use crate::engine::EngineError;
use crate::store::{Retry, StoreError};

/// A refusal as a client sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Status code.
    pub status: StatusCode,
    /// One line that says what to do.
    pub detail: String,
    /// Methods that the route knows, on 405.
    allow: Option<&'static str>,
}

impl Problem {
    /// A problem with this status and line.
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            status,
            detail: detail.into(),
            allow: None,
        }
    }

    /// 400.
    pub fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    /// 400: a part of the address could not be read.
    pub fn not_readable(part: &str, e: &dyn fmt::Display) -> Self {
        let said = e.to_string();
        // actix puts "Query deserialize error: " before what matters.
        let why = said.split_once(" error: ").map_or(said.as_str(), |(_, why)| why);
        Self::bad_request(format!("the {part} of the address could not be read: {why}"))
    }

    /// 404 for an address that leads nowhere.
    pub fn no_such_route() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "there is nothing at this address; the API is under /api/v1",
        )
    }

    /// 405, naming the methods that would do.
    pub fn method_not_allowed(allow: &'static str) -> Self {
        Self {
            allow: Some(allow),
            ..Self::new(StatusCode::METHOD_NOT_ALLOWED, format!("use one of: {allow}"))
        }
    }

    /// 500: the cause goes to the log, not to the client.
    pub fn internal(cause: &dyn Error) -> Self {
        slog_scope::error!("request failed"; "cause" => chain(cause));
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "something broke inside; the service's log says what",
        )
    }
}

/// A refusal (RFC 9457).
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
pub(super) struct Document<'a> {
    /// Always `about:blank`: the status says it all.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The status in words.
    title: &'static str,
    /// The status.
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    /// One line that says what to do.
    detail: &'a str,
}

/// An error and what caused it, in one line.
fn chain(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        line.push_str(": ");
        line.push_str(&cause.to_string());
        next = cause.source();
    }
    line
}

impl From<EngineError> for Problem {
    fn from(e: EngineError) -> Self {
        if let (EngineError::Store(_), Retry::After(_)) = (&e, e.retry()) {
            slog_scope::warn!("request refused"; "cause" => chain(&e));
            let what = if matches!(e, EngineError::Store(StoreError::Unknown { .. })) {
                "the database was lost before it answered: this was done or it was not; look before you try again"
            } else {
                "the database does not take this now (the service's log says why): nothing was changed, try again in a \
                 moment"
            };
            return Self::new(StatusCode::SERVICE_UNAVAILABLE, what);
        }
        let status = match e {
            EngineError::NotFound { .. } => StatusCode::NOT_FOUND,
            EngineError::Invalid { .. } => StatusCode::UNPROCESSABLE_ENTITY,
            EngineError::Conflict { .. }
            | EngineError::Lost
            | EngineError::LeaseLost
            | EngineError::Hangs => StatusCode::CONFLICT,
            EngineError::Saturated | EngineError::OutOfTime => StatusCode::SERVICE_UNAVAILABLE,
            EngineError::Store(_)
            | EngineError::Git(_)
            | EngineError::Process(_)
            | EngineError::File { .. }
            | EngineError::Broken(_) => return Self::internal(&e),
        };
        Self::new(status, e.to_string())
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl Error for Problem {}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    fn error_response(&self) -> HttpResponse<BoxBody> {
        let mut response = HttpResponse::build(self.status);
        response.content_type("application/problem+json");
        if let Some(allow) = self.allow {
            response.insert_header((header::ALLOW, allow));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            response.insert_header((header::WWW_AUTHENTICATE, "Bearer"));
        }
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            response.insert_header((header::RETRY_AFTER, "1"));
        }
        // `json` keeps a content type that is set.
        response.json(Document {
            kind: "about:blank",
            title: self.status.canonical_reason().unwrap_or("Error"),
            status: self.status.as_u16(),
            detail: &self.detail,
        })
    }
}

#[cfg(test)]
#[expect(clippy::expect_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use crate::store::StoreError;

    fn status(e: EngineError) -> u16 {
        Problem::from(e).status.as_u16()
    }

    #[test]
    fn each_failure_of_the_engine_has_its_status() {
        let what = || "there is no task X".to_owned();
        assert_eq!(status(EngineError::NotFound { what: what() }), 404);
        assert_eq!(status(EngineError::Invalid { what: what() }), 422);
        assert_eq!(status(EngineError::Conflict { what: what() }), 409);
        assert_eq!(status(EngineError::Saturated), 503);
        let locked = StoreError::Locked { place: what() };
        assert_eq!(status(EngineError::Store(locked)), 503);
        assert_eq!(status(EngineError::Store(StoreError::Closed)), 500);
    }

    #[test]
    fn the_cause_of_an_internal_failure_stays_inside() {
        let cause = std::io::Error::other("password=hunter2");
        let problem = Problem::internal(&cause);
        assert_eq!(problem.status, StatusCode::INTERNAL_SERVER_ERROR);
        assert!(!problem.detail.contains("hunter2"));
    }

    #[actix_web::test]
    async fn a_problem_is_a_document_with_its_own_content_type() {
        let response = Problem::method_not_allowed("GET, POST").error_response();
        let head = |name| {
            response
                .headers()
                .get(name)
                .and_then(|v| v.to_str().ok())
                .map(str::to_owned)
        };
        assert_eq!(head("content-type").as_deref(), Some("application/problem+json"));
        assert_eq!(head("allow").as_deref(), Some("GET, POST"));
        let bytes = actix_web::body::to_bytes(response.into_body())
            .await
            .expect("body");
        let body: serde_json::Value = serde_json::from_slice(&bytes).expect("JSON");
        assert_eq!(body["title"], "Method Not Allowed");
        assert_eq!(body["status"], 405);
        assert_eq!(body["type"], "about:blank");
    }
}
