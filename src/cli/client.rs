//! The client of the service's API: finds it, sends the token, tells a refusal from an absence.
//! Never opens the database, and never sends the token file's token to another machine.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use awc::error::SendRequestError;
use awc::http::{Method, StatusCode, header::HeaderMap};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Global;
use super::exit::{Failure, Problem};
use crate::settings::Settings;

/// How long an answer may take, a long poll's waiting aside.
const PATIENCE: Duration = Duration::from_secs(30);
/// Largest answer.
const MOST_BYTES: usize = 64 << 20;
/// Variable with the token; also the name of the setting.
const TOKEN_ENV: &str = "ORCH_API_TOKEN";

/// A connection to the service.
pub struct Client {
    http: awc::Client,
    base: String,
    /// What named the address, for the message when nobody answers.
    origin: &'static str,
    token: Option<String>,
}

/// What the service answered.
pub struct Answer {
    /// The body.
    pub bytes: Vec<u8>,
    status: StatusCode,
    headers: HeaderMap,
}

impl Answer {
    /// The body as what it should be.
    pub fn view<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        serde_json::from_slice(&self.bytes).map_err(|e| {
            Failure::Internal(format!(
                "the service's answer is not understood ({e}): use an orch of the same version as the service"
            ))
        })
    }

    /// True when asking made it exist.
    pub fn created(&self) -> bool {
        self.status == StatusCode::CREATED
    }

    /// A header's text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|v| v.to_str().ok())
    }
}

/// Runs a conversation with the service.
///
/// # Errors
/// Its own, or when the system gives no runtime.
pub fn converse<T>(conversation: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Failure::Internal(format!("cannot start: {e}")))?;
    tokio::task::LocalSet::new().block_on(&runtime, conversation)
}

impl Client {
    /// The service that `--api-url` names, else the one that the settings describe.
    ///
    /// # Errors
    /// When the address or the settings cannot be used.
    pub fn new(global: &Global) -> Result<Self, Failure> {
        let (base, origin, token) = match &global.api_url {
            Some(url) => {
                let token = global
                    .settings()
                    .ok()
                    .and_then(|(settings, _)| token_for(&settings, is_loopback(url)));
                (checked(url)?, "--api-url or ORCH_API_URL", token)
            }
            None => {
                let (settings, _) = global.settings()?;
                (
                    reachable(settings.server.listen)?,
                    "server.listen",
                    token_for(&settings, true),
                )
            }
        };
        Ok(Self {
            http: awc::Client::builder().disable_timeout().finish(),
            base,
            origin,
            token: token_from_env().or(token),
        })
    }

    /// Where the service is looked for.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Reads.
    pub async fn get(&self, path: &str) -> Result<Answer, Failure> {
        self.wait(path, Duration::ZERO).await
    }

    /// Reads, giving the service `wait` longer to answer. A connection that broke off is tried once more: reading
    /// twice does no harm.
    pub async fn wait(&self, path: &str, wait: Duration) -> Result<Answer, Failure> {
        let ask = || self.ask(Method::GET, path, None::<&()>, wait);
        match ask().await {
            Err(Trouble::BrokeOff(_)) => Ok(ask().await?),
            other => Ok(other?),
        }
    }

    /// Changes something.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> Result<Answer, Failure> {
        Ok(self.ask(method, path, body, Duration::ZERO).await?)
    }

    /// Asks for something that takes long.
    pub async fn send_and_wait(&self, method: Method, path: &str, wait: Duration) -> Result<Answer, Failure> {
        Ok(self.ask(method, path, None::<&()>, wait).await?)
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
        wait: Duration,
    ) -> Result<Answer, Trouble> {
        let exchange = self.exchange(method, path, body);
        match tokio::time::timeout(PATIENCE + wait, exchange).await {
            Ok(answer) => answer,
            Err(_) => Err(self.nobody(&format!("no answer within {} s", PATIENCE.as_secs()))),
        }
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> Result<Answer, Trouble> {
        let mut request = self.http.request(method, format!("{}{path}", self.base));
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        let sent = match body {
            Some(body) => request.send_json(body).await,
            None => request.send().await,
        };
        let mut response = sent.map_err(|e| match e {
            SendRequestError::Connect(e) => self.nobody(&e.to_string()),
            SendRequestError::Url(e) => Trouble::Failed(Failure::Usage(format!("{}: {e}", self.base))),
            other => Trouble::BrokeOff(format!("the connection to {} broke off: {other}", self.base)),
        })?;
        let bytes = response.body().limit(MOST_BYTES).await;
        let bytes =
            bytes.map_err(|e| Trouble::BrokeOff(format!("the answer of {} broke off: {e}", self.base)))?;
        let answer = Answer {
            bytes: bytes.to_vec(),
            status: response.status(),
            headers: response.headers().clone(),
        };
        match response.status() {
            status if status.is_success() => Ok(answer),
            status => Err(Trouble::Failed(self.refusal(status, &answer))),
        }
    }

    fn nobody(&self, why: &str) -> Trouble {
        Trouble::Failed(Failure::NoService(format!(
            "no service answers at {} (from {}; {why}). Start one with `orch serve`, or say where it is with \
             --api-url or ORCH_API_URL",
            self.base, self.origin
        )))
    }

    fn refusal(&self, status: StatusCode, answer: &Answer) -> Failure {
        match serde_json::from_slice::<Problem>(&answer.bytes).ok() {
            Some(problem) => Failure::Api {
                status: status.as_u16(),
                title: problem.title,
                detail: problem.detail,
            },
            None => Failure::NoService(format!(
                "what answers at {} is not Orch (it says {status}): correct --api-url, ORCH_API_URL or server.listen",
                self.base
            )),
        }
    }
}

enum Trouble {
    /// The connection was there, then not: the request may have had its effect.
    BrokeOff(String),
    Failed(Failure),
}

impl From<Trouble> for Failure {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::BrokeOff(line) => Failure::NoService(line),
            Trouble::Failed(failure) => failure,
        }
    }
}

fn token_from_env() -> Option<String> {
    std::env::var(TOKEN_ENV).ok().filter(|t| !t.is_empty())
}

/// A token that is configured goes where the user points; the file's stays on this machine.
fn token_for(settings: &Settings, local: bool) -> Option<String> {
    match &settings.api_token {
        Some(secret) => Some(secret.expose().to_owned()),
        None if local => crate::settings::token::read(&settings.data_dir).ok().flatten(),
        None => None,
    }
}

/// An address to connect to, from one to listen on.
fn reachable(listen: SocketAddr) -> Result<String, Failure> {
    if listen.port() == 0 {
        return Err(Failure::Usage(format!(
            "server.listen is {listen}, which leaves the port open: say where the service is with --api-url"
        )));
    }
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::from(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::from(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    Ok(format!("http://{}", SocketAddr::new(ip, listen.port())))
}

fn checked(url: &str) -> Result<String, Failure> {
    let base = url.trim_end_matches('/');
    let host = base.strip_prefix("http://").filter(|h| !h.is_empty());
    match host {
        Some(_) => Ok(base.to_owned()),
        None => Err(Failure::Usage(format!(
            "the service's address {url:?} is not usable: write http://<host>:<port>"
        ))),
    }
}

fn is_loopback(url: &str) -> bool {
    let authority = url
        .strip_prefix("http://")
        .and_then(|rest| rest.split('/').next())
        .unwrap_or("");
    let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
#[expect(clippy::expect_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn a_service_that_listens_everywhere_is_reached_here() {
        for (listen, base) in [
            ("0.0.0.0:8500", "http://127.0.0.1:8500"),
            ("[::]:8500", "http://[::1]:8500"),
            ("192.0.2.1:1", "http://192.0.2.1:1"),
        ] {
            let listen = listen.parse().expect("an address");
            assert_eq!(reachable(listen).expect("reachable"), base);
        }
        assert!(reachable("127.0.0.1:0".parse().expect("an address")).is_err());
    }

    #[test]
    fn the_files_token_goes_to_this_machine_only() {
        assert!(
            is_loopback("http://127.0.0.1:8500/x")
                && is_loopback("http://[::1]:1")
                && is_loopback("http://localhost")
        );
        assert!(!is_loopback("http://127.0.0.1.evil.example:8500") && !is_loopback("http://192.0.2.1:8500"));
    }

    #[test]
    fn an_address_that_is_not_plain_http_is_refused() {
        assert_eq!(checked("http://h:1/").expect("usable"), "http://h:1");
        assert!(checked("https://h:1").is_err() && checked("h:1").is_err() && checked("http://").is_err());
    }
}
