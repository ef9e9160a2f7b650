//! How the command line ends: exit codes, and failures as one line on stderr. Never prints on stdout.

use std::io::{self, Write};
use std::process::ExitCode;

use serde::{Deserialize, Serialize};

/// Exit codes, as `orch --help` documents them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Ok = 0,
    /// Refused, failed, or without effect.
    Refused = 1,
    /// Wrong usage or wrong configuration.
    Usage = 2,
    /// No service answers.
    NoService = 3,
    /// The named thing does not exist.
    NotFound = 4,
    /// Something broke inside.
    Internal = 70,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}

/// Why a command could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// It may not or could not be done.
    #[error("{0}")]
    Refused(String),
    /// The command line or the configuration is wrong.
    #[error("{0}")]
    Usage(String),
    /// Nobody answers, or not Orch.
    #[error("{0}")]
    NoService(String),
    /// What was named does not exist.
    #[error("{0}")]
    NotFound(String),
    /// Something broke.
    #[error("{0}")]
    Internal(String),
    /// The service refused.
    #[error("{detail}")]
    Api {
        /// Its status.
        status: u16,
        /// What the status means.
        title: String,
        /// Its line for people.
        detail: String,
    },
    /// Whoever read our output has gone: nothing is wrong.
    #[error("the reader of the output is gone")]
    ReaderGone,
}

impl Failure {
    /// The exit code.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Refused(_) => Exit::Refused,
            Self::Usage(_) => Exit::Usage,
            Self::NoService(_) => Exit::NoService,
            Self::NotFound(_) => Exit::NotFound,
            Self::Internal(_) => Exit::Internal,
            Self::ReaderGone => Exit::Ok,
            Self::Api { status: 404, .. } => Exit::NotFound,
            Self::Api { status: 500, .. } => Exit::Internal,
            Self::Api { .. } => Exit::Refused,
        }
    }

    /// Says it on stderr, as a line or as a problem document.
    pub fn report(&self, as_json: bool) -> Exit {
        if !matches!(self, Self::ReaderGone) {
            let line = if as_json {
                self.problem().to_json()
            } else {
                format!("orch: {}", super::text::clean(&self.to_string()))
            };
            // With stderr gone too there is nobody left to tell.
            let _ = writeln!(io::stderr(), "{}", line.trim_end());
        }
        self.exit()
    }

    fn problem(&self) -> Problem {
        let title = match self {
            Self::Api { title, .. } => title,
            Self::Refused(_) => "Refused",
            Self::Usage(_) => "Wrong usage",
            Self::NoService(_) => "No service answers",
            Self::NotFound(_) => "Not found",
            Self::Internal(_) | Self::ReaderGone => "Internal error",
        };
        Problem {
            kind: "about:blank".to_owned(),
            title: title.to_owned(),
            status: match self {
                Self::Api { status, .. } => Some(*status),
                Self::Refused(_)
                | Self::Usage(_)
                | Self::NoService(_)
                | Self::NotFound(_)
                | Self::Internal(_)
                | Self::ReaderGone => None,
            },
            detail: self.to_string(),
        }
    }
}

/// A problem document (RFC 9457): what the API answers, and what `--json` prints on stderr.
#[derive(Debug, Serialize, Deserialize)]
pub struct Problem {
    #[serde(rename = "type", default)]
    kind: String,
    pub(super) title: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(default)]
    pub(super) detail: String,
}

impl Problem {
    fn to_json(&self) -> String {
        // Text and a number: nothing here that JSON could refuse.
        serde_json::to_string(self).unwrap_or_default()
    }
}

impl From<io::Error> for Failure {
    fn from(e: io::Error) -> Self {
        match e.kind() {
            io::ErrorKind::BrokenPipe => Self::ReaderGone,
            _ => Self::Refused(e.to_string()),
        }
    }
}
