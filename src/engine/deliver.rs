//! Delivers the outbox: a comment to the local tracker's comments or to Plane, a state to Plane, a pull request to Gitea,
//! an artifact to the project's repository, a notification to every channel that is set up. A notice is marked only after its effect; what went wrong decides when it is tried again.

mod forge;
mod plane;
mod records;

use std::collections::BTreeMap;

use futures_util::future::{join, join_all};

use crate::domain::delivery::{Channel, Fate, Sending, fate, refused_before};
use crate::domain::id::FencingToken;
use crate::domain::time::Timestamp;
use crate::integrations::notify::Receivers;
use crate::integrations::tracker;
use crate::store::outbox::{self, Failed, NewOutbox, Notice, OutboxId, OutboxKind};
use crate::store::{Conn, Guarded, StoreError};

use super::instances::Duty;
use super::views::NoticeView;
use super::{Engine, EngineError, Hint};

/// Says a notification in the log: what it is about, and the text.
pub type Say<'a> = &'a (dyn Fn(&str, &str) + Send + Sync);

/// What one round delivered.
#[derive(Clone, Debug, Default)]
pub struct Delivered {
    /// Notices delivered.
    pub sent: usize,
    /// Notices that could not be delivered, one line each.
    pub trouble: Vec<String>,
    /// Rows that could not be read, with the reason.
    pub broken: Vec<(i64, String)>,
    /// More notices are due.
    pub more: bool,
    /// When the next one may be, if one waits.
    pub next_at: Option<Timestamp>,
}

const BATCH: usize = 100;

/// Delivers what is due, in order per task and channel; the channels side by side. Without anything due, nothing is
/// written. Who dies between a sending and its record sends once more.
///
/// # Errors
/// The database's. What a receiver does is an outcome.
pub async fn deliver(engine: &Engine, receivers: &Receivers, say: Say<'_>) -> Result<Delivered, EngineError> {
    let (now, duty) = (engine.now(), Duty::of(engine));
    let asked = duty.clone();
    let read = engine.store().read(move |tx| {
        let Some(token) = asked.held(tx, now)? else {
            return Ok::<_, StoreError>(None);
        };
        Ok(Some((token, outbox::due(tx, now, BATCH)?, outbox::next_due(tx)?)))
    });
    let Some((token, due, next_at)) = read.await? else {
        return Ok(Delivered::default());
    };
    let mut delivered = Delivered {
        broken: due.broken,
        next_at: next_at.filter(|at| *at > now),
        ..Delivered::default()
    };
    let round = Round {
        engine,
        receivers,
        say,
        duty,
        token,
    };
    if !delivered.broken.is_empty() {
        round.bury(delivered.broken.clone()).await?;
        delivered.more = true;
    }
    if due.rows.is_empty() {
        return Ok(delivered);
    }
    let mut by_channel: BTreeMap<Channel, Vec<Notice>> = BTreeMap::new();
    for notice in due.rows {
        by_channel.entry(notice.channel).or_default().push(notice);
    }
    let rounds = by_channel
        .into_iter()
        .map(|(channel, notices)| round.channel(channel, notices));
    for done in join_all(rounds).await {
        let done = done?;
        delivered.sent += done.sent;
        delivered.trouble.extend(done.trouble);
    }
    // A task's later notice becomes due when its earlier one is sent or given up.
    delivered.more = true;
    engine.changed.send_modify(|n| *n += 1);
    Ok(delivered)
}

#[derive(Default)]
struct Done {
    sent: usize,
    trouble: Vec<String>,
}

impl Done {
    fn went(&mut self, notice: &Notice, fate: &Fate) {
        let name = describe(notice);
        match fate {
            Fate::Sent => self.sent += 1,
            Fate::Again { at, why, .. } => self.trouble.push(format!("{name}, again at {at}: {why}")),
            Fate::Dead { why } => {
                self.trouble
                    .push(format!("{name}, given up (see `orch outbox`): {why}"));
            }
        }
    }
}

struct Round<'a> {
    engine: &'a Engine,
    receivers: &'a Receivers,
    say: Say<'a>,
    duty: Duty,
    token: FencingToken,
}

impl Round<'_> {
    async fn channel(&self, channel: Channel, notices: Vec<Notice>) -> Result<Done, EngineError> {
        match channel {
            Channel::Tracker => {
                let (away, here) = self.by_tracker(notices).await?;
                let (away, here) = join(self.to_plane(away), self.here(here, tracker::keep)).await;
                let (away, here) = (away?, here?);
                Ok(Done {
                    sent: away.sent + here.sent,
                    trouble: away.trouble,
                })
            }
            Channel::Forge => self.to_forge(notices).await,
            Channel::Records => self.to_repositories(notices).await,
            Channel::People => {
                let channels = self.receivers.channels();
                self.here(notices, move |tx, notice, now| tell(tx, notice, &channels, now))
                    .await
            }
            Channel::Log => {
                for notice in &notices {
                    (self.say)(notice.text("about"), notice.text("text"));
                }
                self.here(notices, |_, _, _| Ok(())).await
            }
            Channel::Webhook | Channel::Telegram => self.outside(channel, notices).await,
        }
    }

    /// Notices whose effect is in the database, or needs no answer: all in one commit with their marks.
    async fn here(
        &self,
        notices: Vec<Notice>,
        effect: impl Fn(&mut Conn, &Notice, Timestamp) -> Result<(), StoreError> + Send + 'static,
    ) -> Result<Done, EngineError> {
        let now = self.engine.now();
        let sent = self.marked(move |tx| {
            let mut sent = 0;
            for notice in &notices {
                if outbox::sent(tx, notice.id, now)?.is_won() {
                    effect(tx, notice, now)?;
                    sent += 1;
                }
            }
            Ok(sent)
        });
        Ok(Done {
            sent: sent.await?.unwrap_or(0),
            ..Done::default()
        })
    }

    /// Notices to a receiver that may be down: one after the other, until it is.
    async fn outside(&self, channel: Channel, notices: Vec<Notice>) -> Result<Done, EngineError> {
        let mut done = Done::default();
        for notice in notices {
            let Some((sending, fate)) = self.send(&notice).await? else {
                break;
            };
            let now = self.engine.now();
            let down = matches!(sending, Sending::Down { .. } | Sending::Unanswered { .. });
            done.went(&notice, &fate);
            let id = notice.id;
            let recorded = self.marked(move |tx| {
                match record(tx, id, &fate, now)? {
                    // What is down for one is down for all.
                    Some(at) => outbox::hold_back(tx, channel, at),
                    None => Ok(()),
                }
            });
            if recorded.await?.is_none() || down {
                break;
            }
        }
        Ok(done)
    }

    /// Sends a notice and decides what becomes of it. None: another instance delivers by now, or somebody else had it.
    async fn send(&self, notice: &Notice) -> Result<Option<(Sending, Fate)>, EngineError> {
        let of = notice.attempted();
        if let Some(fate) = refused_before(of) {
            let why = "not sent a third time".to_owned();
            return Ok(Some((Sending::Refused { why }, fate)));
        }
        if !notice.channel.knows_repetitions() {
            // Before it is sent: who dies in between must not send it for ever.
            let own = notice.clone();
            let begun = self.marked(move |tx| outbox::sending(tx, &own)).await?;
            if !begun.is_some_and(|begun| begun.is_won()) {
                return Ok(None);
            }
        }
        let sending = self.receivers.send(notice, self.engine.now()).await;
        let give_up_after = self.engine.settings().notify.give_up_after;
        let fate = fate(&sending, of, give_up_after, self.engine.now());
        Ok(Some((sending, fate)))
    }

    /// Gives rows up that cannot be read, so that they stand in nobody's way.
    async fn bury(&self, broken: Vec<(i64, String)>) -> Result<(), EngineError> {
        let buried = self.marked(move |tx| {
            for (id, why) in &broken {
                // Lost: somebody else gave it up.
                let _: Guarded<()> = outbox::dead(tx, OutboxId(*id), why)?;
            }
            Ok(())
        });
        buried.await.map(drop)
    }

    /// Writes while this instance is still the one that delivers; none when it is not.
    async fn marked<T: Send + 'static>(
        &self,
        mark: impl FnOnce(&mut Conn) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<Option<T>, EngineError> {
        let (duty, token, now) = (self.duty.clone(), self.token, self.engine.now());
        let marked = self.engine.store().write(move |tx| {
            if duty.held(tx, now)? != Some(token) {
                return Ok::<_, StoreError>(None);
            }
            mark(tx).map(Some)
        });
        Ok(marked.await?)
    }
}

/// Gives each channel a notice of its own, once for the cause.
fn tell(tx: &mut Conn, notice: &Notice, channels: &[Channel], now: Timestamp) -> Result<(), StoreError> {
    for channel in channels {
        let held = outbox::held_until(tx, *channel, now)?;
        let own = NewOutbox {
            task_id: notice.task_id,
            cause: format!("{}@{}", notice.cause, channel.as_str()),
            kind: OutboxKind::Notification,
            channel: *channel,
            payload: notice.payload.clone(),
            available_at: held.unwrap_or(now),
        };
        outbox::push(tx, &own, now)?;
    }
    Ok(())
}

/// Records how a notice went; answers when it is tried again, where it is.
fn record(tx: &mut Conn, id: OutboxId, fate: &Fate, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
    // Lost: somebody else recorded it.
    let (_, again): (Guarded<()>, _) = match fate {
        Fate::Sent => (outbox::sent(tx, id, now)?, None),
        Fate::Dead { why } => (outbox::dead(tx, id, why)?, None),
        Fate::Again { at, why, unanswered } => {
            let failed = Failed {
                error: why.clone(),
                unanswered: *unanswered,
                available_at: *at,
            };
            (outbox::failed(tx, id, &failed)?, Some(*at))
        }
    };
    Ok(again)
}

fn describe(notice: &Notice) -> String {
    format!(
        "notice {} ({}, {})",
        notice.id.0,
        notice.channel.as_str(),
        notice.cause
    )
}

/// Most notices of a kind that are listed.
const LISTED: usize = 200;

/// What is not delivered, for people: first what was given up, newest first, then what waits, the next one first.
///
/// # Errors
/// The database's.
pub async fn list(engine: &Engine) -> Result<Vec<NoticeView>, EngineError> {
    let read = engine
        .store()
        .read(|tx| Ok::<_, StoreError>((outbox::given_up(tx, LISTED)?, outbox::waiting(tx, LISTED)?)));
    let (dead, waiting) = read.await?;
    let dead = dead.into_iter().map(|n| NoticeView::of(n, "dead"));
    let waiting = waiting.into_iter().map(|n| NoticeView::of(n, "pending"));
    Ok(dead.chain(waiting).collect())
}

/// Sends a notice again that was given up.
///
/// # Errors
/// `Conflict` when it was not, or cannot be read; the database's.
pub async fn resend(engine: &Engine, id: i64) -> Result<(), EngineError> {
    let now = engine.now();
    let again = engine
        .store()
        .write(move |tx| outbox::resend(tx, OutboxId(id), now));
    let not_sent = match again.await {
        Ok(Guarded::Won(())) => None,
        Ok(Guarded::Lost) => Some(format!(
            "notice {id} was not given up: `orch outbox` lists those that were"
        )),
        Err(e @ StoreError::Broken { .. }) => Some(format!("notice {id} is not sent: {e}")),
        Err(e) => return Err(e.into()),
    };
    if let Some(what) = not_sent {
        return Err(EngineError::Conflict { what });
    }
    engine.changed.send_modify(|n| *n += 1);
    engine.hint(Hint::Outbox);
    Ok(())
}
