//! What can go wrong with the database, and what to do about it.

use std::time::Duration;

use diesel::result::{ConnectionError, DatabaseErrorKind, Error as DieselError};

/// Whether trying again can help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// Not before this much time has passed.
    After(Duration),
    /// Never: something has to change first.
    Never,
}

/// A failure of the store. `place` names the file or server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The address of the database makes no sense.
    #[error(
        "{url:?} is not a database address: {why}; give a path, sqlite:<path> or postgres://user@host/name"
    )]
    Address {
        /// As given, without a password.
        url: String,
        /// What is wrong with it.
        why: String,
    },
    /// The folder of the database file is missing and cannot be made.
    #[error("the folder {place} cannot be created: {why}; create it for this user or choose another place")]
    Folder {
        /// The folder.
        place: String,
        /// The system's reason.
        why: String,
    },
    /// The file or its folder cannot be written.
    #[error("{place} cannot be written: {why}; give this user write access to the file and its folder")]
    NotWritable {
        /// The file.
        place: String,
        /// The system's reason.
        why: String,
    },
    /// Another service holds this database.
    #[error("{place} is in use by another orch ({holder}): stop that one, or give this one its own database")]
    InUse {
        /// The file.
        place: String,
        /// Who holds it, as far as known.
        holder: String,
    },
    /// Another process keeps the database locked.
    #[error("{place} is locked by another process: close the program that has it open, then try again")]
    Locked {
        /// The file or server.
        place: String,
    },
    /// The file is something else.
    #[error("{place} is not a SQLite database: move it away or choose another place")]
    NotADatabase {
        /// The file.
        place: String,
    },
    /// A database that was ours and cannot be read any more.
    #[error("{place} is damaged ({why}): restore a backup, or save what is left with sqlite3's .recover")]
    Damaged {
        /// The file.
        place: String,
        /// SQLite's words.
        why: String,
    },
    /// The disk below it fails.
    #[error("{place} cannot be used ({why}): look whether its disk is full, mounted and healthy")]
    Disk {
        /// The file.
        place: String,
        /// SQLite's words.
        why: String,
    },
    /// A database, but of another program.
    #[error("{place} has tables but none of Orch's: it belongs to another program; choose another place")]
    Foreign {
        /// The file or server.
        place: String,
    },
    /// Written by a newer version.
    #[error(
        "{place} has schema {version}, which this version of orch does not know: use the newer orch, or restore a backup"
    )]
    Newer {
        /// The file or server.
        place: String,
        /// The newest version found.
        version: String,
    },
    /// No space left.
    #[error("{place} cannot grow: the disk is full; free some space, then try again")]
    DiskFull {
        /// The file or server.
        place: String,
    },
    /// The server does not answer, or the file cannot be opened.
    #[error("{place} cannot be reached: {why}; check that it exists and that this user may connect")]
    Unreachable {
        /// The file or server.
        place: String,
        /// Why.
        why: String,
    },
    /// More writes wait than may.
    #[error("the database cannot keep up: too many writes wait; try again in a moment")]
    Saturated,
    /// The store was closed.
    #[error("the database was closed: the service is stopping")]
    Closed,
    /// A command panicked; nothing of it was kept.
    #[error("a database command panicked ({what}) and was rolled back: this is a defect, report it")]
    Panicked {
        /// The panic's message.
        what: String,
    },
    /// The transaction that carried the write did not commit; nothing of it was kept.
    #[error("the write was not committed: {why}; nothing of it was kept, try again")]
    NotCommitted {
        /// Why.
        why: String,
    },
    /// The connection was lost while the transaction was being committed: only the database knows how it ended.
    #[error(
        "the connection was lost during a commit ({why}): it was kept or it was not; look before doing it again"
    )]
    Unknown {
        /// Why.
        why: String,
    },
    /// A row that cannot be read.
    #[error("{table} {id} cannot be read: {why}; correct or remove that row")]
    Broken {
        /// Its table.
        table: &'static str,
        /// Its id.
        id: String,
        /// What is wrong with it.
        why: String,
    },
    /// The database refused what would contradict it.
    #[error("the database refused the write: {why}")]
    Constraint {
        /// The violated rule.
        why: String,
    },
    /// Anything else that the database said.
    #[error("the database failed: {why}")]
    Database {
        /// Its words.
        why: String,
    },
}

/// Used where the file or server is not known at the point of failure.
const SOMEWHERE: &str = "the database";

/// What libpq and a server that stops or starts say of a connection that is gone.
const LOST: [&str; 8] = [
    "onnection",
    "the database system is",
    "could not receive data",
    "could not send data",
    "SSL SYSCALL",
    "SSL error",
    "Broken pipe",
    "EOF detected",
];

impl StoreError {
    /// Whether trying again can help.
    pub fn retry(&self) -> Retry {
        match self {
            Self::Saturated | Self::NotCommitted { .. } => Retry::After(Duration::from_millis(200)),
            Self::Locked { .. } => Retry::After(Duration::from_secs(1)),
            // What the service does by itself it does again from what is recorded, under the same guards.
            Self::Unreachable { .. } | Self::Unknown { .. } => Retry::After(Duration::from_secs(5)),
            Self::DiskFull { .. } | Self::Disk { .. } => Retry::After(Duration::from_secs(60)),
            Self::Address { .. }
            | Self::Folder { .. }
            | Self::NotWritable { .. }
            | Self::InUse { .. }
            | Self::NotADatabase { .. }
            | Self::Damaged { .. }
            | Self::Foreign { .. }
            | Self::Newer { .. }
            | Self::Closed
            | Self::Panicked { .. }
            | Self::Broken { .. }
            | Self::Constraint { .. }
            | Self::Database { .. } => Retry::Never,
        }
    }

    /// Says which file or server it was, where that was not known before.
    #[must_use]
    pub(super) fn at(mut self, known: &str) -> Self {
        if let Self::Locked { place }
        | Self::NotWritable { place, .. }
        | Self::NotADatabase { place }
        | Self::Damaged { place, .. }
        | Self::Disk { place, .. }
        | Self::DiskFull { place }
        | Self::Unreachable { place, .. } = &mut self
            && place == SOMEWHERE
        {
            known.clone_into(place);
        }
        self
    }

    /// What a failed commit means. A server that refuses says so; one that is gone may have committed before.
    pub(super) fn of_commit(error: DieselError) -> Self {
        match Self::from(error) {
            Self::Unreachable { why, .. } => Self::Unknown { why },
            known => known,
        }
    }

    /// SQLite and libpq tell these apart by their words only.
    fn from_words(words: &str) -> Self {
        let place = SOMEWHERE.to_owned();
        // libpq tells a story of several lines.
        let why = words.split_whitespace().collect::<Vec<_>>().join(" ");
        let says = |part: &str| words.contains(part);
        if says("database is locked") || says("table is locked") || says("deadlock detected") {
            Self::Locked { place }
        } else if says("disk is full") || says("No space left") {
            Self::DiskFull { place }
        } else if says("not a database") || says("file is encrypted") {
            Self::NotADatabase { place }
        } else if says("malformed") {
            Self::Damaged { place, why }
        } else if says("disk I/O error") {
            Self::Disk { place, why }
        } else if says("readonly database") || says("read-only") {
            Self::NotWritable { place, why }
        } else if says("unable to open") || LOST.iter().any(|part| says(part)) {
            Self::Unreachable { place, why }
        } else {
            Self::Database { why }
        }
    }
}

impl From<DieselError> for StoreError {
    fn from(error: DieselError) -> Self {
        match error {
            DieselError::DatabaseError(kind, info) => match kind {
                DatabaseErrorKind::UniqueViolation
                | DatabaseErrorKind::ForeignKeyViolation
                | DatabaseErrorKind::NotNullViolation
                | DatabaseErrorKind::CheckViolation => Self::Constraint {
                    why: info.message().to_owned(),
                },
                DatabaseErrorKind::SerializationFailure => Self::Locked {
                    place: SOMEWHERE.to_owned(),
                },
                DatabaseErrorKind::ClosedConnection => Self::Unreachable {
                    place: SOMEWHERE.to_owned(),
                    why: info.message().to_owned(),
                },
                // Diesel's enumeration may grow; the words decide.
                _ => Self::from_words(info.message()),
            },
            DieselError::RollbackErrorOnCommit { commit_error, .. } => Self::from(*commit_error),
            // So Diesel calls a connection that broke inside a transaction.
            DieselError::BrokenTransactionManager => Self::Unreachable {
                place: SOMEWHERE.to_owned(),
                why: "the connection broke".to_owned(),
            },
            other => Self::from_words(&other.to_string()),
        }
    }
}

impl From<ConnectionError> for StoreError {
    fn from(error: ConnectionError) -> Self {
        match Self::from_words(&error.to_string()) {
            Self::Database { why } => Self::Unreachable {
                place: SOMEWHERE.to_owned(),
                why,
            },
            known => known,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_sqlite_become_errors_that_say_what_to_do() {
        let table = [
            ("database is locked", "locked by another process"),
            ("database or disk is full", "the disk is full"),
            ("file is not a database", "is not a SQLite database"),
            ("attempt to write a readonly database", "cannot be written"),
            ("unable to open database file", "cannot be reached"),
            ("database disk image is malformed", "restore a backup"),
            ("disk I/O error", "look whether its disk"),
        ];
        for (words, expected) in table {
            let text = StoreError::from_words(words).at("/data/orch.db").to_string();
            assert!(
                text.contains(expected) && text.starts_with("/data/orch.db"),
                "{text}"
            );
        }
    }

    #[test]
    fn a_server_that_stops_or_starts_is_waited_for() {
        let words = [
            "FATAL: terminating connection due to administrator command",
            "server closed the connection unexpectedly",
            "could not receive data from server: Connection reset by peer",
            "FATAL:  the database system is starting up",
            "no connection to the server",
            "SSL SYSCALL error: EOF detected",
        ];
        for words in words {
            let error = StoreError::from_words(words);
            assert!(
                matches!(error, StoreError::Unreachable { .. }),
                "{words}: {error}"
            );
        }
        let broken = StoreError::from(DieselError::BrokenTransactionManager);
        assert_ne!(broken.retry(), Retry::Never, "{broken}");
    }

    #[test]
    fn a_commit_without_an_answer_is_neither_kept_nor_not() {
        let lost =
            |kind| DieselError::DatabaseError(kind, Box::new("server closed the connection".to_owned()));
        let unknown = StoreError::of_commit(lost(DatabaseErrorKind::ClosedConnection));
        assert!(matches!(unknown, StoreError::Unknown { .. }), "{unknown}");
        let refused = StoreError::of_commit(lost(DatabaseErrorKind::CheckViolation));
        assert!(matches!(refused, StoreError::Constraint { .. }), "{refused}");
    }

    #[test]
    fn only_what_can_pass_by_itself_is_tried_again() {
        assert_ne!(StoreError::Saturated.retry(), Retry::Never);
        assert_eq!(StoreError::Closed.retry(), Retry::Never);
        let place = "/data/orch.db".to_owned();
        assert_eq!(StoreError::NotADatabase { place }.retry(), Retry::Never);
    }
}
