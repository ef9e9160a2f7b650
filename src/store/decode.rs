//! From rows to domain types. A row that cannot be read is an error that names it; in a list that feeds a
//! loop it is set aside, so that one bad row never stops the others.

use serde::de::DeserializeOwned;

use super::error::StoreError;

/// The outcome of a write that says what it believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a write that lost must do nothing else"]
pub enum Guarded<T> {
    /// It was so; the write happened.
    Won(T),
    /// It was no longer so; nothing was written.
    Lost,
}

impl<T> Guarded<T> {
    /// What was won, if it was.
    pub fn won(self) -> Option<T> {
        match self {
            Self::Won(value) => Some(value),
            Self::Lost => None,
        }
    }

    /// True when the write happened.
    pub fn is_won(&self) -> bool {
        matches!(self, Self::Won(_))
    }

    pub(super) fn from_option(row: Option<T>) -> Self {
        row.map_or(Self::Lost, Self::Won)
    }
}

impl Guarded<()> {
    pub(super) fn from_count(rows: usize) -> Self {
        if rows == 0 { Self::Lost } else { Self::Won(()) }
    }
}

/// Rows for a loop, and those that could not be read, by id with the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing<T> {
    /// What could be read.
    pub rows: Vec<T>,
    /// What could not: to be logged and counted.
    pub broken: Vec<(i64, String)>,
}

impl<T> Default for Listing<T> {
    fn default() -> Self {
        Self {
            rows: Vec::new(),
            broken: Vec::new(),
        }
    }
}

/// A row as the database gives it.
pub(super) trait Row {
    /// What it means.
    type Domain;
    /// Its id, to name it.
    fn id(&self) -> i64;
    /// Reads it.
    fn decode(self) -> Result<Self::Domain, StoreError>;
}

impl<T> Listing<T> {
    pub(super) fn of<R: Row<Domain = T>>(rows: Vec<R>) -> Self {
        let mut listing = Self::default();
        for row in rows {
            let id = row.id();
            match row.decode() {
                Ok(value) => listing.rows.push(value),
                Err(error) => listing.broken.push((id, error.to_string())),
            }
        }
        listing
    }
}

/// Reads all rows; one that cannot be read fails the whole.
pub(super) fn all<R: Row>(rows: Vec<R>) -> Result<Vec<R::Domain>, StoreError> {
    rows.into_iter().map(Row::decode).collect()
}

/// Reads the row, if there is one.
pub(super) fn maybe<R: Row>(row: Option<R>) -> Result<Option<R::Domain>, StoreError> {
    row.map(Row::decode).transpose()
}

/// A row that cannot be read says nothing, and is as good as none; the database's trouble stays what it is.
pub fn readable<T>(read: Result<Option<T>, StoreError>) -> Result<Option<T>, StoreError> {
    match read {
        Err(StoreError::Broken { .. }) => Ok(None),
        read => read,
    }
}

/// Reads the row that a guarded write returned, if it won.
pub(super) fn guarded<R: Row>(row: Option<R>) -> Result<Guarded<R::Domain>, StoreError> {
    Ok(Guarded::from_option(maybe(row)?))
}

/// A cell of a row, for messages.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cell<'a> {
    pub(super) table: &'static str,
    pub(super) id: &'a dyn std::fmt::Debug,
    pub(super) column: &'static str,
}

impl Cell<'_> {
    fn broken(self, why: impl std::fmt::Display) -> StoreError {
        StoreError::Broken {
            table: self.table,
            id: format!("{:?}", self.id),
            why: format!("{}: {why}", self.column),
        }
    }

    /// A word of an enumeration.
    pub(super) fn word<T>(self, text: &str, parse: fn(&str) -> Option<T>) -> Result<T, StoreError> {
        parse(text).ok_or_else(|| self.broken(format!("unknown word {text:?}")))
    }

    /// A word of an enumeration, or nothing.
    pub(super) fn maybe_word<T>(
        self,
        text: Option<&str>,
        parse: fn(&str) -> Option<T>,
    ) -> Result<Option<T>, StoreError> {
        text.map(|t| self.word(t, parse)).transpose()
    }

    /// JSON.
    pub(super) fn json<T: DeserializeOwned>(self, text: &str) -> Result<T, StoreError> {
        serde_json::from_str(text).map_err(|e| self.broken(e))
    }

    /// JSON, or nothing.
    pub(super) fn maybe_json<T: DeserializeOwned>(self, text: Option<&str>) -> Result<Option<T>, StoreError> {
        text.map(|t| self.json(t)).transpose()
    }
}

/// Writes JSON. Fails only for maps with keys that are no strings, which our types do not have.
pub(super) fn to_json<T: serde::Serialize>(value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|e| StoreError::Database {
        why: format!("a value could not be written as JSON: {e}"),
    })
}

/// A page's size as the database takes it.
pub(super) fn rows(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}
