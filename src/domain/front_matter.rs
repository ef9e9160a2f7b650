//! Reads the YAML front matter at the top of an artifact; the gates parse nothing else.
//! Never looks at prose, never guesses: what is ambiguous is an error that names the line.

mod verdict;
mod yaml;

pub use verdict::{DEPLOY_LOG, REVIEW, STAGING_LOG, TEST_REPORT, VerdictArtifact, findings_of, verdict_of};

use super::quoted;

/// Most bytes that front matter may have, its two `---` lines included. Prose after it is not counted.
pub const MAX_BYTES: usize = 64 * 1024;

/// What is wrong with an artifact's front matter; each is one line that says what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrontMatterError {
    /// The first line is not `---`.
    #[error("it has no front matter: make '---' the very first line, then 'key: value' lines, then '---'")]
    Missing,
    /// No second `---` line.
    #[error("its front matter is not closed: end it with a line that is only '---'")]
    Unclosed,
    /// Not YAML.
    #[error("its front matter is broken YAML in line {line}: {why}")]
    Broken {
        /// Line in the artifact, from 1.
        line: u64,
        /// The parser's words, one line.
        why: String,
    },
    /// A key stands twice, so nobody knows which one counts.
    #[error("its front matter has the key {key:?} twice (line {line}): keep one")]
    DuplicateKey {
        /// The key.
        key: String,
        /// Line in the artifact of the second one.
        line: u64,
    },
    /// A second block of keys right after the first.
    #[error("a second front matter begins in line {line}: keep one block")]
    SecondBlock {
        /// Line in the artifact.
        line: u64,
    },
    /// YAML, but a list or a single value.
    #[error("its front matter is not a list of 'key: value' lines")]
    NotAMapping,
    /// Not UTF-8.
    #[error("its front matter is not UTF-8 text: save the file as UTF-8")]
    NotUtf8,
    /// Larger than [`MAX_BYTES`].
    #[error("its front matter is larger than 64 KiB: move the text below the closing '---'")]
    TooLarge,
}

/// A value in front matter. Scalars keep the text that was written (`1.10`, `yes`, `007`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FrontValue {
    /// Nothing after the colon, or `null`.
    Null,
    /// A scalar.
    Text(String),
    /// A list.
    List(Vec<FrontValue>),
    /// Nested keys.
    Map(Vec<(String, FrontValue)>),
}

/// The keys of an artifact's front matter, in the order written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FrontMatter {
    entries: Vec<(String, FrontValue)>,
}

/// The question posted when an agent asks but writes none.
pub const NO_QUESTION: &str =
    "The agent needs input but wrote no question. Its last artifact and log say more.";

impl FrontMatter {
    /// The value under `key`, if any.
    pub fn value(&self, key: &str) -> Option<&FrontValue> {
        self.entries.iter().find(|(k, _)| k == key).map(|(_, v)| v)
    }

    /// The scalar under `key` as written, without surrounding white space. None for lists and empty values.
    pub fn get(&self, key: &str) -> Option<&str> {
        match self.value(key)? {
            FrontValue::Text(t) => Some(t.trim()).filter(|t| !t.is_empty()),
            FrontValue::Null | FrontValue::List(_) | FrontValue::Map(_) => None,
        }
    }

    /// The list under `key`, one text per item; a scalar counts as a list of one.
    pub fn list(&self, key: &str) -> Vec<String> {
        let items = match self.value(key) {
            None => return Vec::new(),
            Some(FrontValue::List(items)) => items.as_slice(),
            Some(one) => std::slice::from_ref(one),
        };
        items
            .iter()
            .map(FrontValue::text)
            .filter(|t| !t.is_empty())
            .collect()
    }

    /// The keys, in the order written.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|(k, _)| k.as_str())
    }

    /// The question, when the agent asks: `status: NEEDS_INPUT` with `question:`. Without a question,
    /// [`NO_QUESTION`].
    pub fn asks(&self) -> Option<String> {
        if self.get("status") != Some("NEEDS_INPUT") {
            return None;
        }
        let question = quoted::clean(&self.list("question").join("\n"), 4000);
        Some(if question.trim().is_empty() {
            NO_QUESTION.to_owned()
        } else {
            question.trim().to_owned()
        })
    }
}

impl FrontValue {
    fn text(&self) -> String {
        match self {
            Self::Null => String::new(),
            Self::Text(t) => t.trim().to_owned(),
            Self::List(items) => items.iter().map(Self::text).collect::<Vec<_>>().join(", "),
            Self::Map(entries) => {
                let pairs = entries.iter().map(|(k, v)| format!("{k}: {}", v.text()));
                pairs.collect::<Vec<_>>().join(", ")
            }
        }
    }
}

/// Reads the front matter of an artifact. A byte order mark and CRLF are tolerated, a blank first line is not.
///
/// # Errors
/// The first problem found; see [`FrontMatterError`].
pub fn parse(blob: &[u8]) -> Result<FrontMatter, FrontMatterError> {
    if blob.starts_with(b"\xff\xfe") || blob.starts_with(b"\xfe\xff") {
        return Err(FrontMatterError::NotUtf8);
    }
    let blob = blob.strip_prefix(b"\xef\xbb\xbf").unwrap_or(blob);
    let block = Block::at(blob)?;
    if let Some(line) = second_block(blob, &block) {
        return Err(FrontMatterError::SecondBlock { line });
    }
    let text = std::str::from_utf8(&blob[block.inner]).map_err(|_| FrontMatterError::NotUtf8)?;
    let entries = yaml::mapping(text)?;
    Ok(FrontMatter { entries })
}

/// An artifact with this front matter. Every value is quoted where YAML would read it as anything but its text;
/// control characters are left out, and a value is capped at 8 KiB.
pub fn compose(fields: &[(&str, &str)], prose: &str) -> String {
    let mut out = String::from("---\n");
    for (key, value) in fields {
        let value = quoted::clean(value, 8 * 1024);
        let word = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
        let begins = value.bytes().next().is_some_and(|b| b.is_ascii_alphabetic());
        let plain = begins && value.bytes().all(word) && !value.eq_ignore_ascii_case("null");
        let value = if plain {
            value
        } else {
            // A JSON string is a YAML double-quoted scalar.
            serde_json::Value::from(value).to_string()
        };
        out.push_str(&format!("{key}: {value}\n"));
    }
    out.push_str("---\n\n");
    out.push_str(prose.trim());
    out.push('\n');
    out
}

/// Where the front matter stands.
struct Block {
    /// Bytes between the two `---` lines.
    inner: std::ops::Range<usize>,
    /// First byte after the closing line.
    end: usize,
    /// Lines up to and with the closing one.
    lines: u64,
}

impl Block {
    fn at(blob: &[u8]) -> Result<Self, FrontMatterError> {
        let mut at = 0;
        let mut inner_start = 0;
        for (index, line) in blob.split_inclusive(|b| *b == b'\n').enumerate() {
            let is_rule = is_rule(line);
            match (index, is_rule) {
                (0, false) => return Err(FrontMatterError::Missing),
                (0, true) => inner_start = line.len(),
                (_, true) if at + line.len() <= MAX_BYTES => {
                    return Ok(Self {
                        inner: inner_start..at,
                        end: at + line.len(),
                        lines: index as u64 + 1,
                    });
                }
                (_, _) => {}
            }
            at += line.len();
            if at > MAX_BYTES {
                return Err(FrontMatterError::TooLarge);
            }
        }
        Err(if at == 0 {
            FrontMatterError::Missing
        } else {
            FrontMatterError::Unclosed
        })
    }
}

fn is_rule(line: &[u8]) -> bool {
    line.trim_ascii_end() == b"---"
}

/// The line of a second block of keys that follows the first with at most blank lines between. A rule above prose
/// is no such block: the first thing under it must be a `key:`, and a closing `---` must follow.
fn second_block(blob: &[u8], first: &Block) -> Option<u64> {
    let mut lines = blob[first.end..]
        .split(|b| *b == b'\n')
        .zip(first.lines + 1..)
        .skip_while(|(line, _)| line.trim_ascii().is_empty());
    let (line, number) = lines.next()?;
    if !is_rule(line) {
        return None;
    }
    let mut inner = lines
        .map(|(line, _)| line)
        .skip_while(|l| l.trim_ascii().is_empty());
    let opens_with_key = inner.next().is_some_and(begins_with_key);
    (opens_with_key && inner.any(is_rule)).then_some(number)
}

fn begins_with_key(line: &[u8]) -> bool {
    let word = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b'"' | b'\'');
    let after = line.iter().position(|b| !word(b));
    let colon = after.filter(|at| *at > 0 && line[*at] == b':');
    colon.is_some_and(|at| line.get(at + 1).is_none_or(u8::is_ascii_whitespace))
}

#[cfg(test)]
mod tests;
