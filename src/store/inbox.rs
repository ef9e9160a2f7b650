//! Deliveries of webhooks, stored before they are answered and applied from here. Never looks into a body.

use diesel::prelude::*;

use super::decode::{Cell, Row, maybe, rows};
use super::{Conn, Guarded, Listing, StoreError};
use crate::domain::inbox::{DeliveryStatus, Source};
use crate::domain::time::Timestamp;
use crate::schema::inbox;

predicate!(
    /// The predicate of the index `inbox_pending`.
    Pending = "inbox.status = 'pending'"
);
predicate!(
    /// The predicate of the index `inbox_parked`.
    Parked = "inbox.status = 'parked'"
);

/// A delivery as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewDelivery {
    /// Who sent it.
    pub source: Source,
    /// Its name at the sender.
    pub delivery: String,
    /// SHA-256 of the raw body, in hex.
    pub digest: String,
    /// The kind of event, as a header says it; may be empty.
    pub event: String,
    /// The same, finer; may be empty.
    pub event_type: String,
    /// The raw body.
    pub body: String,
}

/// A stored delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Identity; grows as they arrive.
    pub id: i64,
    /// As it came.
    pub sent: NewDelivery,
    /// How it stands.
    pub status: DeliveryStatus,
    /// What was done, why nothing was, or why it cannot be applied.
    pub outcome: Option<String>,
    /// Tries so far.
    pub attempts: i32,
    /// Not tried before.
    pub available_at: Timestamp,
    /// When it came.
    pub received_at: Timestamp,
    /// When it was applied, ignored or parked.
    pub settled_at: Option<Timestamp>,
}

/// What became of a delivery that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// It is kept.
    New(i64),
    /// It was there already.
    Known(i64),
    /// It was there, and could not be applied: that is tried again.
    Again(i64),
}

impl Received {
    /// Its number.
    pub fn id(self) -> i64 {
        match self {
            Self::New(id) | Self::Known(id) | Self::Again(id) => id,
        }
    }
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = inbox)]
struct Columns {
    id: i64,
    source: String,
    delivery: String,
    digest: String,
    event: String,
    event_type: String,
    body: String,
    status: String,
    outcome: Option<String>,
    attempts: i32,
    available_at: i64,
    received_at: i64,
    settled_at: Option<i64>,
}

impl Row for Columns {
    type Domain = Delivery;

    fn id(&self) -> i64 {
        self.id
    }

    fn decode(self) -> Result<Delivery, StoreError> {
        let cell = |column| Cell {
            table: "inbox",
            id: &self.id,
            column,
        };
        Ok(Delivery {
            status: cell("status").word(&self.status, DeliveryStatus::parse)?,
            sent: NewDelivery {
                source: cell("source").word(&self.source, Source::parse)?,
                delivery: self.delivery,
                digest: self.digest,
                event: self.event,
                event_type: self.event_type,
                body: self.body,
            },
            id: self.id,
            outcome: self.outcome,
            attempts: self.attempts,
            available_at: Timestamp(self.available_at),
            received_at: Timestamp(self.received_at),
            settled_at: self.settled_at.map(Timestamp),
        })
    }
}

/// Keeps a delivery, once for its name and once for its body. One that is parked is tried again.
///
/// # Errors
/// See [`StoreError`].
pub fn receive(conn: &mut Conn, new: &NewDelivery, now: Timestamp) -> Result<Received, StoreError> {
    let added: Option<i64> = on!(&mut *conn, c => diesel::insert_into(inbox::table)
        .values((
            inbox::source.eq(new.source.as_str()),
            inbox::delivery.eq(&new.delivery),
            inbox::digest.eq(&new.digest),
            inbox::event.eq(&new.event),
            inbox::event_type.eq(&new.event_type),
            inbox::body.eq(&new.body),
            inbox::status.eq(DeliveryStatus::Pending.as_str()),
            inbox::available_at.eq(now.0),
            inbox::received_at.eq(now.0),
        ))
        .on_conflict_do_nothing()
        .returning(inbox::id)
        .get_result(c)
        .optional())?;
    if let Some(id) = added {
        return Ok(Received::New(id));
    }
    let source = new.source.as_str();
    let known: i64 = on!(&mut *conn, c => inbox::table
        .filter(inbox::source.eq(source))
        .filter(inbox::delivery.eq(&new.delivery).or(inbox::digest.eq(&new.digest)))
        .order(inbox::id)
        .select(inbox::id)
        .first(c))?;
    Ok(match replay(conn, known, now)? {
        Guarded::Won(()) => Received::Again(known),
        Guarded::Lost => Received::Known(known),
    })
}

/// Deliveries of a sender to be applied, as they came, after the one seen last. Those that wait for their time are among them: what
/// came later for the same task must not pass them.
///
/// # Errors
/// See [`StoreError`].
pub fn pending(
    conn: &mut Conn,
    source: Source,
    after: i64,
    limit: usize,
) -> Result<Listing<Delivery>, StoreError> {
    let found: Vec<Columns> = on!(conn, c => inbox::table
        .filter(Pending)
        .filter(inbox::source.eq(source.as_str()))
        .filter(inbox::id.gt(after))
        .order(inbox::id)
        .limit(rows(limit))
        .select(Columns::as_select())
        .load(c))?;
    Ok(Listing::of(found))
}

/// Ends a delivery that is to be applied. Lost: somebody else did.
///
/// # Errors
/// See [`StoreError`].
pub fn settle(
    conn: &mut Conn,
    id: i64,
    status: DeliveryStatus,
    outcome: &str,
    now: Timestamp,
) -> Result<Guarded<()>, StoreError> {
    let settled = on!(conn, c => diesel::update(inbox::table)
        .filter(inbox::id.eq(id))
        .filter(Pending)
        .set((
            inbox::status.eq(status.as_str()),
            inbox::outcome.eq(outcome),
            inbox::attempts.eq(inbox::attempts + 1),
            inbox::settled_at.eq(now.0),
        ))
        .execute(c))?;
    Ok(Guarded::from_count(settled))
}

/// Has a delivery tried again later.
///
/// # Errors
/// See [`StoreError`].
pub fn postpone(conn: &mut Conn, id: i64, why: &str, at: Timestamp) -> Result<Guarded<()>, StoreError> {
    let postponed = on!(conn, c => diesel::update(inbox::table)
        .filter(inbox::id.eq(id))
        .filter(Pending)
        .set((
            inbox::attempts.eq(inbox::attempts + 1),
            inbox::outcome.eq(why),
            inbox::available_at.eq(at.0),
        ))
        .execute(c))?;
    Ok(Guarded::from_count(postponed))
}

/// Has a parked delivery tried again, as if it had just come. Lost: it is not parked.
///
/// # Errors
/// See [`StoreError`].
pub fn replay(conn: &mut Conn, id: i64, now: Timestamp) -> Result<Guarded<()>, StoreError> {
    let again = on!(conn, c => diesel::update(inbox::table)
        .filter(inbox::id.eq(id))
        .filter(Parked)
        .set((
            inbox::status.eq(DeliveryStatus::Pending.as_str()),
            inbox::attempts.eq(0),
            inbox::available_at.eq(now.0),
            inbox::settled_at.eq(None::<i64>),
        ))
        .execute(c))?;
    Ok(Guarded::from_count(again))
}

/// The latest deliveries, newest first; of one status alone where it is given.
///
/// # Errors
/// See [`StoreError`].
pub fn latest(
    conn: &mut Conn,
    status: Option<DeliveryStatus>,
    limit: usize,
) -> Result<Listing<Delivery>, StoreError> {
    let found: Vec<Columns> = on!(conn, c => {
        let mut query = inbox::table.select(Columns::as_select()).into_boxed();
        if let Some(status) = status {
            query = query.filter(inbox::status.eq(status.as_str()));
        }
        query.order(inbox::id.desc()).limit(rows(limit)).load(c)
    })?;
    Ok(Listing::of(found))
}

/// A delivery.
///
/// # Errors
/// See [`StoreError`].
pub fn by_id(conn: &mut Conn, id: i64) -> Result<Option<Delivery>, StoreError> {
    let found: Option<Columns> = on!(conn, c => inbox::table
        .filter(inbox::id.eq(id))
        .select(Columns::as_select())
        .first(c)
        .optional())?;
    maybe(found)
}
