//! `opencode run --format json`.
//!
//! Each `step_finish` part is one model call: steps add up, a part printed twice counts once. `tokens.input` leaves
//! the cache out, `tokens.output` leaves reasoning out. A run whose every step is all zero never reached a model,
//! whatever its exit code. Tokens without a cost mean that opencode knows no price: unpriced, not free.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Said, Tally, text, tokens, usd};
use crate::domain::usage::PicoUsd;

#[derive(Debug, Default)]
pub(super) struct Opencode {
    steps: Option<Tally>,
    seen: BTreeSet<String>,
    session: Option<String>,
    failure: Option<String>,
}

impl Opencode {
    pub(super) fn event(&mut self, event: &Value) {
        if self.session.is_none() {
            self.session = text(event, "sessionID").map(str::to_owned);
        }
        match text(event, "type") {
            Some("step_finish" | "step-finish") => self.step(&event["part"]),
            Some("error") => {
                let error = &event["error"];
                let words = text(&error["data"], "message")
                    .or_else(|| text(error, "message"))
                    .or_else(|| text(error, "name"))
                    .or_else(|| error.as_str());
                self.failure = Some(format!("opencode: {}", words.unwrap_or("error")));
            }
            Some(_) | None => {}
        }
    }

    fn step(&mut self, part: &Value) {
        let id = text(part, "id");
        if id.is_some_and(|id| !self.seen.insert(id.to_owned())) {
            return;
        }
        let (counts, cache) = (&part["tokens"], &part["tokens"]["cache"]);
        let cached = tokens(cache, "read");
        let step = Tally {
            tokens_in: tokens(counts, "input") + cached + tokens(cache, "write"),
            tokens_out: tokens(counts, "output") + tokens(counts, "reasoning"),
            tokens_cached: cached,
            cost: usd(part, "cost"),
        };
        self.steps = Some(self.steps.map_or(step, |sum| sum.plus(step)));
    }

    pub(super) fn said(&self) -> Said<'_> {
        let idle = self.steps.is_some_and(Tally::is_zero);
        let no_call = || "opencode: no model call happened: every step reports zero tokens".to_owned();
        let beyond = self.steps.filter(|steps| !steps.is_zero()).map(|steps| Tally {
            cost: steps.cost.filter(|c| *c != PicoUsd::default()),
            ..steps
        });
        Said {
            totals: None,
            beyond,
            failure: self.failure.clone().or_else(|| idle.then(no_call)),
            session: self.session.as_deref(),
            model: None,
        }
    }
}
