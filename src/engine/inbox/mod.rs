//! Keeps deliveries of webhooks and applies them, as they came for each thing they are about. A delivery's effect and its
//! mark are one transaction: it takes effect once. One that cannot be applied is parked and stands in nobody's way.

mod repository;

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join;

use crate::domain::id::FencingToken;
use crate::domain::inbox::{DeliveryStatus, Outcome, Source, again_at};
use crate::domain::time::Timestamp;
use crate::domain::webhook::forge::Happened;
use crate::domain::webhook::{Malformed, Said, forge, plane};
use crate::store::inbox::{self, Delivery, NewDelivery, Received};
use crate::store::{Conn, Guarded, Retry, StoreError};

use super::contain::contained;
use super::instances::Duty;
use super::issues::{self, Sighting};
use super::transition::Abort;
use super::views::{DeliveryDetail, DeliveryView};
use super::{Engine, EngineError, Hint};

/// Deliveries that are read at once.
const PAGE: usize = 100;
/// A sender that takes longer to answer is not asked again in the same round.
const LONG: Duration = Duration::from_secs(2);
/// Most that are listed.
pub const LISTED: usize = 200;

/// What one round did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Deliveries that were settled.
    pub settled: usize,
    /// Those that were parked or postponed, one line each.
    pub trouble: Vec<String>,
    /// When the next one may be tried again.
    pub next_at: Option<Timestamp>,
}

/// Keeps a delivery before it is answered. Never waits for room.
///
/// # Errors
/// `Saturated` when too many writes wait; the database's.
pub async fn receive(engine: &Engine, new: NewDelivery) -> Result<Received, EngineError> {
    let now = engine.now();
    let kept = engine.store().try_write(move |tx| inbox::receive(tx, &new, now));
    let received = kept.await?;
    match received {
        Received::New(_) | Received::Again(_) => engine.hint(Hint::Inbox),
        Received::Known(_) => {}
    }
    Ok(received)
}

/// What a delivery says, as its sender's parser reads it.
enum Content {
    Issue(plane::IssueEvent),
    Repository(forge::RepositoryEvent),
}

impl Content {
    fn read(delivery: &NewDelivery) -> Result<Said<Self>, Malformed> {
        let body = delivery.body.as_bytes();
        let (event, event_type) = (&delivery.event, &delivery.event_type);
        Ok(match delivery.source {
            Source::Plane => plane::parse(body)?.map(Self::Issue),
            Source::Forge => forge::parse(event, event_type, body)?.map(Self::Repository),
        })
    }

    /// What it is about: of one thing the deliveries are applied in their order.
    fn subject(&self) -> String {
        match self {
            Self::Issue(event) => event.issue.clone(),
            Self::Repository(event) => {
                let about = match &event.what {
                    Happened::Pushed { branch, .. } | Happened::PullRequest { branch, .. } => branch.as_str(),
                    Happened::Checked { head, .. } => head.as_str(),
                };
                format!("{} {about}", event.repository.to_lowercase())
            }
        }
    }
}

/// Applies what is to be applied and whose time has come.
///
/// # Errors
/// The database's. What is wrong with a delivery is an outcome.
pub async fn apply(engine: &Engine) -> Result<Applied, EngineError> {
    let (duty, asked, now) = (Duty::of(engine), Duty::of(engine), engine.now());
    let token = engine.store().read(move |tx| asked.held(tx, now)).await?;
    let Some(token) = token else {
        return Ok(Applied::default());
    };
    let round = |source| Round {
        engine,
        duty: duty.clone(),
        token,
        source,
        waiting: BTreeSet::new(),
        patient: true,
        done: Applied::default(),
    };
    // Side by side: a tracker that answers slowly holds up nothing that the forge told.
    let (plane, forge) = join(round(Source::Plane).all(), round(Source::Forge).all()).await;
    let (mut plane, forge) = (plane?, forge?);
    plane.settled += forge.settled;
    plane.trouble.extend(forge.trouble);
    plane.next_at = match (plane.next_at, forge.next_at) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    };
    Ok(plane)
}

struct Round<'a> {
    engine: &'a Engine,
    duty: Duty,
    token: FencingToken,
    /// Whose deliveries.
    source: Source,
    /// What has a delivery that waits for its time.
    waiting: BTreeSet<String>,
    /// Whether the sender is still asked about what a delivery does not say.
    patient: bool,
    done: Applied,
}

impl Round<'_> {
    async fn all(mut self) -> Result<Applied, EngineError> {
        let (source, mut after) = (self.source, 0);
        loop {
            let read = self
                .engine
                .store()
                .read(move |tx| inbox::pending(tx, source, after, PAGE));
            let page = read.await?;
            let seen = page.rows.iter().map(|d| d.id);
            let Some(last) = seen.chain(page.broken.iter().map(|(id, _)| *id)).max() else {
                return Ok(self.done);
            };
            after = last;
            for (id, why) in page.broken {
                self.settle(id, Outcome::Parked(why)).await?;
            }
            for delivery in page.rows {
                self.one(delivery).await?;
            }
        }
    }

    async fn one(&mut self, delivery: Delivery) -> Result<(), EngineError> {
        let content = match Content::read(&delivery.sent) {
            Ok(Said::Event(content)) => content,
            Ok(Said::Nothing { why }) => return self.settle(delivery.id, Outcome::Ignored(why)).await,
            Err(e) => return self.settle(delivery.id, Outcome::Parked(e.to_string())).await,
        };
        let subject = content.subject();
        if self.waiting.contains(&subject) {
            // It is tried when the one before it is.
            return Ok(());
        }
        if delivery.available_at > self.engine.now() {
            self.wait_for(subject, delivery.available_at);
            return Ok(());
        }
        let began = self.engine.now();
        let outcome = match contained(self.effect(&delivery, content)).await {
            Ok(outcome @ (Outcome::Applied(_) | Outcome::Ignored(_))) => {
                slog_scope::debug!("inbox: delivery {}: {:?}", delivery.id, outcome);
                self.done.settled += 1;
                return Ok(());
            }
            Ok(outcome) => outcome,
            Err(EngineError::Lost) => Outcome::Later("somebody was faster".to_owned()),
            // Of no delivery alone: the next round finds them all as they are.
            Err(EngineError::Store(e)) if matches!(e.retry(), Retry::After(_)) => return Err(e.into()),
            Err(e) => Outcome::Parked(e.to_string()),
        };
        let Outcome::Later(why) = outcome else {
            return self.settle(delivery.id, outcome).await;
        };
        // The next one that asks would wait as long.
        self.patient &= self.engine.now().since(began) < LONG;
        match again_at(delivery.attempts + 1, self.engine.now()) {
            Some(at) => {
                self.done
                    .trouble
                    .push(format!("delivery {} waits: {why}", delivery.id));
                self.wait_for(subject, at);
                self.write(move |tx, _| inbox::postpone(tx, delivery.id, &why, at))
                    .await
            }
            None => {
                let why = format!("tried {} times: {why}", delivery.attempts + 1);
                self.settle(delivery.id, Outcome::Parked(why)).await
            }
        }
    }

    /// Does what it asks for and settles it, in one transaction. What can not be done now, or at all, is not settled.
    async fn effect(&self, delivery: &Delivery, content: Content) -> Result<Outcome, EngineError> {
        let settles = self.settles(delivery.id);
        match content {
            Content::Issue(event) => {
                let sighting = Sighting {
                    issue: event.issue,
                    project: event.project,
                    person: event.actor,
                    what: event.what,
                    changed: true,
                    tries: delivery.attempts,
                    may_ask: self.patient,
                };
                issues::apply(self.engine, &sighting, move |tx, outcome, _| settles(tx, outcome)).await
            }
            Content::Repository(event) => repository::apply(self.engine, event, settles).await,
        }
    }

    /// Settles a delivery in the transaction of its effect, while this instance is still the one that applies.
    fn settles(&self, id: i64) -> impl FnOnce(&mut Conn, &Outcome) -> Result<(), Abort> + Send + use<> {
        let (duty, token, now) = (self.duty.clone(), self.token, self.engine.now());
        move |tx, outcome| {
            if duty.held(tx, now)? != Some(token) {
                return Err(Abort::Lost);
            }
            let (status, text) = settled(outcome);
            match inbox::settle(tx, id, status, text, now)? {
                Guarded::Won(()) => Ok(()),
                Guarded::Lost => Err(Abort::Lost),
            }
        }
    }

    fn wait_for(&mut self, subject: String, at: Timestamp) {
        self.waiting.insert(subject);
        let next = self.done.next_at.map_or(at, |known| known.min(at));
        self.done.next_at = Some(next);
    }

    async fn settle(&mut self, id: i64, outcome: Outcome) -> Result<(), EngineError> {
        let (status, text) = settled(&outcome);
        if status == DeliveryStatus::Parked {
            self.done.trouble.push(format!("delivery {id} is parked: {text}"));
        }
        self.done.settled += 1;
        let text = text.to_owned();
        self.write(move |tx, now| inbox::settle(tx, id, status, &text, now))
            .await
    }

    /// Writes while this instance is still the one that applies.
    async fn write(
        &self,
        mark: impl FnOnce(&mut Conn, Timestamp) -> Result<Guarded<()>, StoreError> + Send + 'static,
    ) -> Result<(), EngineError> {
        let (duty, token, now) = (self.duty.clone(), self.token, self.engine.now());
        let marked = self.engine.store().write(move |tx| {
            if duty.held(tx, now)? != Some(token) {
                return Ok::<_, StoreError>(());
            }
            // Lost: it was settled by somebody else.
            mark(tx, now).map(drop)
        });
        Ok(marked.await?)
    }
}

/// How a delivery stands that came to this.
fn settled(outcome: &Outcome) -> (DeliveryStatus, &str) {
    match outcome {
        Outcome::Applied(text) => (DeliveryStatus::Applied, text),
        Outcome::Ignored(text) => (DeliveryStatus::Ignored, text),
        Outcome::Parked(text) | Outcome::Later(text) => (DeliveryStatus::Parked, text),
    }
}

/// The latest deliveries, newest first.
///
/// # Errors
/// `Invalid` for an unknown status; the database's.
pub async fn list(engine: &Engine, status: Option<&str>) -> Result<Vec<DeliveryView>, EngineError> {
    let status = match status {
        None => None,
        Some(word) => Some(DeliveryStatus::parse(word).ok_or_else(|| EngineError::Invalid {
            what: format!("no status {word:?}; there are: pending, applied, ignored, parked"),
        })?),
    };
    let read = engine.store().read(move |tx| inbox::latest(tx, status, LISTED));
    Ok(read.await?.rows.into_iter().map(DeliveryView::of).collect())
}

/// A delivery with its body.
///
/// # Errors
/// `NotFound`; the database's.
pub async fn show(engine: &Engine, id: i64) -> Result<DeliveryDetail, EngineError> {
    let found = engine.store().read(move |tx| inbox::by_id(tx, id)).await?;
    found
        .map(DeliveryDetail::of)
        .ok_or_else(|| EngineError::NotFound {
            what: format!("there is no delivery {id}: `orch inbox list` shows the latest"),
        })
}

/// Has a parked delivery applied again.
///
/// # Errors
/// `NotFound`; `Conflict` when it is not parked; the database's.
pub async fn replay(engine: &Engine, id: i64) -> Result<DeliveryView, EngineError> {
    let now = engine.now();
    let again = engine.store().write(move |tx| {
        let again = inbox::replay(tx, id, now)?;
        Ok::<_, StoreError>((again, inbox::by_id(tx, id)?))
    });
    match again.await? {
        (_, None) => Err(EngineError::NotFound {
            what: format!("there is no delivery {id}: `orch inbox list` shows the latest"),
        }),
        (Guarded::Lost, Some(delivery)) => Err(EngineError::Conflict {
            what: format!(
                "delivery {id} is {}, not parked: only what could not be applied is tried again",
                delivery.status.as_str()
            ),
        }),
        (Guarded::Won(()), Some(delivery)) => {
            engine.hint(Hint::Inbox);
            Ok(DeliveryView::of(delivery))
        }
    }
}
