//! One request to Gitea and its answer, and lists that end where their headers say so.

use awc::http::{Method, header};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::domain::time::Timestamp;
use crate::integrations::exchange::{self, Broken, Request, client, one_line, patiently};

use super::Gitea;
use super::error::GiteaError;
use super::shapes::Refusal;

/// Entries of a page; Gitea gives no more than 50.
const PER_PAGE: &str = "50";
/// Pages that are read: 5,000 entries.
const MOST_PAGES: usize = 100;

/// What is asked, below the API's root.
pub(super) struct Call {
    pub method: Method,
    pub path: String,
    pub query: Vec<(&'static str, String)>,
    pub body: Option<Value>,
}

impl Call {
    pub(super) fn get(path: impl Into<String>) -> Self {
        Self {
            method: Method::GET,
            path: path.into(),
            query: Vec::new(),
            body: None,
        }
    }

    pub(super) fn post(path: impl Into<String>, body: Value) -> Self {
        Self {
            method: Method::POST,
            body: Some(body),
            ..Self::get(path)
        }
    }

    fn page(&self, number: usize) -> Self {
        let mut query = self.query.clone();
        query.push(("page", number.to_string()));
        query.push(("limit", PER_PAGE.to_owned()));
        Self {
            method: self.method.clone(),
            path: self.path.clone(),
            query,
            body: None,
        }
    }
}

/// An answer, whatever it says.
pub(super) struct Answer {
    pub url: String,
    pub told: exchange::Answer,
}

impl Answer {
    pub(super) fn read<T: DeserializeOwned>(&self) -> Result<T, GiteaError> {
        serde_json::from_slice(&self.told.body).map_err(|e| GiteaError::Unreadable {
            url: self.url.clone(),
            why: e.to_string(),
        })
    }

    /// Gitea's own words: its message, or what git said of a conflict.
    pub(super) fn words(&self) -> String {
        match serde_json::from_slice::<Refusal>(&self.told.body) {
            Ok(told) if !told.message.is_empty() => one_line(&told.message),
            Ok(told) if !told.said.is_empty() => one_line(told.said.trim()),
            Ok(_) | Err(_) => self.told.words(),
        }
    }

    /// The answer if it is no failure.
    pub(super) fn good(self, now: Timestamp) -> Result<Self, GiteaError> {
        let (url, status) = (self.url.clone(), self.told.status);
        match status {
            200..=299 => Ok(self),
            401 | 403 => Err(GiteaError::Denied {
                url,
                status,
                words: self.words(),
            }),
            404 | 410 => Err(GiteaError::NotFound { url }),
            400..=428 | 430..=499 => Err(GiteaError::Refused {
                url,
                status,
                words: self.words(),
            }),
            _ => Err(GiteaError::Failed {
                url,
                status,
                words: self.words(),
                after: self.told.retry_after(now),
            }),
        }
    }

    /// How a list goes on after `seen` entries, `got` of them from this page. A short page says nothing: a server may give
    /// less than was asked for.
    fn after(&self, seen: usize, got: usize) -> After {
        if let Some(total) = self.told.number("x-total-count") {
            return match (u64::try_from(seen).is_ok_and(|seen| seen < total), got) {
                (false, _) => After::End,
                (true, 0) => After::Lost,
                (true, _) => After::More,
            };
        }
        if got == 0 {
            return After::End;
        }
        match self
            .told
            .headers
            .get(header::LINK)
            .and_then(|link| link.to_str().ok())
        {
            Some(link) if !link.contains("rel=\"next\"") => After::End,
            Some(_) | None => After::More,
        }
    }

    /// A list of which a part is missing.
    fn incomplete(self, seen: usize) -> GiteaError {
        GiteaError::Refused {
            url: self.url,
            status: self.told.status,
            words: format!("a list that stops after {seen} of its entries"),
        }
    }
}

/// How a list goes on after a page.
enum After {
    More,
    End,
    /// There are more, and no page gives them.
    Lost,
}

/// What becomes of a list that has fewer entries than it says.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Missing {
    /// It is an error: what is missing might decide.
    Refused,
    /// They are not for this account, such as a review that is not sent yet.
    Hidden,
}

impl Gitea {
    /// Asks once. What was sent and not answered is never repeated here.
    pub(super) async fn ask(&self, call: &Call) -> Result<Answer, GiteaError> {
        let url = format!("{}/{}", self.root, call.path);
        let key = format!("token {}", self.token.expose());
        let request = Request {
            method: call.method.clone(),
            url: &url,
            query: &call.query,
            key: ("Authorization", &key),
            body: call.body.as_ref(),
        };
        // A client of its own: it belongs to a thread, and what asks a forge is seldom and on any.
        let http = client();
        let told = patiently(exchange::once(&http, &request, true)).await;
        match told.unwrap_or_else(|why| Err(Broken::Unanswered(why))) {
            Ok(told) => Ok(Answer { url, told }),
            Err(Broken::Unreachable(why)) => Err(GiteaError::Unreachable { url, why }),
            Err(Broken::Connection(why) | Broken::Unanswered(why)) => {
                Err(GiteaError::Unanswered { url, why })
            }
        }
    }

    pub(super) async fn get<T: DeserializeOwned>(
        &self,
        path: impl Into<String>,
        now: Timestamp,
    ) -> Result<T, GiteaError> {
        self.ask(&Call::get(path)).await?.good(now)?.read()
    }

    /// All pages of a list, each taken apart by `entries`, until `enough` of them were seen.
    pub(super) async fn pages<P: DeserializeOwned, T>(
        &self,
        (call, missing): (Call, Missing),
        entries: impl Fn(P) -> Vec<T>,
        enough: impl Fn(&[T]) -> bool,
        now: Timestamp,
    ) -> Result<Vec<T>, GiteaError> {
        let mut found = Vec::new();
        let mut number = 1;
        loop {
            let answer = self.ask(&call.page(number)).await?.good(now)?;
            let page = entries(answer.read()?);
            let got = page.len();
            found.extend(page);
            if enough(&found) {
                return Ok(found);
            }
            match answer.after(found.len(), got) {
                After::End => return Ok(found),
                After::Lost if missing == Missing::Hidden => return Ok(found),
                After::More if number < MOST_PAGES => number += 1,
                After::Lost | After::More => return Err(answer.incomplete(found.len())),
            }
        }
    }
}
