//! Deliveries of webhooks.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::store::inbox::Delivery;

/// A delivery of a webhook.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DeliveryView {
    /// Identity; grows as they arrive.
    pub id: i64,
    /// Who sent it: `plane` or `forge`.
    pub source: String,
    /// Its name at the sender.
    pub delivery: String,
    /// The kind of event, as its headers say it.
    pub event: String,
    /// `pending`, `applied`, `ignored`, or `parked`: it cannot be applied, and is tried again when somebody asks for it.
    pub status: String,
    /// What was done, why nothing was, or why it cannot be applied.
    pub outcome: Option<String>,
    /// Tries so far.
    pub attempts: i32,
    /// When it came, RFC 3339.
    #[schema(format = DateTime)]
    pub received_at: String,
    /// When it was applied, ignored or parked, RFC 3339.
    #[schema(format = DateTime)]
    pub settled_at: Option<String>,
}

/// A delivery with its body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DeliveryDetail {
    /// The delivery.
    #[serde(flatten)]
    pub delivery: DeliveryView,
    /// SHA-256 of its body, in hex.
    pub digest: String,
    /// Its raw body.
    pub body: String,
}

impl DeliveryView {
    pub(in crate::engine) fn of(delivery: Delivery) -> Self {
        let sent = delivery.sent;
        let finer = [sent.event_type, sent.event];
        Self {
            id: delivery.id,
            source: sent.source.as_str().to_owned(),
            delivery: sent.delivery,
            event: finer
                .into_iter()
                .find(|kind| !kind.is_empty())
                .unwrap_or_default(),
            status: delivery.status.as_str().to_owned(),
            outcome: delivery.outcome,
            attempts: delivery.attempts,
            received_at: delivery.received_at.to_string(),
            settled_at: delivery.settled_at.map(|at| at.to_string()),
        }
    }
}

impl DeliveryDetail {
    pub(in crate::engine) fn of(delivery: Delivery) -> Self {
        Self {
            digest: delivery.sent.digest.clone(),
            body: delivery.sent.body.clone(),
            delivery: DeliveryView::of(delivery),
        }
    }
}
