//! Who is told what happened, outside of the tracker: a JSON webhook, a Telegram chat. Says how a sending went, and never
//! decides whether it is repeated.

mod exchange;
mod telegram;
mod webhook;

use crate::domain::delivery::{Channel, Sending};
use crate::domain::time::Timestamp;
use crate::settings::Settings;
use crate::store::outbox::Notice;

use telegram::Telegram;
use webhook::Webhook;

/// The receivers that are set up. Belongs to one thread.
#[derive(Clone)]
pub struct Receivers {
    http: awc::Client,
    webhook: Option<Webhook>,
    telegram: Option<Telegram>,
}

impl Receivers {
    /// Those that the settings name.
    pub fn of(settings: &Settings) -> Self {
        Self {
            http: super::exchange::client(),
            webhook: Webhook::of(settings),
            telegram: Telegram::of(settings),
        }
    }

    /// The channels on which people are told; the log is always one.
    pub fn channels(&self) -> Vec<Channel> {
        let webhook = self.webhook.as_ref().map(|_| Channel::Webhook);
        let telegram = self.telegram.as_ref().map(|_| Channel::Telegram);
        [Some(Channel::Log), webhook, telegram]
            .into_iter()
            .flatten()
            .collect()
    }

    /// Sends a notice once. `now` is for a receiver that names a time.
    pub async fn send(&self, notice: &Notice, now: Timestamp) -> Sending {
        match (notice.channel, &self.webhook, &self.telegram) {
            (Channel::Webhook, Some(webhook), _) => {
                deed!("tell the webhook", webhook.send(&self.http, notice, now).await)
            }
            (Channel::Telegram, _, Some(telegram)) => {
                deed!("tell Telegram", telegram.send(&self.http, notice, now).await)
            }
            (Channel::Webhook, None, _) => gone("notify.webhook_url"),
            (Channel::Telegram, _, None) => gone("telegram.bot_token and telegram.chat_id"),
            (Channel::Tracker | Channel::Forge | Channel::Records | Channel::People | Channel::Log, ..) => {
                Sending::Refused {
                    why: format!("{} is no receiver of its own", notice.channel.as_str()),
                }
            }
        }
    }
}

/// It was set up when the notice was caused.
fn gone(settings: &str) -> Sending {
    Sending::Down {
        why: format!("not set up any more: set {settings} again"),
        after: None,
    }
}
