//! What waits to be told, and what could not be.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::store::outbox::Notice;

/// A notice that is not delivered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NoticeView {
    /// Identity.
    pub id: i64,
    /// `pending`, or `dead`: given up, and sent again when somebody asks for it.
    pub status: String,
    /// `comment`, `state` or `notification`.
    pub kind: String,
    /// Where it goes: `tracker`, `people`, `log`, `webhook`, `telegram`.
    pub channel: String,
    /// What caused it; there is one notice for it.
    pub cause: String,
    /// What it says.
    pub text: String,
    /// Deliveries that failed.
    pub attempts: i32,
    /// Why the last one did.
    pub error: Option<String>,
    /// When it was caused, RFC 3339.
    #[schema(format = DateTime)]
    pub created_at: String,
    /// Not delivered before, RFC 3339.
    #[schema(format = DateTime)]
    pub available_at: String,
}

impl NoticeView {
    pub(in crate::engine) fn of(notice: &Notice, status: &str) -> Self {
        let said = ["text", "body", "state"].map(|key| notice.text(key));
        Self {
            id: notice.id.0,
            status: status.to_owned(),
            kind: notice.kind.as_str().to_owned(),
            channel: notice.channel.as_str().to_owned(),
            cause: notice.cause.clone(),
            text: said
                .into_iter()
                .find(|t| !t.is_empty())
                .unwrap_or_default()
                .to_owned(),
            attempts: notice.attempts,
            error: notice.error.clone(),
            created_at: notice.created_at.to_string(),
            available_at: notice.available_at.to_string(),
        }
    }
}
