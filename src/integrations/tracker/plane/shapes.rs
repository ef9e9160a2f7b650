//! Plane's shapes, as much of them as is used. Unknown fields are passed over.

use serde::{Deserialize, Deserializer};

use crate::domain::time::Timestamp;

use super::words::plain;

/// A page; `next_cursor` is always set, so only `next_page_results` says whether there is another one.
#[derive(Deserialize)]
pub(super) struct Page<T> {
    pub results: Vec<T>,
    #[serde(default)]
    pub next_cursor: Option<String>,
    #[serde(default)]
    pub next_page_results: bool,
}

/// A state of a project.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct State {
    /// UUID.
    pub id: String,
    /// As people see it.
    pub name: String,
}

/// An issue.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct WorkItem {
    /// UUID.
    pub id: String,
    /// Its number in its project.
    #[serde(default)]
    pub sequence_id: Option<i64>,
    /// Its title.
    #[serde(default)]
    pub name: String,
    /// Its description as HTML; none where it was not asked for.
    #[serde(default)]
    pub description_html: Option<String>,
    /// Its state's UUID; none while it has none.
    #[serde(default)]
    pub state: Option<String>,
    /// When it was changed last, by Plane's clock.
    #[serde(default, deserialize_with = "time")]
    pub updated_at: Option<Timestamp>,
}

impl WorkItem {
    /// Its description without markup.
    pub fn description(&self) -> String {
        self.description_html.as_deref().map(plain).unwrap_or_default()
    }
}

#[derive(Deserialize)]
pub(super) struct Comment {
    #[serde(default)]
    pub comment_html: String,
    #[serde(default)]
    pub external_source: Option<String>,
    #[serde(default)]
    pub actor: Option<String>,
    #[serde(default, deserialize_with = "time")]
    pub created_at: Option<Timestamp>,
}

/// RFC 3339; what is no time is none.
fn time<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Timestamp>, D::Error> {
    let text: Option<String> = Option::deserialize(from)?;
    let at = text.and_then(|text| text.parse::<jiff::Timestamp>().ok());
    Ok(at.map(|at| Timestamp(at.as_microsecond())))
}
