//! What can be wrong with settings, said so that a person knows what to do. Never holds a secret's text.

use std::fmt;
use std::path::PathBuf;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The configuration file named cannot be read.
    #[error("{origin}: cannot read {}: {why}; name a readable file or none", path.display())]
    Unreadable {
        /// `--config` or `ORCH_CONFIG`.
        origin: String,
        /// The file.
        path: PathBuf,
        /// The system's reason.
        why: String,
    },
    /// The file is not TOML.
    #[error("{origin}: not valid TOML: {why}")]
    Syntax {
        /// File and line.
        origin: String,
        /// What the parser says.
        why: String,
    },
    /// A key that does not exist.
    #[error("{origin}: unknown key {key:?}{hint}")]
    UnknownKey {
        /// File and line.
        origin: String,
        /// The key as written. Its value is not shown: it may be a misspelt secret.
        key: String,
        /// A near key, as a question; or nothing.
        hint: String,
    },
    /// A value that cannot be used.
    #[error("{origin}: {key} = {value}: {expected}")]
    BadValue {
        /// Where it was given.
        origin: String,
        /// The key.
        key: String,
        /// The value; `***` for a secret.
        value: String,
        /// What would be right.
        expected: String,
    },
    /// The file that should hold a secret does not give one.
    #[error("{origin}: {key}: {why}")]
    SecretFile {
        /// The variable or key that names the file.
        origin: String,
        /// The secret's key.
        key: String,
        /// The reason, and what to do.
        why: String,
    },
    /// Values that are usable alone but not together. Names every key, value and source.
    #[error("{0}")]
    Combination(String),
    /// The table of keys and the code that reads it disagree.
    #[error("settings are inconsistent with the program: {0}; this is a defect of Orch, please report it")]
    Internal(String),
}

/// Settings that cannot be used: every problem found, one per line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingsError {
    /// The problems, at least one.
    pub problems: Vec<Problem>,
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<_> = self.problems.iter().map(Problem::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl std::error::Error for SettingsError {}

/// Something that was ignored and should be known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// Where it was given: `env ORCH_OLD_NAME`, `file /etc/orch.toml:3`.
    pub origin: String,
    /// What was ignored, and why.
    pub message: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.origin, self.message)
    }
}
