//! Whether an answer of production is as it should be. Never asks for one.

use regex::bytes::{Regex, RegexBuilder};

use crate::domain::deploy::is;
use crate::domain::id::Sha;

/// Bytes that a compiled pattern may take.
const COMPILED: usize = 1 << 20;
/// Brackets within brackets in a pattern.
const NEST: u32 = 50;

/// A pattern that the body has to match somewhere.
#[derive(Clone, Debug)]
pub struct Pattern(Regex);

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl Eq for Pattern {}

/// Why a text is no pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no regular expression, or one that is too large: {0}")]
pub struct BadPattern(String);

impl Pattern {
    /// A pattern of bounded size.
    ///
    /// # Errors
    /// [`BadPattern`].
    pub fn parse(text: &str) -> Result<Self, BadPattern> {
        let built = RegexBuilder::new(text)
            .size_limit(COMPILED)
            .nest_limit(NEST)
            .build();
        built.map(Self).map_err(|e| {
            let said = e.to_string();
            BadPattern(said.lines().last().unwrap_or_default().trim().to_owned())
        })
    }
}

/// What an answer has to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expect {
    /// HTTP status.
    pub status: u16,
    /// Stands in the body.
    pub body: Option<Pattern>,
    /// The body names the deployed revision.
    pub revision: bool,
}

impl Expect {
    /// Whether an answer is as it should be. `revision` is the deployed one; none where it is not deployed yet.
    ///
    /// # Errors
    /// What is wrong with it, in one line.
    pub fn meets(&self, status: u16, body: &[u8], revision: Option<&Sha>) -> Result<(), String> {
        if status != self.status {
            return Err(format!("HTTP {status} instead of {}", self.status));
        }
        if let Some(pattern) = self.body.as_ref().filter(|pattern| !pattern.0.is_match(body)) {
            return Err(format!("the body does not match {:?}", pattern.0.as_str()));
        }
        match revision.filter(|_| self.revision) {
            Some(revision) if !names(body, revision) => {
                Err(format!("the body does not name revision {}", revision.short()))
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// A word of at least 7 hexadecimal digits that is the revision, or its beginning; git's own descriptions put a `g` before it.
/// In JSON such a word is a value, or a part of one.
fn names(body: &[u8], revision: &Sha) -> bool {
    let text = String::from_utf8_lossy(body);
    let mut words = text.split(|c: char| !c.is_ascii_alphanumeric());
    words.any(|word| {
        let word = word.strip_prefix('g').unwrap_or(word).to_ascii_lowercase();
        word.len() <= revision.as_str().len() && is(&word, revision.as_str())
    })
}
