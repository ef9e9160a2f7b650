//! Failures answered by what they are: rules in the order of their file, of which the first that matches names the
//! fix. Decides on the error text alone; what a fix does stands in [`plan`], how the job ends in [`settle`].

mod fingerprint;
pub mod plan;
mod rules;
pub mod settle;
mod text;

use serde::{Deserialize, Serialize};

pub use fingerprint::Fingerprint;
pub use rules::{Match, MatchedBy, Rules, RulesError, SHIPPED, Strategy};
pub use text::{ErrorText, OUTPUT_TAIL, REPORTS};

/// What is done about a failure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fix {
    /// The next attempt may take half as long again.
    IncreaseTimeout,
    /// The node runs one agent fewer for a while.
    ReduceSlots,
    /// The node is given nothing for a while.
    BlacklistNode,
    /// The job waits, without holding a slot.
    Cooldown,
    /// The next prompt tells what went wrong.
    EnrichPrompt,
    /// A person has to look: nothing is tried again.
    Manual,
    /// Tried again as it is.
    #[default]
    Retry,
}

impl Fix {
    /// All of them.
    pub const ALL: [Fix; 7] = [
        Self::IncreaseTimeout,
        Self::ReduceSlots,
        Self::BlacklistNode,
        Self::Cooldown,
        Self::EnrichPrompt,
        Self::Manual,
        Self::Retry,
    ];

    /// The word stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::IncreaseTimeout => "increase_timeout",
            Self::ReduceSlots => "reduce_slots",
            Self::BlacklistNode => "blacklist_node",
            Self::Cooldown => "cooldown",
            Self::EnrichPrompt => "enrich_prompt",
            Self::Manual => "manual",
            Self::Retry => "retry",
        }
    }

    /// The inverse of [`Fix::as_str`].
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|fix| fix.as_str() == text)
    }
}

/// How bad a failure of this kind is, for people.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Passes by itself.
    Low,
    /// Costs an attempt.
    #[default]
    Medium,
    /// Comes again until somebody mends its cause.
    High,
}

impl Severity {
    /// The word stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        }
    }
}
