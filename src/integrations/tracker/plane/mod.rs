//! Plane over its REST API: issues and their states, comments. Never decides when something is asked, and never waits for
//! its turn: what a key may not ask yet is answered with how long to wait.
//!
//! Paths and shapes: <https://developers.plane.so/api-reference/introduction>, and what Plane 1.3 was seen to answer.

mod error;
mod exchange;
mod shapes;
mod shared;
mod states;
mod words;

use std::collections::BTreeMap;

use awc::http::Method;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::domain::pipeline::Role;
use crate::domain::time::Timestamp;
use crate::integrations::exchange::client;
use crate::settings::Settings;

pub use error::PlaneError;
pub use shapes::{State, WorkItem};
pub use shared::Shared;
pub use words::{NewComment, Word};

use exchange::{Answer, Call, Token, ask};
use shapes::Page;

/// Entries of a page.
const PER_PAGE: &str = "100";
/// Pages of issues that are read: 2,000 issues, within what a key may ask in a minute.
const MOST_PAGES: usize = 20;

/// The installation that the settings name. Belongs to one thread.
#[derive(Clone)]
pub struct Plane {
    http: awc::Client,
    /// `<url>/api/v1/workspaces/<slug>`
    base: String,
    token: Token,
    role_tokens: BTreeMap<Role, Token>,
    shared: Shared,
}

/// What has to be done for an issue to have a state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Nothing: it has it.
    There {
        /// When the issue was changed last, by Plane's clock.
        at: Option<Timestamp>,
    },
    /// The board has no such state: that path is inert.
    NoSuchState,
    /// This.
    Change(StateChange),
}

/// A state that an issue was seen not to have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateChange {
    project: String,
    issue: String,
    state: String,
    /// The id of the state that it has.
    pub from: Option<String>,
    /// When the issue was changed last, by Plane's clock.
    pub at: Option<Timestamp>,
}

/// What is read page by page.
struct Pages<'a> {
    url: &'a str,
    query: &'a [(&'static str, &'a str)],
    /// Pages that are read.
    most: usize,
}

impl Plane {
    /// None: the settings name none.
    pub fn of(settings: &Settings, shared: &Shared) -> Option<Self> {
        let plane = &settings.plane;
        let (url, workspace) = (plane.url.as_ref()?, plane.workspace.as_ref()?);
        let token = Token {
            secret: plane.api_token.clone()?,
            setting: "plane.api_token".to_owned(),
        };
        let own = plane.role_tokens.iter().map(|(role, secret)| {
            let setting = format!("plane.token_{}", role.as_str());
            let secret = secret.clone();
            (*role, Token { secret, setting })
        });
        Some(Self {
            http: client(),
            base: format!(
                "{url}/api/v1/workspaces/{}",
                segment("workspace", workspace).ok()?
            ),
            token,
            role_tokens: own.collect(),
            shared: shared.clone(),
        })
    }

    /// Speaking as a role, where that has a token of its own.
    pub fn speaking_as(&self, role: Role) -> Self {
        let mut own = self.clone();
        if let Some(token) = self.role_tokens.get(&role) {
            own.token = token.clone();
        }
        own
    }

    /// The setting that the token stands in.
    pub fn token_setting(&self) -> &str {
        &self.token.setting
    }

    /// The roles that have tokens of their own.
    pub fn roles(&self) -> impl Iterator<Item = Role> + '_ {
        self.role_tokens.keys().copied()
    }

    /// An issue.
    ///
    /// # Errors
    /// See [`PlaneError`].
    pub async fn work_item(
        &self,
        project: &str,
        issue: &str,
        now: Timestamp,
    ) -> Result<WorkItem, PlaneError> {
        let url = self.issue_url(project, issue, "")?;
        self.call(Method::GET, &url, &[], None, now).await?.read()
    }

    /// The issues that `keep` keeps, changed last first. Plane itself filters nothing by state. At most the 2,000 that were
    /// changed last are looked at, and no page after one that ends before `since`.
    ///
    /// # Errors
    /// See [`PlaneError`].
    pub async fn work_items(
        &self,
        project: &str,
        keep: impl Fn(&WorkItem) -> bool,
        since: Option<Timestamp>,
        clock: &dyn Fn() -> Timestamp,
    ) -> Result<Vec<WorkItem>, PlaneError> {
        let url = self.project_url(project, "work-items/")?;
        let query = [
            ("order_by", "-updated_at"),
            ("fields", "id,name,state,updated_at"),
        ];
        let read = |page: &[WorkItem]| {
            let sorted = page.is_sorted_by(|one, next| one.updated_at >= next.updated_at);
            let last = page.last().and_then(|item| item.updated_at);
            // Unsorted pages say nothing about those to come.
            sorted && last.zip(since).is_some_and(|(last, since)| last < since)
        };
        let pages = Pages {
            url: &url,
            query: &query,
            most: MOST_PAGES,
        };
        self.pages(pages, keep, read, clock).await
    }

    /// Asks what has to be done for an issue to have the state of that name. Changes nothing.
    ///
    /// # Errors
    /// See [`PlaneError`].
    pub async fn want_state(
        &self,
        project: &str,
        issue: &str,
        name: &str,
        now: Timestamp,
    ) -> Result<Wanted, PlaneError> {
        let Some(state) = self.state_id(project, name, now).await? else {
            return Ok(Wanted::NoSuchState);
        };
        let item = self.work_item(project, issue, now).await?;
        if item.state.as_deref() == Some(state.as_str()) {
            return Ok(Wanted::There { at: item.updated_at });
        }
        Ok(Wanted::Change(StateChange {
            project: project.to_owned(),
            issue: issue.to_owned(),
            state,
            from: item.state,
            at: item.updated_at,
        }))
    }

    /// Gives an issue a state. Answers when Plane says that it was changed; what a webhook shows of the same change was seen
    /// to be some milliseconds younger. Safe to repeat.
    ///
    /// # Errors
    /// See [`PlaneError`].
    pub async fn set_state(
        &self,
        change: &StateChange,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, PlaneError> {
        let url = self.issue_url(&change.project, &change.issue, "")?;
        let body = json!({ "state": change.state });
        let asked = self.call(Method::PATCH, &url, &[], Some(body), now);
        let answer = deed!("give an issue in Plane a state", asked.await);
        if let Err(PlaneError::Refused { status, words, .. }) = &answer {
            // What was known of the board may be wrong: it is read before this is tried again.
            self.shared.forget_board(&change.project);
            return Err(PlaneError::Failed {
                url,
                status: *status,
                words: words.clone(),
                after: None,
            });
        }
        let item: WorkItem = answer?.read()?;
        Ok(item.updated_at)
    }

    async fn call(
        &self,
        method: Method,
        url: &str,
        query: &[(&'static str, String)],
        body: Option<Value>,
        now: Timestamp,
    ) -> Result<Answer, PlaneError> {
        let call = Call {
            method,
            url: url.to_owned(),
            query: query.to_vec(),
            body,
            token: &self.token,
        };
        ask(&self.http, &self.shared, &call, now).await
    }

    /// What `keep` keeps of all pages, until one after which enough is `read`.
    async fn pages<T: DeserializeOwned>(
        &self,
        pages: Pages<'_>,
        keep: impl Fn(&T) -> bool,
        read: impl Fn(&[T]) -> bool,
        clock: &dyn Fn() -> Timestamp,
    ) -> Result<Vec<T>, PlaneError> {
        let mut query: Vec<_> = pages.query.iter().map(|(n, v)| (*n, (*v).to_owned())).collect();
        query.push(("per_page", PER_PAGE.to_owned()));
        let mut found = Vec::new();
        for _ in 0..pages.most {
            let page: Page<T> = self
                .call(Method::GET, pages.url, &query, None, clock())
                .await?
                .read()?;
            let enough = read(&page.results);
            found.extend(page.results.into_iter().filter(|entry| keep(entry)));
            let Some(cursor) = page.next_cursor.filter(|_| page.next_page_results && !enough) else {
                break;
            };
            query.retain(|(name, _)| *name != "cursor");
            query.push(("cursor", cursor));
        }
        Ok(found)
    }

    fn project_url(&self, project: &str, rest: &str) -> Result<String, PlaneError> {
        let project = segment("the project", project)?;
        Ok(format!("{}/projects/{project}/{rest}", self.base))
    }

    fn issue_url(&self, project: &str, issue: &str, rest: &str) -> Result<String, PlaneError> {
        let issue = segment("the issue", issue)?;
        self.project_url(project, &format!("work-items/{issue}/{rest}"))
    }
}

/// What may stand in a path as it is: nothing that could lead elsewhere.
fn segment<'t>(what: &'static str, text: &'t str) -> Result<&'t str, PlaneError> {
    let plain = text
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    if plain && (1..=100).contains(&text.len()) {
        return Ok(text);
    }
    Err(PlaneError::NoId {
        what,
        id: text.chars().take(100).collect(),
    })
}
