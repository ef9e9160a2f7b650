//! `claude -p --output-format stream-json --verbose`.
//!
//! A `result` event carries the running totals of its session (`total_cost_usd`, `modelUsage`; the bare `usage` is
//! a fallback of older versions), so a later one replaces an earlier one. `input_tokens` leaves the cache out.
//! Until a `result` comes, the usage of each `assistant` message (once per message id, the last one counts) tells
//! how much was spent; a run that was killed has nothing else.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Said, Tally, Totals, text, tokens, usd};

#[derive(Debug, Default)]
pub(super) struct Claude {
    totals: Totals,
    messages: BTreeMap<String, Tally>,
    session: Option<String>,
    model: Option<String>,
    failure: Option<String>,
}

impl Claude {
    pub(super) fn event(&mut self, event: &Value) {
        if let Some(session) = text(event, "session_id")
            && self.session.as_deref() != Some(session)
        {
            self.session = Some(session.to_owned());
        }
        let named = text(event, "model").or_else(|| text(&event["message"], "model"));
        if let Some(model) = named.filter(|m| self.model.as_deref() != Some(m)) {
            self.model = Some(model.to_owned());
        }
        match text(event, "type") {
            Some("assistant") => {
                let message = &event["message"];
                if let (Some(id), true) = (text(message, "id"), message["usage"].is_object()) {
                    self.messages.insert(id.to_owned(), api_usage(&message["usage"]));
                }
            }
            Some("result") => self.result(event),
            Some(_) | None => {}
        }
    }

    fn result(&mut self, event: &Value) {
        self.failure = failure(event);
        let models = event["modelUsage"].as_object().filter(|m| !m.is_empty());
        let counted = match models {
            Some(models) => Some(
                models
                    .values()
                    .map(model_usage)
                    .fold(Tally::default(), Tally::plus),
            ),
            None if event["usage"].is_object() => Some(api_usage(&event["usage"])),
            None => None,
        };
        let cost = usd(event, "total_cost_usd");
        if counted.is_none() && cost.is_none() {
            return;
        }
        let total = Tally {
            cost,
            ..counted.unwrap_or_default()
        };
        self.totals
            .set(text(event, "session_id").unwrap_or_default(), total);
        self.messages.clear();
    }

    pub(super) fn said(&self) -> Said<'_> {
        Said {
            totals: self.totals.all(),
            beyond: self.messages.values().copied().reduce(Tally::plus),
            failure: self.failure.clone(),
            session: self.session.as_deref(),
            model: self.model.as_deref(),
        }
    }
}

fn failure(event: &Value) -> Option<String> {
    let too_long = text(event, "terminal_reason") == Some("prompt_too_long");
    let subtype = text(event, "subtype").unwrap_or("result");
    if event["is_error"].as_bool() != Some(true) && !too_long && !subtype.starts_with("error") {
        return None;
    }
    let what = if too_long { "prompt_too_long" } else { subtype };
    let errors = event["errors"].as_array();
    let first = errors.and_then(|list| list.first()).and_then(Value::as_str);
    let words = text(event, "result").or(first);
    Some(words.map_or_else(|| format!("claude: {what}"), |w| format!("claude: {what}: {w}")))
}

fn api_usage(usage: &Value) -> Tally {
    let cached = tokens(usage, "cache_read_input_tokens");
    Tally {
        tokens_in: tokens(usage, "input_tokens") + tokens(usage, "cache_creation_input_tokens") + cached,
        tokens_out: tokens(usage, "output_tokens"),
        tokens_cached: cached,
        cost: None,
    }
}

fn model_usage(model: &Value) -> Tally {
    let cached = tokens(model, "cacheReadInputTokens");
    Tally {
        tokens_in: tokens(model, "inputTokens") + tokens(model, "cacheCreationInputTokens") + cached,
        tokens_out: tokens(model, "outputTokens"),
        tokens_cached: cached,
        cost: None,
    }
}
