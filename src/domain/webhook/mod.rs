//! What a delivery says, read from its raw body. Never knows a task, and asks nobody what a state or a branch means.
//!
//! Only the fields that are used are looked at, and only for the kinds of events that are: whatever else a sender puts
//! into its body, now or in a later version, cannot make a delivery unreadable.

pub mod forge;
pub mod plane;
mod text;

use serde::Deserialize;

use text::Text;

/// What a delivery says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said<E> {
    /// Something that may concern a task.
    Event(E),
    /// Nothing that is used, and why.
    Nothing {
        /// For the list of deliveries.
        why: String,
    },
}

impl<E> Said<E> {
    fn nothing(why: impl Into<String>) -> Self {
        Self::Nothing { why: why.into() }
    }

    /// The same of an event that is wrapped.
    pub fn map<T>(self, wrap: impl FnOnce(E) -> T) -> Said<T> {
        match self {
            Self::Event(event) => Said::Event(wrap(event)),
            Self::Nothing { why } => Said::Nothing { why },
        }
    }
}

/// A field that is used is missing or of another type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct Malformed {
    why: String,
}

impl Malformed {
    fn at(path: &str, why: impl std::fmt::Display) -> Self {
        Self {
            why: format!("field `{path}`: {why}"),
        }
    }
}

/// Decodes what is used of a body; an error names the field.
fn decode<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Malformed> {
    let mut json = serde_json::Deserializer::from_slice(body);
    serde_path_to_error::deserialize(&mut json).map_err(|e| Malformed::at(&e.path().to_string(), e.inner()))
}

/// A field that must be there.
fn need<T>(field: Option<T>, path: &str) -> Result<T, Malformed> {
    field.ok_or_else(|| Malformed::at(path, "it is missing"))
}

/// The text of a field that may be absent, null, or the word that Python writes for null.
fn some(field: Option<Text>) -> Option<String> {
    field.map(String::from).filter(|text| text != "None")
}

/// Shortened for a message: what a stranger sent may be long.
fn short(word: &str) -> String {
    word.chars().filter(|c| !c.is_control()).take(60).collect()
}
