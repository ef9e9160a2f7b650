//! `gemini --output-format stream-json`.
//!
//! One `result` event at the end, with `stats` per model and summed. `input_tokens` includes what was cached.
//! Thoughts are in `total_tokens` only: what the total has beyond input and output was written by the model too.
//! No money.

use serde_json::Value;

use super::{Said, Tally, Totals, text, tokens};

#[derive(Debug, Default)]
pub(super) struct Gemini {
    totals: Totals,
    session: Option<String>,
    model: Option<String>,
    failure: Option<String>,
}

impl Gemini {
    pub(super) fn event(&mut self, event: &Value) {
        match text(event, "type") {
            Some("init") => {
                self.session = text(event, "session_id").map(str::to_owned);
                self.model = text(event, "model").map(str::to_owned);
            }
            Some("result") => {
                self.failure = (text(event, "status") == Some("error")).then(|| {
                    let words = text(&event["error"], "message").unwrap_or("error");
                    format!("gemini: {words}")
                });
                if let Some(total) = stats(&event["stats"]) {
                    self.totals
                        .set(self.session.as_deref().unwrap_or_default(), total);
                }
            }
            Some(_) | None => {}
        }
    }

    pub(super) fn said(&self) -> Said<'_> {
        Said {
            totals: self.totals.all(),
            beyond: None,
            failure: self.failure.clone(),
            session: self.session.as_deref(),
            model: self.model.as_deref(),
        }
    }
}

fn stats(stats: &Value) -> Option<Tally> {
    let models = stats["models"].as_object().filter(|m| !m.is_empty());
    match models {
        Some(models) => models.values().map(counts).reduce(Tally::plus),
        None => stats.is_object().then(|| counts(stats)),
    }
}

fn counts(of: &Value) -> Tally {
    let (given, total) = (tokens(of, "input_tokens"), tokens(of, "total_tokens"));
    Tally {
        tokens_in: given,
        tokens_out: tokens(of, "output_tokens").max(total - given),
        tokens_cached: tokens(of, "cached"),
        cost: None,
    }
}
