//! What a gate answers, and how the answers of a stage add up.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The state of a gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GateState {
    /// The task may leave as far as this gate is concerned.
    Green,
    /// The candidate failed.
    Red,
    /// Nobody knows yet: CI runs, a person has not decided, a check has not run.
    Pending,
    /// The question could not be asked: the forge did not answer, the program broke.
    Unknown,
}

impl GateState {
    /// All states.
    pub const ALL: [GateState; 4] = [Self::Green, Self::Red, Self::Pending, Self::Unknown];

    /// The word stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            GateState::Green => "green",
            GateState::Red => "red",
            GateState::Pending => "pending",
            GateState::Unknown => "unknown",
        }
    }

    /// Green or red: asking again about the same candidate gives nothing new.
    pub fn is_final(self) -> bool {
        matches!(self, GateState::Green | GateState::Red)
    }

    /// The inverse of [`GateState::as_str`].
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|g| g.as_str() == text)
    }
}

impl fmt::Display for GateState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A gate's answer, always with a reason for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// The answer.
    pub state: GateState,
    /// Why, in one line.
    pub reason: String,
}

impl Verdict {
    /// Green, because …
    pub fn green(reason: impl Into<String>) -> Self {
        Self {
            state: GateState::Green,
            reason: reason.into(),
        }
    }
    /// Red, because …
    pub fn red(reason: impl Into<String>) -> Self {
        Self {
            state: GateState::Red,
            reason: reason.into(),
        }
    }
    /// Pending, waiting for …
    pub fn pending(reason: impl Into<String>) -> Self {
        Self {
            state: GateState::Pending,
            reason: reason.into(),
        }
    }
    /// Unknown, because …
    pub fn unknown(reason: impl Into<String>) -> Self {
        Self {
            state: GateState::Unknown,
            reason: reason.into(),
        }
    }
}
