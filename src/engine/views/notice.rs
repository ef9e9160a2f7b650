//! What waits to be told, and what could not be.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::domain::time::Timestamp;
use crate::store::outbox::Written;

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
    pub(in crate::engine) fn of(notice: Written, status: &str) -> Self {
        Self {
            id: notice.id,
            status: status.to_owned(),
            kind: notice.kind,
            channel: notice.channel,
            cause: notice.cause,
            text: said(&notice.payload),
            attempts: notice.attempts,
            error: notice.error,
            created_at: Timestamp(notice.created_at).to_string(),
            available_at: Timestamp(notice.available_at).to_string(),
        }
    }
}

/// What a notice says; its whole content where that is not written as Orch writes it.
fn said(payload: &str) -> String {
    let Ok(content) = serde_json::from_str::<Value>(payload) else {
        return payload.to_owned();
    };
    let texts = ["text", "body", "state"].map(|key| content.get(key).and_then(Value::as_str));
    let said = texts.into_iter().flatten().find(|text| !text.is_empty());
    said.unwrap_or_default().to_owned()
}
