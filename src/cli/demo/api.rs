//! What the demo asks of the service's API. Never retries; its caller knows what is worth repeating.

use std::path::PathBuf;
use std::time::Duration;

use awc::http::{Method, StatusCode, header};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::engine::views::{
    AddTask, EventView, GestureView, HealingView, MakeGesture, QueueView, TaskDetail, TaskView,
};

/// How long the service may take to answer, a long poll's own waiting aside.
const PATIENCE: Duration = Duration::from_secs(10);
/// Answers are larger than awc's 2 MiB only when something is wrong.
const BODY_LIMIT: usize = 8 * 1024 * 1024;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// Nobody answers.
    #[error("{url} does not answer: {why}")]
    Unreachable {
        /// What was asked.
        url: String,
        /// Why.
        why: String,
    },
    /// The answer ends early.
    #[error("the answer of {url} broke off: {why}")]
    BrokeOff {
        /// What was asked.
        url: String,
        /// Why.
        why: String,
    },
    /// The answer takes too long.
    #[error("{url} did not answer within {} s", PATIENCE.as_secs())]
    TooSlow {
        /// What was asked.
        url: String,
    },
    /// The service says no.
    #[error("{url}: {status}: {detail}")]
    Refused {
        /// What was asked.
        url: String,
        /// Its status.
        status: StatusCode,
        /// Its reason.
        detail: String,
    },
    /// The answer is not what the API promises.
    #[error("{url} answered something unexpected: {source}")]
    Unexpected {
        /// What was asked.
        url: String,
        /// Why.
        source: serde_json::Error,
    },
}

/// The service's API, over loopback.
pub struct Api {
    client: awc::Client,
    base: String,
    token_file: PathBuf,
}

impl Api {
    /// The API at "127.0.0.1:40123"; its token is read from `token_file` as soon as the service has written it.
    pub fn new(address: &str, token_file: PathBuf) -> Self {
        Self {
            client: awc::Client::builder().disable_timeout().finish(),
            base: format!("http://{address}"),
            token_file,
        }
    }

    /// Its address: "http://127.0.0.1:40123".
    pub fn base(&self) -> &str {
        &self.base
    }

    /// True once the service does its work.
    pub async fn ready(&self) -> bool {
        self.ask::<serde_json::Value>(Method::GET, "/ready", None::<&()>, Duration::ZERO)
            .await
            .is_ok()
    }

    /// Adds a task.
    pub async fn add(&self, task: &AddTask) -> Result<TaskView, ApiError> {
        self.ask(Method::POST, "/api/v1/tasks", Some(task), Duration::ZERO)
            .await
    }

    /// All that is known of a task.
    pub async fn task(&self, id: &str) -> Result<TaskDetail, ApiError> {
        self.get(&format!("/api/v1/tasks/{id}"), Duration::ZERO).await
    }

    /// What happened after event `after`; waits for something to happen, at most `wait`.
    pub async fn events(&self, after: i64, wait: Duration) -> Result<Vec<EventView>, ApiError> {
        let path = format!("/api/v1/events?after={after}&wait_s={}", wait.as_secs());
        self.get(&path, wait).await
    }

    /// The queue.
    pub async fn queue(&self) -> Result<QueueView, ApiError> {
        self.get("/queue", Duration::ZERO).await
    }

    /// What was healed last, newest first.
    pub async fn healed(&self) -> Result<Vec<HealingView>, ApiError> {
        #[derive(serde::Deserialize)]
        struct Status {
            healed: Vec<HealingView>,
        }
        Ok(self.get::<Status>("/status", Duration::ZERO).await?.healed)
    }

    /// Makes a person's gesture.
    pub async fn gesture(&self, id: &str, gesture: &MakeGesture) -> Result<GestureView, ApiError> {
        let path = format!("/api/v1/tasks/{id}/gestures");
        self.ask(Method::POST, &path, Some(gesture), Duration::ZERO).await
    }

    async fn get<T: DeserializeOwned>(&self, path: &str, wait: Duration) -> Result<T, ApiError> {
        self.ask(Method::GET, path, None::<&()>, wait).await
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
        wait: Duration,
    ) -> Result<T, ApiError> {
        let url = format!("{}{path}", self.base);
        match tokio::time::timeout(wait + PATIENCE, self.exchange(method, &url, body)).await {
            Ok(answer) => answer,
            Err(_) => Err(ApiError::TooSlow { url }),
        }
    }

    async fn exchange<T: DeserializeOwned>(
        &self,
        method: Method,
        url: &str,
        body: Option<&impl Serialize>,
    ) -> Result<T, ApiError> {
        let mut request = self.client.request(method, url);
        if let Ok(token) = std::fs::read_to_string(&self.token_file) {
            request = request.insert_header((header::AUTHORIZATION, format!("Bearer {}", token.trim())));
        }
        let sent = match body {
            Some(body) => request.send_json(body).await,
            None => request.send().await,
        };
        let mut response = sent.map_err(|source| ApiError::Unreachable {
            url: url.to_owned(),
            why: source.to_string(),
        })?;
        let bytes = response
            .body()
            .limit(BODY_LIMIT)
            .await
            .map_err(|source| ApiError::BrokeOff {
                url: url.to_owned(),
                why: source.to_string(),
            })?;
        let status = response.status();
        if !status.is_success() {
            return Err(ApiError::Refused {
                url: url.to_owned(),
                status,
                detail: detail_of(&bytes),
            });
        }
        serde_json::from_slice(&bytes).map_err(|source| ApiError::Unexpected {
            url: url.to_owned(),
            source,
        })
    }
}

/// The `detail` of a problem document, else the beginning of the text.
fn detail_of(bytes: &[u8]) -> String {
    #[derive(serde::Deserialize)]
    struct Problem {
        detail: String,
    }
    match serde_json::from_slice::<Problem>(bytes) {
        Ok(problem) => problem.detail,
        Err(_) => String::from_utf8_lossy(bytes).chars().take(200).collect(),
    }
}
