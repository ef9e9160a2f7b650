//! A Telegram chat: one `sendMessage` of the Bot API for each notification. There is no key by which a repetition could be
//! told, and the bot's token is a part of the address: the address is never shown.

use std::time::Duration;

use serde::Deserialize;
use serde_json::json;

use super::exchange::post;
use crate::domain::delivery::Sending;
use crate::domain::time::Timestamp;
use crate::settings::{Secret, Settings};
use crate::store::outbox::Notice;

/// Longest text of a message, UTF-16 code units, counted without markup (Bot API, `sendMessage`).
const LONGEST: usize = 4096;

#[derive(Clone)]
pub(super) struct Telegram {
    base_url: String,
    token: Secret,
    chat: String,
}

/// What the Bot API says about a request that failed.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Refusal {
    description: String,
    parameters: Parameters,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Parameters {
    /// Seconds.
    retry_after: Option<u64>,
}

impl Telegram {
    pub(super) fn of(settings: &Settings) -> Option<Self> {
        let telegram = &settings.telegram;
        Some(Self {
            base_url: telegram.base_url.clone(),
            token: telegram.bot_token.clone()?,
            chat: telegram.chat_id.clone()?,
        })
    }

    pub(super) async fn send(&self, http: &awc::Client, notice: &Notice, now: Timestamp) -> Sending {
        let url = format!("{}/bot{}/sendMessage", self.base_url, self.token.expose());
        let body = json!({
            "chat_id": self.chat,
            "text": escape(&shorten(notice.text("text"))),
            "parse_mode": "HTML",
            "link_preview_options": { "is_disabled": true },
        });
        let answer = match post(http.post(url), body.to_string().into_bytes()).await {
            Ok(answer) => answer,
            Err(sending) => return sending,
        };
        let refusal: Refusal = serde_json::from_slice(&answer.body).unwrap_or_default();
        let words: String = refusal
            .description
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .take(200)
            .collect();
        match (answer.judge(&words, now), refusal.parameters.retry_after) {
            // The chat, not the message: it may be set right.
            (Sending::Refused { why }, _) if words.contains("chat") => Sending::Down { why, after: None },
            (Sending::Down { why, .. }, Some(seconds)) => Sending::Down {
                why,
                after: Some(Duration::from_secs(seconds)),
            },
            (sending, _) => sending,
        }
    }
}

/// Cut so that it fits, with a mark where it was.
fn shorten(text: &str) -> String {
    let units = |text: &str| text.chars().map(char::len_utf16).sum::<usize>();
    if units(text) <= LONGEST {
        return text.to_owned();
    }
    let mut room = LONGEST - 1;
    let fits = text.chars().take_while(|c| {
        let fits = c.len_utf16() <= room;
        room = room.saturating_sub(c.len_utf16());
        fits
    });
    fits.chain(['…']).collect()
}

/// For the Bot API's HTML mode.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_to_what_a_message_holds_and_never_inside_a_character() {
        assert_eq!(shorten("short"), "short");
        let exact = "x".repeat(LONGEST);
        assert_eq!(shorten(&exact), exact);
        let cut = shorten(&"🦀".repeat(LONGEST));
        assert_eq!(cut.chars().map(char::len_utf16).sum::<usize>(), LONGEST - 1);
        assert!(cut.ends_with("🦀…"));
        assert_eq!(
            shorten(&"x".repeat(LONGEST + 1)).len(),
            LONGEST - 1 + '…'.len_utf8()
        );
    }

    #[test]
    fn a_text_cannot_become_markup() {
        assert_eq!(escape("<b>a & b</b>"), "&lt;b&gt;a &amp; b&lt;/b&gt;");
    }
}
