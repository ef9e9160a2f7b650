//! Delivers the outbox: a comment to the local tracker's comments, a state to the task itself, a notification to
//! the log. A row is marked only after its effect; the local effects are idempotent by the row's cause.

use crate::domain::id::FencingToken;
use crate::domain::time::Timestamp;
use crate::integrations::tracker::Tracker;
use crate::store::outbox::{Notice, OutboxKind};
use crate::store::{Conn, StoreError, duties, outbox};

use super::{Engine, EngineError};

/// Says a notification to people: what it is about, and the text.
pub type Say<'a> = &'a (dyn Fn(&str, &str) + Send + Sync);

/// What one round delivered.
#[derive(Clone, Debug, Default)]
pub struct Delivered {
    /// Rows delivered.
    pub sent: usize,
    /// Rows that could not be read, with the reason.
    pub broken: Vec<(i64, String)>,
    /// More rows wait.
    pub more: bool,
}

const BATCH: usize = 100;

/// Delivers what is due, in order per task. Without anything due, nothing is written. A notification is said before it is
/// marked: who dies in between says it once more.
///
/// # Errors
/// The database's.
pub async fn deliver(engine: &Engine, say: Say<'_>) -> Result<Delivered, EngineError> {
    let now = engine.now();
    let (id, shared) = (engine.instance().clone(), engine.store().is_shared());
    // One instance delivers for all.
    let on_duty = move |tx: &mut Conn| match shared {
        true => duties::held(tx, duties::SINGLETONS, &id, now),
        false => Ok(Some(FencingToken(0))),
    };
    let asked = on_duty.clone();
    let read = engine.store().read(move |tx| match asked(tx)? {
        Some(token) => Ok::<_, StoreError>(Some((token, outbox::due(tx, now, BATCH)?))),
        None => Ok(None),
    });
    let Some((token, due)) = read.await? else {
        return Ok(Delivered::default());
    };
    let mut delivered = Delivered {
        broken: due.broken,
        ..Delivered::default()
    };
    if due.rows.is_empty() {
        return Ok(delivered);
    }
    let text = |notice: &Notice, key: &str| {
        notice
            .payload
            .get(key)
            .and_then(|v| v.as_str())
            .unwrap_or_default()
            .to_owned()
    };
    for notice in due.rows.iter().filter(|n| n.kind == OutboxKind::Notification) {
        say(&text(notice, "about"), &text(notice, "text"));
    }
    let rows = due.rows;
    let marked = engine.store().write(move |tx| match on_duty(tx)? == Some(token) {
        true => mark(tx, &rows, now),
        false => Ok(0),
    });
    delivered.sent = marked.await?;
    // A task's later row becomes due when its earlier one is sent.
    delivered.more = true;
    engine.changed.send_modify(|n| *n += 1);
    Ok(delivered)
}

fn mark(tx: &mut Conn, rows: &[Notice], now: Timestamp) -> Result<usize, StoreError> {
    let mut sent = 0;
    for notice in rows {
        Tracker::Local.deliver(tx, notice, now)?;
        sent += usize::from(outbox::sent(tx, notice.id, now)?.is_won());
    }
    Ok(sent)
}
