//! Reads an agent's JSON stream while it runs: what it used so far, whether it says that it failed, its session.
//! Never fails on what it cannot read, never sums a running total twice, never keeps a line. Takes each session for one that
//! the run began: no preset resumes one, and what an earlier run spent in it would be counted again.

mod claude;
mod codex;
mod gemini;
mod opencode;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::domain::quoted;
use crate::domain::run::{Provenance, Usage};
use crate::domain::usage::{self, PicoUsd, UsageReport};

/// Which stream an agent prints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UsageFormat {
    /// `claude --output-format stream-json`.
    Claude,
    /// `codex exec --json`.
    Codex,
    /// `gemini --output-format stream-json`.
    Gemini,
    /// `opencode run --format json`.
    Opencode,
    /// Nothing that could be read.
    #[default]
    None,
}

/// Longest line that is read; a longer one is skipped without being held in memory.
pub const MAX_LINE: usize = 1024 * 1024;

/// Adds up one run's stream.
#[derive(Debug)]
pub struct UsageMeter {
    stream: Stream,
    partial: Vec<u8>,
    skipping: bool,
}

#[derive(Debug)]
enum Stream {
    Claude(claude::Claude),
    Codex(codex::Codex),
    Gemini(gemini::Gemini),
    Opencode(opencode::Opencode),
    None,
}

impl UsageMeter {
    /// A meter for a stream of that format, from its beginning.
    pub fn new(format: UsageFormat) -> Self {
        let stream = match format {
            UsageFormat::Claude => Stream::Claude(claude::Claude::default()),
            UsageFormat::Codex => Stream::Codex(codex::Codex::default()),
            UsageFormat::Gemini => Stream::Gemini(gemini::Gemini::default()),
            UsageFormat::Opencode => Stream::Opencode(opencode::Opencode::default()),
            UsageFormat::None => Stream::None,
        };
        Self {
            stream,
            partial: Vec::new(),
            skipping: false,
        }
    }

    /// Takes a piece of output as it comes, cut anywhere.
    pub fn bytes(&mut self, mut chunk: &[u8]) {
        while let Some(end) = chunk.iter().position(|b| *b == b'\n') {
            let (line, rest) = (&chunk[..end], &chunk[end + 1..]);
            chunk = rest;
            if self.skipping {
                self.skipping = false;
            } else if self.partial.is_empty() {
                self.line(line);
            } else {
                let mut whole = std::mem::take(&mut self.partial);
                whole.extend_from_slice(line);
                self.line(&whole);
            }
        }
        if self.skipping {
            return;
        }
        if self.partial.len() + chunk.len() > MAX_LINE {
            self.partial = Vec::new();
            self.skipping = true;
        } else {
            self.partial.extend_from_slice(chunk);
        }
    }

    /// Takes one whole line. What is no JSON object of the format is passed over.
    pub fn line(&mut self, line: &[u8]) {
        let line = line.trim_ascii();
        if line.len() > MAX_LINE || line.first() != Some(&b'{') || matches!(self.stream, Stream::None) {
            return;
        }
        // An agent that cuts a string in the middle of a character still told its usage.
        let text = String::from_utf8_lossy(line);
        let Ok(event) = serde_json::from_str::<Value>(&text) else {
            return;
        };
        match &mut self.stream {
            Stream::Claude(s) => s.event(&event),
            Stream::Codex(s) => s.event(&event),
            Stream::Gemini(s) => s.event(&event),
            Stream::Opencode(s) => s.event(&event),
            Stream::None => {}
        }
    }

    /// What this run used so far; for limits that are checked while it runs.
    pub fn so_far(&self) -> Option<Usage> {
        let said = self.said();
        match (said.totals.map(Tally::usage), said.beyond.map(Tally::usage)) {
            (None, beyond) => beyond,
            (totals, None) => totals,
            // What came after the last total has no price yet: the total's cost is a lower bound, and stays.
            (Some(t), Some(b)) => Some(Usage {
                cost_micro_usd: t.cost_micro_usd,
                provenance: t.provenance,
                ..usage::sum(t, b)
            }),
        }
    }

    /// The model that the stream named last.
    pub fn model(&self) -> Option<&str> {
        self.said().model
    }

    /// The report, once the stream has ended.
    pub fn finish(mut self) -> UsageReport {
        let last = std::mem::take(&mut self.partial);
        self.line(&last);
        let usage = self.so_far();
        let said = self.said();
        UsageReport {
            usage,
            failure: said.failure.map(|f| quoted::one_line(&f, 500)),
            session: said.session.map(|s| quoted::one_line(s, 200)),
            model: self.model().map(str::to_owned),
        }
    }

    fn said(&self) -> Said<'_> {
        match &self.stream {
            Stream::Claude(s) => s.said(),
            Stream::Codex(s) => s.said(),
            Stream::Gemini(s) => s.said(),
            Stream::Opencode(s) => s.said(),
            Stream::None => Said::default(),
        }
    }
}

/// What a stream has said so far.
#[derive(Default)]
struct Said<'a> {
    /// Running totals of its sessions.
    totals: Option<Tally>,
    /// What this run used beyond those totals.
    beyond: Option<Tally>,
    failure: Option<String>,
    session: Option<&'a str>,
    model: Option<&'a str>,
}

/// Tokens and money, before rounding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Tally {
    tokens_in: i64,
    tokens_out: i64,
    tokens_cached: i64,
    cost: Option<PicoUsd>,
}

impl Tally {
    fn plus(self, other: Self) -> Self {
        Self {
            tokens_in: self.tokens_in.saturating_add(other.tokens_in),
            tokens_out: self.tokens_out.saturating_add(other.tokens_out),
            tokens_cached: self.tokens_cached.saturating_add(other.tokens_cached),
            cost: self.cost.zip(other.cost).map(|(a, b)| a.plus(b)),
        }
    }

    fn usage(self) -> Usage {
        Usage {
            tokens_in: self.tokens_in,
            tokens_out: self.tokens_out,
            tokens_cached: self.tokens_cached.min(self.tokens_in),
            cost_micro_usd: self.cost.map(PicoUsd::to_micro),
            provenance: self.cost.map_or(Provenance::Unpriced, |_| Provenance::Reported),
        }
    }

    fn is_zero(self) -> bool {
        (self.tokens_in, self.tokens_out) == (0, 0) && self.cost.unwrap_or_default() == PicoUsd::default()
    }
}

/// Running totals by session: a later total of the same session replaces the earlier one; sessions add up.
#[derive(Debug, Default)]
struct Totals(BTreeMap<String, Tally>);

impl Totals {
    fn set(&mut self, session: &str, total: Tally) {
        self.0.insert(session.to_owned(), total);
    }

    fn all(&self) -> Option<Tally> {
        self.0.values().copied().reduce(Tally::plus)
    }
}

/// A token count; what is missing, negative or no number counts nothing.
fn tokens(object: &Value, key: &str) -> i64 {
    let number = &object[key];
    let whole = number.as_i64().or_else(|| number.as_f64().map(|f| f as i64));
    whole.unwrap_or(0).clamp(0, i64::MAX / 1024)
}

/// A number of USD, read from its decimal digits.
fn usd(object: &Value, key: &str) -> Option<PicoUsd> {
    match &object[key] {
        Value::Number(n) => PicoUsd::from_decimal(&n.to_string()),
        Value::String(s) => PicoUsd::from_decimal(s),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

fn text<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    object[key].as_str().filter(|s| !s.trim().is_empty())
}
