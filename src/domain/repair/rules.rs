//! The rules: read from `repair-strategies.json`, all matched in one pass over the text.

use std::collections::BTreeSet;
use std::fmt;

use regex::bytes::{RegexBuilder, RegexSet, RegexSetBuilder};
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::text::ErrorText;
use super::{Fix, Severity};
use crate::domain::pipeline::Role;
use crate::domain::quoted;

/// The rules that come with Orch.
pub const SHIPPED: &str = include_str!("../../../config/repair-strategies.json");

/// The name of what is matched by no rule.
const NONE: &str = "none";

/// Rules in a file, at most.
const MOST: usize = 500;
/// Bytes that a compiled pattern may take: nested quantifiers grow by multiplication.
const COMPILED: usize = 1 << 20;
/// Bytes that all of them may take together, and as many again while they match.
const COMPILED_SET: usize = 16 << 20;
/// Brackets within brackets in a pattern.
const NEST: u32 = 50;
/// Characters of a diagnosis, which stands in lines of logs.
const DIAGNOSIS: usize = 200;
/// Characters around a match that are shown.
const SHOWN: usize = 80;

/// A rule, as it stands in the file.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Strategy {
    /// Its key in the file.
    #[serde(skip)]
    pub name: String,
    /// Case-insensitive regular expression on the error text; `^` and `$` are the ends of a line.
    #[serde(default)]
    pub pattern: Option<String>,
    /// Exit codes in the first line.
    #[serde(default)]
    pub exit_codes: Vec<i32>,
    /// Signals in the first line: `SIGTERM`.
    #[serde(default)]
    pub signals: Vec<String>,
    /// Roles that it is for; none: all.
    #[serde(default)]
    pub roles: Vec<Role>,
    /// What is done.
    #[serde(default)]
    pub fix: Fix,
    /// How bad it is.
    #[serde(default)]
    pub severity: Severity,
    /// What people are told.
    #[serde(default = "unknown")]
    pub diagnosis: String,
    /// How long to wait, where the output does not say. Seconds.
    #[serde(default)]
    pub cooldown_s: Option<u64>,
}

fn unknown() -> String {
    "unknown".to_owned()
}

/// Why a file of rules is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RulesError {
    /// No JSON of the right shape.
    #[error("{0}")]
    Shape(String),
    /// A pattern that does not compile, with the rule's name.
    #[error("strategy {name:?}: pattern: {why}")]
    Pattern {
        /// The rule.
        name: String,
        /// What is wrong with it.
        why: String,
    },
    /// A rule that could never match.
    #[error("strategy {name:?}: needs a pattern, exit_codes or signals")]
    Empty {
        /// The rule.
        name: String,
    },
    /// More than may be.
    #[error("{count} strategies: at most {MOST} are read")]
    TooMany {
        /// How many there are.
        count: usize,
    },
}

/// By what a rule matched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MatchedBy {
    /// The first line's exit code.
    ExitCode(i32),
    /// The first line's signal.
    Signal(String),
    /// Its pattern: these words.
    Pattern(String),
    /// Nothing matched: tried again as it is.
    Nothing,
}

impl fmt::Display for MatchedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ExitCode(code) => write!(f, "exit code {code} in the first line"),
            Self::Signal(signal) => write!(f, "{signal} in the first line"),
            Self::Pattern(words) => write!(f, "its pattern, by {words:?}"),
            Self::Nothing => f.write_str("no rule"),
        }
    }
}

/// What the rules say of a failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Match {
    /// The rule, or `none`.
    pub strategy: String,
    /// What is done.
    pub fix: Fix,
    /// How bad it is.
    pub severity: Severity,
    /// What people are told.
    pub diagnosis: String,
    /// How long to wait, where the rule says so. Seconds.
    pub cooldown_s: Option<u64>,
    /// Why this rule.
    pub by: MatchedBy,
    /// What matched says how the attempt ended, or stands in its last words. Further up an agent may speak of anything.
    pub at_end: bool,
}

/// Compiled rules. By default none.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    strategies: Vec<Strategy>,
    /// Of the strategies that have a pattern, in their order.
    set: RegexSet,
    /// Which strategy each pattern of the set belongs to.
    owner: Vec<usize>,
}

impl Rules {
    /// Reads and compiles a file.
    ///
    /// # Errors
    /// The first thing that is wrong with it. Nothing of a broken file is taken.
    pub fn parse(json: &str) -> Result<Self, RulesError> {
        let file: File = serde_json::from_str(json).map_err(|e| RulesError::Shape(e.to_string()))?;
        let strategies = file.strategies.0;
        if strategies.len() > MOST {
            return Err(RulesError::TooMany {
                count: strategies.len(),
            });
        }
        let mut patterns = Vec::new();
        let mut owner = Vec::new();
        for (at, strategy) in strategies.iter().enumerate() {
            match &strategy.pattern {
                Some(pattern) => {
                    // One by one first, so that the one that does not compile is named.
                    builder(pattern).build().map_err(|e| RulesError::Pattern {
                        name: strategy.name.clone(),
                        why: quoted::one_line(&last_line(&e.to_string()), 200),
                    })?;
                    patterns.push(pattern);
                    owner.push(at);
                }
                None if strategy.exit_codes.is_empty() && strategy.signals.is_empty() => {
                    return Err(RulesError::Empty {
                        name: strategy.name.clone(),
                    });
                }
                None => {}
            }
        }
        let set = RegexSetBuilder::new(patterns)
            .case_insensitive(true)
            .multi_line(true)
            .unicode(false)
            .nest_limit(NEST)
            .size_limit(COMPILED_SET)
            .dfa_size_limit(COMPILED_SET)
            .build()
            .map_err(|e| {
                RulesError::Shape(format!("the patterns together: {}", last_line(&e.to_string())))
            })?;
        Ok(Self {
            strategies,
            set,
            owner,
        })
    }

    /// The rules, in their order.
    pub fn strategies(&self) -> &[Strategy] {
        &self.strategies
    }

    /// The first rule that matches. Without a role, rules of every role are asked.
    pub fn matching(&self, text: &ErrorText, role: Option<Role>) -> Match {
        let hits: BTreeSet<usize> = self
            .set
            .matches(text.as_str().as_bytes())
            .into_iter()
            .map(|at| self.owner[at])
            .collect();
        let found = self.strategies.iter().enumerate().find_map(|(at, strategy)| {
            let meant = strategy.roles.is_empty() || role.is_none_or(|role| strategy.roles.contains(&role));
            let by = meant.then(|| strategy.matched_by(text, hits.contains(&at)))??;
            Some((strategy, by))
        });
        match found {
            Some((strategy, by)) => Match {
                at_end: match &by {
                    MatchedBy::Pattern(_) => strategy.hits_at_end(text),
                    MatchedBy::ExitCode(_) | MatchedBy::Signal(_) | MatchedBy::Nothing => true,
                },
                strategy: strategy.name.clone(),
                fix: strategy.fix,
                severity: strategy.severity,
                diagnosis: strategy.diagnosis.clone(),
                cooldown_s: strategy.cooldown_s,
                by,
            },
            None => Match {
                strategy: NONE.to_owned(),
                fix: Fix::Retry,
                severity: Severity::Medium,
                diagnosis: unknown(),
                cooldown_s: None,
                by: MatchedBy::Nothing,
                at_end: true,
            },
        }
    }
}

impl Strategy {
    fn matched_by(&self, text: &ErrorText, pattern_hits: bool) -> Option<MatchedBy> {
        if let Some(code) = text.exit_code().filter(|code| self.exit_codes.contains(code)) {
            return Some(MatchedBy::ExitCode(code));
        }
        if let Some(signal) = text
            .signal()
            .filter(|s| self.signals.iter().any(|own| own.eq_ignore_ascii_case(s)))
        {
            return Some(MatchedBy::Signal(signal.to_owned()));
        }
        // An agent mistypes a command, writes about memory or resolves a conflict long before it ends of something else: a
        // rule that takes something from everybody, or stops the task, looks only at how it ended and at its last words.
        let grave = match self.fix {
            Fix::BlacklistNode | Fix::ReduceSlots | Fix::Manual => true,
            Fix::IncreaseTimeout | Fix::Cooldown | Fix::EnrichPrompt | Fix::Retry => false,
        };
        let counts = pattern_hits && (!grave || self.hits_at_end(text));
        counts.then(|| MatchedBy::Pattern(self.words(text)))
    }

    fn hits_at_end(&self, text: &ErrorText) -> bool {
        self.hits(text.first_line()) || self.hits(text.last_words())
    }

    fn hits(&self, text: &str) -> bool {
        let compiled = self.pattern.as_deref().and_then(|p| builder(p).build().ok());
        compiled.is_some_and(|p| p.is_match(text.as_bytes()))
    }

    /// What its pattern matched, for people. Compiled again: it is asked once for each failure.
    fn words(&self, text: &ErrorText) -> String {
        let compiled = self.pattern.as_deref().and_then(|p| builder(p).build().ok());
        let found = compiled.and_then(|p| p.find(text.as_str().as_bytes()).map(|m| m.range()));
        let bytes = found.map_or(&b""[..], |range| &text.as_str().as_bytes()[range]);
        quoted::one_line(&String::from_utf8_lossy(bytes), SHOWN)
    }
}

fn builder(pattern: &str) -> RegexBuilder {
    let mut builder = RegexBuilder::new(pattern);
    // By bytes: word boundaries of all scripts would cost a hundred times as much on text that is not ASCII.
    builder
        .case_insensitive(true)
        .multi_line(true)
        .unicode(false)
        .nest_limit(NEST)
        .size_limit(COMPILED);
    builder
}

/// Errors of patterns show the pattern first, and say at last what is wrong.
fn last_line(text: &str) -> String {
    text.lines().last().unwrap_or_default().trim().to_owned()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    strategies: Ordered,
}

/// The object's members in the order of the file.
struct Ordered(Vec<Strategy>);

impl<'de> Deserialize<'de> for Ordered {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Ordered;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of strategies by name")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Ordered, A::Error> {
                let mut seen = BTreeSet::new();
                let mut strategies = Vec::new();
                while let Some(name) = map.next_key::<String>()? {
                    if name.is_empty() || name == NONE || name.len() > 64 || name.contains(char::is_control) {
                        return Err(A::Error::custom(format!(
                            "{name:?} cannot be the name of a strategy"
                        )));
                    }
                    if !seen.insert(name.clone()) {
                        return Err(A::Error::custom(format!("strategy {name:?} stands there twice")));
                    }
                    let strategy: Strategy = map
                        .next_value()
                        .map_err(|e| A::Error::custom(format!("strategy {name:?}: {e}")))?;
                    strategies.push(Strategy {
                        name,
                        diagnosis: quoted::one_line(&strategy.diagnosis, DIAGNOSIS),
                        ..strategy
                    });
                }
                Ok(Ordered(strategies))
            }
        }
        deserializer.deserialize_map(Members)
    }
}

#[cfg(test)]
mod tests;
