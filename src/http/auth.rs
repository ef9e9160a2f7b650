//! Who may ask what. The decision is a pure function of what a request carries; around it are the middleware and
//! the token file. Never lets a web page in another origin drive the service.
//!
//! Reading without a token is for loopback peers only, and only while no `api_token` is set. A request that a
//! proxy passed on is not local, and neither is one for a host *name* other than `localhost`: a page can make its
//! own name point at 127.0.0.1. Changing always takes the token.

use std::io;
use std::net::IpAddr;

use actix_web::body::{EitherBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::{Method, StatusCode, header};
use actix_web::middleware::Next;
use actix_web::{Error, ResponseError, web};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::error::Problem;
use crate::settings::{Settings, token};

/// Headers that proxies add.
const FORWARDED: [&str; 4] = ["forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip"];

/// The token, and whether an operator chose it.
pub struct Access {
    /// Hashed, so that a comparison tells nothing of its length.
    token: [u8; 32],
    configured: bool,
}

/// What a request carries that matters here.
#[derive(Clone, Copy, Debug, Default)]
struct Asking<'a> {
    changes: bool,
    has_body: bool,
    bearer: Option<&'a str>,
    peer: Option<IpAddr>,
    forwarded: bool,
    host: Option<&'a str>,
    origin: Option<&'a str>,
    content_type: Option<&'a str>,
}

#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Pass,
    TokenMissing,
    TokenWrong,
    NotLocal,
    ForeignOrigin,
    NotJson,
}

impl Access {
    /// The configured token, else the one in the data directory, created if need be.
    ///
    /// # Errors
    /// When the token file can neither be read nor written; the line names it.
    pub fn from_settings(settings: &Settings) -> io::Result<Self> {
        Ok(match &settings.api_token {
            Some(secret) => Self::new(secret.expose(), true),
            None => Self::new(&token::ensure(&settings.data_dir)?, false),
        })
    }

    pub(super) fn new(token: &str, configured: bool) -> Self {
        Self {
            token: Sha256::digest(token.as_bytes()).into(),
            configured,
        }
    }

    /// Whether a reader on this machine has to show the token, too.
    pub(super) fn reading_takes_token(&self) -> bool {
        self.configured
    }

    fn decide(&self, asking: &Asking<'_>) -> Answer {
        if asking.changes && !same_origin(asking) {
            return Answer::ForeignOrigin;
        }
        if asking.has_body && !is_json(asking.content_type) {
            return Answer::NotJson;
        }
        let local = is_local(asking);
        match asking.bearer {
            Some(bearer) if !self.matches(bearer) => Answer::TokenWrong,
            Some(_) if asking.changes && !self.configured && !local => Answer::NotLocal,
            Some(_) => Answer::Pass,
            None if !asking.changes && !self.configured && local => Answer::Pass,
            None => Answer::TokenMissing,
        }
    }

    fn matches(&self, bearer: &str) -> bool {
        let given: [u8; 32] = Sha256::digest(bearer.as_bytes()).into();
        given.ct_eq(&self.token).into()
    }
}

/// Programs send no Origin; browsers do, with whatever is not a plain read.
fn same_origin(asking: &Asking<'_>) -> bool {
    let Some(origin) = asking.origin else { return true };
    let authority = origin.split_once("://").map(|(_, rest)| rest);
    matches!((authority, asking.host), (Some(a), Some(h)) if a.eq_ignore_ascii_case(h))
}

fn is_json(content_type: Option<&str>) -> bool {
    content_type
        .and_then(|t| t.split(';').next())
        .is_some_and(|t| t.trim().eq_ignore_ascii_case("application/json"))
}

fn is_local(asking: &Asking<'_>) -> bool {
    let loopback = asking.peer.is_some_and(|ip| ip.to_canonical().is_loopback());
    loopback && !asking.forwarded && asking.host.is_none_or(is_plain_host)
}

/// An address or `localhost`: a host that no one's DNS can point elsewhere.
fn is_plain_host(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
}

impl Answer {
    fn into_problem(self) -> Option<Problem> {
        let (status, detail) = match self {
            Answer::Pass => return None,
            Answer::TokenMissing => (
                StatusCode::UNAUTHORIZED,
                "send `Authorization: Bearer <token>`: ORCH_API_TOKEN, else what the file api-token in the \
                 service's data directory holds",
            ),
            Answer::TokenWrong => (
                StatusCode::UNAUTHORIZED,
                "the token is not this service's: compare ORCH_API_TOKEN, or the file api-token in its data directory",
            ),
            Answer::NotLocal => (
                StatusCode::FORBIDDEN,
                "without a configured api_token changes are taken from this machine only: set ORCH_API_TOKEN for \
                 the service",
            ),
            Answer::ForeignOrigin => (
                StatusCode::FORBIDDEN,
                "pages of another origin may not change anything here",
            ),
            Answer::NotJson => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "send the body as JSON with `Content-Type: application/json`",
            ),
        };
        Some(Problem::new(status, detail))
    }
}

/// The middleware: lets pass what [`Access`] lets pass, and answers the rest.
pub(super) async fn check(
    req: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<EitherBody<impl MessageBody>>, Error> {
    let problem = match req.app_data::<web::Data<Access>>() {
        Some(access) => access.decide(&Asking::of(&req)).into_problem(),
        None => Some(Problem::new(StatusCode::FORBIDDEN, "nobody may use this route")),
    };
    match problem {
        Some(problem) => Ok(req.into_response(problem.error_response()).map_into_right_body()),
        None => Ok(next.call(req).await?.map_into_left_body()),
    }
}

impl<'a> Asking<'a> {
    fn of(req: &'a ServiceRequest) -> Self {
        let head = |name: header::HeaderName| req.headers().get(name).map(|v| v.to_str().unwrap_or(""));
        let has_length = head(header::CONTENT_LENGTH).is_some_and(|l| l.trim() != "0");
        Self {
            changes: !matches!(*req.method(), Method::GET | Method::HEAD),
            has_body: has_length || head(header::TRANSFER_ENCODING).is_some(),
            // A scheme other than Bearer is a token that does not match.
            bearer: head(header::AUTHORIZATION).map(|v| match v.split_once(' ') {
                Some((scheme, token)) if scheme.eq_ignore_ascii_case("Bearer") => token.trim(),
                Some(_) | None => "",
            }),
            peer: req.peer_addr().map(|a| a.ip()),
            forwarded: FORWARDED.iter().any(|name| req.headers().contains_key(*name)),
            host: head(header::HOST),
            origin: head(header::ORIGIN),
            content_type: head(header::CONTENT_TYPE),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "4f9c";

    fn configured() -> Access {
        Access::new(TOKEN, true)
    }

    fn unconfigured() -> Access {
        Access::new(TOKEN, false)
    }

    fn local() -> Asking<'static> {
        Asking {
            peer: Some(IpAddr::from([127, 0, 0, 1])),
            host: Some("127.0.0.1:8500"),
            ..Asking::default()
        }
    }

    fn remote() -> Asking<'static> {
        Asking {
            peer: Some(IpAddr::from([192, 0, 2, 7])),
            host: Some("192.0.2.1:8500"),
            ..Asking::default()
        }
    }

    fn with_token(asking: Asking<'static>) -> Asking<'static> {
        Asking {
            bearer: Some(TOKEN),
            ..asking
        }
    }

    fn changing(asking: Asking<'static>) -> Asking<'static> {
        Asking {
            changes: true,
            ..asking
        }
    }

    #[test]
    fn without_a_configured_token_this_machine_reads_and_others_do_not() {
        let access = unconfigured();
        assert_eq!(access.decide(&local()), Answer::Pass);
        assert_eq!(access.decide(&remote()), Answer::TokenMissing);
        assert_eq!(access.decide(&with_token(remote())), Answer::Pass);
    }

    #[test]
    fn without_a_configured_token_changes_take_the_files_token_and_this_machine() {
        let access = unconfigured();
        assert_eq!(access.decide(&changing(local())), Answer::TokenMissing);
        assert_eq!(access.decide(&changing(with_token(local()))), Answer::Pass);
        assert_eq!(access.decide(&changing(with_token(remote()))), Answer::NotLocal);
    }

    #[test]
    fn with_a_configured_token_everything_takes_it_from_everywhere() {
        let access = configured();
        assert_eq!(access.decide(&local()), Answer::TokenMissing);
        assert_eq!(access.decide(&with_token(local())), Answer::Pass);
        assert_eq!(access.decide(&changing(with_token(remote()))), Answer::Pass);
        let wrong = Asking {
            bearer: Some("4f9"),
            ..local()
        };
        assert_eq!(access.decide(&wrong), Answer::TokenWrong);
    }

    #[test]
    fn what_a_proxy_passed_on_or_a_rebound_name_asks_is_not_local() {
        let access = unconfigured();
        let proxied = Asking {
            forwarded: true,
            ..local()
        };
        assert_eq!(access.decide(&proxied), Answer::TokenMissing);
        for (host, answer) in [
            ("evil.example:8500", Answer::TokenMissing),
            ("localhost:8500", Answer::Pass),
            ("[::1]:8500", Answer::Pass),
            ("127.0.0.1", Answer::Pass),
        ] {
            let asking = Asking {
                host: Some(host),
                ..local()
            };
            assert_eq!(access.decide(&asking), answer, "{host}");
        }
    }

    #[test]
    fn a_page_of_another_origin_changes_nothing_even_with_the_token() {
        let access = unconfigured();
        for (origin, answer) in [
            ("http://evil.example", Answer::ForeignOrigin),
            ("null", Answer::ForeignOrigin),
            ("http://127.0.0.1:9999", Answer::ForeignOrigin),
            ("http://127.0.0.1:8500", Answer::Pass),
        ] {
            let asking = Asking {
                origin: Some(origin),
                ..changing(with_token(local()))
            };
            assert_eq!(access.decide(&asking), answer, "{origin}");
        }
    }

    #[test]
    fn a_body_must_be_declared_as_json() {
        let access = unconfigured();
        for (content_type, answer) in [
            (None, Answer::NotJson),
            (Some("text/plain"), Answer::NotJson),
            (Some("application/json; charset=utf-8"), Answer::Pass),
        ] {
            let asking = Asking {
                has_body: true,
                content_type,
                ..changing(with_token(local()))
            };
            assert_eq!(access.decide(&asking), answer, "{content_type:?}");
        }
    }
}
