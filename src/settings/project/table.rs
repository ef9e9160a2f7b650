//! Reads typed fields out of a TOML table; each value knows its line, each mistake is noted with it.
//! Never knows what a field is for.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::super::document::{Document, hint, show};

/// A value and its line.
#[derive(Clone, Debug)]
pub(in crate::settings) struct At<T> {
    pub(in crate::settings) value: T,
    pub(in crate::settings) line: usize,
}

/// Mistakes found so far: line and problem.
#[derive(Default)]
pub(in crate::settings) struct Notes(RefCell<Vec<(usize, String)>>);

impl Notes {
    pub(in crate::settings) fn note(&self, line: usize, problem: impl Into<String>) {
        self.0.borrow_mut().push((line, problem.into()));
    }

    pub(in crate::settings) fn are_empty(&self) -> bool {
        self.0.borrow().is_empty()
    }

    /// In the order of the lines.
    pub(in crate::settings) fn into_sorted(self) -> Vec<(usize, String)> {
        let mut notes = self.0.into_inner();
        notes.sort_by_key(|(line, _)| *line);
        notes
    }
}

/// A table being read. What was never asked for is unknown.
pub(in crate::settings) struct Table<'d> {
    document: &'d Document<'d>,
    notes: &'d Notes,
    entries: &'d DeTable<'d>,
    /// `agents.reviewer`; empty at the top.
    section: String,
    /// Line of its header.
    pub(in crate::settings) line: usize,
    asked: RefCell<Vec<&'static str>>,
}

impl<'d> Table<'d> {
    pub(in crate::settings) fn top(document: &'d Document<'d>, notes: &'d Notes) -> Self {
        Self {
            document,
            notes,
            entries: document.root(),
            section: String::new(),
            line: 1,
            asked: RefCell::default(),
        }
    }

    fn inner(&self, section: String, line: usize, entries: &'d DeTable<'d>) -> Self {
        Self {
            document: self.document,
            notes: self.notes,
            entries,
            section,
            line,
            asked: RefCell::default(),
        }
    }

    /// Notes a mistake.
    pub(in crate::settings) fn note(&self, line: usize, problem: impl Into<String>) {
        self.notes.note(line, problem);
    }

    /// Line of a key; that of the table where it is not written.
    pub(in crate::settings) fn line_of(&self, key: &str) -> usize {
        self.entries
            .get_key_value(key)
            .map_or(self.line, |(k, _)| self.document.line(k.span()))
    }

    /// The field, if `take` finds it of the right type.
    fn field<T>(
        &self,
        key: &'static str,
        wanted: &str,
        take: impl Fn(&'d DeValue<'d>) -> Option<T>,
    ) -> Option<At<T>> {
        self.asked.borrow_mut().push(key);
        let value = self.entries.get(key)?.get_ref();
        let line = self.line_of(key);
        let Some(taken) = take(value) else {
            self.note(line, format!("{} = {}: {wanted}", self.name(key), show(value)));
            return None;
        };
        Some(At { value: taken, line })
    }

    fn name(&self, key: &str) -> String {
        if self.section.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.section)
        }
    }

    /// A text that is not blank.
    pub(in crate::settings) fn text(&self, key: &'static str) -> Option<At<String>> {
        let take = |v: &DeValue<'_>| v.as_str().filter(|t| !t.trim().is_empty()).map(str::to_owned);
        self.field(key, "give a text, in quotes and not empty", take)
    }

    /// A text that `parse` understands, or what would be right.
    pub(in crate::settings) fn parsed<T>(
        &self,
        key: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<At<T>> {
        let At { value: text, line } = self.text(key)?;
        match parse(&text) {
            Ok(value) => Some(At { value, line }),
            Err(why) => {
                self.note(line, format!("{} = {text:?}: {why}", self.name(key)));
                None
            }
        }
    }

    /// One of some words.
    pub(in crate::settings) fn word<T: Copy>(&self, key: &'static str, words: &[(&str, T)]) -> Option<At<T>> {
        self.parsed(key, |text| {
            let all: Vec<_> = words.iter().map(|(w, _)| *w).collect();
            let found = words.iter().find(|(w, _)| *w == text).map(|(_, value)| *value);
            found.ok_or_else(|| format!("give one of {}", all.join(", ")))
        })
    }

    pub(in crate::settings) fn switch(&self, key: &'static str) -> Option<At<bool>> {
        self.field(key, "give true or false", DeValue::as_bool)
    }

    /// A whole number of at least `min`.
    pub(in crate::settings) fn whole(&self, key: &'static str, min: i32) -> Option<At<i32>> {
        let take = |v: &DeValue<'_>| {
            let n = v.as_integer()?;
            i32::from_str_radix(n.as_str(), n.radix())
                .ok()
                .filter(|n| *n >= min)
        };
        self.field(key, &format!("give a whole number of at least {min}"), take)
    }

    /// Seconds, at least one.
    pub(in crate::settings) fn seconds(&self, key: &'static str) -> Option<At<Duration>> {
        let At { value, line } = self.whole(key, 1)?;
        let value = Duration::from_secs(u64::from(value.unsigned_abs()));
        Some(At { value, line })
    }

    pub(in crate::settings) fn texts(&self, key: &'static str) -> Option<At<Vec<String>>> {
        let take = |v: &DeValue<'_>| {
            let items = v.as_array()?.iter();
            items.map(|i| i.get_ref().as_str().map(str::to_owned)).collect()
        };
        self.field(key, "give a list of texts", take)
    }

    /// Names and texts.
    pub(in crate::settings) fn text_map(&self, key: &'static str) -> Option<At<BTreeMap<String, String>>> {
        let take = |v: &DeValue<'_>| {
            let entries = v.as_table()?.iter();
            entries
                .map(|(k, v)| Some((k.get_ref().to_string(), v.get_ref().as_str()?.to_owned())))
                .collect()
        };
        self.field(key, "give names and texts", take)
    }

    /// A section.
    pub(in crate::settings) fn table(&self, key: &'static str) -> Option<Table<'d>> {
        let wanted = format!("write it as a section, [{}]", self.name(key));
        let At { value, line } = self.field(key, &wanted, DeValue::as_table)?;
        Some(self.inner(self.name(key), line, value))
    }

    /// Every entry as a section under a name that its writer chose.
    pub(in crate::settings) fn sections(&self) -> Vec<(String, Table<'d>)> {
        let mut found = Vec::new();
        for (key, value) in self.entries {
            let (own, line) = (key.get_ref().to_string(), self.document.line(key.span()));
            let name = self.name(&own);
            match value.get_ref().as_table() {
                Some(entries) => found.push((own, self.inner(name, line, entries))),
                None => self.note(line, format!("{name}: write it as a section, [{name}]")),
            }
        }
        found
    }

    /// Sections of one kind, `[[key]]`.
    pub(in crate::settings) fn tables(&self, key: &'static str) -> Option<At<Vec<Table<'d>>>> {
        let wanted = format!("write each as [[{key}]]");
        let take = |v: &'d DeValue<'d>| {
            let items = v.as_array()?.iter();
            items
                .map(|i| Some((self.document.line(i.span()), i.get_ref().as_table()?)))
                .collect()
        };
        let At { value, line } = self.field(key, &wanted, take)?;
        let tables: Vec<(usize, &'d DeTable<'d>)> = value;
        let tables = tables
            .into_iter()
            .map(|(line, t)| self.inner(key.to_owned(), line, t));
        Some(At {
            value: tables.collect(),
            line,
        })
    }

    /// The items of a list, whatever they are.
    pub(in crate::settings) fn items(&self, key: &'static str) -> Option<Vec<&'d Spanned<DeValue<'d>>>> {
        let items = self.field(key, "give a list", |v| Some(v.as_array()?.iter().collect()))?;
        Some(items.value)
    }

    /// An item of a list that is a table.
    pub(in crate::settings) fn item(
        &self,
        section: &str,
        line: usize,
        entries: &'d DeTable<'d>,
    ) -> Table<'d> {
        self.inner(section.to_owned(), line, entries)
    }

    /// Line of an item of a list.
    pub(in crate::settings) fn line_at(&self, item: &Spanned<DeValue<'_>>) -> usize {
        self.document.line(item.span())
    }

    /// Notes a key that is required.
    pub(in crate::settings) fn require<T>(
        &self,
        key: &'static str,
        wanted: &str,
        found: Option<T>,
    ) -> Option<T> {
        if found.is_none() && !self.has(key) {
            self.note(self.line, format!("{} is missing: {wanted}", self.name(key)));
        }
        found
    }

    /// True when the key is written, rightly or wrongly.
    pub(in crate::settings) fn has(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    /// Notes every key that nobody asked for.
    pub(in crate::settings) fn finish(&self) {
        let asked = self.asked.borrow();
        for key in self
            .entries
            .keys()
            .filter(|k| !asked.contains(&k.get_ref().as_ref()))
        {
            let mut near = hint(key.get_ref(), asked.iter().copied());
            // Few enough to be read in one line.
            if near.is_empty() && !self.section.is_empty() {
                near = format!("; here can stand: {}", asked.join(", "));
            }
            let line = self.document.line(key.span());
            self.note(line, format!("unknown key {:?}{near}", self.name(key.get_ref())));
        }
    }
}
