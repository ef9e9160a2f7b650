//! `codex exec --json`.
//!
//! `turn.completed.usage` is the running total of the thread (codex-rs `usage_from_last_total`), also after
//! `exec resume`: a later one replaces an earlier one. Cached input is part of `input_tokens`, reasoning part of
//! `output_tokens`. No money. An `error` event may be a retry that succeeds; a turn that completes clears it.

use serde_json::Value;

use super::{Said, Tally, Totals, text, tokens};

#[derive(Debug, Default)]
pub(super) struct Codex {
    totals: Totals,
    thread: Option<String>,
    failure: Option<String>,
}

impl Codex {
    pub(super) fn event(&mut self, event: &Value) {
        match text(event, "type") {
            Some("thread.started") => self.thread = text(event, "thread_id").map(str::to_owned),
            Some("turn.completed") => {
                self.failure = None;
                let usage = &event["usage"];
                if usage.is_object() {
                    let total = Tally {
                        tokens_in: tokens(usage, "input_tokens"),
                        tokens_out: tokens(usage, "output_tokens"),
                        tokens_cached: tokens(usage, "cached_input_tokens"),
                        cost: None,
                    };
                    self.totals.set(self.thread.as_deref().unwrap_or_default(), total);
                }
            }
            Some("turn.failed") => {
                let words = text(&event["error"], "message").unwrap_or("the turn failed");
                self.failure = Some(format!("codex: {words}"));
            }
            Some("error") => {
                let words = text(event, "message").unwrap_or("error");
                self.failure = Some(format!("codex: {words}"));
            }
            Some(_) | None => {}
        }
    }

    pub(super) fn said(&self) -> Said<'_> {
        Said {
            totals: self.totals.all(),
            beyond: None,
            failure: self.failure.clone(),
            session: self.thread.as_deref(),
            model: None,
        }
    }
}
