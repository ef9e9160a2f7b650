//! A TOML text whose every key and value knows its line. Never decides what a key means.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A parsed TOML text.
pub(super) struct Document<'t> {
    text: &'t str,
    root: Spanned<DeTable<'t>>,
    /// What is not TOML in it: line and message.
    pub(super) syntax: Vec<(usize, String)>,
}

/// A value that is no table, under its dotted key.
pub(super) struct Leaf<'d, 't> {
    /// `section.key`
    pub(super) key: String,
    /// Line of the key, from 1.
    pub(super) line: usize,
    /// The value.
    pub(super) value: &'d DeValue<'t>,
}

impl<'t> Document<'t> {
    /// Parses as much as can be parsed; the rest is in `syntax`.
    pub(super) fn parse(text: &'t str) -> Self {
        let (root, errors) = DeTable::parse_recoverable(text);
        let mut syntax: Vec<_> = errors
            .iter()
            .map(|e| (line_of(text, e.span()), e.message().replace('\n', ", ")))
            .collect();
        // What follows a mistake on the same line is an echo of it.
        syntax.dedup_by_key(|(line, _)| *line);
        Self { text, root, syntax }
    }

    /// The top table.
    pub(super) fn root(&self) -> &DeTable<'t> {
        self.root.get_ref()
    }

    /// Line of a span's beginning, from 1.
    pub(super) fn line(&self, span: Range<usize>) -> usize {
        line_of(self.text, Some(span))
    }

    /// Every value that is no table, arrays as a whole, in the order of the text.
    pub(super) fn leaves(&self) -> Vec<Leaf<'_, 't>> {
        let mut leaves = Vec::new();
        self.collect(self.root(), "", &mut leaves);
        leaves.sort_by_key(|leaf| leaf.line);
        leaves
    }

    fn collect<'d>(&'d self, table: &'d DeTable<'t>, section: &str, leaves: &mut Vec<Leaf<'d, 't>>) {
        for (key, value) in table {
            let name = match section {
                "" => key.get_ref().to_string(),
                _ => format!("{section}.{}", key.get_ref()),
            };
            match value.get_ref() {
                DeValue::Table(inner) if !inner.is_empty() => self.collect(inner, &name, leaves),
                value => leaves.push(Leaf {
                    key: name,
                    line: self.line(key.span()),
                    value,
                }),
            }
        }
    }

    /// The comment lines directly above a line, as one text.
    pub(super) fn comment_above(&self, line: usize) -> String {
        let above: Vec<_> = self.text.lines().take(line.saturating_sub(1)).collect();
        let mut comment: Vec<_> = above
            .iter()
            .rev()
            .map_while(|l| l.strip_prefix('#'))
            .map(str::trim)
            .collect();
        comment.reverse();
        comment.join(" ")
    }
}

fn line_of(text: &str, span: Option<Range<usize>>) -> usize {
    let end = span.map_or(0, |s| s.start).min(text.len());
    1 + text.as_bytes().iter().take(end).filter(|b| **b == b'\n').count()
}

/// A value as a person would write it, capped.
pub(super) fn show(value: &DeValue<'_>) -> String {
    let shown = match value {
        DeValue::String(s) => format!("{s:?}"),
        DeValue::Integer(i) => i.to_string(),
        DeValue::Float(f) => f.to_string(),
        DeValue::Boolean(b) => b.to_string(),
        DeValue::Datetime(d) => d.to_string(),
        DeValue::Array(a) => {
            let items: Vec<_> = a.iter().map(|v| show(v.get_ref())).collect();
            format!("[{}]", items.join(", "))
        }
        DeValue::Table(_) => "a table".to_owned(),
    };
    cap(shown)
}

/// At most 120 characters of a text.
pub(super) fn cap(text: String) -> String {
    match text.char_indices().nth(120) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// `; did you mean "x"?` when one of the candidates is near.
pub(super) fn hint<'c>(word: &str, candidates: impl IntoIterator<Item = &'c str>) -> String {
    candidates
        .into_iter()
        .map(|c| (strsim::normalized_damerau_levenshtein(word, c), c))
        .filter(|(near, _)| *near >= 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map_or_else(String::new, |(_, c)| format!("; did you mean {c:?}?"))
}
